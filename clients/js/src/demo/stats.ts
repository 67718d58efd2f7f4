import type { Route } from '../client/index.ts';

export interface RouteStats {
  readonly count: number;
  /** Of the latest posts; `null` before the first. */
  readonly medianMs: number | null;
  /** Latencies of the latest posts, oldest first. */
  readonly latest: readonly number[];
}

export type LiveStats = Readonly<Record<Route, RouteStats>>;

const WINDOW = 60;
const none: RouteStats = { count: 0, medianMs: null, latest: [] };
export const noStats: LiveStats = { pushed: none, pulled: none };

/** Counts a live post. Recovered ones count, but how long they took says nothing about delivery. */
export function withPost(stats: LiveStats, route: Route, latencyMs: number | null): LiveStats {
  const before = stats[route];
  const latest = latencyMs === null ? before.latest : [...before.latest, latencyMs].slice(-WINDOW);
  return { ...stats, [route]: { count: before.count + 1, latest, medianMs: median(latest) } };
}

export function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}
