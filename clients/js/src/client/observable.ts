export type Unsubscribe = () => void;

/** A value with listeners: the one shape in which this package shows state, so that any framework can bind to it. */
export class Observable<T> {
  #value: T;
  #listeners = new Set<(value: T) => void>();

  constructor(initial: T) {
    this.#value = initial;
  }

  /** The current value. It is never changed in place: another state is another object. */
  get value(): T {
    return this.#value;
  }

  /** Calls `listener` with the current value, and then with every new one, until the returned function is called. */
  subscribe(listener: (value: T) => void): Unsubscribe {
    this.#listeners.add(listener);
    notify(listener, this.#value);
    return () => void this.#listeners.delete(listener);
  }

  protected set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) notify(listener, value);
  }
}

/** An `Observable` that its owner may set. */
export class Writable<T> extends Observable<T> {
  override set(value: T): void {
    super.set(value);
  }
}

/** Calls an app's listener. What it throws is reported, but doesn't stop the store or the connection. */
export function notify<T>(listener: (value: T) => void, value: T): void {
  try {
    listener(value);
  } catch (thrown) {
    queueMicrotask(() => {
      throw thrown;
    });
  }
}
