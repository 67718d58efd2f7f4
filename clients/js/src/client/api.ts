import type { Call, Http } from './http.ts';
import { randomKey } from './ids.ts';
import type {
  NewPost,
  Notification,
  NotificationCounts,
  OwnStatus,
  Page,
  PageQuery,
  Post,
  PostId,
  Presence,
  Relation,
  User,
  UserId,
} from './types.ts';

const segment = encodeURIComponent;

/** The HTTP API, one method per route. Every method throws `FamaError`. */
export class FamaApi {
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

  /** Any other route of the server, with the same token, deadline and errors. */
  call<T>(method: string, path: string, call?: Call): Promise<T> {
    return this.#http.call<T>(method, path, call);
  }

  feed(page: PageQuery = {}, signal?: AbortSignal): Promise<Page<Post>> {
    return this.#http.call('GET', '/v1/feed', { query: { ...page }, ...(signal && { signal }) });
  }

  /** Publishes. Repeat a call whose outcome is unknown with the same `idempotencyKey`, and it is published once. */
  createPost(post: NewPost, idempotencyKey: string = randomKey()): Promise<Post> {
    return this.#http.call('POST', '/v1/posts', { body: post, idempotencyKey });
  }

  post(id: PostId): Promise<Post> {
    return this.#http.call('GET', `/v1/posts/${segment(id)}`);
  }

  editPost(id: PostId, change: Pick<NewPost, 'text' | 'data'>): Promise<Post> {
    return this.#http.call('PATCH', `/v1/posts/${segment(id)}`, { body: change });
  }

  deletePost(id: PostId): Promise<void> {
    return this.#http.call('DELETE', `/v1/posts/${segment(id)}`);
  }

  react(id: PostId, kind: string): Promise<void> {
    return this.#http.call('PUT', `/v1/posts/${segment(id)}/reactions/${segment(kind)}`);
  }

  unreact(id: PostId, kind: string): Promise<void> {
    return this.#http.call('DELETE', `/v1/posts/${segment(id)}/reactions/${segment(kind)}`);
  }

  /** The inbox, what changed last first. */
  notifications(page: PageQuery & { unread?: boolean } = {}): Promise<Page<Notification>> {
    return this.#http.call('GET', '/v1/notifications', { query: { ...page } });
  }

  notificationCounts(): Promise<NotificationCounts> {
    return this.#http.call('GET', '/v1/notifications/counts');
  }

  /** The notification at the top of the list, and all that changed before it, were shown. */
  markSeen(upTo: string): Promise<NotificationCounts> {
    return this.#http.call('POST', '/v1/notifications/seen', { body: { up_to: upTo } });
  }

  /** Marks a notification and all that changed before it as read, or just those named. */
  markRead(which: { up_to: string } | { ids: string[] }): Promise<NotificationCounts> {
    return this.#http.call('POST', '/v1/notifications/read', { body: which });
  }

  markUnread(ids: string[]): Promise<NotificationCounts> {
    return this.#http.call('POST', '/v1/notifications/unread', { body: { ids } });
  }

  /** Takes a notification from the list for good. */
  archiveNotification(id: string): Promise<NotificationCounts> {
    return this.#http.call('DELETE', `/v1/notifications/${segment(id)}`);
  }

  user(id: UserId): Promise<User> {
    return this.#http.call('GET', `/v1/users/${segment(id)}`);
  }

  postsOf(id: UserId, page: PageQuery = {}): Promise<Page<Post>> {
    return this.#http.call('GET', `/v1/users/${segment(id)}/posts`, { query: { ...page } });
  }

  replies(id: PostId, page: PageQuery = {}): Promise<Page<Post>> {
    return this.#http.call('GET', `/v1/posts/${segment(id)}/replies`, { query: { ...page } });
  }

  /** Whether users are online, as far as the caller may know, in the order asked; at most 500. */
  presence(users: UserId[]): Promise<{ data: Presence[] }> {
    return this.#http.call('GET', '/v1/presence', { query: { users: users.join(',') } });
  }

  /** Chooses as what the user is seen while connected, on every device, until the next choice. */
  setPresence(status: OwnStatus): Promise<void> {
    return this.#http.call('PUT', '/v1/presence', { body: { status } });
  }

  following(page: PageQuery = {}): Promise<Page<Relation>> {
    return this.#http.call('GET', '/v1/following', { query: { ...page } });
  }

  follow(author: UserId): Promise<void> {
    return this.#http.call('PUT', `/v1/following/${segment(author)}`);
  }

  unfollow(author: UserId): Promise<void> {
    return this.#http.call('DELETE', `/v1/following/${segment(author)}`);
  }

  mute(user: UserId): Promise<void> {
    return this.#http.call('PUT', `/v1/mutes/${segment(user)}`);
  }

  unmute(user: UserId): Promise<void> {
    return this.#http.call('DELETE', `/v1/mutes/${segment(user)}`);
  }

  block(user: UserId): Promise<void> {
    return this.#http.call('PUT', `/v1/blocks/${segment(user)}`);
  }

  unblock(user: UserId): Promise<void> {
    return this.#http.call('DELETE', `/v1/blocks/${segment(user)}`);
  }
}
