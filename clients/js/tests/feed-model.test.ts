import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FeedStore } from '../src/client/feed-store.ts';
import { idsOf } from '../src/client/feed-state.ts';
import type { FamaEvent } from '../src/client/types.ts';
import { live, ManualScheduler, ModelFeed, rng } from './support/model.ts';

const SEEDS = 500;
const STEPS = 60;

/**
 * Whatever the order in which pages and events come (late, twice, lost and then told so), the feed ends as the server's,
 * each post once, and no state on the way has a post twice or out of order.
 */
test('the feed converges to the server’s under any interleaving', async () => {
  for (let seed = 1; seed <= SEEDS; seed += 1) await run(seed);
});

async function run(seed: number): Promise<void> {
  const random = rng(seed);
  const below = (n: number) => Math.floor(random() * n);
  const server = new ModelFeed();
  const answers: (() => void)[] = [];
  const scheduler = new ManualScheduler(random);
  const never = () => Promise.reject(new Error('not called here'));
  const api = {
    feed: (query: { limit?: number; cursor?: string | undefined }) => {
      const page = server.page(query);
      return new Promise<typeof page>((resolve) => answers.push(() => resolve(page)));
    },
    createPost: never,
    deletePost: never,
    react: never,
    unreact: never,
  };
  const feed = new FeedStore(api, { self: 'me', pageSize: 4, maxWaiting: 5, maxItems: 40, scheduler });
  feed.subscribe((state) => {
    const ids = idsOf(state.items).map(BigInt);
    for (let i = 1; i < ids.length; i += 1) assert.ok((ids[i - 1] ?? 0n) > (ids[i] ?? 0n), `seed ${seed}: out of order or twice`);
  });
  const delivered: FamaEvent[] = [];
  const deliver = (event: FamaEvent | undefined) => {
    if (!event) return;
    delivered.push(event);
    feed.apply(event, live());
  };

  for (let i = 0; i < 10; i += 1) server.publish(`author-${below(3)}`);
  server.events = [];
  feed.invalidate(0);
  for (let step = 0; step < STEPS; step += 1) {
    const choice = below(21);
    if (choice < 5) server.publish(`author-${below(3)}`);
    else if (choice < 6) server.remove(below(server.posts.length));
    else if (choice < 7) server.edit(below(server.posts.length));
    else if (choice < 12) deliver(server.events.shift());
    else if (choice < 13) deliver(server.events[below(server.events.length)]);
    else if (choice < 14) deliver(delivered[below(delivered.length)]);
    else if (choice < 15) {
      // Everything on its way is lost, and the connection says so.
      server.events = [];
      delivered.length = 0;
      feed.invalidate(0);
    } else if (choice < 17) answers.splice(below(answers.length), 1).forEach((answer) => answer());
    else if (choice < 19) void feed.loadMore();
    else feed.hold(choice === 19);
    if (below(3) === 0) scheduler.advance(below(50));
    if (below(2) === 0) await settle1();
  }

  for (const event of server.events.splice(0)) deliver(event);
  feed.hold(false);
  for (let round = 0; round < 200; round += 1) {
    scheduler.advance(1_000);
    answers.splice(0).forEach((answer) => answer());
    await settle1();
    const { status, more } = feed.value;
    if (answers.length > 0 || status !== 'ready') continue;
    if (more === 'end') break;
    void feed.loadMore();
  }
  scheduler.advance(1_000);
  assert.equal(answers.length, 0, `seed ${seed}: still loading`);
  assert.deepEqual(
    feed.value.items.map(({ post }) => [post.id, post.rev, post.text]),
    server.posts.map((p) => [p.id, p.rev, p.text]),
    `seed ${seed}`,
  );
  feed.close();
}

/** A few turns: enough for what is ready, cheap enough for many. */
async function settle1(): Promise<void> {
  for (let i = 0; i < 12; i += 1) await Promise.resolve();
}
