import { useEffect, useRef, useState } from 'preact/hooks';
import { FamaError, randomKey, type Post } from '../../client/index.ts';
import { now } from '../clock.ts';
import { nameOf } from '../directory.ts';
import { ago, characters, exactTime, plural } from '../format.ts';
import { attempt, explain } from '../notices.ts';
import { openPost, openProfile } from '../panels.ts';
import type { Session } from '../session.ts';
import { Avatar } from './avatar.tsx';
import { MAX_CHARACTERS } from './composer.tsx';
import { Dialog } from './dialog.tsx';

interface Thread {
  post: Post | null;
  replies: Post[];
  error: FamaError | null;
}

const REPLIES = 50;

function useThread(session: Session, id: string) {
  const [thread, setThread] = useState<Thread>({ post: null, replies: [], error: null });
  const [round, setRound] = useState(0);
  useEffect(() => {
    let current = true;
    const { api } = session.client;
    Promise.all([api.post(id), api.replies(id, { limit: REPLIES })])
      .then(([post, replies]) => current && setThread({ post, replies: replies.data, error: null }))
      .catch((thrown: unknown) => current && setThread((before) => ({ ...before, error: FamaError.from(thrown) })));
    return () => {
      current = false;
    };
  }, [session, id, round]);
  return { ...thread, reload: () => setRound((n) => n + 1) };
}

/** A post with what was answered to it, and room for another answer. */
export function PostDialog({ session, id, onClose }: { session: Session; id: string; onClose: () => void }) {
  const { post, replies, error, reload } = useThread(session, id);
  const gone = error?.status === 404;
  return (
    <Dialog labelledBy="thread-title" class="post-dialog" testid="post-panel" onClose={onClose}>
      <h2 id="thread-title">Post</h2>
      {error && (
        <div class="note warn" role="alert">
          <span>{gone ? 'This post is not there any more, or not for you to see.' : explain(error)}</span>
          {!gone && (
            <button type="button" class="button small" onClick={reload}>
              Try again
            </button>
          )}
        </div>
      )}
      {!post && !error && <p role="status">Loading…</p>}
      {post && (
        <>
          {post.reply_to && (
            <button type="button" class="context" onClick={() => post.reply_to && openPost(post.reply_to)}>
              In reply to another post
            </button>
          )}
          <ThreadPost post={post} large />
          <ReplyForm session={session} post={post} onPublished={reload} />
          <section aria-labelledby="replies-title">
            <h3 id="replies-title">{replies.length === 0 ? 'No replies yet' : plural(replies.length, 'reply', 'replies')}</h3>
            <ul class="replies">
              {replies.map((reply) => (
                <li key={reply.id}>
                  <ThreadPost post={reply} />
                </li>
              ))}
            </ul>
          </section>
        </>
      )}
    </Dialog>
  );
}

function ThreadPost({ post, large }: { post: Post; large?: boolean }) {
  const name = nameOf(post.author);
  return (
    <article class={large ? 'thread-post large' : 'thread-post'} data-testid="thread-post" data-post-id={post.id}>
      <Avatar id={post.author} name={name} size={large ? 44 : 32} />
      <div class="post-main">
        <header class="post-head">
          <button type="button" class="author" onClick={() => openProfile(post.author)}>
            {name}
          </button>
          <time class="sub" dateTime={post.created_at} title={exactTime(post.created_at)}>
            {ago(post.created_at, now.value)}
          </time>
        </header>
        <p class="post-text">{post.text ?? (post.repost_of ? 'Repost' : 'A post without text')}</p>
        {post.repost_of && (
          <button type="button" class="context" onClick={() => post.repost_of && openPost(post.repost_of)}>
            The post that was passed on
          </button>
        )}
      </div>
    </article>
  );
}

function ReplyForm({ session, post, onPublished }: { session: Session; post: Post; onPublished: () => void }) {
  const [text, setText] = useState('');
  const [busy, setBusy] = useState(false);
  /** One key for one answer, however often it is tried: it is published once. */
  const key = useRef(randomKey());
  const ready = text.trim() !== '' && characters(text) <= MAX_CHARACTERS && !busy;
  const send = async () => {
    if (!ready) return;
    setBusy(true);
    const draft = { text: text.trim(), reply_to: post.id };
    if (await attempt('Replying', () => session.client.api.createPost(draft, key.current))) {
      key.current = randomKey();
      setText('');
      onPublished();
    }
    setBusy(false);
  };
  return (
    <form
      class="reply-form"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <label class="visually-hidden" for="reply-text">
        Reply to {nameOf(post.author)}
      </label>
      <input
        id="reply-text"
        placeholder={`Reply to ${nameOf(post.author)}`}
        autocomplete="off"
        value={text}
        data-testid="reply-text"
        onInput={(event) => {
          setText(event.currentTarget.value);
          // Another text is another post.
          if (!busy) key.current = randomKey();
        }}
      />
      <button type="submit" class="button small primary" aria-disabled={!ready} data-testid="reply-send">
        Reply
      </button>
    </form>
  );
}
