/**
 * The JSON of the HTTP API and of the live events, as the server sends it: `snake_case`, ids as strings (post ids
 * are 63-bit numbers, which JavaScript would round), times as RFC 3339 UTC with milliseconds.
 */

/** Ids of users are the app's own: 1–64 characters of `A-Z a-z 0-9 _ - . : @`. */
export type UserId = string;
/** A 63-bit number in decimal. Compare with `compareIds`, never as a JavaScript number. */
export type PostId = string;
export type Delivery = 'push' | 'pull';
export type Visibility = 'public' | 'followers';

export interface Attachment {
  url: string;
  type: string;
  [key: string]: unknown;
}

export interface Post {
  id: PostId;
  author: UserId;
  kind: string;
  text: string | null;
  data: unknown;
  reply_to: PostId | null;
  repost_of: PostId | null;
  mentions: UserId[];
  visibility: Visibility;
  attachments: Attachment[];
  created_at: string;
  updated_at: string;
  /** Grows with every edit. */
  rev: number;
  /** How the post was fanned out; fixed when it was published. */
  delivery?: Delivery;
  /** Count by kind, such as `{"like": 3}`. */
  reactions: Record<string, number>;
  /** What the reader did with it. Absent in live events, which are shared by all their receivers. */
  viewer?: { reactions: string[] };
}

/** What `POST /v1/posts` takes: at least one of `text`, `data` and `repost_of`. */
export interface NewPost {
  text?: string;
  data?: unknown;
  kind?: string;
  reply_to?: PostId;
  repost_of?: PostId;
  mentions?: UserId[];
  visibility?: Visibility;
  attachments?: Attachment[];
}

export interface User {
  id: UserId;
  name: string | null;
  avatar_url: string | null;
  data: unknown;
  followers: number;
  following: number;
  posts: number;
  delivery: Delivery;
  viewer?: { following: boolean; followed_by: boolean; blocked: boolean; muted: boolean };
}

export interface Relation {
  user: UserId;
  since: string;
}

export interface Page<T> {
  data: T[];
  next_cursor: string | null;
  has_more: boolean;
  /** Set when part of the page could not be read in time; the cursor never passes what is missing. */
  partial?: boolean;
}

export interface PageQuery {
  /** 1–100; the server's default is 20. */
  limit?: number;
  cursor?: string | undefined;
}

export interface Notification {
  id: string;
  type: string;
  actors: UserId[];
  actor_count: number;
  subject: { kind: string; id: string } | null;
  data: unknown;
  text: string | null;
  created_at: string;
  updated_at: string;
  seen: boolean;
  read: boolean;
}

/** How many notifications are new, each at most 100. */
export interface NotificationCounts {
  /** Neither seen nor read. */
  unseen: number;
  unread: number;
  /** There are more than that. */
  capped: boolean;
}

export interface Presence {
  user: UserId;
  status: 'online' | 'away' | 'offline';
  /** `null` while online, and for who never was or may not be seen. */
  last_seen: string | null;
  /** How many devices are connected; only in answers to `presence`. */
  devices?: number;
}

/** As what a user wants to be seen while connected. */
export type OwnStatus = 'online' | 'away' | 'invisible';

export type RelationKind = 'follow' | 'block' | 'mute';

/** What arrives on `user:#<id>` and `author:<id>`. Types that this version doesn't know are skipped. */
export type FamaEvent =
  | { type: 'post.created'; post: Post }
  | { type: 'post.updated'; post: Post }
  | { type: 'post.deleted'; id: PostId; author: UserId }
  | { type: 'notification.created' | 'notification.updated'; notification: Notification; unseen: number; unread: number }
  | { type: 'notification.deleted'; id: string; unseen: number; unread: number }
  | { type: 'inbox.marked'; seen_up_to: string; read_up_to: string; unseen: number; unread: number }
  | { type: 'relation.changed'; kind: RelationKind; user: UserId; active: boolean }
  | { type: 'feed.reset'; reason: string }
  | { type: 'void' };

/** How a live event came: on the user's own channel, or on the shared channel of an author with many followers. */
export type Route = 'pushed' | 'pulled';

export interface Received {
  route: Route;
  channel: string;
  /** Unix milliseconds. */
  at: number;
  /** It was missed while the connection was down, and replayed by the server. */
  recovered: boolean;
}
