import type { FamaApi } from './api.ts';
import type { PostId } from './types.ts';

type ReactionApi = Pick<FamaApi, 'react' | 'unreact'>;

interface Running {
  wanted: boolean;
  done: Promise<void>;
}

/**
 * Sends reactions so that quick toggling ends where the user left it: one call at a time for each post and kind, and
 * only the last wish is sent after it.
 */
export class Reactions {
  readonly #api: ReactionApi;
  readonly #show: (id: PostId, kind: string, on: boolean) => void;
  #running = new Map<string, Running>();

  constructor(api: ReactionApi, show: (id: PostId, kind: string, on: boolean) => void) {
    this.#api = api;
    this.#show = show;
  }

  /** Shows the change at once; takes it back and throws when the server refuses it. */
  set(id: PostId, kind: string, on: boolean): Promise<void> {
    this.#show(id, kind, on);
    const key = `${id}/${kind}`;
    const running = this.#running.get(key);
    if (running) {
      running.wanted = on;
      return running.done;
    }
    const entry: Running = { wanted: on, done: Promise.resolve() };
    entry.done = this.#send(id, kind, entry).finally(() => this.#running.delete(key));
    this.#running.set(key, entry);
    return entry.done;
  }

  async #send(id: PostId, kind: string, entry: Running): Promise<void> {
    let stored = !entry.wanted;
    while (stored !== entry.wanted) {
      const wanted = entry.wanted;
      try {
        await (wanted ? this.#api.react(id, kind) : this.#api.unreact(id, kind));
      } catch (thrown) {
        this.#show(id, kind, stored);
        throw thrown;
      }
      stored = wanted;
    }
  }
}
