import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { FamaClient, FamaError, Http, TokenSource, type ConnectionState } from '../src/client/index.ts';
import { post } from './support/model.ts';

const closing: Server[] = [];
after(() => closing.forEach((server) => server.close()));

async function serve(handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<{ server: Server; url: string }> {
  const server = createServer(handler);
  closing.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

test('a refused token is replaced once, for all the calls that need it', async () => {
  const { url } = await serve((request, response) => {
    const good = request.headers.authorization === 'Bearer second';
    response.writeHead(good ? 200 : 401, { 'content-type': 'application/json' });
    response.end(JSON.stringify(good ? { ok: true } : { error: 'unauthorized', message: 'expired' }));
  });
  const given = ['first', 'second', 'third'];
  const tokens = new TokenSource(() => Promise.resolve(given.shift() ?? 'none'));
  const http = new Http({ url, tokens });
  assert.deepEqual(await Promise.all([1, 2, 3].map(() => http.call('GET', '/x'))), [{ ok: true }, { ok: true }, { ok: true }]);
  assert.deepEqual(given, ['third']);
});

test('errors are typed: the server’s body, another body, no answer, no server', async () => {
  const { url, server } = await serve((request, response) => {
    if (request.url === '/limited') {
      response.writeHead(429, { 'retry-after': '7', 'x-request-id': 'r1' });
      response.end(JSON.stringify({ error: 'rate_limited', message: 'slow down', details: { limit: 100 } }));
    } else if (request.url === '/proxy') {
      response.writeHead(502);
      response.end('<html>bad gateway</html>');
    }
  });
  const http = new Http({ url, timeoutMs: 200 });
  const caught = (path: string) =>
    http.call('GET', path).then(
      () => assert.fail('it should fail'),
      (error: FamaError) => error,
    );
  const limited = await caught('/limited');
  assert.deepEqual(
    [limited.code, limited.status, limited.retryAfterMs, limited.requestId, limited.retryable],
    ['rate_limited', 429, 7_000, 'r1', true],
  );
  assert.deepEqual(limited.details, { limit: 100 });
  assert.equal((await caught('/proxy')).code, 'unavailable');
  assert.equal((await caught('/silence')).code, 'client_timeout');
  server.closeAllConnections();
  server.close();
  assert.equal((await caught('/gone')).code, 'network');
});

/** The server's side of a connection, by hand: one message each way, as in the protocol's description. */
async function realtime(onConnect: (subs: Record<string, unknown> | undefined, attempt: number) => Record<string, unknown>) {
  let pages = 0;
  const { server, url } = await serve((request, response) => {
    if (request.url?.startsWith('/v1/feed')) pages += 1;
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ data: [], next_cursor: null, has_more: false, unseen: 0, unread: 0 }));
  });
  const sockets: WebSocket[] = [];
  const tokens: string[] = [];
  new WebSocketServer({ server, path: '/connection/websocket' }).on('connection', (socket) => {
    socket.on('message', (raw) => {
      const { id, connect } = JSON.parse(String(raw)) as { id: number; connect?: { token: string; subs?: Record<string, unknown> } };
      if (!connect) return;
      tokens.push(connect.token);
      sockets.push(socket);
      const reply = onConnect(connect.subs, sockets.length);
      socket.send(JSON.stringify({ id, ...reply }));
    });
  });
  const client = new FamaClient({
    user: 'me',
    url,
    getToken: () => Promise.resolve(`t${tokens.length + 1}`),
    transport: { websocket: WebSocket, minReconnectDelayMs: 10, maxReconnectDelayMs: 20 },
  });
  const until = (found: (state: ConnectionState) => boolean) =>
    new Promise<ConnectionState>((resolve) => {
      const stop = client.connection.subscribe((state) => found(state) && (setImmediate(() => stop()), resolve(state)));
    });
  return { client, sockets, tokens, until, pages: () => pages };
}

const positioned = { recoverable: true, positioned: true, epoch: 'E' };
const created = (id: string) => ({ type: 'post.created', post: post(id) });
const feedReady = (client: FamaClient) =>
  new Promise<void>((resolve) => {
    client.feed.subscribe(({ status }) => status === 'ready' && resolve());
  });

test('what was missed is recovered, counted, and in the feed once', async () => {
  const { client, sockets, until, pages } = await realtime((subs, attempt) => ({
    connect: {
      client: `c${attempt}`,
      version: 'test',
      subs:
        attempt === 1
          ? { 'user:#me': { ...positioned, offset: 5 }, 'author:star': { ...positioned, offset: 2 } }
          : {
              'user:#me': {
                ...positioned,
                offset: (subs?.['user:#me'] as { offset: number }).offset,
                was_recovering: true,
                recovered: true,
                publications: [
                  { offset: 7, data: created('71') },
                  { offset: 8, data: { type: 'void' } },
                ],
              },
              'author:star': {
                ...positioned,
                offset: 2,
                was_recovering: true,
                recovered: true,
                publications: [{ offset: 3, data: created('72') }],
              },
            },
    },
  }));
  client.connect();
  await until((state) => state.status === 'connected');
  await feedReady(client);
  sockets[0]?.send(JSON.stringify({ push: { channel: 'user:#me', pub: { offset: 6, data: created('70') } } }));
  sockets[0]?.send(JSON.stringify({ push: { channel: 'user:#me', pub: { offset: 6, data: { type: 'of a newer server', post: 3 } } } }));
  await new Promise<void>((resolve) => client.feed.subscribe(({ items }) => items.length === 1 && resolve()));
  sockets[0]?.terminate();
  const { recovery } = await until((state) => state.recovery !== null);
  assert.deepEqual([recovery?.events, recovery?.posts, recovery?.complete], [2, 2, true], 'a void entry is not an event');
  assert.deepEqual(
    recovery?.channels.map(({ channel, from, to, complete }) => [channel, from, to, complete]),
    [
      ['user:#me', 6, 8, true],
      ['author:star', 2, 3, true],
    ],
    'the offsets say that nothing is left out',
  );
  assert.deepEqual(
    client.feed.value.items.map(({ post: { id }, arrival }) => [
      id,
      arrival.kind === 'live' && arrival.route,
      arrival.kind === 'live' && arrival.recovered,
    ]),
    [
      ['72', 'pulled', true],
      ['71', 'pushed', true],
      ['70', 'pushed', false],
    ],
  );
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(pages(), 1, 'nothing was lost, so nothing is loaded again');
  client.close();
});

test('what can’t be recovered is loaded again', async () => {
  const { client, sockets, until, pages } = await realtime((_subs, attempt) => ({
    connect: {
      client: `c${attempt}`,
      version: 'test',
      subs: { 'user:#me': { ...positioned, offset: 5, ...(attempt > 1 && { was_recovering: true, recovered: false }) } },
    },
  }));
  client.connect();
  await until((state) => state.status === 'connected');
  await feedReady(client);
  assert.equal(pages(), 1);
  sockets[0]?.terminate();
  const { recovery } = await until((state) => state.recovery !== null);
  assert.equal(recovery?.complete, false);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(pages(), 2);
  client.close();
});

test('an expired token is replaced before the connection is tried again', async () => {
  const { client, tokens, until } = await realtime((_subs, attempt) =>
    attempt === 1 ? { error: { code: 109, message: 'token expired' } } : { connect: { client: 'c', version: 'test', subs: {} } },
  );
  client.connect();
  await until((state) => state.status === 'connected');
  assert.deepEqual(tokens, ['t1', 't2']);
  client.close();
});

test('a refusal by the app ends the connection, with its reason', async () => {
  const client = new FamaClient({
    user: 'me',
    url: 'http://127.0.0.1:9',
    getToken: () => Promise.reject(new FamaError({ code: 'not_found', message: 'no such member', status: 404 })),
    transport: { websocket: WebSocket },
  });
  client.connect();
  const state = await new Promise<ConnectionState>((resolve) =>
    client.connection.subscribe((s) => s.status === 'disconnected' && s.code === 1 && resolve(s)),
  );
  assert.match(state.reason, /unauthorized/);
  client.close();
});
