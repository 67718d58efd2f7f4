import type { Centrifuge, Subscription } from 'centrifuge';
import { isRecord } from './errors.ts';
import { Observable, Writable, type Unsubscribe } from './observable.ts';
import type { Presence, UserId } from './types.ts';

/** How many users are watched at once. The server's limit for a connection is 500. */
const MAX_WATCHED = 300;
/** Who is not looked at any more is watched for a while: lists are scrolled up and down. */
const LINGER_MS = 15_000;
/** Subscriptions that go in one frame; the server takes 64 KiB. */
const BATCH = 100;

interface Watch {
  readonly seen: Writable<Presence | null>;
  readonly subscription: Subscription;
  watchers: number;
  /** Unix milliseconds since when nobody looks. */
  idleSince: number;
}

type Connection = Pick<Centrifuge, 'newSubscription' | 'removeSubscription' | 'startBatching' | 'stopBatching'>;

/** Who is online, of those somebody looks at: each is one watch of `presence:<id>`, shared and bounded. */
export class PresenceStore {
  readonly #connection: Connection;
  #watches = new Map<UserId, Watch>();
  #starting: Subscription[] = [];
  #sweeper: ReturnType<typeof setInterval> | null = null;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Calls `listener` with the user's presence, `null` while it is not known, until the returned function is called. */
  watch(user: UserId, listener: (seen: Presence | null) => void): Unsubscribe {
    const watch = this.#watches.get(user) ?? this.#begin(user);
    if (!watch) {
      listener(null);
      return () => undefined;
    }
    watch.watchers += 1;
    const end = watch.seen.subscribe(listener);
    let over = false;
    return () => {
      if (over) return;
      over = true;
      end();
      watch.watchers -= 1;
      if (watch.watchers === 0) watch.idleSince = Date.now();
    };
  }

  /** The last that was heard. */
  of(user: UserId): Observable<Presence | null> | null {
    return this.#watches.get(user)?.seen ?? null;
  }

  /** How many users are watched. */
  get size(): number {
    return this.#watches.size;
  }

  close(): void {
    if (this.#sweeper !== null) clearInterval(this.#sweeper);
    this.#sweeper = null;
    for (const user of [...this.#watches.keys()]) this.#end(user);
  }

  #begin(user: UserId): Watch | null {
    if (this.#watches.size >= MAX_WATCHED) this.#sweep(0);
    if (this.#watches.size >= MAX_WATCHED) return null;
    const seen = new Writable<Presence | null>(null);
    const subscription = this.#connection.newSubscription(`presence:${user}`);
    subscription.on('publication', ({ data }) => {
      if (isPresence(data)) seen.set(data);
    });
    // What is not heard is not known: the last word may be old by now.
    subscription.on('subscribing', () => seen.set(null));
    subscription.on('unsubscribed', () => seen.set(null));
    subscription.on('error', () => undefined);
    const watch: Watch = { seen, subscription, watchers: 0, idleSince: Date.now() };
    this.#watches.set(user, watch);
    this.#starting.push(subscription);
    if (this.#starting.length === 1) queueMicrotask(() => this.#start());
    this.#sweeper ??= setInterval(() => this.#sweep(LINGER_MS), LINGER_MS);
    return watch;
  }

  /** Those who came into sight together are asked for together. */
  #start(): void {
    const all = this.#starting.splice(0);
    for (let from = 0; from < all.length; from += BATCH) {
      this.#connection.startBatching();
      for (const subscription of all.slice(from, from + BATCH)) if (subscription.state !== 'subscribed') subscription.subscribe();
      this.#connection.stopBatching();
    }
  }

  #sweep(lingerMs: number): void {
    const before = Date.now() - lingerMs;
    for (const [user, watch] of [...this.#watches]) if (watch.watchers === 0 && watch.idleSince <= before) this.#end(user);
  }

  #end(user: UserId): void {
    const watch = this.#watches.get(user);
    if (!watch) return;
    this.#watches.delete(user);
    this.#starting = this.#starting.filter((subscription) => subscription !== watch.subscription);
    watch.subscription.removeAllListeners();
    this.#connection.removeSubscription(watch.subscription);
  }
}

function isPresence(data: unknown): data is Presence {
  return (
    isRecord(data) &&
    typeof data['user'] === 'string' &&
    (data['status'] === 'online' || data['status'] === 'away' || data['status'] === 'offline')
  );
}
