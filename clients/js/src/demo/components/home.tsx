import { useCallback, useEffect, useState } from 'preact/hooks';
import type { DemoConfig } from '../demo-api.ts';
import { loadDirectory, nameOf } from '../directory.ts';
import { explain } from '../notices.ts';
import type { Session } from '../session.ts';
import { AuthorDialog } from './author-dialog.tsx';
import { Composer } from './composer.tsx';
import { ConnectionNotes } from './connection-notes.tsx';
import { Discover, FindDialog } from './discover.tsx';
import { Feed, smoothly } from './feed.tsx';
import { DeliveryCard, ProfileCard } from './sidebar.tsx';

type Panel = { name: 'author'; id: string } | { name: 'find' } | null;

/** The view of one member. */
export function Home({ session, config }: { session: Session; config: DemoConfig }) {
  const [panel, setPanel] = useState<Panel>(null);
  const name = nameOf(session.user);
  const refused = session.refused.value;
  const onAuthor = useCallback((id: string) => setPanel({ name: 'author', id }), []);
  const onFind = useCallback(() => setPanel({ name: 'find' }), []);
  const onClose = useCallback(() => setPanel(null), []);

  useEffect(() => {
    void loadDirectory();
    scrollTo(0, 0);
    // A new view: reading goes on from its heading.
    document.getElementById('me')?.focus({ preventScroll: true });
  }, [session]);

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
        <Feed session={session} name={name} onAuthor={onAuthor} onFind={onFind} />
      </main>
      <aside class="right" aria-label="People">
        <Discover session={session} onAuthor={onAuthor} onFind={onFind} />
        <footer class="foot sub">
          <p>The follow graph is real. The posts are made up by the demo.</p>
          <p>
            <a href="/docs">API</a> · <a href="/openapi.json">OpenAPI</a>
          </p>
        </footer>
      </aside>
      {panel?.name === 'author' && (
        <AuthorDialog key={panel.id} session={session} id={panel.id} threshold={config.celebrity_up} onClose={onClose} />
      )}
      {panel?.name === 'find' && <FindDialog session={session} onAuthor={onAuthor} onClose={onClose} />}
    </div>
  );
}
