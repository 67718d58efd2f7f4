import { FamaError } from '../client/index.ts';

const EVERY_MS = 5_000;

/** Runs `task` until it works, is refused, or `signal` is aborted. For what the page can wait for without saying so. */
export async function untilDone(signal: AbortSignal, task: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    try {
      await task();
      return;
    } catch (thrown) {
      const error = FamaError.from(thrown);
      if (!error.retryable) return;
      await new Promise((resolve) => setTimeout(resolve, Math.max(EVERY_MS, error.retryAfterMs ?? 0)));
    }
  }
}
