import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { openPanel, panel } from '../panels.ts';
import type { Session } from '../session.ts';
import { CheckIcon, CloseIcon } from './icons.tsx';

const KEY = 'fama-tried';
type Step = 'post' | 'bell' | 'tab' | 'cut' | 'hood';
type Tried = Partial<Record<Step | 'closed', true>>;

const tried = signal<Tried>(read());

function read(): Tried {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    return typeof stored === 'object' && stored !== null ? stored : {};
  } catch {
    // Storage may be denied, or hold something else.
    return {};
  }
}

function mark(step: Step | 'closed'): void {
  if (tried.value[step]) return;
  tried.value = { ...tried.value, [step]: true };
  try {
    localStorage.setItem(KEY, JSON.stringify(tried.value));
  } catch {
    // It lasts as long as the page, then.
  }
}

/** What there is to try, for who is here for the first time; it checks off what was done. */
export function TryCard({ session }: { session: Session }) {
  const posted = session.feed.value.items.some(({ arrival }) => arrival.kind === 'own');
  const open = panel.value?.name;
  const recovered = session.connection.value.recovery !== null;
  useEffect(() => {
    if (posted) mark('post');
    if (open === 'inbox') mark('bell');
    if (open === 'hood') mark('hood');
    if (recovered) mark('cut');
  }, [posted, open, recovered]);
  const done = tried.value;
  if (done.closed) return null;
  return (
    <section class="card try" aria-labelledby="try-title" data-testid="try-card">
      <h2 id="try-title">New here? Try this</h2>
      <button type="button" class="icon-button small try-close" aria-label="Close the list of things to try" onClick={() => mark('closed')}>
        <CloseIcon />
      </button>
      <ol>
        <Item done={done.post}>
          <button type="button" class="context" onClick={() => document.getElementById('composer-text')?.focus()}>
            Write something.
          </button>{' '}
          Your followers get it live.
        </Item>
        <Item done={done.bell}>
          <button type="button" class="context" onClick={() => openPanel({ name: 'inbox' })}>
            Watch the bell.
          </button>{' '}
          Simulated members like it and answer.
        </Item>
        <Item done={done.tab}>
          <a class="context" href="#/" target="_blank" rel="noopener" onClick={() => mark('tab')}>
            Open a second tab
          </a>{' '}
          as somebody else: you see each other online.
        </Item>
        <Item done={done.cut}>
          <button
            type="button"
            class="context"
            onClick={() => document.querySelector<HTMLElement>('[data-testid=cut-connection]')?.focus()}
          >
            Cut your connection
          </button>{' '}
          (button above) and see that nothing is lost.
        </Item>
        <Item done={done.hood}>
          <button type="button" class="context" onClick={() => openPanel({ name: 'hood' })}>
            Look under the hood:
          </button>{' '}
          live charts of this server.
        </Item>
      </ol>
    </section>
  );
}

function Item({ done, children }: { done: true | undefined; children: ComponentChildren }) {
  return (
    <li class={done ? 'done' : undefined}>
      <span class="try-mark">{done && <CheckIcon />}</span>
      <span>
        {done && <span class="visually-hidden">Done: </span>}
        {children}
      </span>
    </li>
  );
}
