import { FamaApi } from './api.ts';
import { FeedStore, type FeedOptions } from './feed-store.ts';
import { Http } from './http.ts';
import { InboxStore } from './inbox-store.ts';
import type { Observable, Unsubscribe } from './observable.ts';
import { PresenceStore } from './presence-store.ts';
import { Realtime, type ConnectionState, type TransportOptions } from './realtime.ts';
import { TokenSource, type GetToken } from './tokens.ts';
import type { FamaEvent, Received, UserId } from './types.ts';

export interface FamaOptions {
  /** The user that the tokens name (`sub`). */
  user: UserId;
  /** Called for the first token, and whenever the last one has run out. Throw a `FamaError` with status 401 to give up. */
  getToken: GetToken;
  /** Such as `https://fama.example.com`; by default the page's own origin. */
  url?: string;
  /** Path of the WebSocket endpoint. */
  websocketPath?: string;
  /** The longest an HTTP call may take. */
  timeoutMs?: number;
  feed?: Omit<FeedOptions, 'self'>;
  transport?: TransportOptions;
}

/** How long the first page waits for the connection, so that nothing published between the two is missed. */
const FIRST_PAGE_WAIT_MS = 1_500;

/** One user's view of a Fama server: the HTTP API, the connection, and the feed and inbox kept in step with both. */
export class FamaClient {
  readonly user: UserId;
  readonly api: FamaApi;
  readonly feed: FeedStore;
  readonly inbox: InboxStore;
  readonly presence: PresenceStore;
  readonly realtime: Realtime;

  constructor(options: FamaOptions) {
    const tokens = new TokenSource(options.getToken);
    const url = options.url ?? '';
    this.user = options.user;
    this.api = new FamaApi(new Http({ url, tokens, ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }) }));
    this.feed = new FeedStore(this.api, { attentive: isAttentive, ...options.feed, self: options.user });
    this.realtime = new Realtime({
      ...options.transport,
      endpoint: websocketUrl(url, options.websocketPath ?? '/connection/websocket'),
      self: options.user,
      tokens,
    });
    this.inbox = new InboxStore(this.api);
    this.presence = new PresenceStore(this.realtime.centrifuge);
    this.realtime.onEvent((event, received) => {
      this.feed.apply(event, received);
      this.inbox.apply(event);
    });
    this.realtime.onGap(() => {
      this.feed.invalidate(0);
      this.inbox.invalidate(0);
    });
  }

  /** The state of the connection. */
  get connection(): Observable<ConnectionState> {
    return this.realtime;
  }

  /** Connects, and loads the feed as soon as that is done; without a connection, after a short wait. */
  connect(): void {
    this.realtime.connect();
    this.feed.invalidate(FIRST_PAGE_WAIT_MS);
    this.inbox.invalidate(FIRST_PAGE_WAIT_MS);
  }

  /** Calls `listener` with every live event: the feed's, and those of the inbox and of relations. */
  onEvent(listener: (event: FamaEvent, received: Received) => void): Unsubscribe {
    return this.realtime.onEvent(listener);
  }

  /** Ends the connection and all timers. The client can't be used again. */
  close(): void {
    this.feed.close();
    this.inbox.close();
    this.presence.close();
    this.realtime.disconnect();
  }
}

/** The tab is in front, and the user has touched the page. */
function isAttentive(): boolean {
  const page = (globalThis as { document?: Document }).document;
  return page?.visibilityState === 'visible' && (navigator.userActivation?.hasBeenActive ?? false);
}

function websocketUrl(url: string, path: string): string {
  const page = (globalThis as { location?: Location }).location;
  const base = url === '' ? page?.origin : url;
  if (base === undefined) throw new TypeError('`url` is needed outside a browser');
  const target = new URL(base.replace(/\/+$/, '') + path, page?.href);
  target.protocol = target.protocol === 'https:' || target.protocol === 'wss:' ? 'wss:' : 'ws:';
  return target.href;
}
