import type { Scheduler } from '../../src/client/timer.ts';
import type { FamaEvent, Page, PageQuery, Post, Received } from '../../src/client/types.ts';

/** mulberry32: small, seeded, good enough to choose. */
export function rng(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A clock that moves only when told, with its timers. */
export class ManualScheduler implements Scheduler {
  time = 1_000_000;
  #tasks: { at: number; task: () => void }[] = [];
  readonly random: () => number;

  constructor(random: () => number = () => 0.5) {
    this.random = random;
  }

  now(): number {
    return this.time;
  }

  after(ms: number, task: () => void): () => void {
    const entry = { at: this.time + ms, task };
    this.#tasks.push(entry);
    return () => {
      this.#tasks = this.#tasks.filter((other) => other !== entry);
    };
  }

  /** Moves the clock and runs what is due, in order. */
  advance(ms: number): void {
    const until = this.time + ms;
    for (;;) {
      const next = this.#tasks.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#tasks = this.#tasks.filter((other) => other !== next);
      this.time = Math.max(this.time, next.at);
      next.task();
    }
    this.time = until;
  }
}

/** Lets every promise that can go on go on. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

export function post(id: string | bigint, fields: Partial<Post> = {}): Post {
  return {
    id: String(id),
    author: 'ada',
    kind: 'post',
    text: `post ${id}`,
    data: null,
    reply_to: null,
    repost_of: null,
    mentions: [],
    visibility: 'public',
    attachments: [],
    created_at: new Date(1_000_000).toISOString(),
    updated_at: new Date(1_000_000).toISOString(),
    rev: 1,
    delivery: 'push',
    reactions: {},
    ...fields,
  };
}

export function live(at = 1_000_012, fields: Partial<Received> = {}): Received {
  return { route: 'pushed', channel: 'user:#me', at, recovered: false, ...fields };
}

/** A server's feed of one user: the posts in order, pages by cursor, and the events of every change. */
export class ModelFeed {
  posts: Post[] = [];
  events: FamaEvent[] = [];
  calls = 0;
  #last = 9_007_199_254_740_990n;

  publish(author: string): Post {
    // Across the powers of ten and beyond 2^53, where text order and number order differ.
    this.#last += this.calls % 3 === 0 ? 7n : 1n;
    const made = post(this.#last, { author });
    this.posts.unshift(made);
    this.events.push({ type: 'post.created', post: made });
    return made;
  }

  edit(at: number): void {
    const old = this.posts[at];
    if (!old) return;
    const edited = { ...old, rev: old.rev + 1, text: `${old.text}!` };
    this.posts[at] = edited;
    this.events.push({ type: 'post.updated', post: edited });
  }

  remove(at: number): void {
    const [old] = this.posts.splice(at, 1);
    if (old) this.events.push({ type: 'post.deleted', id: old.id, author: old.author });
  }

  page({ limit = 20, cursor }: PageQuery): Page<Post> {
    this.calls += 1;
    const below = cursor === undefined ? this.posts : this.posts.filter((p) => BigInt(p.id) < BigInt(cursor));
    const data = below.slice(0, limit);
    const more = below.length > limit;
    return { data, next_cursor: more ? (data[data.length - 1]?.id ?? null) : null, has_more: more };
  }
}
