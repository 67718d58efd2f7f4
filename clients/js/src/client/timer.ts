/** One pending call, which may be moved. The clock can be replaced in tests. */
export interface Scheduler {
  now(): number;
  /** Calls `task` after `ms`; the returned function takes it back. */
  after(ms: number, task: () => void): () => void;
  /** Uniform in [0, 1). */
  random(): number;
}

export const systemScheduler: Scheduler = {
  now: () => Date.now(),
  after: (ms, task) => {
    const timer = setTimeout(task, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

/** A task that runs once at the earliest of the times asked for. */
export class Soonest {
  readonly #scheduler: Scheduler;
  readonly #task: () => void;
  #due: { at: number; cancel: () => void } | null = null;

  constructor(scheduler: Scheduler, task: () => void) {
    this.#scheduler = scheduler;
    this.#task = task;
  }

  within(ms: number): void {
    const at = this.#scheduler.now() + ms;
    if (this.#due && this.#due.at <= at) return;
    this.cancel();
    const cancel = this.#scheduler.after(ms, () => {
      this.#due = null;
      this.#task();
    });
    this.#due = { at, cancel };
  }

  cancel(): void {
    this.#due?.cancel();
    this.#due = null;
  }
}
