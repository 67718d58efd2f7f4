import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FamaError } from '../src/client/errors.ts';
import { FeedStore } from '../src/client/feed-store.ts';
import { idsOf } from '../src/client/feed-state.ts';
import type { NewPost, Page, PageQuery, Post } from '../src/client/types.ts';
import { live, ManualScheduler, ModelFeed, post, settle } from './support/model.ts';

interface Answers {
  feed?: (query: PageQuery) => Promise<Page<Post>>;
  createPost?: (draft: NewPost, key?: string) => Promise<Post>;
  deletePost?: (id: string) => Promise<void>;
  react?: (id: string, kind: string) => Promise<void>;
  unreact?: (id: string, kind: string) => Promise<void>;
}

function setUp(answers: Answers = {}, options: { maxItems?: number; maxWaiting?: number; attentive?: () => boolean } = {}) {
  const server = new ModelFeed();
  const scheduler = new ManualScheduler();
  const refuse = () => Promise.reject(new FamaError({ code: 'internal', message: 'not called here' }));
  const api = {
    feed: (query: PageQuery) => Promise.resolve(server.page(query)),
    createPost: refuse,
    deletePost: () => Promise.resolve(),
    react: () => Promise.resolve(),
    unreact: () => Promise.resolve(),
    ...answers,
  };
  const feed = new FeedStore(api, { self: 'me', pageSize: 3, scheduler, ...options });
  return { server, scheduler, feed };
}

const unavailable = (retryAfterMs: number | null = null) =>
  new FamaError({ code: 'unavailable', message: 'busy', status: 503, retryAfterMs });

test('live posts are merged with pages by id, and keep how they came first', async () => {
  const { server, feed } = setUp();
  const first = server.publish('ada');
  await feed.load();
  assert.deepEqual(feed.value.items[0]?.arrival, { kind: 'page' });

  const second = server.publish('bob');
  feed.apply({ type: 'post.created', post: second }, live(Date.parse(second.created_at) + 12, { route: 'pulled' }));
  feed.apply({ type: 'post.created', post: second }, live(Date.parse(second.created_at) + 40));
  await feed.load();
  assert.deepEqual(idsOf(feed.value.items), [second.id, first.id]);
  const { kind, ...arrival } = { route: '', latencyMs: 0, ...feed.value.items[0]?.arrival };
  assert.equal(kind, 'live');
  assert.equal(arrival.route, 'pulled');
  assert.equal(arrival.latencyMs, 12);
});

test('posts wait while held, and one’s own do not', async () => {
  const { server, feed } = setUp({
    createPost: (draft) => Promise.resolve(post('9007199254740999000', { author: 'me', text: draft.text ?? null })),
  });
  server.publish('ada');
  await feed.load();
  feed.hold(true);
  const waiting = server.publish('bob');
  feed.apply({ type: 'post.created', post: waiting }, live());
  assert.equal(feed.value.waiting, 1);
  assert.equal(feed.value.items.length, 1);

  assert.equal(await feed.publish({ text: 'mine' }), true);
  assert.equal(feed.value.items[0]?.post.text, 'mine');

  feed.apply({ type: 'post.deleted', id: waiting.id, author: 'bob' }, live());
  assert.equal(feed.value.waiting, 0);
  feed.hold(false);
  assert.equal(feed.value.items.length, 2);
});

test('beyond the bound of waiting posts the feed is loaded anew when revealed', async () => {
  const { server, feed } = setUp({}, { maxWaiting: 2 });
  await feed.load();
  feed.hold(true);
  for (let i = 0; i < 4; i += 1) feed.apply({ type: 'post.created', post: server.publish('ada') }, live());
  assert.equal(feed.value.waiting, 2);
  assert.equal(feed.value.stale, true);
  const before = server.calls;
  feed.hold(false);
  await settle();
  assert.equal(server.calls, before + 1);
  assert.deepEqual(idsOf(feed.value.items), server.posts.map((p) => p.id).slice(0, feed.value.items.length));
  assert.equal(feed.value.stale, false);
});

test('live posts beyond the bound of items start the feed again from its first page', async () => {
  const { server, scheduler, feed } = setUp({}, { maxItems: 5 });
  await feed.load();
  for (let i = 0; i < 6; i += 1) feed.apply({ type: 'post.created', post: server.publish('ada') }, live());
  scheduler.advance(1);
  await settle();
  assert.equal(feed.value.items.length, 3);
  assert.equal(feed.value.more, 'idle');
});

test('feed.reset reloads after up to 30 s, and after up to 1 s when the user is looking', async () => {
  for (const [attentive, wait] of [
    [false, 15_000],
    [true, 500],
  ] as const) {
    const { server, scheduler, feed } = setUp({}, { attentive: () => attentive });
    await feed.load();
    server.publish('ada');
    feed.apply({ type: 'feed.reset', reason: 'cache lost' }, live());
    scheduler.advance(wait - 1);
    await settle();
    assert.equal(server.calls, 1, 'not before its time');
    scheduler.advance(1);
    await settle();
    assert.equal(server.calls, 2);
    assert.equal(feed.value.items.length, 1);
  }
});

test('an unfollowed author leaves the feed at once, also in a page on its way, and comes back when followed', async () => {
  const { server, scheduler, feed } = setUp();
  server.publish('ada');
  server.publish('bob');
  await feed.load();
  const loading = feed.load();
  feed.apply({ type: 'relation.changed', kind: 'follow', user: 'ada', active: false }, live());
  await loading;
  assert.deepEqual(
    feed.value.items.map((item) => item.post.author),
    ['bob'],
  );
  feed.apply({ type: 'post.created', post: server.publish('ada') }, live());
  assert.equal(feed.value.items.length, 1, 'an event that was on its way');

  feed.apply({ type: 'relation.changed', kind: 'follow', user: 'ada', active: true }, live());
  scheduler.advance(0);
  await settle();
  assert.equal(feed.value.items.length, 3);
});

test('a failed load is tried again with growing waits, not before Retry-After, and not at all when refused', async () => {
  let error = unavailable(5_000);
  let calls = 0;
  const { scheduler, feed } = setUp({
    feed: () => {
      calls += 1;
      return Promise.reject(error);
    },
  });
  await feed.load();
  assert.equal(feed.value.status, 'error');
  scheduler.advance(4_999);
  await settle();
  assert.equal(calls, 1);
  scheduler.advance(1);
  await settle();
  assert.equal(calls, 2);
  error = new FamaError({ code: 'forbidden', message: 'no', status: 403 });
  scheduler.advance(60_000);
  await settle();
  assert.equal(calls, 3);
  scheduler.advance(600_000);
  await settle();
  assert.equal(calls, 3);
});

test('a page that could not be read in time stalls instead of looping, and goes on when asked', async () => {
  const pages: Page<Post>[] = [
    { data: [post('30'), post('29')], next_cursor: 'a', has_more: true },
    { data: [], next_cursor: 'a', has_more: true, partial: true },
    { data: [post('28')], next_cursor: null, has_more: false },
  ];
  const asked: (string | undefined)[] = [];
  const { feed } = setUp({
    feed: ({ cursor }) => {
      asked.push(cursor);
      return Promise.resolve(pages.shift() as Page<Post>);
    },
  });
  await feed.load();
  await feed.loadMore();
  assert.equal(feed.value.more, 'stalled');
  await feed.loadMore();
  assert.equal(feed.value.more, 'end');
  assert.deepEqual(idsOf(feed.value.items), ['30', '29', '28']);
  assert.deepEqual(asked, [undefined, 'a', 'a']);
});

test('an own post is shown once: pending, then live, then acknowledged', async () => {
  let answer: (post: Post) => void = () => undefined;
  const { feed } = setUp({ createPost: () => new Promise((resolve) => (answer = resolve)) });
  await feed.load();
  const published = feed.publish({ text: 'hello' });
  assert.equal(feed.value.pending.length, 1);
  const real = post('77', { author: 'me', text: 'hello' });
  feed.apply({ type: 'post.created', post: real }, live());
  assert.equal(feed.value.pending.length, 0, 'its event stands for it');
  assert.deepEqual(idsOf(feed.value.items), ['77']);
  answer({ ...real, viewer: { reactions: [] } });
  assert.equal(await published, true);
  assert.deepEqual(idsOf(feed.value.items), ['77']);
  assert.equal(feed.value.items[0]?.arrival.kind, 'live');
});

test('a post that failed is sent again under the same key', async () => {
  const keys: (string | undefined)[] = [];
  const { feed } = setUp({
    createPost: (draft, key) => {
      keys.push(key);
      return keys.length === 1 ? Promise.reject(unavailable()) : Promise.resolve(post('5', { author: 'me', text: draft.text ?? null }));
    },
  });
  await feed.load();
  assert.equal(await feed.publish({ text: 'again' }), false);
  const [failed] = feed.value.pending;
  assert.equal(failed?.status, 'failed');
  assert.equal(failed?.error?.code, 'unavailable');
  assert.equal(await feed.retry(failed?.key ?? ''), true);
  assert.match(keys[0] ?? '', /^[0-9a-f]{32}$/);
  assert.equal(keys[0], keys[1]);
  assert.deepEqual(feed.value.pending, []);
  assert.deepEqual(idsOf(feed.value.items), ['5']);
});

test('reactions end where the user left them, and are taken back when refused', async () => {
  const sent: string[] = [];
  const release: (() => void)[] = [];
  let refuse = false;
  const call = (name: string) => () => {
    sent.push(name);
    if (refuse) return Promise.reject(unavailable());
    return new Promise<void>((resolve) => release.push(resolve));
  };
  const { server, feed } = setUp({ react: call('put'), unreact: call('delete') });
  const liked = server.publish('ada');
  await feed.load();
  const likes = () => feed.value.items[0]?.post.reactions['like'];

  const done = feed.react(liked.id, 'like', true);
  void feed.react(liked.id, 'like', false);
  void feed.react(liked.id, 'like', true);
  void feed.react(liked.id, 'like', false);
  assert.equal(likes(), 0);
  for (let i = 0; i < 3; i += 1) {
    release.shift()?.();
    await settle();
  }
  await done;
  assert.deepEqual(sent, ['put', 'delete'], 'one call at a time, and only the last wish after it');

  refuse = true;
  await assert.rejects(feed.react(liked.id, 'like', true), { code: 'unavailable' });
  assert.equal(likes(), 0);
  assert.deepEqual(feed.value.items[0]?.post.viewer?.reactions, []);
});

test('an edit keeps what the reader did, and an older state never wins', async () => {
  const { server, feed } = setUp();
  const seen = server.publish('ada');
  await feed.load();
  await feed.react(seen.id, 'like', true);
  server.edit(0);
  const edited = server.posts[0] as Post;
  feed.apply({ type: 'post.updated', post: edited }, live());
  feed.apply({ type: 'post.updated', post: seen }, live());
  assert.equal(feed.value.items[0]?.post.text, edited.text);
  assert.deepEqual(feed.value.items[0]?.post.viewer?.reactions, ['like']);
});
