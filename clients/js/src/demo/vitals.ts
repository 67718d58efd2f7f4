import { signal } from '@preact/signals';
import { Http, type Received, type Route } from '../client/index.ts';
import { median } from './stats.ts';

/** What the server measures of itself: counts since its start, and how things stand. */
export interface Vitals {
  at_ms: number;
  connections: number;
  users_online: number;
  posts_pushed: number;
  posts_pulled: number;
  fanned_out: number;
  fan_out_ms: number;
  jobs_waiting: number;
  deliveries: number;
  /** Cumulative: so many took at most so long; `null` is the last, without a limit. */
  delivery: { le_ms: number | null; count: number }[];
  feed_pages: number;
}

/** One point of the charts. `null` where there was nothing to measure. */
export interface Sample {
  /** Unix milliseconds. */
  at: number;
  pushedPerSecond: number;
  pulledPerSecond: number;
  deliveriesPerSecond: number;
  /** From publishing to the last follower served, mean of the posts of this time. */
  fanOutMs: number | null;
  connections: number;
  usersOnline: number;
  jobsWaiting: number;
  /** From a post's publishing to its arrival in this page, median of this time, by how it came. */
  pushedMs: number | null;
  pulledMs: number | null;
}

export type Latencies = Readonly<Record<Route, readonly number[]>>;
export const noLatencies: Latencies = { pushed: [], pulled: [] };

export function withLatency(all: Latencies, route: Route, ms: number): Latencies {
  return { ...all, [route]: [...all[route], ms] };
}

/** What happened between two looks. `null` when the server began anew in between, or both are the same look. */
export function sampleOf(before: Vitals, after: Vitals, seen: Latencies, at: number): Sample | null {
  const seconds = (after.at_ms - before.at_ms) / 1_000;
  if (!(seconds > 0) || after.posts_pushed < before.posts_pushed || after.deliveries < before.deliveries) return null;
  const rate = (key: 'posts_pushed' | 'posts_pulled' | 'deliveries') => Math.max(0, after[key] - before[key]) / seconds;
  const served = after.fanned_out - before.fanned_out;
  return {
    at,
    pushedPerSecond: rate('posts_pushed'),
    pulledPerSecond: rate('posts_pulled'),
    deliveriesPerSecond: rate('deliveries'),
    fanOutMs: served > 0 ? (after.fan_out_ms - before.fan_out_ms) / served : null,
    connections: after.connections,
    usersOnline: after.users_online,
    jobsWaiting: after.jobs_waiting,
    pushedMs: median(seen.pushed),
    pulledMs: median(seen.pulled),
  };
}

/** The bucket in which this part of all deliveries is, by its upper end; `null` when there were none, or it has none. */
export function percentile(buckets: Vitals['delivery'], part: number): number | null {
  const all = Math.max(0, ...buckets.map(({ count }) => count));
  if (all === 0) return null;
  return buckets.find(({ count }) => count >= all * part)?.le_ms ?? null;
}

const EVERY_MS = 2_000;
/** Three minutes of samples. */
const KEPT = 90;
const http = new Http({ url: '' });

/** Looks at the server every two seconds while the page is in front, and keeps the last minutes for the charts. */
export class VitalSigns {
  readonly samples = signal<readonly Sample[]>([]);
  readonly latest = signal<Vitals | null>(null);
  /** The last look failed. */
  readonly failed = signal(false);
  #latencies: Latencies = noLatencies;
  #timer: ReturnType<typeof setInterval>;
  #looking = false;

  constructor() {
    this.#timer = setInterval(() => void this.#look(), EVERY_MS);
    void this.#look();
  }

  /** A post has come live. */
  arrived(received: Received, ms: number): void {
    this.#latencies = withLatency(this.#latencies, received.route, ms);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    if (this.#looking || document.visibilityState !== 'visible') return;
    this.#looking = true;
    try {
      const now = await http.call<Vitals>('GET', '/demo/vitals');
      const before = this.latest.value;
      const sample = before && sampleOf(before, now, this.#latencies, Date.now());
      this.#latencies = noLatencies;
      if (sample) this.samples.value = [...this.samples.value, sample].slice(-KEPT);
      this.latest.value = now;
      this.failed.value = false;
    } catch {
      this.failed.value = true;
    } finally {
      this.#looking = false;
    }
  }
}
