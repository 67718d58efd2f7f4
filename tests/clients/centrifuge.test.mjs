// npm `centrifuge`, the oldest version supported and the newest, unchanged, against the real program.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Centrifuge as Newest } from 'centrifuge-newest';
import { Centrifuge as Oldest } from 'centrifuge-oldest';
import WebSocket from 'ws';
import { eventually, start, token } from './server.mjs';

const CONFIG = `
[[namespaces]]
name = "chat"
history_size = 100
history_ttl_s = 60
recovery = "stream"
subscribe = "user"
publish = "user"
allow_history_for_subscriber = true

[[namespaces]]
name = "room"
subscribe = "user"
presence = true
join_leave = true
allow_presence_for_subscriber = true

[[namespaces]]
name = "closed"
subscribe = "token"
`;

/** WebSockets whose TCP connection can be cut without a word. */
function cuttable() {
  const open = new Set();
  class Cuttable extends WebSocket {
    constructor(...args) {
      super(...args);
      open.add(this);
      this.on('close', () => open.delete(this));
    }
  }
  return { websocket: Cuttable, cut: () => open.forEach((socket) => socket.terminate()) };
}

const once = (emitter, event, limitMs = 10_000) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} within ${limitMs} ms`)), limitMs);
    emitter.once(event, (context) => {
      clearTimeout(timer);
      resolve(context);
    });
  });

for (const [version, Centrifuge] of [['5.0.1', Oldest], ['newest', Newest]]) {
  describe(`centrifuge ${version}`, () => {
    let server;
    const clients = [];
    before(async () => {
      server = await start({ config: CONFIG });
    });
    after(async () => {
      clients.forEach((client) => client.disconnect());
      await server?.stop();
    });

    function client(user, options = {}) {
      const network = cuttable();
      const made = new Centrifuge(server.ws, {
        token: token(user),
        websocket: network.websocket,
        minReconnectDelay: 50,
        maxReconnectDelay: 200,
        ...options,
      });
      clients.push(made);
      return Object.assign(made, { cut: network.cut });
    }

    async function connected(user, options) {
      const made = client(user, options);
      const wait = once(made, 'connected');
      made.connect();
      const context = await wait;
      assert.match(context.client, /./);
      return made;
    }

    test('live events of the feed', async () => {
      await server.follow('alice', 'bob');
      const alice = await connected('alice');
      const events = [];
      alice.on('publication', ({ channel, data }) => events.push({ channel, data }));
      const post = await server.publish('bob', 'hello');
      await eventually('the event', () => events.length === 1);
      assert.equal(events[0].channel, 'user:#alice');
      assert.equal(events[0].data.type, 'post.created');
      assert.equal(events[0].data.post.id, post.id);
      await server.call('bob', 'DELETE', `/v1/posts/${post.id}`);
      await eventually('the deletion', () => events.length === 2);
      assert.deepEqual(events[1].data, { type: 'post.deleted', id: post.id, author: 'bob' });
    });

    test('recovery after a killed socket: everything once, in order', async () => {
      await server.follow('carol', 'dave');
      const carol = await connected('carol');
      const seen = [];
      carol.on('publication', ({ data, offset }) => {
        if (data.type === 'post.created') seen.push([offset, data.post.text]);
      });
      for (let round = 0; round < 3; round += 1) {
        await server.publish('dave', `live ${round}`);
        await eventually('the live event', () => seen.length === round * 6 + 1);
        const gone = once(carol, 'connecting');
        const back = once(carol, 'subscribed');
        carol.cut();
        await gone;
        for (let n = 0; n < 5; n += 1) await server.publish('dave', `missed ${round}.${n}`);
        const context = await back;
        assert.equal(context.channel, 'user:#carol');
        assert.ok(context.wasRecovering && context.recovered, 'it was recovered');
        await eventually('what was missed', () => seen.length === (round + 1) * 6);
      }
      const first = seen[0][0];
      assert.deepEqual(seen.map(([offset]) => offset), seen.map((_, n) => first + n));
      assert.equal(new Set(seen.map(([, text]) => text)).size, 18);
    });

    test('a token is refreshed before its end', async () => {
      let refreshed = 0;
      // 11 s of life: the client is told to come back after one.
      const erin = await connected('erin', {
        token: token('erin', 12),
        getToken: async () => {
          refreshed += 1;
          return token('erin', 3600);
        },
      });
      const states = [];
      erin.on('state', ({ newState }) => states.push(newState));
      await eventually('the refresh', () => refreshed === 1);
      const heard = once(erin, 'publication');
      await server.publish('erin', 'still here');
      await heard;
      assert.deepEqual(states, [], 'it stayed connected');
    });

    test('an expired token is fetched anew, a bad one ends it', async () => {
      const fresh = await connected('frank', { token: token('frank', -60), getToken: async () => token('frank') });
      assert.equal(fresh.state, 'connected');
      const bad = client('mallory', { token: `${token('mallory')}x` });
      const end = once(bad, 'disconnected');
      bad.connect();
      assert.equal((await end).code, 3500);
    });

    test('namespace channels: publish, history, recovery', async () => {
      const [gina, hal] = [await connected('gina'), await connected('hal')];
      const ofGina = gina.newSubscription('chat:room');
      const ofHal = hal.newSubscription('chat:room');
      const seen = [];
      ofGina.on('publication', ({ data, offset }) => seen.push([offset, data.n]));
      const ready = [once(ofGina, 'subscribed'), once(ofHal, 'subscribed')];
      ofGina.subscribe();
      ofHal.subscribe();
      await Promise.all(ready);
      for (let n = 0; n < 3; n += 1) await ofHal.publish({ n });
      await eventually('three', () => seen.length === 3);
      const gone = once(ofGina, 'subscribing');
      const back = once(ofGina, 'subscribed');
      gina.cut();
      await gone;
      for (let n = 3; n < 6; n += 1) await ofHal.publish({ n });
      const context = await back;
      assert.ok(context.wasRecovering && context.recovered);
      await eventually('three more', () => seen.length === 6);
      assert.deepEqual(seen, [0, 1, 2, 3, 4, 5].map((n) => [n + 1, n]));
      const history = await ofGina.history({ limit: 2, reverse: true });
      assert.deepEqual(history.publications.map(({ data }) => data.n), [5, 4]);
      const left = once(ofGina, 'unsubscribed');
      ofGina.unsubscribe();
      await left;
      await ofHal.publish({ n: 6 });
      await ofHal.history({ limit: 0 });
      assert.equal(seen.length, 6);
    });

    test('who is in a channel: presence, counts, comings and goings', async () => {
      const [judy, karl] = [await connected('judy'), await connected('karl', { token: token('karl', 600, { info: { name: 'Karl' } }) })];
      const ofJudy = judy.newSubscription('room:tea', { joinLeave: true });
      const news = [];
      ofJudy.on('join', ({ info }) => news.push(['join', info.user, info.connInfo?.name]));
      ofJudy.on('leave', ({ info }) => news.push(['leave', info.user, info.connInfo?.name]));
      const enter = async (subscription) => {
        const ready = once(subscription, 'subscribed');
        subscription.subscribe();
        await ready;
      };
      await enter(ofJudy);
      const ofKarl = karl.newSubscription('room:tea');
      await enter(ofKarl);
      const { clients } = await ofJudy.presence();
      assert.deepEqual(Object.values(clients).map(({ user }) => user).sort(), ['judy', 'karl']);
      const [id, info] = Object.entries(clients).find(([, { user }]) => user === 'karl');
      assert.deepEqual([info.client, info.connInfo], [id, { name: 'Karl' }]);
      assert.deepEqual(await ofKarl.presenceStats(), { numClients: 2, numUsers: 2 });
      const back = once(ofKarl, 'subscribed');
      karl.cut();
      await back;
      await eventually('the news', () => news.length === 4);
      assert.deepEqual(news, [
        ['join', 'judy', undefined],
        ['join', 'karl', 'Karl'],
        ['leave', 'karl', 'Karl'],
        ['join', 'karl', 'Karl'],
      ]);
      ofKarl.unsubscribe();
      await eventually('the end', () => news.length === 5);
      assert.deepEqual(news[4], ['leave', 'karl', 'Karl']);
      assert.deepEqual(await ofJudy.presenceStats(), { numClients: 1, numUsers: 1 });
      await assert.rejects(judy.presence('chat:room'), ({ code }) => code === 108);
    });

    test('channels that need a token', async () => {
      const ivan = await connected('ivan');
      const asked = [];
      const open = ivan.newSubscription('closed:a', {
        getToken: async ({ channel }) => {
          asked.push(channel);
          return token('ivan', 600, { channel });
        },
      });
      const ready = once(open, 'subscribed');
      open.subscribe();
      await ready;
      assert.deepEqual(asked, ['closed:a']);
      const shut = ivan.newSubscription('closed:b');
      const refused = once(shut, 'unsubscribed');
      shut.subscribe();
      assert.equal((await refused).code, 103);
    });
  });
}
