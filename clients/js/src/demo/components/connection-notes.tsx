import { useEffect, useState } from 'preact/hooks';
import type { RecoveredChannel, Recovery } from '../../client/index.ts';
import { nameOf } from '../directory.ts';
import { duration, plural } from '../format.ts';
import { CUT_MS, type Session } from '../session.ts';
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
  if (until !== null) return <CutNote session={session} until={until} />;
  if (status === 'connecting' && session.feed.value.status === 'ready') {
    return (
      <p class="note warn" role="status" data-testid="offline-note">
        <AlertIcon />
        <span>No connection to the server. You can go on reading; it is tried again, and what you miss is fetched.</span>
      </p>
    );
  }
  if (recovery && recovery !== dismissed)
    return <RecoveredNote recovery={recovery} onDismiss={() => setDismissed(recovery)} user={session.user} />;
  return null;
}

function CutNote({ session, until }: { session: Session; until: number }) {
  const offset = session.client.realtime.offset;
  return (
    <div class="note warn cut-note" role="status" data-testid="cut-note">
      <AlertIcon />
      <div>
        <p>
          <b>Your connection is cut.</b> Others keep posting.{' '}
          {offset !== null && `The last event you have is number ${offset} of your channel; `}
          the server keeps what comes after it. <Countdown until={until} />
        </p>
        <div class="cut-bar" aria-hidden="true">
          <span style={{ animationDuration: `${CUT_MS}ms` }} />
        </div>
      </div>
    </div>
  );
}

function RecoveredNote({ recovery, user, onDismiss }: { recovery: Recovery; user: string; onDismiss: () => void }) {
  const { complete, events, channels } = recovery;
  const missed = channels.filter(({ from, to, complete: whole }) => to > from || !whole);
  return (
    <div
      class={complete ? 'note good recovered' : 'note warn recovered'}
      role="status"
      data-testid="recovered-note"
      data-events={events}
      data-complete={complete}
    >
      {complete ? <CheckIcon /> : <AlertIcon />}
      <div>
        <p>
          <b>{recoveryText(recovery)}</b>
        </p>
        {missed.length > 0 && <Offsets missed={missed} user={user} />}
        <p>
          {complete
            ? `Every event of a channel has a number. On reconnect the page told the server the last numbers it had on ${plural(channels.length, 'channel')}; the server sent what came after them, with no number left out.`
            : 'A channel keeps events for a while only. When a number would be left out the server says so, and the page loads the feed again: never a silent hole.'}
        </p>
      </div>
      <button type="button" class="icon-button small" aria-label="Dismiss" onClick={onDismiss}>
        <CloseIcon />
      </button>
    </div>
  );
}

const ROWS = 6;

function Offsets({ missed, user }: { missed: readonly RecoveredChannel[]; user: string }) {
  return (
    <table class="offsets tabular" data-testid="recovered-offsets">
      <caption class="visually-hidden">What was missed, by channel</caption>
      <thead>
        <tr>
          <th scope="col">Channel</th>
          <th scope="col">had</th>
          <th scope="col">now</th>
          <th scope="col">missed</th>
        </tr>
      </thead>
      <tbody>
        {missed.slice(0, ROWS).map(({ channel, from, to, complete }) => (
          <tr key={channel} data-channel={channel} data-from={from} data-to={to}>
            <th scope="row">{channelName(channel, user)}</th>
            <td>{from}</td>
            <td>{to}</td>
            <td>{complete ? to - from : 'unknown'}</td>
          </tr>
        ))}
        {missed.length > ROWS && (
          <tr>
            <th scope="row" colSpan={4}>
              and {plural(missed.length - ROWS, 'channel')} more
            </th>
          </tr>
        )}
      </tbody>
    </table>
  );
}

function channelName(channel: string, user: string): string {
  if (channel === `user:#${user}`) return 'Your own';
  return channel.startsWith('author:') ? `Posts of ${nameOf(channel.slice('author:'.length))}` : channel;
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
