import { useEffect, useState } from 'preact/hooks';
import { FamaError } from '../../client/index.ts';
import { loadConfig, type DemoConfig } from '../demo-api.ts';
import { announcement, dismissToast, explain, toasts } from '../notices.ts';
import { route } from '../router.ts';
import { Session } from '../session.ts';
import { Chooser } from './chooser.tsx';
import { Header } from './header.tsx';
import { Home } from './home.tsx';
import { CloseIcon } from './icons.tsx';

const RETRY_MS = 3_000;

/** The demo's parameters; asked for until the server answers. */
function useConfig() {
  const [config, setConfig] = useState<DemoConfig | null>(null);
  const [error, setError] = useState<FamaError | null>(null);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    const load = () => {
      loadConfig().then(
        (loaded) => {
          setConfig(loaded);
          setError(null);
        },
        (thrown: unknown) => {
          setError(FamaError.from(thrown));
          timer = setTimeout(load, RETRY_MS);
        },
      );
    };
    load();
    return () => clearTimeout(timer);
  }, []);
  return { config, error };
}

function useSession(config: DemoConfig | null): Session | null {
  const current = route.value;
  const user = current.name === 'as' ? current.user : null;
  const [session, setSession] = useState<Session | null>(null);
  useEffect(() => {
    if (user === null || config === null) return;
    const next = new Session(user, config);
    setSession(next);
    next.start();
    return () => {
      next.close();
      setSession(null);
    };
  }, [user, config]);
  return user === session?.user ? session : null;
}

export function App() {
  const { config, error } = useConfig();
  const session = useSession(config);
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <Header session={session} />
      <View config={config} error={error} session={session} />
      <Toasts />
      <div class="visually-hidden" role="status" aria-live="polite" data-testid="announcer">
        {announcement.value}
      </div>
    </>
  );
}

/** The hash is the router's, so the skip link moves the focus itself. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById('main')?.focus();
}

function View({ config, error, session }: { config: DemoConfig | null; error: FamaError | null; session: Session | null }) {
  if (config === null) {
    return (
      <main class="message" id="main" tabIndex={-1}>
        {error ? (
          <div role="alert">
            <h1>The demo is not answering</h1>
            <p>{explain(error)} Trying again every few seconds.</p>
          </div>
        ) : (
          <p role="status">Loading…</p>
        )}
      </main>
    );
  }
  if (session) return <Home key={session.user} session={session} config={config} />;
  return route.value.name === 'choose' ? <Chooser config={config} /> : <main class="message" id="main" tabIndex={-1} aria-busy="true" />;
}

function Toasts() {
  return (
    <div class="toasts" role="region" aria-label="Messages">
      {toasts.value.map(({ id, text }) => (
        <div class="toast" role="alert" key={id}>
          <span>{text}</span>
          <button type="button" class="icon-button small" aria-label="Dismiss" onClick={() => dismissToast(id)}>
            <CloseIcon />
          </button>
        </div>
      ))}
    </div>
  );
}
