import type { FamaApi } from './api.ts';
import { FamaError } from './errors.ts';
import { compareIds } from './ids.ts';
import { Observable } from './observable.ts';
import { Soonest, systemScheduler, type Scheduler } from './timer.ts';
import type { FamaEvent, Notification, NotificationCounts, Page } from './types.ts';

export interface InboxState {
  /** Of the first page. `ready` stays while it is loaded again. */
  readonly status: 'loading' | 'ready' | 'error';
  /** What changed last first, each id once. */
  readonly items: readonly Notification[];
  /** Neither seen nor read; 100 means 100 or more. */
  readonly unseen: number;
  /** 100 means 100 or more. */
  readonly unread: number;
  /** Of the pages below. */
  readonly more: 'idle' | 'loading' | 'error' | 'end';
  readonly error: FamaError | null;
}

export interface InboxOptions {
  /** Notifications a page, 1–100. */
  pageSize?: number;
  scheduler?: Scheduler;
}

type Api = Pick<FamaApi, 'notifications' | 'notificationCounts' | 'markSeen' | 'markRead' | 'markUnread' | 'archiveNotification'>;

/** The most that one call of the server gives, and takes. */
const MAX_PAGE = 100;
/** A list that changed while it was read is read again after this. */
const AGAIN_MS = 300;
const MAX_RETRY_MS = 30_000;
const EMPTY: InboxState = { status: 'loading', items: [], unseen: 0, unread: 0, more: 'end', error: null };

/**
 * One user's notifications: pages merged with live events, marks shown at once. The server's word is the last: whatever
 * was read while something changed is read again, so every device ends with the same list and counts.
 */
export class InboxStore extends Observable<InboxState> {
  readonly #api: Api;
  readonly #pageSize: number;
  readonly #scheduler: Scheduler;
  readonly #reload: Soonest;
  #cursor: string | null = null;
  /** Grows with every change, so that an answer to what was asked before it is not believed. */
  #version = 0;
  #loading: Promise<void> | null = null;
  #loadAgain = false;
  #failures = 0;
  #closed = false;

  constructor(api: Api, options: InboxOptions = {}) {
    super(EMPTY);
    this.#api = api;
    this.#pageSize = options.pageSize ?? 20;
    this.#scheduler = options.scheduler ?? systemScheduler;
    this.#reload = new Soonest(this.#scheduler, () => void this.load());
  }

  /** Has the inbox loaded within `delayMs`. */
  invalidate(delayMs: number): void {
    if (!this.#closed) this.#reload.within(delayMs);
  }

  /** Loads the counts and the top of the list again, as far as it is shown, at most 100. */
  load(): Promise<void> {
    this.#reload.cancel();
    if (this.#loading) {
      this.#loadAgain = true;
      return this.#loading;
    }
    this.#loading = this.#loadTop().finally(() => {
      this.#loading = null;
      if (this.#loadAgain) {
        this.#loadAgain = false;
        this.invalidate(0);
      }
    });
    return this.#loading;
  }

  /** Loads the next page below. Does nothing while one is loading and at the end. */
  async loadMore(): Promise<void> {
    const { status, more } = this.value;
    if (this.#cursor === null || status !== 'ready' || more === 'loading') return;
    const [version, cursor] = [this.#version, this.#cursor];
    this.#emit({ more: 'loading' });
    try {
      const page = await this.#api.notifications({ limit: this.#pageSize, cursor });
      if (cursor !== this.#cursor || this.#closed) return;
      const known = new Set(this.value.items.map(({ id }) => id));
      this.#take(page, [...this.value.items, ...page.data.filter(({ id }) => !known.has(id))]);
      if (version !== this.#version) this.invalidate(AGAIN_MS);
    } catch (thrown) {
      if (cursor === this.#cursor) this.#emit({ more: 'error', error: FamaError.from(thrown) });
    }
  }

  /** Takes a live event; others than the inbox's change nothing. */
  apply(event: FamaEvent): void {
    switch (event.type) {
      case 'notification.created':
      case 'notification.updated':
        this.#changed(event, place(this.value.items, event.notification));
        break;
      case 'notification.deleted':
        this.#changed(event, without(this.value.items, event.id));
        break;
      case 'inbox.marked': {
        const { unseen, unread } = event;
        this.#changed(event, marked(this.value.items, unseen === 0, unread === 0));
        // Marks are positions, which items do not say: what is left between all and nothing, the server tells.
        const { items } = this.value;
        const seenHere = items.some((item) => !item.seen && !item.read);
        const unreadHere = items.some((item) => !item.read);
        if ((unseen > 0 && seenHere) || (unread > 0 && unreadHere)) this.invalidate(AGAIN_MS);
        break;
      }
      case 'feed.reset':
        this.invalidate(AGAIN_MS);
        break;
      default:
    }
  }

  /** Everything in the list was shown. */
  async markSeen(): Promise<void> {
    const top = this.value.items[0];
    if (!top || this.value.unseen === 0) return;
    await this.#mark(marked(this.value.items, true, false), { unseen: 0 }, () => this.#api.markSeen(top.id));
  }

  /** Everything in the list is done with. */
  async markAllRead(): Promise<void> {
    const top = this.value.items[0];
    if (!top) return;
    await this.#mark(marked(this.value.items, true, true), { unseen: 0, unread: 0 }, () => this.#api.markRead({ up_to: top.id }));
  }

  /** One notification is done with, or not yet. */
  async setRead(id: string, read: boolean): Promise<void> {
    const item = this.value.items.find((other) => other.id === id);
    if (!item || item.read === read) return;
    const items = this.value.items.map((other) => (other === item ? { ...item, read, seen: true } : other));
    // Counts that are capped can't be counted down here.
    const counts = this.value.unread < MAX_PAGE ? { unread: Math.max(0, this.value.unread + (read ? -1 : 1)) } : {};
    await this.#mark(items, counts, () => (read ? this.#api.markRead({ ids: [id] }) : this.#api.markUnread([id])));
  }

  /** Takes a notification from the list for good. */
  async archive(id: string): Promise<void> {
    await this.#mark(without(this.value.items, id), {}, () => this.#api.archiveNotification(id));
  }

  close(): void {
    this.#closed = true;
    this.#reload.cancel();
  }

  /** Shows a change of the user's own, and has the server make it. What is refused is read again, and thrown. */
  async #mark(items: readonly Notification[], counts: Partial<InboxState>, call: () => Promise<NotificationCounts>): Promise<void> {
    this.#version += 1;
    const version = this.#version;
    this.#emit({ items, ...counts });
    try {
      const { unseen, unread } = await call();
      this.#version += 1;
      // Otherwise an event has come since, or another mark was made.
      if (version + 1 === this.#version) this.#emit({ unseen, unread });
      else this.invalidate(AGAIN_MS);
    } catch (thrown) {
      this.invalidate(0);
      throw thrown;
    }
  }

  #changed(counts: { unseen: number; unread: number }, items: readonly Notification[]): void {
    this.#version += 1;
    this.#emit({ items, unseen: counts.unseen, unread: counts.unread });
  }

  async #loadTop(): Promise<void> {
    const version = this.#version;
    const shown = Math.min(MAX_PAGE, Math.max(this.#pageSize, this.value.items.length));
    try {
      const [page, { unseen, unread }] = await Promise.all([this.#api.notifications({ limit: shown }), this.#api.notificationCounts()]);
      if (this.#closed) return;
      this.#failures = 0;
      if (version !== this.#version && this.value.status === 'ready') this.invalidate(AGAIN_MS);
      else {
        this.#take(page, page.data);
        this.#emit({ unseen, unread, status: 'ready', error: null });
        if (version !== this.#version) this.invalidate(AGAIN_MS);
      }
    } catch (thrown) {
      if (this.#closed) return;
      const error = FamaError.from(thrown);
      this.#emit({ error, ...(this.value.status !== 'ready' && { status: 'error' }) });
      if (!error.retryable) return;
      this.#failures += 1;
      const wait = Math.min(MAX_RETRY_MS, 1_000 * 2 ** Math.min(this.#failures, 5)) * (0.5 + this.#scheduler.random() / 2);
      this.invalidate(Math.max(wait, error.retryAfterMs ?? 0));
    }
  }

  #take(page: Page<Notification>, items: readonly Notification[]): void {
    this.#cursor = page.has_more ? page.next_cursor : null;
    this.#emit({ items, more: this.#cursor === null ? 'end' : 'idle', error: null });
  }

  #emit(change: Partial<InboxState>): void {
    this.set({ ...this.value, ...change });
  }
}

/** Puts a notification where it belongs: to the top when somebody joined it, else where it is. */
function place(items: readonly Notification[], item: Notification): readonly Notification[] {
  const at = items.findIndex((other) => other.id === item.id);
  const known = items[at];
  if (known && known.updated_at >= item.updated_at) return items.map((other) => (other === known ? item : other));
  const rest = without(items, item.id);
  const below = rest.findIndex((other) => isBelow(other, item));
  return below < 0 ? [...rest, item] : [...rest.slice(0, below), item, ...rest.slice(below)];
}

/** Times are of one format, so their texts are in their order. */
function isBelow(a: Notification, b: Notification): boolean {
  return a.updated_at === b.updated_at ? compareIds(a.id, b.id) < 0 : a.updated_at < b.updated_at;
}

function without(items: readonly Notification[], id: string): readonly Notification[] {
  return items.filter((other) => other.id !== id);
}

function marked(items: readonly Notification[], seen: boolean, read: boolean): readonly Notification[] {
  return items.map((item) =>
    (seen && !item.seen) || (read && !item.read) ? { ...item, seen: item.seen || seen, read: item.read || read } : item,
  );
}
