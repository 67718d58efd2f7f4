import { Centrifuge, UnauthorizedError, type PublicationContext, type ServerSubscribedContext } from 'centrifuge';
import { FamaError, isRecord } from './errors.ts';
import { Observable, type Unsubscribe } from './observable.ts';
import type { TokenSource } from './tokens.ts';
import type { FamaEvent, Received, Route, UserId } from './types.ts';

/** What was missed on one channel: its offsets say that nothing is left out. */
export interface RecoveredChannel {
  channel: string;
  /** The offset of the last event before the loss. */
  from: number;
  /** The offset after the replay: `from` plus the events replayed. */
  to: number;
  complete: boolean;
}

export interface Recovery {
  /** Events that were missed and came with the reconnect. */
  events: number;
  /** Those of them that are new posts. */
  posts: number;
  /** Whether the server had them all; if not, the feed is loaded again. */
  complete: boolean;
  /** How long the connection was down, in milliseconds. */
  downMs: number;
  /** Channels that went on where they were, missed events or not. */
  channels: RecoveredChannel[];
  /** Unix milliseconds. */
  at: number;
}

export interface ConnectionState {
  status: 'connecting' | 'connected' | 'disconnected';
  /** The close or error code, and why, while not connected. 0 when the app asked for it. */
  code: number;
  reason: string;
  /** Of the latest reconnect; `null` before there is one. */
  recovery: Recovery | null;
}

/** What a browser takes from `centrifuge`'s options, for tests and for environments without a global `WebSocket`. */
export interface TransportOptions {
  websocket?: unknown;
  networkEventTarget?: EventTarget;
  minReconnectDelayMs?: number;
  maxReconnectDelayMs?: number;
}

export interface RealtimeOptions extends TransportOptions {
  /** `ws://` or `wss://` URL. */
  endpoint: string;
  self: UserId;
  tokens: TokenSource;
}

type EventListener = (event: FamaEvent, received: Received) => void;

/** What one reconnect brings; open from `connected` to the end of the same turn, in which all of it is delivered. */
interface Replay {
  recovering: Map<string, RecoveredChannel>;
  complete: boolean;
  events: number;
  posts: number;
}

/** The connection: `centrifuge` with the server's own channels, typed events, and an account of what was recovered. */
export class Realtime extends Observable<ConnectionState> {
  /** For channels of the app's own, presence and RPC. */
  readonly centrifuge: Centrifuge;
  readonly #userChannel: string;
  #listeners = new Set<EventListener>();
  #gapListeners = new Set<() => void>();
  #replay: Replay | null = null;
  /** The offset of the last event of each of the server's channels. */
  #offsets = new Map<string, number>();
  #downSince: number | null = null;

  constructor(options: RealtimeOptions) {
    super({ status: 'disconnected', code: 0, reason: '', recovery: null });
    this.#userChannel = `user:#${options.self}`;
    this.centrifuge = new Centrifuge(options.endpoint, {
      name: 'fama-js',
      getToken: () => connectionToken(options.tokens),
      ...(options.websocket !== undefined && { websocket: options.websocket }),
      ...(options.networkEventTarget && { networkEventTarget: options.networkEventTarget }),
      ...(options.minReconnectDelayMs !== undefined && { minReconnectDelay: options.minReconnectDelayMs }),
      ...(options.maxReconnectDelayMs !== undefined && { maxReconnectDelay: options.maxReconnectDelayMs }),
    });
    this.#listen();
  }

  connect(): void {
    this.centrifuge.connect();
  }

  disconnect(): void {
    this.centrifuge.disconnect();
  }

  /** Calls `listener` with every event of the server's channels, each at least once. */
  onEvent(listener: EventListener): Unsubscribe {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Calls `listener` when events before now are not known to have arrived: after a first connect, and after a loss. */
  onGap(listener: () => void): Unsubscribe {
    this.#gapListeners.add(listener);
    return () => void this.#gapListeners.delete(listener);
  }

  #listen(): void {
    this.centrifuge
      .on('connecting', ({ code, reason }) => {
        this.#downSince ??= Date.now();
        this.set({ ...this.value, status: 'connecting', code, reason });
      })
      .on('disconnected', ({ code, reason }) => this.set({ ...this.value, status: 'disconnected', code, reason }))
      .on('connected', () => this.#connected())
      .on('subscribed', (subscribed) => this.#subscribed(subscribed))
      .on('unsubscribed', ({ channel }) => void this.#offsets.delete(channel))
      .on('publication', (publication) => this.#publication(publication))
      // Failed attempts: the next `connecting` or `connected` tells. Without a listener they would be lost all the same.
      .on('error', () => undefined);
  }

  #connected(): void {
    const replay: Replay = { recovering: new Map(), complete: true, events: 0, posts: 0 };
    this.#replay = replay;
    const downMs = this.#downSince === null ? 0 : Date.now() - this.#downSince;
    this.#downSince = null;
    this.set({ ...this.value, status: 'connected', code: 0, reason: '' });
    // `centrifuge` delivers subscriptions and recovered publications before it returns from the connect reply.
    queueMicrotask(() => {
      this.#replay = null;
      if (replay.recovering.size > 0) {
        const { events, posts, complete } = replay;
        this.set({
          ...this.value,
          recovery: { events, posts, complete, downMs, channels: [...replay.recovering.values()], at: Date.now() },
        });
      }
      if (!replay.complete || !replay.recovering.has(this.#userChannel)) {
        for (const listener of [...this.#gapListeners]) guard(listener);
      }
    });
  }

  #subscribed({ channel, wasRecovering, recovered, streamPosition }: ServerSubscribedContext): void {
    const from = this.#offsets.get(channel) ?? 0;
    const to = streamPosition?.offset ?? from;
    // With a replay the position is where it begins.
    this.#offsets.set(channel, to);
    if (!this.#replay || !wasRecovering) return;
    this.#replay.recovering.set(channel, { channel, from, to, complete: recovered });
    this.#replay.complete &&= recovered;
  }

  #publication({ channel, data, offset }: PublicationContext): void {
    if (offset !== undefined) {
      this.#offsets.set(channel, offset);
      const resumed = this.#replay?.recovering.get(channel);
      if (resumed) resumed.to = Math.max(resumed.to, offset);
    }
    const route = this.#route(channel);
    if (route === null || !isEvent(data)) return;
    const replay = this.#replay?.recovering.has(channel) ? this.#replay : null;
    if (replay && data.type !== 'void') {
      replay.events += 1;
      if (data.type === 'post.created') replay.posts += 1;
    }
    const received: Received = { route, channel, at: Date.now(), recovered: replay !== null };
    for (const listener of [...this.#listeners]) guard(() => listener(data, received));
  }

  /** The offset of the last event on the user's own channel; `null` before the first connect. */
  get offset(): number | null {
    return this.#offsets.get(this.#userChannel) ?? null;
  }

  #route(channel: string): Route | null {
    if (channel === this.#userChannel) return 'pushed';
    return channel.startsWith('author:') ? 'pulled' : null;
  }
}

/** `centrifuge` stops for good when a handler throws, so errors of the app's listeners are reported apart from it. */
function guard(task: () => void): void {
  try {
    task();
  } catch (thrown) {
    queueMicrotask(() => {
      throw thrown;
    });
  }
}

/** A refusal ends the connection; any other failure is tried again. */
async function connectionToken(tokens: TokenSource): Promise<string> {
  try {
    return await tokens.forConnection();
  } catch (thrown) {
    const { status, message } = FamaError.from(thrown);
    if (status === 401 || status === 403 || status === 404) throw new UnauthorizedError(message);
    throw thrown;
  }
}

/** Guards against what an app or a newer server may publish on the same channels. */
function isEvent(data: unknown): data is FamaEvent {
  if (!isRecord(data)) return false;
  switch (data['type']) {
    case 'post.created':
    case 'post.updated':
      return isRecord(data['post']) && typeof data['post']['id'] === 'string' && typeof data['post']['author'] === 'string';
    case 'post.deleted':
      return typeof data['id'] === 'string';
    case 'relation.changed':
      return typeof data['user'] === 'string' && typeof data['active'] === 'boolean';
    default:
      return typeof data['type'] === 'string';
  }
}
