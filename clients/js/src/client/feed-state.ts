import type { FamaError } from './errors.ts';
import { compareIds } from './ids.ts';
import type { NewPost, Post, PostId, Route } from './types.ts';

/** How a post came to this client first. */
export type Arrival =
  /** On a socket. `latencyMs` is from the post's `created_at` by the server's clock to its arrival by this one's. */
  | { kind: 'live'; route: Route; at: number; latencyMs: number; recovered: boolean }
  /** In a page of the feed. */
  | { kind: 'page' }
  /** In the answer to this client's own `publish`. */
  | { kind: 'own' };

export interface FeedItem {
  readonly post: Post;
  readonly arrival: Arrival;
  /** Order of arrival at this client. */
  readonly seq: number;
}

/** A post of the user's own that the server has not acknowledged. */
export interface PendingPost {
  /** The idempotency key: every attempt carries it, so the post is published once. */
  readonly key: string;
  readonly draft: NewPost;
  readonly createdAt: number;
  readonly status: 'sending' | 'failed';
  readonly error: FamaError | null;
}

export interface FeedState {
  /** Of the first page. `ready` stays while it is loaded again. */
  readonly status: 'loading' | 'ready' | 'error';
  /** Newest first, each id once. */
  readonly items: readonly FeedItem[];
  /** Newest first. */
  readonly pending: readonly PendingPost[];
  /** Live posts held back by `hold`. */
  readonly waiting: number;
  /** More came than `waiting` says, or the feed has changed otherwise: `reveal` will load it anew. */
  readonly stale: boolean;
  /**
   * Of the pages below: `stalled` = the server could not read its part in time, `limit` = no more is kept in memory
   * (`maxItems`).
   */
  readonly more: 'idle' | 'loading' | 'error' | 'stalled' | 'end' | 'limit';
  readonly error: FamaError | null;
}

export const EMPTY: FeedState = {
  status: 'loading',
  items: [],
  pending: [],
  waiting: 0,
  stale: false,
  more: 'end',
  error: null,
};

/** Newest first; ids order posts, arrival doesn't. */
export function newestFirst(items: Iterable<FeedItem>): FeedItem[] {
  return [...items].sort((a, b) => compareIds(b.post.id, a.post.id));
}

/** What the server said about a post, together with what was known. */
export function mergePost(known: Post, incoming: Post, source: 'page' | 'created' | 'updated'): Post {
  if (incoming.rev < known.rev) return known;
  // A repeated `post.created` says nothing new, but may be older than a reaction made here.
  if (source === 'created' && incoming.rev === known.rev) return known;
  const viewer = incoming.viewer ?? known.viewer;
  return viewer === undefined ? incoming : { ...incoming, viewer };
}

/** The post with the reader's reaction put on or taken off; the same object where that changes nothing. */
export function withReaction(post: Post, kind: string, on: boolean): Post {
  const mine = post.viewer?.reactions ?? [];
  if (mine.includes(kind) === on) return post;
  const count = Math.max(0, (post.reactions[kind] ?? 0) + (on ? 1 : -1));
  return {
    ...post,
    reactions: { ...post.reactions, [kind]: count },
    viewer: { reactions: on ? [...mine, kind] : mine.filter((other) => other !== kind) },
  };
}

/** The ids of `items`, for tests and logs. */
export function idsOf(items: readonly FeedItem[]): PostId[] {
  return items.map((item) => item.post.id);
}
