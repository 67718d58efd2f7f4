import { useEffect, useRef } from 'preact/hooks';
import type { DemoConfig } from '../demo-api.ts';
import { count, duration } from '../format.ts';
import { hrefAs } from '../router.ts';
import { MemberPicker } from './member-picker.tsx';

/** The first view: who to be. */
export function Chooser({ config }: { config: DemoConfig }) {
  const view = useRef<HTMLElement>(null);
  useEffect(() => {
    document.title = 'Choose a member · Fama demo';
    // On wide screens typing can start at once; on a phone it would bring up the keyboard over the page.
    if (matchMedia('(min-width: 820px)').matches) view.current?.querySelector('input')?.focus({ preventScroll: true });
  }, []);
  return (
    <main class="chooser" id="main" tabIndex={-1} ref={view}>
      <section class="pitch" aria-labelledby="pitch-title">
        <h1 id="pitch-title">Read a live feed from the inside</h1>
        <p class="lead">
          These are {count(config.members)} members of the United States Congress, and they follow each other as they did on Twitter. Become
          one of them: read their feed as it happens, post as them, and see how every post reached you.
        </p>
        <dl class="figures">
          <div>
            <dt>members</dt>
            <dd>{count(config.members)}</dd>
          </div>
          <div>
            <dt>between posts</dt>
            <dd>{duration(config.post_every_ms)}</dd>
          </div>
          <div>
            <dt>followers make a celebrity</dt>
            <dd>{count(config.celebrity_up)}</dd>
          </div>
        </dl>
        <p class="small-print">
          Posts of celebrities are <span class="mode mode-pull">pulled</span>: stored once, and merged in when a feed is read. All others
          are <span class="mode mode-push">pushed</span> into every follower’s feed as they are published.
        </p>
        <p class="small-print">The follow graph is real. The posts are not: the demo makes them up, and nobody wrote them.</p>
      </section>
      <section class="card choose" aria-labelledby="choose-title">
        <h2 id="choose-title">Who do you want to be?</h2>
        <MemberPicker
          label="Choose a member"
          onPick={(member) => {
            location.hash = hrefAs(member.id);
          }}
        />
        <p class="hint">
          <kbd>↑</kbd> <kbd>↓</kbd> to move, <kbd>Enter</kbd> to choose. Open a second tab to be two members at once.
        </p>
      </section>
    </main>
  );
}
