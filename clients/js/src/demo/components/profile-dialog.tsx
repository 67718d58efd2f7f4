import { useEffect, useRef, useState } from 'preact/hooks';
import { FamaError, type Post, type User } from '../../client/index.ts';
import { now } from '../clock.ts';
import { directory, nameOf } from '../directory.ts';
import { ago, count, exactTime } from '../format.ts';
import { attempt, explain } from '../notices.ts';
import { openPost } from '../panels.ts';
import { hrefAs } from '../router.ts';
import type { Session } from '../session.ts';
import { usePresence } from '../use-presence.ts';
import { Avatar } from './avatar.tsx';
import { Dialog } from './dialog.tsx';
import { FollowToggle } from './follow-toggle.tsx';
import { SeenText } from './presence.tsx';

interface Posts {
  items: Post[];
  cursor: string | null;
  state: 'loading' | 'ready' | 'error';
  error: FamaError | null;
}

const PAGE = 10;
const noPosts: Posts = { items: [], cursor: null, state: 'loading', error: null };

function useUser(session: Session, id: string) {
  const [loaded, setLoaded] = useState<{ user: User | null; error: FamaError | null }>({ user: null, error: null });
  const [round, setRound] = useState(0);
  useEffect(() => {
    let current = true;
    session.client.api
      .user(id)
      .then((user) => current && setLoaded({ user, error: null }))
      .catch((thrown: unknown) => current && setLoaded((before) => ({ ...before, error: FamaError.from(thrown) })));
    return () => {
      current = false;
    };
  }, [session, id, round]);
  return { ...loaded, reload: () => setRound((n) => n + 1) };
}

function usePosts(session: Session, id: string, blocked: boolean) {
  const [posts, setPosts] = useState<Posts>(noPosts);
  const current = useRef(0);
  const load = async (cursor: string | null) => {
    const mine = ++current.current;
    setPosts((before) => ({ ...before, state: 'loading', error: null }));
    try {
      const page = await session.client.api.postsOf(id, { limit: PAGE, cursor: cursor ?? undefined });
      if (mine !== current.current) return;
      setPosts((before) => ({
        items: cursor === null ? page.data : [...before.items, ...page.data],
        cursor: page.has_more ? page.next_cursor : null,
        state: 'ready',
        error: null,
      }));
    } catch (thrown) {
      if (mine === current.current) setPosts((before) => ({ ...before, state: 'error', error: FamaError.from(thrown) }));
    }
  };
  useEffect(() => {
    setPosts(noPosts);
    void load(null);
    return () => {
      current.current += 1;
    };
  }, [session, id, blocked]);
  return { posts, load };
}

export function ProfileDialog({
  session,
  id,
  threshold,
  onClose,
}: {
  session: Session;
  id: string;
  threshold: number;
  onClose: () => void;
}) {
  const { user, error, reload } = useUser(session, id);
  const seen = usePresence(session.client, id);
  const name = user?.name ?? nameOf(id);
  const self = id === session.user;
  return (
    <Dialog labelledBy="author-title" class="profile-dialog" testid="author-panel" onClose={onClose}>
      <div class="author-head">
        <Avatar id={id} name={name} size={84} />
        <div class="author-id">
          <h2 id="author-title" data-testid="profile-name">
            {name}
          </h2>
          <p class="sub">
            @{id}
            {user?.viewer?.followed_by && <span class="tag">follows you</span>}
            {self && <span class="tag">you</span>}
          </p>
          <SeenText seen={seen} />
        </div>
      </div>
      {error && (
        <div class="note warn" role="alert">
          <span>{explain(error)}</span>
          <button type="button" class="button small" onClick={reload}>
            Try again
          </button>
        </div>
      )}
      <Figures user={user} />
      {!self && <Relations session={session} user={user} name={name} onChanged={reload} onClose={onClose} />}
      <Mode user={user} fallback={directory.value.get(id)?.delivery} threshold={threshold} />
      <ProfilePosts session={session} id={id} name={name} blocked={user?.viewer?.blocked ?? false} />
    </Dialog>
  );
}

function Figures({ user }: { user: User | null }) {
  const figures = [
    ['followers', user?.followers],
    ['following', user?.following],
    ['posts', user?.posts],
  ] as const;
  return (
    <dl class="figures compact">
      {figures.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd data-testid={`author-${label}`}>{value === undefined ? '–' : count(value)}</dd>
        </div>
      ))}
    </dl>
  );
}

interface RelationProps {
  session: Session;
  user: User | null;
  name: string;
  onChanged: () => void;
  onClose: () => void;
}

function Relations({ session, user, name, onChanged, onClose }: RelationProps) {
  const viewer = user?.viewer;
  if (!user || !viewer) return <div class="author-actions placeholder" />;
  const { id } = user;
  const toggle = async (what: string, action: () => Promise<void>) => {
    if (await attempt(what, action)) onChanged();
  };
  return (
    <div class="author-actions">
      {!viewer.blocked && <FollowToggle session={session} user={id} name={name} following={viewer.following} onChanged={onChanged} />}
      <button
        type="button"
        class={viewer.muted ? 'button small on' : 'button small'}
        aria-label={`${viewer.muted ? 'Muted' : 'Mute'} ${name}`}
        title={viewer.muted ? 'Their posts are hidden from your feed' : 'Hide their posts from your feed; they do not learn of it'}
        data-testid="mute-toggle"
        data-muted={viewer.muted}
        onClick={() => void toggle(viewer.muted ? 'Unmuting' : 'Muting', () => session.mute(id, !viewer.muted))}
      >
        {viewer.muted ? 'Muted' : 'Mute'}
      </button>
      <button
        type="button"
        class={viewer.blocked ? 'button small danger on' : 'button small danger'}
        aria-label={`${viewer.blocked ? 'Blocked' : 'Block'} ${name}`}
        title={viewer.blocked ? 'Neither of you sees the other' : 'Neither of you will see the other'}
        data-testid="block-toggle"
        data-blocked={viewer.blocked}
        onClick={() => void toggle(viewer.blocked ? 'Unblocking' : 'Blocking', () => session.block(id, !viewer.blocked))}
      >
        {viewer.blocked ? 'Blocked' : 'Block'}
      </button>
      <a class="button small quiet become" href={hrefAs(id)} onClick={onClose} aria-label={`Become ${name}`}>
        Become
      </a>
    </div>
  );
}

function Mode({ user, fallback, threshold }: { user: User | null; fallback: 'push' | 'pull' | undefined; threshold: number }) {
  const mode = user?.delivery ?? fallback;
  if (mode === undefined) return null;
  return (
    <section class={`mode-box mode-box-${mode}`} aria-label="Delivery" data-testid="author-mode" data-mode={mode}>
      <h3>{mode === 'pull' ? 'Pulled' : 'Pushed'}</h3>
      <p>
        {mode === 'pull'
          ? `With ${count(threshold)} followers or more, a post is stored once, merged into each feed when it is read, and sent live on one channel that all followers share.`
          : `Below ${count(threshold)} followers, each post is written into every follower’s feed when it is published, and sent live to each of them.`}
      </p>
    </section>
  );
}

function ProfilePosts({ session, id, name, blocked }: { session: Session; id: string; name: string; blocked: boolean }) {
  const { posts, load } = usePosts(session, id, blocked);
  return (
    <section aria-labelledby="latest-title" class="latest">
      <h3 id="latest-title">Posts</h3>
      <ul data-testid="profile-posts">
        {posts.items.map((post) => (
          <li key={post.id}>
            <button type="button" class="latest-post" onClick={() => openPost(post.id)}>
              <span class="latest-text">{post.text ?? (post.repost_of ? 'Repost' : 'A post without text')}</span>
              <time class="sub" dateTime={post.created_at} title={exactTime(post.created_at)}>
                {ago(post.created_at, now.value)}
              </time>
            </button>
          </li>
        ))}
      </ul>
      {posts.state === 'error' ? (
        <div class="note warn" role="alert">
          <span>{explain(posts.error)}</span>
          <button type="button" class="button small" onClick={() => void load(posts.cursor)}>
            Try again
          </button>
        </div>
      ) : posts.state === 'loading' ? (
        <p class="sub" role="status">
          Loading posts…
        </p>
      ) : posts.cursor !== null ? (
        <button type="button" class="button small" onClick={() => void load(posts.cursor)} data-testid="profile-more">
          Older posts
        </button>
      ) : (
        <p class="sub">{posts.items.length === 0 ? `No posts of ${name} that you can see.` : 'That is all.'}</p>
      )}
    </section>
  );
}
