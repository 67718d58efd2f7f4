import type { FamaApi } from './api.ts';
import { FamaError } from './errors.ts';
import type { PendingPost } from './feed-state.ts';
import { randomKey } from './ids.ts';
import type { NewPost, Post } from './types.ts';

interface Entry {
  pending: PendingPost;
  /** Its live event came before the answer: the post is in the feed, so the pending one is not shown beside it. */
  seen: boolean;
}

/** The user's own posts on their way: shown at once, repeated under one idempotency key, replaced by the real post. */
export class Outgoing {
  readonly #api: Pick<FamaApi, 'createPost'>;
  readonly #published: (post: Post) => void;
  readonly #changed: () => void;
  #entries = new Map<string, Entry>();

  constructor(api: Pick<FamaApi, 'createPost'>, published: (post: Post) => void, changed: () => void) {
    this.#api = api;
    this.#published = published;
    this.#changed = changed;
  }

  /** Newest first. */
  list(): PendingPost[] {
    return [...this.#entries.values()]
      .filter((entry) => !(entry.seen && entry.pending.status === 'sending'))
      .map((entry) => entry.pending)
      .reverse();
  }

  /** Resolves to whether the post was acknowledged; the error is in the list otherwise. */
  publish(draft: NewPost): Promise<boolean> {
    const pending: PendingPost = { key: randomKey(), draft, createdAt: Date.now(), status: 'sending', error: null };
    this.#entries.set(pending.key, { pending, seen: false });
    this.#changed();
    return this.#send(pending.key);
  }

  async retry(key: string): Promise<boolean> {
    const entry = this.#entries.get(key);
    if (entry?.pending.status !== 'failed') return false;
    entry.pending = { ...entry.pending, status: 'sending', error: null };
    this.#changed();
    return this.#send(key);
  }

  /** Forgets a failed post. One whose outcome is unknown may still turn up in the feed. */
  discard(key: string): void {
    if (this.#entries.get(key)?.pending.status !== 'failed') return;
    this.#entries.delete(key);
    this.#changed();
  }

  /** Tells whether `post`, a live one of the user's own, is one of those on their way, which it then stands for. */
  claim(post: Post): boolean {
    for (const entry of this.#entries.values()) {
      if (!entry.seen && entry.pending.draft.text === (post.text ?? undefined)) {
        entry.seen = true;
        return true;
      }
    }
    return false;
  }

  async #send(key: string): Promise<boolean> {
    const entry = this.#entries.get(key);
    if (!entry) return false;
    try {
      const post = await this.#api.createPost(entry.pending.draft, key);
      this.#entries.delete(key);
      this.#published(post);
      this.#changed();
      return true;
    } catch (thrown) {
      // `seen` is not proof (another device may have posted the same text), so a failure is always shown.
      entry.pending = { ...entry.pending, status: 'failed', error: FamaError.from(thrown) };
      this.#changed();
      return false;
    }
  }
}
