import { memo } from 'preact/compat';
import { useState } from 'preact/hooks';
import type { Arrival, FeedItem, PendingPost, Post } from '../../client/index.ts';
import { nameOf } from '../directory.ts';
import { ago, count, duration, exactTime, plural } from '../format.ts';
import { now } from '../clock.ts';
import { attempt, explain } from '../notices.ts';
import { openPost, openProfile } from '../panels.ts';
import type { Session } from '../session.ts';
import { Avatar } from './avatar.tsx';
import { AlertIcon, HeartIcon, ReplyIcon, TrashIcon } from './icons.tsx';

/** How long after its arrival a post is still drawn in with a movement. */
const FRESH_MS = 1_500;

interface Badge {
  arrival: 'pushed' | 'pulled' | 'recovered' | 'page' | 'own';
  route: 'pushed' | 'pulled' | 'none';
  text: string;
  title: string;
}

/** How a post came, and how fast. */
export function badgeOf(arrival: Arrival, delivery: Post['delivery']): Badge {
  if (arrival.kind === 'live') {
    const how = arrival.route === 'pushed' ? 'on your own channel' : 'on the channel that all followers of this author share';
    if (arrival.recovered) {
      return {
        arrival: 'recovered',
        route: arrival.route,
        text: 'recovered',
        title: `${arrival.route === 'pushed' ? 'Pushed' : 'Pulled'}: missed while the connection was down, then replayed ${how}`,
      };
    }
    const time = duration(arrival.latencyMs);
    return {
      arrival: arrival.route,
      route: arrival.route,
      text: `${arrival.route} · ${time}`,
      title: `Came live ${how}, ${time} after it was published`,
    };
  }
  if (arrival.kind === 'own')
    return { arrival: 'own', route: 'none', text: 'published', title: 'Acknowledged by the server: it is on disk' };
  switch (delivery) {
    case 'push':
      return {
        arrival: 'page',
        route: 'pushed',
        text: 'from feed',
        title: 'Loaded with a page: it was pushed into your feed when it was published',
      };
    case 'pull':
      return {
        arrival: 'page',
        route: 'pulled',
        text: 'merged',
        title: 'Loaded with a page: merged in from the author’s own posts when you read',
      };
    default:
      return { arrival: 'page', route: 'none', text: 'loaded', title: 'Loaded with a page of the feed' };
  }
}

interface Props {
  item: FeedItem;
  session: Session;
  onDeleted: (id: string) => void;
}

export const PostCard = memo(function PostCard({ item, session, onDeleted }: Props) {
  const { post, arrival } = item;
  const name = nameOf(post.author);
  const badge = badgeOf(arrival, post.delivery);
  // Decided once: a post is not drawn in again when it changes.
  const [fresh] = useState(() => arrival.kind === 'live' && !arrival.recovered && Date.now() - arrival.at < FRESH_MS);
  const own = post.author === session.user;
  return (
    <article
      class={fresh ? 'post fresh' : 'post'}
      tabIndex={-1}
      aria-labelledby={`name-${post.id} time-${post.id}`}
      aria-describedby={`text-${post.id}`}
      data-testid="post"
      data-post-id={post.id}
      data-author={post.author}
      data-arrival={badge.arrival}
      data-route={badge.route}
    >
      <Avatar id={post.author} name={name} size={44} live={session.client} />
      <div class="post-main">
        <header class="post-head">
          <button type="button" class="author" id={`name-${post.id}`} onClick={() => openProfile(post.author)} data-testid="post-author">
            {name}
          </button>
          <span class="sub handle">@{post.author}</span>
          <span class="dot-sep" aria-hidden="true">
            ·
          </span>
          <Time id={`time-${post.id}`} iso={post.created_at} />
          <span class={`badge route-${badge.route}`} title={badge.title} data-testid="post-badge">
            {badge.text}
          </span>
        </header>
        <Context post={post} />
        <PostText post={post} />
        <Attachments post={post} />
        <PostActions post={post} own={own} session={session} onDeleted={onDeleted} />
      </div>
    </article>
  );
});

function Time({ id, iso }: { id: string; iso: string }) {
  return (
    <time id={id} class="sub" dateTime={iso} title={exactTime(iso)}>
      {ago(iso, now.value)}
    </time>
  );
}

/** What the post answers or passes on. */
function Context({ post }: { post: Post }) {
  const other = post.reply_to ?? post.repost_of;
  if (other === null) return null;
  return (
    <button type="button" class="context" onClick={() => openPost(other)} data-testid="post-context">
      {post.reply_to ? 'In reply to a post' : 'Passes on a post'}
    </button>
  );
}

/** Addresses that are safe to open: anything may have been written there. */
export function safeUrl(text: unknown): string | null {
  if (typeof text !== 'string') return null;
  try {
    const url = new URL(text);
    return url.protocol === 'https:' || url.protocol === 'http:' ? url.href : null;
  } catch {
    return null;
  }
}

function Attachments({ post }: { post: Post }) {
  const urls = (Array.isArray(post.attachments) ? post.attachments : []).map(({ url }) => safeUrl(url)).filter((url) => url !== null);
  if (urls.length === 0) return null;
  return (
    <ul class="attachments">
      {urls.map((url) => (
        <li key={url}>
          <a href={url} target="_blank" rel="noopener noreferrer nofollow" data-testid="attachment">
            {new URL(url).host}
          </a>
        </li>
      ))}
    </ul>
  );
}

function PostText({ post }: { post: Post }) {
  if (post.text === null || post.text === '') {
    return (
      <p class="post-text none" id={`text-${post.id}`}>
        {post.repost_of ? 'Repost' : 'A post without text'}
      </p>
    );
  }
  return (
    <p class="post-text" id={`text-${post.id}`} data-testid="post-text">
      {post.text}
      {post.rev > 1 && <span class="edited"> (edited)</span>}
    </p>
  );
}

function PostActions({ post, own, session, onDeleted }: { post: Post; own: boolean; session: Session; onDeleted: (id: string) => void }) {
  const likes = post.reactions['like'] ?? 0;
  const liked = post.viewer?.reactions.includes('like') ?? false;
  return (
    <div class="post-actions">
      <button
        type="button"
        class="action like"
        aria-pressed={liked}
        aria-label={`Like, ${plural(likes, 'like')}`}
        data-testid="like-toggle"
        onClick={() => void attempt(liked ? 'Taking back the like' : 'Liking', () => session.client.feed.react(post.id, 'like', !liked))}
      >
        <HeartIcon filled={liked} />
        <span class="action-count">{likes > 0 ? count(likes) : ''}</span>
      </button>
      <button
        type="button"
        class="action"
        aria-label="Open the post and its replies"
        data-testid="open-post"
        onClick={() => openPost(post.id)}
      >
        <ReplyIcon />
      </button>
      {own && <DeleteAction post={post} session={session} onDeleted={onDeleted} />}
    </div>
  );
}

function DeleteAction({ post, session, onDeleted }: { post: Post; session: Session; onDeleted: (id: string) => void }) {
  const [step, setStep] = useState<'idle' | 'asking' | 'busy'>('idle');
  if (step === 'idle') {
    return (
      <button type="button" class="action delete" aria-label="Delete this post" data-testid="delete-post" onClick={() => setStep('asking')}>
        <TrashIcon />
      </button>
    );
  }
  const remove = async () => {
    setStep('busy');
    onDeleted(post.id);
    if (!(await attempt('Deleting', () => session.client.feed.delete(post.id)))) setStep('idle');
  };
  return (
    <span class="confirm" role="group" aria-label="Delete this post?">
      <button
        type="button"
        class="button small danger"
        ref={focusOnce}
        aria-disabled={step === 'busy'}
        data-testid="delete-confirm"
        onClick={() => step === 'asking' && void remove()}
      >
        {step === 'busy' ? 'Deleting…' : 'Delete'}
      </button>
      <button type="button" class="button small" onClick={() => setStep('idle')}>
        Keep
      </button>
    </span>
  );
}

const focusOnce = (element: HTMLElement | null) => element?.focus();

/** A post of one's own that the server has not acknowledged. */
export function PendingCard({
  pending,
  session,
  name,
  onEdit,
}: {
  pending: PendingPost;
  session: Session;
  name: string;
  onEdit?: () => void;
}) {
  const failed = pending.status === 'failed';
  return (
    <article
      class={failed ? 'post pending failed' : 'post pending'}
      aria-label={failed ? 'Your post was not published' : 'Your post is being published'}
      data-testid="pending-post"
      data-status={pending.status}
    >
      <Avatar id={session.user} name={name} size={44} />
      <div class="post-main">
        <header class="post-head">
          <span class="author">{name}</span>
          <span class="sub handle">@{session.user}</span>
          {!failed && <span class="badge route-none">sending…</span>}
        </header>
        <p class="post-text">{pending.draft.text}</p>
        {failed && (
          <div class="failure" role="alert">
            <span class="failure-text">
              <AlertIcon /> Not published. {explain(pending.error)}
            </span>
            <span class="failure-actions">
              <button
                type="button"
                class="button small primary"
                data-testid="pending-retry"
                onClick={() => void session.client.feed.retry(pending.key)}
              >
                Try again
              </button>
              <button
                type="button"
                class="button small"
                onClick={() => {
                  session.client.feed.discard(pending.key);
                  onEdit?.();
                }}
              >
                Discard
              </button>
            </span>
          </div>
        )}
      </div>
    </article>
  );
}
