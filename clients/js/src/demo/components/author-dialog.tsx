import { useEffect, useState } from 'preact/hooks';
import { FamaError, type Post, type User } from '../../client/index.ts';
import { now } from '../clock.ts';
import { directory, nameOf } from '../directory.ts';
import { ago, count, exactTime } from '../format.ts';
import { attempt, explain } from '../notices.ts';
import { hrefAs } from '../router.ts';
import type { Session } from '../session.ts';
import { Avatar } from './avatar.tsx';
import { Dialog } from './dialog.tsx';
import { FollowToggle } from './follow-toggle.tsx';

interface Loaded {
  user: User | null;
  posts: Post[];
  error: FamaError | null;
}

const LATEST = 3;

function useAuthor(session: Session, id: string) {
  const [loaded, setLoaded] = useState<Loaded>({ user: null, posts: [], error: null });
  const [round, setRound] = useState(0);
  useEffect(() => {
    let current = true;
    const { api } = session.client;
    Promise.all([api.user(id), api.postsOf(id, { limit: LATEST }).catch(() => null)])
      .then(([user, page]) => current && setLoaded({ user, posts: page?.data ?? [], error: null }))
      .catch((thrown: unknown) => current && setLoaded((before) => ({ ...before, error: FamaError.from(thrown) })));
    return () => {
      current = false;
    };
  }, [session, id, round]);
  return { ...loaded, reload: () => setRound((n) => n + 1) };
}

export function AuthorDialog({
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
  const { user, posts, error, reload } = useAuthor(session, id);
  const name = nameOf(id);
  return (
    <Dialog labelledBy="author-title" class="author-dialog" testid="author-panel" onClose={onClose}>
      <div class="author-head">
        <Avatar id={id} name={name} size={64} />
        <div class="author-id">
          <h2 id="author-title">{name}</h2>
          <p class="sub">
            @{id}
            {user?.viewer?.followed_by && <span class="tag">follows you</span>}
          </p>
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
      {id === session.user ? (
        <p class="sub">This is you.</p>
      ) : (
        <Relations session={session} user={user} name={name} onChanged={reload} onClose={onClose} />
      )}
      <Mode user={user} fallback={directory.value.get(id)?.delivery} threshold={threshold} />
      <Latest posts={posts} />
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
      <FollowToggle session={session} user={id} name={name} following={viewer.following} onChanged={onChanged} />
      <button
        type="button"
        class={viewer.muted ? 'button small on' : 'button small'}
        aria-label={`${viewer.muted ? 'Muted' : 'Mute'} ${name}`}
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

function Latest({ posts }: { posts: Post[] }) {
  if (posts.length === 0) return null;
  return (
    <section aria-labelledby="latest-title" class="latest">
      <h3 id="latest-title">Latest posts</h3>
      <ul>
        {posts.map((post) => (
          <li key={post.id}>
            <p>{post.text ?? 'A post without text'}</p>
            <time class="sub" dateTime={post.created_at} title={exactTime(post.created_at)}>
              {ago(post.created_at, now.value)}
            </time>
          </li>
        ))}
      </ul>
    </section>
  );
}
