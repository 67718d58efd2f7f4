import type { FamaApi } from './api.ts';
import { BoundedMap } from './bounded-map.ts';
import { FamaError } from './errors.ts';
import { EMPTY, mergePost, newestFirst, withReaction, type Arrival, type FeedItem, type FeedState } from './feed-state.ts';
import { Observable } from './observable.ts';
import { Outgoing } from './outgoing.ts';
import { Reactions } from './reactions.ts';
import { Soonest, systemScheduler, type Scheduler } from './timer.ts';
import type { FamaEvent, NewPost, Page, Post, PostId, Received, UserId } from './types.ts';

export interface FeedOptions {
  /** The user whose feed it is. */
  self: UserId;
  /** Posts a page, 1–100. */
  pageSize?: number;
  /** The most posts kept in memory. Live posts beyond it make the feed start again from its first page. */
  maxItems?: number;
  /** The most live posts held back. Beyond it only `stale` is kept. */
  maxWaiting?: number;
  /** Whether the user is looking, and so should not wait long after a `feed.reset`. */
  attentive?: () => boolean;
  scheduler?: Scheduler;
}

type Api = Pick<FamaApi, 'feed' | 'createPost' | 'deletePost' | 'react' | 'unreact'>;

/** Empty pages in a row that one `loadMore` walks over: filters may empty a page that is not the last. */
const MAX_EMPTY_PAGES = 5;
const MAX_RETRY_MS = 30_000;

/**
 * One user's feed: pages merged with live events, each post once by id, newest first. It loads itself again after a
 * loss, and holds new posts back while the reader is elsewhere in the list.
 */
export class FeedStore extends Observable<FeedState> {
  readonly #api: Api;
  readonly #self: UserId;
  readonly #pageSize: number;
  readonly #maxItems: number;
  readonly #maxWaiting: number;
  readonly #attentive: () => boolean;
  readonly #scheduler: Scheduler;
  readonly #outgoing: Outgoing;
  readonly #reactions: Reactions;
  readonly #reload: Soonest;

  #shown = new Map<PostId, FeedItem>();
  #held = new Map<PostId, FeedItem>();
  #holding = false;
  #cursor: string | undefined;
  #seq = 0;
  /** Grows with every first page, so that an answer to a page asked for before it is thrown away. */
  #generation = 0;
  #loading: Promise<void> | null = null;
  #loadAgain = false;
  /** The `#seq` when `stale` was set last. */
  #staleSince = 0;
  #failures = 0;
  #closed = false;
  /** Posts deleted lately: a page or event on its way must not bring them back. */
  #deleted = new BoundedMap<PostId, true>(1_000);
  /** Edits of posts not here yet. */
  #edits = new BoundedMap<PostId, Post>(200);
  /** Authors unfollowed, muted or blocked, with the `#seq` when that was. */
  #excluded = new BoundedMap<UserId, number>(1_000);

  constructor(api: Api, options: FeedOptions) {
    super(EMPTY);
    this.#api = api;
    this.#self = options.self;
    this.#pageSize = options.pageSize ?? 20;
    this.#maxItems = options.maxItems ?? 2_000;
    this.#maxWaiting = options.maxWaiting ?? 500;
    this.#attentive = options.attentive ?? (() => false);
    this.#scheduler = options.scheduler ?? systemScheduler;
    this.#outgoing = new Outgoing(
      api,
      (post) => this.#add(post, { kind: 'own' }, false),
      () => this.#emit(),
    );
    this.#reactions = new Reactions(api, (id, kind, on) => this.patch(id, (post) => withReaction(post, kind, on)));
    this.#reload = new Soonest(this.#scheduler, () => void this.load());
  }

  /** Loads the first page again and keeps what arrived live meanwhile. Failures are in the state, and tried again. */
  load(): Promise<void> {
    this.#reload.cancel();
    if (this.#loading) {
      this.#loadAgain = true;
      return this.#loading;
    }
    this.#loading = this.#loadFirst().finally(() => {
      this.#loading = null;
      if (this.#loadAgain) {
        this.#loadAgain = false;
        this.#reload.within(0);
      }
    });
    return this.#loading;
  }

  /** Loads the next page below. Does nothing while one is loading and at the end. */
  async loadMore(): Promise<void> {
    const { more, status } = this.value;
    if (status !== 'ready' || more === 'loading' || more === 'end' || more === 'limit') return;
    const generation = this.#generation;
    this.#emit({ more: 'loading' });
    try {
      const next = await this.#nextPages(generation);
      if (generation === this.#generation) this.#emit({ more: next, error: null });
    } catch (thrown) {
      if (generation === this.#generation) this.#emit({ more: 'error', error: FamaError.from(thrown) });
    }
  }

  /** Has the feed loaded within `delayMs`; while holding, when it is revealed. */
  invalidate(delayMs: number): void {
    if (this.#closed) return;
    if (this.#holding && this.value.status === 'ready') this.#markStale();
    else this.#reload.within(delayMs);
  }

  /** While on, new live posts wait. Turning it off reveals them. */
  hold(on: boolean): void {
    if (this.#holding === on) return;
    this.#holding = on;
    if (!on) this.reveal();
  }

  /** Shows the posts that waited. */
  reveal(): void {
    for (const [id, item] of this.#held) this.#shown.set(id, item);
    this.#held.clear();
    const { stale } = this.value;
    this.#staleSince = 0;
    this.#emit({ stale: false });
    if (stale) void this.load();
    else this.#trim();
  }

  /** Publishes a post, which is in `pending` at once. Resolves to whether it was acknowledged. */
  publish(draft: NewPost): Promise<boolean> {
    return this.#outgoing.publish(draft);
  }

  /** Sends a failed post again, under the same idempotency key. */
  retry(key: string): Promise<boolean> {
    return this.#outgoing.retry(key);
  }

  /** Forgets a failed post. */
  discard(key: string): void {
    this.#outgoing.discard(key);
  }

  /** Puts a reaction on or takes it off: at once here, taken back if the server refuses (and then it throws). */
  react(id: PostId, kind: string, on: boolean): Promise<void> {
    return this.#reactions.set(id, kind, on);
  }

  /** Deletes a post of the user's own. Throws `FamaError`. */
  async delete(id: PostId): Promise<void> {
    try {
      await this.#api.deletePost(id);
    } catch (thrown) {
      if (FamaError.from(thrown).code !== 'not_found') throw thrown;
    }
    this.#remove(id);
  }

  /** Changes a post here only. */
  patch(id: PostId, change: (post: Post) => Post): void {
    for (const map of [this.#shown, this.#held]) {
      const item = map.get(id);
      if (!item) continue;
      const post = change(item.post);
      if (post === item.post) continue;
      map.set(id, { ...item, post });
      this.#emit();
    }
  }

  /** Takes in one live event. Events may come twice and in any order. */
  apply(event: FamaEvent, received: Received): void {
    switch (event.type) {
      case 'post.created':
        this.#created(event.post, received);
        break;
      case 'post.updated':
        this.#edits.set(event.post.id, event.post);
        this.patch(event.post.id, (known) => mergePost(known, event.post, 'updated'));
        break;
      case 'post.deleted':
        this.#remove(event.id);
        break;
      case 'relation.changed':
        // Gone from sight: an unfollow, or a mute or block that begins. The other way, the server has older posts.
        if (event.active === (event.kind === 'follow')) this.include(event.user);
        else this.exclude(event.user);
        break;
      case 'feed.reset':
        // Every client of a server may get this at the same time.
        this.invalidate(this.#scheduler.random() * (this.#attentive() ? 1_000 : 30_000));
        break;
      default:
    }
  }

  /** Takes the posts of an author out of the feed, and keeps them out until `include`. */
  exclude(author: UserId): void {
    if (author === this.#self) return;
    this.#excluded.set(author, ++this.#seq);
    for (const map of [this.#shown, this.#held]) {
      for (const [id, item] of map) if (item.post.author === author) map.delete(id);
    }
    this.#emit();
  }

  /** Loads the feed again, now with the posts of an author. */
  include(author: UserId): void {
    this.#excluded.delete(author);
    this.invalidate(0);
  }

  /** Stops all timers. */
  close(): void {
    this.#closed = true;
    this.#reload.cancel();
  }

  async #loadFirst(): Promise<void> {
    const since = ++this.#seq;
    if (this.value.status === 'error') this.#emit({ status: 'loading' });
    try {
      const page = await this.#api.feed({ limit: this.#pageSize });
      if (this.#closed) return;
      this.#failures = 0;
      this.#generation += 1;
      this.#replace(page, since);
      const more = page.data.length === 0 && page.partial && page.has_more ? 'stalled' : page.has_more ? 'idle' : 'end';
      // What went stale after the page was asked for still is.
      this.#emit({ status: 'ready', more, stale: this.#staleSince > since, error: null });
    } catch (thrown) {
      if (!this.#closed) this.#loadFailed(FamaError.from(thrown));
    }
  }

  #loadFailed(error: FamaError): void {
    this.#emit({ status: this.#shown.size > 0 ? 'ready' : 'error', error });
    if (!error.retryable) return;
    const backoff = Math.min(MAX_RETRY_MS, 1_000 * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 10);
    this.#reload.within(Math.max(error.retryAfterMs ?? 0, backoff * (0.5 + this.#scheduler.random() / 2)));
  }

  /** The first page takes the place of what was here, except of what arrived live after it was asked for. */
  #replace(page: Page<Post>, since: number): void {
    const before = new Map([...this.#shown, ...this.#held]);
    // An older page that came meanwhile may have been asked for before a loss: it goes.
    const isNew = ([, item]: [PostId, FeedItem]) => item.seq > since && item.arrival.kind !== 'page';
    this.#held = new Map([...this.#held].filter(isNew));
    this.#shown = new Map([...this.#shown].filter(isNew));
    this.#addPage(page, since, before);
    this.#cursor = page.next_cursor ?? undefined;
  }

  #addPage(page: Page<Post>, since: number, before: ReadonlyMap<PostId, FeedItem>): void {
    for (const post of page.data) {
      if (this.#deleted.has(post.id) || (this.#excluded.get(post.author) ?? 0) > since) continue;
      const known = before.get(post.id);
      const item: FeedItem = known
        ? { ...known, post: mergePost(known.post, post, 'page') }
        : { post: this.#edited(post), arrival: { kind: 'page' }, seq: ++this.#seq };
      this.#held.delete(post.id);
      this.#shown.set(post.id, item);
    }
  }

  /** Loads pages until one shows something, and returns what `more` then is. */
  async #nextPages(generation: number): Promise<FeedState['more']> {
    for (let round = 0; round < MAX_EMPTY_PAGES; round += 1) {
      if (this.#shown.size >= this.#maxItems) return 'limit';
      const since = this.#seq;
      const page = await this.#api.feed({ limit: this.#pageSize, cursor: this.#cursor });
      if (generation !== this.#generation) return 'idle';
      const count = this.#shown.size;
      this.#addPage(page, since, new Map([...this.#shown, ...this.#held]));
      const moved = page.next_cursor !== (this.#cursor ?? null);
      this.#cursor = page.next_cursor ?? undefined;
      if (!page.has_more) return 'end';
      if (this.#shown.size > count) return 'idle';
      if (!moved) return 'stalled';
    }
    return 'stalled';
  }

  #created(post: Post, received: Received): void {
    if (this.#excluded.has(post.author)) return;
    const latencyMs = Math.max(0, received.at - Date.parse(post.created_at));
    const { route, at, recovered } = received;
    const mine = post.author === this.#self && this.#outgoing.claim(post);
    this.#add(post, { kind: 'live', route, at, latencyMs, recovered }, !mine);
  }

  #add(post: Post, arrival: Arrival, mayWait: boolean): void {
    if (this.#deleted.has(post.id)) return;
    for (const map of [this.#shown, this.#held]) {
      const known = map.get(post.id);
      if (!known) continue;
      // The answer to the user's own call may come before the live event, which says more.
      const better = known.arrival.kind === 'own' ? arrival : known.arrival;
      map.set(post.id, { ...known, arrival: better, post: mergePost(known.post, post, 'created') });
      this.#emit();
      return;
    }
    const item: FeedItem = { post: this.#edited(post), arrival, seq: ++this.#seq };
    if (mayWait && this.#holding) {
      if (this.#held.size < this.#maxWaiting) this.#held.set(post.id, item);
      else this.#markStale();
    } else {
      this.#shown.set(post.id, item);
    }
    this.#emit();
    this.#trim();
  }

  /** The one bound of memory for those who never scroll: start again from the first page. */
  #trim(): void {
    if (this.#shown.size > this.#maxItems && !this.#holding) this.invalidate(0);
  }

  #markStale(): void {
    this.#staleSince = ++this.#seq;
    this.#emit({ stale: true });
  }

  #edited(post: Post): Post {
    const edit = this.#edits.get(post.id);
    return edit ? mergePost(post, edit, 'updated') : post;
  }

  #remove(id: PostId): void {
    this.#deleted.set(id, true);
    this.#shown.delete(id);
    this.#held.delete(id);
    this.#emit();
  }

  #emit(change: Partial<FeedState> = {}): void {
    if (this.#closed) return;
    this.set({
      ...this.value,
      ...change,
      items: newestFirst(this.#shown.values()),
      pending: this.#outgoing.list(),
      waiting: this.#held.size,
    });
  }
}
