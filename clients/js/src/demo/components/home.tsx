import { useEffect } from 'preact/hooks';
import type { DemoConfig } from '../demo-api.ts';
import { loadDirectory, nameOf } from '../directory.ts';
import { explain } from '../notices.ts';
import { closePanel, openPanel, panel } from '../panels.ts';
import type { Session } from '../session.ts';
import { Composer } from './composer.tsx';
import { ConnectionNotes } from './connection-notes.tsx';
import { Discover, FindDialog } from './discover.tsx';
import { Feed, smoothly } from './feed.tsx';
import { HoodDialog } from './hood.tsx';
import { InboxPanel } from './inbox-panel.tsx';
import { PostDialog } from './post-dialog.tsx';
import { OnlineCard } from './presence.tsx';
import { TryCard } from './try-card.tsx';
import { ProfileDialog } from './profile-dialog.tsx';
import { DeliveryCard, ProfileCard } from './sidebar.tsx';

/** The view of one member. */
export function Home({ session, config }: { session: Session; config: DemoConfig }) {
  const name = nameOf(session.user);
  const refused = session.refused.value;
  useEffect(() => {
    void loadDirectory();
    scrollTo(0, 0);
    // A new view: reading goes on from its heading.
    document.getElementById('me')?.focus({ preventScroll: true });
    return closePanel;
  }, [session]);

  useEffect(() => {
    addEventListener('keydown', onShortcut);
    return () => removeEventListener('keydown', onShortcut);
  }, []);

  if (refused) {
    return (
      <main class="message" id="main" tabIndex={-1}>
        <h1>{refused.status === 404 ? `There is no member “${session.user}”` : 'This member can’t be yours'}</h1>
        <p>{explain(refused)}</p>
        <a class="button primary" href="#/">
          Choose a member
        </a>
      </main>
    );
  }
  const onPublished = () => {
    session.paused.value = false;
    session.client.feed.hold(false);
    scrollTo({ top: 0, behavior: smoothly() });
  };
  return (
    <div class="columns">
      <aside class="left" aria-label="You and your delivery">
        <ProfileCard session={session} name={name} />
        <DeliveryCard session={session} threshold={config.celebrity_up} />
      </aside>
      <main class="feed-column" id="main" tabIndex={-1}>
        <ConnectionNotes session={session} />
        <Composer session={session} name={name} onPublished={onPublished} />
        <Feed session={session} name={name} />
      </main>
      <aside class="right" aria-label="People">
        <TryCard session={session} />
        <OnlineCard session={session} />
        <Discover session={session} />
        <footer class="foot sub">
          <p>The follow graph is real. The posts are made up by the demo.</p>
          <p>
            <a href="/docs">API</a> · <a href="/openapi.json">OpenAPI</a>
          </p>
        </footer>
      </aside>
      <OpenPanel session={session} threshold={config.celebrity_up} />
    </div>
  );
}

function OpenPanel({ session, threshold }: { session: Session; threshold: number }) {
  const open = panel.value;
  switch (open?.name) {
    case 'profile':
      return <ProfileDialog key={open.id} session={session} id={open.id} threshold={threshold} onClose={closePanel} />;
    case 'post':
      return <PostDialog key={open.id} session={session} id={open.id} onClose={closePanel} />;
    case 'find':
      return <FindDialog session={session} onClose={closePanel} />;
    case 'inbox':
      return <InboxPanel session={session} onClose={closePanel} />;
    case 'hood':
      return <HoodDialog session={session} threshold={threshold} onClose={closePanel} />;
    case undefined:
      return null;
  }
}

/** `/` finds people, unless somebody is typing. */
function onShortcut(event: KeyboardEvent): void {
  const typing = event.target instanceof HTMLElement && event.target.closest('input, textarea, select, dialog') !== null;
  if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  openPanel({ name: 'find' });
}
