import { signal } from '@preact/signals';

type Handler<E> = ((event: E) => void) | null;
type Closed = { code: number; reason: string; wasClean: boolean };

/**
 * Cuts the connection the way a network does: the socket ends without a goodbye, and for a while no new one opens.
 * Browsers can't reset a TCP connection, so the client sees an abnormal end (1006) at once, while the real socket is
 * closed with an application code. That is not the goodbye (1000 or no code) after which a server forgets the client.
 */
export class Cutter {
  /** Unix milliseconds when sockets open again; `null` while nothing is cut. */
  readonly until = signal<number | null>(null);
  /** The browser's `online` and `offline`, and an `online` of our own when the cut ends. */
  readonly network = new EventTarget();
  /** To be given to `centrifuge` as its `WebSocket`. */
  readonly websocket: unknown;
  #open = new Set<CuttableSocket>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #forward = (event: Event) => void this.network.dispatchEvent(new Event(event.type));

  constructor() {
    const refused = () => this.until.value !== null;
    const open = this.#open;
    this.websocket = class extends CuttableSocket {
      constructor(url: string, protocols?: string | string[]) {
        super(url, protocols, refused(), open);
      }
    };
    addEventListener('online', this.#forward);
    addEventListener('offline', this.#forward);
  }

  cut(ms: number): void {
    this.until.value = Date.now() + ms;
    for (const socket of [...this.#open]) socket.cut();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.mend(), ms);
  }

  /** Ends the cut, and has the client reconnect now instead of after its backoff. */
  mend(): void {
    clearTimeout(this.#timer);
    if (this.until.value === null) return;
    this.until.value = null;
    this.network.dispatchEvent(new Event('online'));
  }

  close(): void {
    clearTimeout(this.#timer);
    removeEventListener('online', this.#forward);
    removeEventListener('offline', this.#forward);
  }
}

/** Application close code: reconnecting is expected. */
const CUT_CODE = 4_000;

class CuttableSocket {
  onopen: Handler<Event> = null;
  onerror: Handler<unknown> = null;
  onclose: Handler<Closed> = null;
  onmessage: Handler<MessageEvent> = null;
  #socket: WebSocket | null = null;
  #ended = false;
  readonly #all: Set<CuttableSocket>;

  constructor(url: string, protocols: string | string[] | undefined, refused: boolean, all: Set<CuttableSocket>) {
    this.#all = all;
    if (refused) {
      setTimeout(() => this.#end({ code: 1006, reason: '', wasClean: false }), 30);
      return;
    }
    const socket = new WebSocket(url, protocols);
    this.#socket = socket;
    all.add(this);
    socket.onopen = (event) => this.onopen?.(event);
    socket.onerror = (event) => this.onerror?.(event);
    socket.onclose = (event) => this.#end(event);
    socket.onmessage = (event) => this.onmessage?.(event);
  }

  send(data: string): void {
    this.#socket?.send(data);
  }

  close(): void {
    this.#socket?.close();
  }

  cut(): void {
    const socket = this.#socket;
    if (socket) {
      socket.onopen = socket.onerror = socket.onclose = socket.onmessage = null;
      socket.close(CUT_CODE, 'cut');
    }
    this.#end({ code: 1006, reason: '', wasClean: false });
  }

  #end(closed: Closed): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#all.delete(this);
    this.onclose?.(closed);
  }
}
