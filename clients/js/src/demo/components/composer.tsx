import { useRef, useState } from 'preact/hooks';
import { characters } from '../format.ts';
import type { Session } from '../session.ts';
import { Avatar } from './avatar.tsx';

export const MAX_CHARACTERS = 5_000;
const NEAR = 500;

const isMac = /Mac|iPhone|iPad/.test(navigator.userAgent);

export function Composer({ session, name, onPublished }: { session: Session; name: string; onPublished: () => void }) {
  const [text, setText] = useState('');
  const field = useRef<HTMLTextAreaElement>(null);
  const length = characters(text);
  const over = length > MAX_CHARACTERS;
  const ready = text.trim() !== '' && !over;

  const send = () => {
    if (!ready) return;
    void session.client.feed.publish({ text: text.trim() });
    setText('');
    field.current?.focus();
    onPublished();
  };

  return (
    <form
      class="card composer"
      aria-label="New post"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <Avatar id={session.user} name={name} size={40} />
      <div class="composer-body">
        <label class="visually-hidden" for="composer-text">
          Post as {name}
        </label>
        <textarea
          id="composer-text"
          ref={field}
          rows={2}
          placeholder={`Say something as ${name}`}
          value={text}
          data-testid="composer"
          aria-describedby="composer-count"
          aria-invalid={over}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
              event.preventDefault();
              send();
            }
          }}
        />
        <div class="composer-foot">
          <span id="composer-count" class={over ? 'counter over' : 'counter'}>
            {length.toLocaleString('en')} / {MAX_CHARACTERS.toLocaleString('en')}
          </span>
          <span class="visually-hidden" role="status">
            {over
              ? `${length - MAX_CHARACTERS} characters too many`
              : length > MAX_CHARACTERS - NEAR
                ? 'Near the limit of 5,000 characters'
                : ''}
          </span>
          <span class="shortcut" aria-hidden="true">
            <kbd>{isMac ? '⌘' : 'Ctrl'}</kbd> <kbd>Enter</kbd>
          </span>
          {/* Not `disabled`: it would take the focus away from those who tab to it. */}
          <button type="submit" class="button primary" aria-disabled={!ready} aria-keyshortcuts="Control+Enter" data-testid="composer-send">
            Post
          </button>
        </div>
      </div>
    </form>
  );
}
