import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FamaError } from '../src/client/errors.ts';
import { InboxStore } from '../src/client/inbox-store.ts';
import type { FamaEvent } from '../src/client/types.ts';
import { ModelInbox } from './support/inbox.ts';
import { ManualScheduler, rng, settle } from './support/model.ts';

const SEEDS = 400;
const STEPS = 80;

/**
 * Two devices and a server: acts, marks on either device, events late and lost (and then told so), answers in any
 * order. At rest both show the server's list, its marks and its counts.
 */
test('devices converge to the server’s inbox under any interleaving', async () => {
  for (let seed = 1; seed <= SEEDS; seed += 1) await run(seed);
});

function device(server: ModelInbox, scheduler: ManualScheduler, pending: (() => void)[]) {
  /** The server acts now; its answer comes when it is let go. */
  const answer = <T>(value: T) => new Promise<T>((resolve) => pending.push(() => resolve(value)));
  const api = {
    notifications: (query: { limit?: number; cursor?: string | undefined }) => answer(server.page(query)),
    notificationCounts: () => answer(server.counts()),
    markSeen: (id: string) => answer(server.seen(id)),
    markRead: (which: { up_to: string } | { ids: string[] }) =>
      answer('ids' in which ? server.readEach(which.ids, true) : server.readUpTo(which.up_to)),
    markUnread: (ids: string[]) => answer(server.readEach(ids, false)),
    archiveNotification: (id: string) => answer(server.archive(id)),
  };
  return { inbox: new InboxStore(api, { pageSize: 4, scheduler }), queue: [] as FamaEvent[] };
}

async function run(seed: number): Promise<void> {
  const random = rng(seed);
  const below = (n: number) => Math.floor(random() * n);
  const server = new ModelInbox();
  const scheduler = new ManualScheduler(random);
  const pending: (() => void)[] = [];
  const devices = [device(server, scheduler, pending), device(server, scheduler, pending)];
  for (const { inbox } of devices) {
    inbox.invalidate(0);
    inbox.subscribe(({ items }) => assert.equal(new Set(items.map(({ id }) => id)).size, items.length, `seed ${seed}: twice`));
  }
  const spread = () => {
    for (const event of server.events.splice(0)) for (const { queue } of devices) queue.push(event);
  };
  for (let step = 0; step < STEPS; step += 1) {
    const { inbox, queue } = devices[below(2)] ?? devices[0]!;
    const item = inbox.value.items[below(inbox.value.items.length)];
    const choice = below(24);
    if (choice < 7) server.act(below(5), `user-${below(6)}`);
    else if (choice < 8) void inbox.markSeen();
    else if (choice < 9) void inbox.markAllRead();
    else if (choice < 11 && item) void inbox.setRead(item.id, !item.read);
    else if (choice < 12 && item) void inbox.archive(item.id);
    else if (choice < 13) void inbox.loadMore();
    else if (choice < 14) {
      queue.length = 0;
      inbox.invalidate(0);
    } else if (choice < 18) pending.splice(below(pending.length), 1).forEach((go) => go());
    else for (const event of queue.splice(0, 1 + below(2))) inbox.apply(event);
    spread();
    if (below(3) === 0) scheduler.advance(below(400));
    if (below(2) === 0) for (let turn = 0; turn < 8; turn += 1) await Promise.resolve();
  }
  for (let round = 0; round < 30; round += 1) {
    spread();
    for (const { inbox, queue } of devices) for (const event of queue.splice(0)) inbox.apply(event);
    pending.splice(0).forEach((go) => go());
    for (let turn = 0; turn < 12; turn += 1) await Promise.resolve();
    scheduler.advance(500);
    for (const { inbox } of devices) if (inbox.value.more === 'idle') void inbox.loadMore();
  }
  for (const [index, { inbox }] of devices.entries()) {
    const { items, unseen, unread } = inbox.value;
    const brief = (list: readonly { id: string; actors: string[]; seen: boolean; read: boolean }[]) =>
      list.map(({ id, actors, seen, read }) => [id, actors.join(), seen, read]);
    assert.deepEqual(brief(items), brief(server.list()), `seed ${seed}, device ${index}`);
    assert.deepEqual({ unseen, unread, capped: false }, server.counts(), `seed ${seed}, device ${index}`);
    inbox.close();
  }
}

test('a mark shows at once, and what is refused is taken back and thrown', async () => {
  const server = new ModelInbox();
  server.act(0, 'ada');
  const scheduler = new ManualScheduler();
  const refusal = new FamaError({ code: 'unavailable', message: 'not now', status: 503 });
  const refuse = () => Promise.reject(refusal);
  const inbox = new InboxStore(
    {
      notifications: (query = {}) => Promise.resolve(server.page(query)),
      notificationCounts: () => Promise.resolve(server.counts()),
      markSeen: refuse,
      markRead: refuse,
      markUnread: refuse,
      archiveNotification: refuse,
    },
    { scheduler },
  );
  await inbox.load();
  const id = inbox.value.items[0]?.id ?? '';
  for (const change of [() => inbox.markSeen(), () => inbox.setRead(id, true), () => inbox.markAllRead(), () => inbox.archive(id)]) {
    const changing = change();
    assert.notDeepEqual(inbox.value.items, server.list());
    await assert.rejects(changing, refusal);
    scheduler.advance(1);
    await settle();
    assert.deepEqual([inbox.value.items, inbox.value.unseen, inbox.value.unread], [server.list(), 1, 1]);
  }
  inbox.close();
});
