import { useEffect, useState } from 'preact/hooks';
import type { Recovery } from '../../client/index.ts';
import { duration, plural } from '../format.ts';
import type { Session } from '../session.ts';
import { AlertIcon, CheckIcon, CloseIcon } from './icons.tsx';

/** What happened to the connection: that it is cut, and what came back with it. */
export function ConnectionNotes({ session }: { session: Session }) {
  const [dismissed, setDismissed] = useState<Recovery | null>(null);
  const { status, recovery, reason } = session.connection.value;
  const until = session.cutter.until.value;

  if (status === 'disconnected' && reason !== '' && session.refused.value === null) {
    return (
      <p class="note warn" role="alert">
        <AlertIcon /> <span>Disconnected: {reason}.</span>
      </p>
    );
  }
  if (until !== null) {
    return (
      <p class="note warn" role="status" data-testid="cut-note">
        <AlertIcon />
        <span>
          Your connection is cut. Posts made meanwhile are kept for you. <Countdown until={until} />
        </span>
      </p>
    );
  }
  if (recovery && recovery !== dismissed) {
    return (
      <div
        class={recovery.complete ? 'note good' : 'note warn'}
        role="status"
        data-testid="recovered-note"
        data-events={recovery.events}
        data-complete={recovery.complete}
      >
        {recovery.complete ? <CheckIcon /> : <AlertIcon />}
        <span>{recoveryText(recovery)}</span>
        <button type="button" class="icon-button small" aria-label="Dismiss" onClick={() => setDismissed(recovery)}>
          <CloseIcon />
        </button>
      </div>
    );
  }
  return null;
}

export function recoveryText({ complete, events, downMs }: Recovery): string {
  const away = duration(downMs);
  if (!complete) return `Back after ${away}. The server no longer had all that you missed, so the feed was loaded again.`;
  if (events === 0) return `Recovered: nothing missed in ${away} away.`;
  return `Recovered: ${plural(events, 'event')} while away for ${away}, none lost.`;
}

/** Seconds left. Hidden from screen readers, which would read every one of them. */
function Countdown({ until }: { until: number }) {
  const left = () => Math.max(0, Math.ceil((until - Date.now()) / 1_000));
  const [seconds, setSeconds] = useState(left);
  useEffect(() => {
    const timer = setInterval(() => setSeconds(left()), 250);
    return () => clearInterval(timer);
  }, [until]);
  return (
    <span class="tabular" aria-hidden="true">
      Reconnecting in {seconds} s.
    </span>
  );
}
