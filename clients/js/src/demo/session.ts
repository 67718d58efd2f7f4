import { signal, type ReadonlySignal } from '@preact/signals';
import {
  FamaClient,
  FamaError,
  type ConnectionState,
  type FamaEvent,
  type FeedState,
  type InboxState,
  type Received,
  type User,
} from '../client/index.ts';
import { Cutter } from './cutter.ts';
import { tokenFor, type DemoConfig } from './demo-api.ts';
import { nameOf } from './directory.ts';
import { plural } from './format.ts';
import { sentenceOf } from './notification-text.ts';
import { announce } from './notices.ts';
import { untilDone } from './retry.ts';
import { VitalSigns } from './vitals.ts';
import { noStats, withPost, type LiveStats } from './stats.ts';

/** How long "Cut my connection" lasts: long enough to miss something. */
export const CUT_MS = 6_000;
/** New posts are announced to screen readers together, at most this often. */
const ANNOUNCE_EVERY_MS = 12_000;
const FOLLOWING_PAGE = 100;
const MAX_FOLLOWING_PAGES = 50;

/** Being one member: the client of the typed layer, and its state as signals. */
export class Session {
  readonly user: string;
  readonly client: FamaClient;
  readonly cutter = new Cutter();
  readonly feed: ReadonlySignal<FeedState>;
  readonly inbox: ReadonlySignal<InboxState>;
  readonly vitals = new VitalSigns();
  readonly connection: ReadonlySignal<ConnectionState>;
  readonly me = signal<User | null>(null);
  /** `null` until it is known. */
  readonly following = signal<ReadonlySet<string> | null>(null);
  readonly stats = signal<LiveStats>(noStats);
  /** Why this member can't be had: unknown, say. */
  readonly refused = signal<FamaError | null>(null);
  /** New posts wait while the reader has paused the feed. */
  readonly paused = signal(false);
  #unannounced = 0;
  #closed = new AbortController();
  #announcer: ReturnType<typeof setInterval>;

  constructor(user: string, config: DemoConfig) {
    this.user = user;
    this.client = new FamaClient({
      user,
      websocketPath: config.websocket,
      getToken: () => this.#token(),
      transport: { websocket: this.cutter.websocket, networkEventTarget: this.cutter.network, maxReconnectDelayMs: 5_000 },
    });
    this.feed = bind(this.client.feed);
    this.inbox = bind(this.client.inbox);
    this.connection = bind(this.client.connection);
    this.client.onEvent((event, received) => this.#event(event, received));
    this.#announcer = setInterval(() => this.#announce(), ANNOUNCE_EVERY_MS);
  }

  start(): void {
    this.client.connect();
    const { realtime } = this.client;
    const { signal } = this.#closed;
    // A page that is left says goodbye, so that others see it at once and not after the grace of a lost connection.
    addEventListener('pagehide', () => realtime.disconnect(), { signal });
    addEventListener('pageshow', ({ persisted }) => persisted && realtime.connect(), { signal });
    void untilDone(this.#closed.signal, async () => {
      this.me.value = await this.client.api.user(this.user);
    });
    void untilDone(this.#closed.signal, () => this.#loadFollowing());
  }

  close(): void {
    this.#closed.abort();
    clearInterval(this.#announcer);
    this.client.close();
    this.cutter.close();
    this.vitals.close();
  }

  async follow(author: string, on: boolean): Promise<void> {
    const { api, feed } = this.client;
    await (on ? api.follow(author) : api.unfollow(author));
    this.#setFollowing(author, on);
    // The server says so on every device of the user; without a connection, it is done here.
    if (!on) feed.exclude(author);
    else if (this.connection.value.status !== 'connected') feed.include(author);
  }

  async mute(user: string, on: boolean): Promise<void> {
    const { api, feed } = this.client;
    await (on ? api.mute(user) : api.unmute(user));
    if (on) feed.exclude(user);
    else feed.include(user);
  }

  async block(user: string, on: boolean): Promise<void> {
    const { api, feed } = this.client;
    await (on ? api.block(user) : api.unblock(user));
    // A block takes the follows away, both ways; its end doesn't bring them back.
    if (on) this.#setFollowing(user, false);
    if (on) feed.exclude(user);
    else feed.include(user);
  }

  async #token(): Promise<string> {
    try {
      const token = await tokenFor(this.user);
      this.refused.value = null;
      return token;
    } catch (thrown) {
      const error = FamaError.from(thrown);
      if (!error.retryable) this.refused.value = error;
      throw error;
    }
  }

  async #loadFollowing(): Promise<void> {
    const found = new Set<string>();
    let cursor: string | undefined;
    for (let page = 0; page < MAX_FOLLOWING_PAGES; page += 1) {
      const { data, next_cursor, has_more } = await this.client.api.following({ limit: FOLLOWING_PAGE, cursor });
      for (const { user } of data) found.add(user);
      if (!has_more || next_cursor === null) break;
      cursor = next_cursor;
    }
    this.following.value = found;
  }

  #event(event: FamaEvent, received: Received): void {
    if (event.type === 'relation.changed' && event.kind === 'follow') {
      this.#setFollowing(event.user, event.active);
    } else if (event.type === 'post.created') {
      const latency = received.recovered ? null : Math.max(0, received.at - Date.parse(event.post.created_at));
      if (latency !== null) this.vitals.arrived(received, latency);
      this.stats.value = withPost(this.stats.value, received.route, latency);
      if (event.post.author !== this.user) this.#unannounced += 1;
    } else if (event.type === 'notification.created' && !received.recovered) {
      const { who, did } = sentenceOf(event.notification, nameOf);
      announce(`${who} ${did}`.trim());
    }
  }

  #setFollowing(author: string, on: boolean): void {
    const before = this.following.value;
    if (!before || before.has(author) === on) return;
    const next = new Set(before);
    if (on) next.add(author);
    else next.delete(author);
    this.following.value = next;
  }

  #announce(): void {
    if (this.#unannounced === 0) return;
    announce(`${plural(this.#unannounced, 'new post')}`);
    this.#unannounced = 0;
  }
}

function bind<T>(source: { readonly value: T; subscribe(listener: (value: T) => void): unknown }): ReadonlySignal<T> {
  const mirror = signal(source.value);
  source.subscribe((value) => {
    mirror.value = value;
  });
  return mirror;
}
