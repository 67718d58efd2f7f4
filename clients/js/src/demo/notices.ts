import { signal } from '@preact/signals';
import { FamaError } from '../client/index.ts';

/** What the polite live region says. */
export const announcement = signal('');

export function announce(text: string): void {
  announcement.value = text;
}

export interface Toast {
  id: number;
  text: string;
}

/** Failures of actions, newest last. */
export const toasts = signal<Toast[]>([]);
let lastToast = 0;
const MAX_TOASTS = 3;
const TOAST_MS = 8_000;

export function toast(text: string): void {
  const id = ++lastToast;
  toasts.value = [...toasts.value, { id, text }].slice(-MAX_TOASTS);
  setTimeout(() => dismissToast(id), TOAST_MS);
}

export function dismissToast(id: number): void {
  toasts.value = toasts.value.filter((other) => other.id !== id);
}

/** One sentence for people. */
export function explain(thrown: unknown): string {
  const error = FamaError.from(thrown);
  switch (error.code) {
    case 'network':
      return 'The server could not be reached.';
    case 'client_timeout':
      return 'The server did not answer in time.';
    case 'rate_limited': {
      const seconds = error.retryAfterMs === null ? null : Math.max(1, Math.ceil(error.retryAfterMs / 1_000));
      return seconds === null ? 'That was too fast.' : `That was too fast. Try again in ${seconds} s.`;
    }
    case 'unavailable':
      return 'The server is busy.';
    default: {
      const text = error.message.charAt(0).toUpperCase() + error.message.slice(1);
      return /[.!?]$/.test(text) ? text : `${text}.`;
    }
  }
}

/** Runs an action and shows its failure. Resolves to whether it worked. */
export async function attempt(what: string, action: () => Promise<unknown>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (thrown) {
    toast(`${what} failed. ${explain(thrown)}`);
    return false;
  }
}
