import { signal } from '@preact/signals';

/** Unix milliseconds, for relative times: all of them change together, every ten seconds and when the tab comes back. */
export const now = signal(Date.now());

export function startClock(): void {
  const tick = () => {
    now.value = Date.now();
  };
  setInterval(tick, 10_000);
  document.addEventListener('visibilitychange', tick);
}
