import { useCallback, useEffect, useRef } from 'preact/hooks';
import type { FeedState } from '../../client/index.ts';
import { plural } from '../format.ts';
import { explain } from '../notices.ts';
import type { Session } from '../session.ts';
import { ArrowUpIcon, PauseIcon, PlayIcon } from './icons.tsx';
import { PendingCard, PostCard } from './post-card.tsx';

/** The list counts as scrolled away when its top has gone this far beneath the bar. */
const SCROLLED_PX = 24;
const BAR_PX = 56;

export function smoothly(): ScrollBehavior {
  return matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth';
}

interface Props {
  session: Session;
  name: string;
}

export function Feed({ session, name }: Props) {
  const list = useRef<HTMLDivElement>(null);
  const state = session.feed.value;
  const { feed } = session.client;
  useHold(session, list);
  useEffect(() => {
    document.title = `${state.waiting > 0 ? `(${state.waiting}) ` : ''}${name} · Fama demo`;
  }, [state.waiting, name]);

  const reveal = () => {
    session.paused.value = false;
    feed.hold(false);
    feed.reveal();
    const top = list.current?.closest('.feed-column')?.querySelector('.feed-head');
    top?.scrollIntoView({ block: 'start', behavior: smoothly() });
    focusArticle(list.current, 0);
  };
  const onDeleted = useCallback((id: string) => {
    const cards = articles(list.current);
    const at = cards.findIndex((card) => card.dataset['postId'] === id);
    const next = cards[at + 1] ?? cards[at - 1];
    next?.focus({ preventScroll: true });
  }, []);

  return (
    <section class="feed" aria-labelledby="feed-title">
      <FeedHead session={session} />
      <NewPosts waiting={state.waiting} stale={state.stale} onReveal={reveal} />
      {state.error && state.status === 'ready' && state.more !== 'error' && <StaleNote state={state} onRetry={() => void feed.load()} />}
      <div
        class="card posts"
        role="feed"
        aria-label="Posts"
        aria-busy={state.status === 'loading'}
        ref={list}
        data-testid="feed"
        data-status={state.status}
        onKeyDown={onFeedKey}
      >
        {state.pending.map((pending) => (
          <PendingCard key={pending.key} pending={pending} session={session} name={name} />
        ))}
        {state.items.map((item) => (
          <PostCard key={item.post.id} item={item} session={session} onDeleted={onDeleted} />
        ))}
        {state.status === 'loading' && state.items.length === 0 && <Skeleton />}
      </div>
      <FeedEnd state={state} session={session} />
    </section>
  );
}

/** New posts wait while the reader has scrolled into the list or paused it, so that nothing moves under the eyes. */
function useHold(session: Session, list: { current: HTMLDivElement | null }) {
  const paused = session.paused.value;
  useEffect(() => {
    const { feed } = session.client;
    const update = () => {
      const top = list.current?.getBoundingClientRect().top ?? 0;
      feed.hold(paused || top < BAR_PX - SCROLLED_PX);
    };
    update();
    addEventListener('scroll', update, { passive: true });
    return () => removeEventListener('scroll', update);
  }, [session, paused]);
}

function articles(list: HTMLElement | null): HTMLElement[] {
  return [...(list?.querySelectorAll<HTMLElement>('article[data-post-id]') ?? [])];
}

function focusArticle(list: HTMLElement | null, index: number): void {
  // After the render that shows it.
  requestAnimationFrame(() => articles(list)[index]?.focus({ preventScroll: true }));
}

/** Page Up and Page Down go from post to post, as in every `role="feed"`; `j` and `k` too. */
function onFeedKey(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  const step = { PageDown: 1, PageUp: -1, j: 1, k: -1 }[event.key];
  if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  const cards = articles(event.currentTarget as HTMLElement);
  const here = target.closest<HTMLElement>('article');
  const next = cards[(here ? cards.indexOf(here) : -1) + step];
  if (!next) return;
  event.preventDefault();
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: 'nearest', behavior: smoothly() });
}

function FeedHead({ session }: { session: Session }) {
  const paused = session.paused.value;
  return (
    <div class="feed-head">
      <h2 id="feed-title">Feed</h2>
      <button
        type="button"
        class="button small quiet"
        aria-pressed={paused}
        data-testid="pause-feed"
        onClick={() => {
          session.paused.value = !paused;
        }}
      >
        {paused ? <PlayIcon /> : <PauseIcon />}
        {paused ? 'Resume' : 'Pause'}
      </button>
    </div>
  );
}

function NewPosts({ waiting, stale, onReveal }: { waiting: number; stale: boolean; onReveal: () => void }) {
  const text = stale ? 'New posts' : plural(waiting, 'new post');
  return (
    <div class="pill-line">
      {(waiting > 0 || stale) && (
        <button type="button" class="pill" onClick={onReveal} data-testid="new-posts-pill">
          <ArrowUpIcon />
          {text}
        </button>
      )}
    </div>
  );
}

function StaleNote({ state, onRetry }: { state: FeedState; onRetry: () => void }) {
  return (
    <div class="note warn" role="status">
      <span>The feed could not be brought up to date. {explain(state.error)}</span>
      <button type="button" class="button small" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}

function Skeleton() {
  return (
    <div class="skeletons" aria-hidden="true">
      {[72, 54, 83, 61].map((width) => (
        <div class="post skeleton" key={width}>
          <span class="bone bone-avatar" />
          <div class="post-main">
            <span class="bone bone-name" />
            <span class={`bone bone-text bone-${width}`} />
          </div>
        </div>
      ))}
    </div>
  );
}

/** The end of the list: loads the next page when it comes near, and says what is the matter when it can't. */
function FeedEnd({ state, session }: { state: FeedState; session: Session }) {
  const sentinel = useRef<HTMLDivElement>(null);
  const { feed } = session.client;
  const { more, status } = state;
  useEffect(() => {
    const target = sentinel.current;
    if (!target || more !== 'idle' || status !== 'ready') return;
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && void feed.loadMore(), { rootMargin: '900px' });
    observer.observe(target);
    return () => observer.disconnect();
    // Observed anew after every page: if the end is still near, the next one follows.
  }, [feed, more, status, state.items.length]);

  return (
    <div class="feed-end" ref={sentinel} data-testid="feed-end" data-more={more}>
      <EndText state={state} session={session} />
    </div>
  );
}

function EndText({ state, session }: { state: FeedState; session: Session }) {
  const { feed } = session.client;
  if (state.status === 'error') {
    return (
      <div class="empty" role="alert">
        <h3>The feed could not be loaded</h3>
        <p>{explain(state.error)}</p>
        <button type="button" class="button" onClick={() => void feed.load()}>
          Try again
        </button>
      </div>
    );
  }
  if (state.status === 'loading')
    return (
      <p class="visually-hidden" role="status">
        Loading the feed
      </p>
    );
  switch (state.more) {
    case 'loading':
      return <p role="status">Loading older posts…</p>;
    case 'idle':
      return (
        <button type="button" class="button quiet" onClick={() => void feed.loadMore()}>
          Older posts
        </button>
      );
    case 'error':
    case 'stalled':
      return (
        <div role="alert">
          <p>
            {state.more === 'stalled' ? 'Part of the feed is slow to answer.' : `Older posts could not be loaded. ${explain(state.error)}`}
          </p>
          <button type="button" class="button small" onClick={() => void feed.loadMore()}>
            Try again
          </button>
        </div>
      );
    case 'limit':
      return <p>That is as far as this page goes back.</p>;
    case 'end':
      return state.items.length + state.pending.length === 0 ? (
        <div class="empty">
          <h3>Nothing here yet</h3>
          <p>Follow somebody, or write the first post. What they publish appears here at once.</p>
        </div>
      ) : (
        <p>You have reached the beginning.</p>
      );
  }
}
