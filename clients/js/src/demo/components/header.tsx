import { AlertIcon, CutIcon, GaugeIcon, HalfIcon, LinkIcon, Mark, MoonIcon, SearchIcon, SunIcon } from './icons.tsx';
import { openPanel } from '../panels.ts';
import { CUT_MS, type Session } from '../session.ts';
import { nextTheme, theme } from '../theme.ts';
import { Bell } from './inbox-panel.tsx';

const THEME_NAMES = { auto: 'as the system', light: 'light', dark: 'dark' } as const;

export function Header({ session }: { session: Session | null }) {
  return (
    <header class="topbar">
      <div class="topbar-inner">
        <a class="brand" href="#/" title="Choose a member">
          <Mark />
          <span class="brand-name">Fama</span>
          <span class="brand-tag">demo</span>
        </a>
        <div class="topbar-tools">
          {session && (
            <>
              <Connection session={session} />
              <button
                type="button"
                class="icon-button"
                aria-label="Find people"
                aria-keyshortcuts="/"
                title="Find people ( / )"
                data-testid="find-people"
                onClick={() => openPanel({ name: 'find' })}
              >
                <SearchIcon />
              </button>
              <button
                type="button"
                class="icon-button"
                aria-label="Under the hood"
                title="Under the hood"
                data-testid="header-hood"
                onClick={() => openPanel({ name: 'hood' })}
              >
                <GaugeIcon />
              </button>
              <Bell session={session} onOpen={() => openPanel({ name: 'inbox' })} />
            </>
          )}
          <button
            type="button"
            class="icon-button"
            onClick={nextTheme}
            aria-label={`Theme: ${THEME_NAMES[theme.value]}. Change`}
            title={`Theme: ${THEME_NAMES[theme.value]}`}
          >
            {theme.value === 'auto' ? <HalfIcon /> : theme.value === 'light' ? <SunIcon /> : <MoonIcon />}
          </button>
        </div>
      </div>
    </header>
  );
}

const STATES = { connected: 'Connected', connecting: 'Connecting…', disconnected: 'Disconnected' } as const;

function Connection({ session }: { session: Session }) {
  const { status, reason } = session.connection.value;
  const cut = session.cutter.until.value !== null;
  return (
    <>
      <span class={`state state-${status}`} role="status" data-testid="connection-state" data-state={status} title={reason}>
        {status === 'disconnected' ? <AlertIcon /> : <span class="state-dot" aria-hidden="true" />}
        <span class="wide">{STATES[status]}</span>
      </span>
      {status === 'disconnected' ? (
        <button type="button" class="button small" onClick={() => session.client.realtime.connect()}>
          <LinkIcon />
          Connect
        </button>
      ) : (
        <button
          type="button"
          class="button small cut"
          title={cut ? 'End the cut' : `Ends the socket without a goodbye, for ${CUT_MS / 1_000} seconds: nothing will be lost`}
          data-testid="cut-connection"
          onClick={() => (cut ? session.cutter.mend() : session.cutter.cut(CUT_MS))}
        >
          {cut ? <LinkIcon /> : <CutIcon />}
          <span>
            {cut ? 'Reconnect' : 'Cut'}
            <span class="wide">{cut ? ' now' : ' my connection'}</span>
          </span>
        </button>
      )}
    </>
  );
}
