import { useEffect, useRef, useState } from 'preact/hooks';
import type { InboxState, Notification } from '../../client/index.ts';
import { now } from '../clock.ts';
import { nameOf } from '../directory.ts';
import { ago, exactTime } from '../format.ts';
import { badgeText, sentenceOf } from '../notification-text.ts';
import { attempt, explain } from '../notices.ts';
import { openPost, openProfile } from '../panels.ts';
import type { Session } from '../session.ts';
import { Avatar } from './avatar.tsx';
import { Dialog } from './dialog.tsx';
import { ArchiveIcon, AtIcon, BellIcon, HeartIcon, PersonIcon, ReplyIcon, RepostIcon } from './icons.tsx';

/** The bell of the header, with how many notifications have not been seen. */
export function Bell({ session, onOpen }: { session: Session; onOpen: () => void }) {
  const { unseen } = session.inbox.value;
  const label = unseen === 0 ? 'Notifications' : `Notifications, ${badgeText(unseen)} new`;
  return (
    <button
      type="button"
      class="icon-button bell"
      aria-label={label}
      title={label}
      data-testid="bell"
      data-unseen={unseen}
      onClick={onOpen}
    >
      <BellIcon />
      {unseen > 0 && (
        // A new key for a new number: it moves, so that it is noticed.
        <span class="bell-badge tabular" aria-hidden="true" key={unseen}>
          {badgeText(unseen)}
        </span>
      )}
    </button>
  );
}

export function InboxPanel({ session, onClose }: { session: Session; onClose: () => void }) {
  const state = session.inbox.value;
  const { inbox } = session.client;
  const [unreadOnly, setUnreadOnly] = useState(false);
  const list = useRef<HTMLUListElement>(null);
  useEffect(() => {
    // What comes while the list is open is seen as well.
    if (state.status === 'ready' && state.unseen > 0 && document.visibilityState === 'visible')
      void inbox.markSeen().catch(() => undefined);
  }, [inbox, state.status, state.unseen]);
  const shown = unreadOnly ? state.items.filter(({ read }) => !read) : state.items;
  const onGone = (at: number) => {
    const rows = [...(list.current?.querySelectorAll<HTMLElement>('.notification-open') ?? [])];
    (rows[at + 1] ?? rows[at - 1] ?? document.getElementById('inbox-title'))?.focus();
  };
  return (
    <Dialog labelledBy="inbox-title" class="inbox-dialog" testid="inbox-panel" onClose={onClose}>
      <h2 id="inbox-title" tabIndex={-1}>
        Notifications
      </h2>
      <div class="inbox-tools">
        <div class="segments" role="group" aria-label="Which notifications">
          <button type="button" class="segment" aria-pressed={!unreadOnly} onClick={() => setUnreadOnly(false)}>
            All
          </button>
          <button
            type="button"
            class="segment"
            aria-pressed={unreadOnly}
            data-testid="inbox-unread-only"
            onClick={() => setUnreadOnly(true)}
          >
            Unread{' '}
            <span class="tabular" data-testid="inbox-unread" data-count={state.unread}>
              {badgeText(state.unread)}
            </span>
          </button>
        </div>
        <button
          type="button"
          class="button small quiet"
          aria-disabled={state.unread === 0}
          data-testid="inbox-read-all"
          onClick={() => state.unread > 0 && void attempt('Marking as read', () => inbox.markAllRead())}
        >
          Mark all as read
        </button>
      </div>
      <ul class="notifications" ref={list} aria-busy={state.status === 'loading'} data-testid="inbox" data-status={state.status}>
        {shown.map((item, at) => (
          <Row key={item.id} item={item} session={session} onGone={() => onGone(at)} />
        ))}
      </ul>
      <InboxEnd state={state} empty={shown.length === 0} unreadOnly={unreadOnly} session={session} />
    </Dialog>
  );
}

const ICONS: Readonly<Record<string, typeof BellIcon>> = {
  follow: PersonIcon,
  mention: AtIcon,
  reply: ReplyIcon,
  repost: RepostIcon,
};
const FACES = 3;

function Row({ item, session, onGone }: { item: Notification; session: Session; onGone: () => void }) {
  const { inbox } = session.client;
  const { who, did } = sentenceOf(item, nameOf);
  const Icon = item.type === 'reaction' ? FilledHeart : (ICONS[item.type] ?? BellIcon);
  const open = () => {
    if (!item.read) void attempt('Marking as read', () => inbox.setRead(item.id, true));
    if (item.subject) openPost(item.subject.id);
    else if (item.actors[0] !== undefined) openProfile(item.actors[0]);
  };
  return (
    <li
      class={item.read ? 'notification' : 'notification unread'}
      data-testid="notification"
      data-id={item.id}
      data-type={item.type}
      data-read={item.read}
      data-seen={item.seen}
      data-actors={item.actor_count}
    >
      <button type="button" class="notification-open" onClick={open}>
        <span class={`notification-kind kind-${item.type}`}>
          <Icon />
        </span>
        <span class="notification-main">
          <span class="faces">
            {item.actors.slice(0, FACES).map((actor) => (
              <Avatar key={actor} id={actor} name={nameOf(actor)} size={28} />
            ))}
          </span>
          <span class="notification-text" data-testid="notification-text">
            {who !== '' && <b>{who}</b>} {did}
            {!item.read && <span class="visually-hidden">, unread</span>}
          </span>
          <time class="sub" dateTime={item.updated_at} title={exactTime(item.updated_at)}>
            {ago(item.updated_at, now.value)}
          </time>
        </span>
      </button>
      <span class="notification-actions">
        <button
          type="button"
          class="icon-button small"
          aria-label={item.read ? `Mark as unread: ${who} ${did}` : `Mark as read: ${who} ${did}`}
          title={item.read ? 'Mark as unread' : 'Mark as read'}
          data-testid="notification-read"
          onClick={() => void attempt(item.read ? 'Marking as unread' : 'Marking as read', () => inbox.setRead(item.id, !item.read))}
        >
          <span class={item.read ? 'read-dot' : 'read-dot on'} aria-hidden="true" />
        </button>
        <button
          type="button"
          class="icon-button small"
          aria-label={`Archive: ${who} ${did}`}
          title="Archive"
          data-testid="notification-archive"
          onClick={() => {
            onGone();
            void attempt('Archiving', () => inbox.archive(item.id));
          }}
        >
          <ArchiveIcon />
        </button>
      </span>
    </li>
  );
}

const FilledHeart = () => <HeartIcon filled />;

/** The end of the list: more comes when it is near, and it says why there is no more. */
function InboxEnd({ state, empty, unreadOnly, session }: { state: InboxState; empty: boolean; unreadOnly: boolean; session: Session }) {
  const sentinel = useRef<HTMLDivElement>(null);
  const { inbox } = session.client;
  const { more, status } = state;
  useEffect(() => {
    const target = sentinel.current;
    if (!target || more !== 'idle' || status !== 'ready') return;
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && void inbox.loadMore(), { rootMargin: '300px' });
    observer.observe(target);
    return () => observer.disconnect();
  }, [inbox, more, status, state.items.length]);
  const failed = status === 'error' || more === 'error';
  return (
    <div class="inbox-end" ref={sentinel} data-testid="inbox-end" data-more={more}>
      {failed ? (
        <div role="alert">
          <p>Notifications could not be loaded. {explain(state.error)}</p>
          <button type="button" class="button small" onClick={() => void (status === 'error' ? inbox.load() : inbox.loadMore())}>
            Try again
          </button>
        </div>
      ) : status === 'loading' || more === 'loading' ? (
        <p role="status">Loading…</p>
      ) : empty ? (
        <div class="empty">
          <BellIcon />
          <h3>{unreadOnly ? 'All read' : 'Nothing yet'}</h3>
          <p>
            {unreadOnly
              ? 'New ones appear here at once.'
              : 'When somebody likes, answers, mentions or follows you, it appears here at once.'}
          </p>
        </div>
      ) : (
        more === 'end' && <p>That is all.</p>
      )}
    </div>
  );
}
