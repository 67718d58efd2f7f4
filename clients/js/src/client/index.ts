export { FamaApi } from './api.ts';
export { FamaClient, type FamaOptions } from './client.ts';
export { FamaError, type ErrorCode } from './errors.ts';
export type { Arrival, FeedItem, FeedState, PendingPost } from './feed-state.ts';
export { FeedStore, type FeedOptions } from './feed-store.ts';
export { Http, type Call, type HttpOptions, type Query } from './http.ts';
export { compareIds, randomKey } from './ids.ts';
export { InboxStore, type InboxOptions, type InboxState } from './inbox-store.ts';
export { Observable, Writable, type Unsubscribe } from './observable.ts';
export { PresenceStore } from './presence-store.ts';
export {
  Realtime,
  type ConnectionState,
  type RealtimeOptions,
  type RecoveredChannel,
  type Recovery,
  type TransportOptions,
} from './realtime.ts';
export type { Scheduler } from './timer.ts';
export { TokenSource, type GetToken } from './tokens.ts';
export type * from './types.ts';
