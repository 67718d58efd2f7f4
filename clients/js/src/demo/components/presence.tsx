import { useEffect, useState } from 'preact/hooks';
import type { OwnStatus, Presence } from '../../client/index.ts';
import { now } from '../clock.ts';
import { directory } from '../directory.ts';
import { ago, plural } from '../format.ts';
import { attempt } from '../notices.ts';
import { openProfile } from '../panels.ts';
import { untilDone } from '../retry.ts';
import type { Session } from '../session.ts';
import { usePresence } from '../use-presence.ts';
import { Avatar } from './avatar.tsx';

const CHOICES: readonly [OwnStatus, string][] = [
  ['online', 'Online'],
  ['away', 'Away'],
  ['invisible', 'Invisible'],
];

/** As what one is seen: the choice is the user's, on every device. */
export function OwnStatusChoice({ session }: { session: Session }) {
  const seen = usePresence(session.client, session.user);
  const [wanted, setWanted] = useState<OwnStatus | null>(null);
  useEffect(() => setWanted(null), [seen]);
  // Who is connected and yet looks offline is invisible.
  const status = wanted ?? (seen?.status === 'offline' ? 'invisible' : (seen?.status ?? 'online'));
  const choose = async (next: OwnStatus) => {
    setWanted(next);
    if (!(await attempt('Changing your status', () => session.client.api.setPresence(next)))) setWanted(null);
  };
  return (
    <label class="own-status" data-testid="own-status" data-status={status}>
      <span class={`dot dot-${status}`} aria-hidden="true" />
      <span class="visually-hidden">Others see you as</span>
      <select value={status} data-testid="own-status-choice" onChange={(event) => void choose(event.currentTarget.value as OwnStatus)}>
        {CHOICES.map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}

/** `Online`, or when somebody was seen last. */
export function SeenText({ seen }: { seen: Presence | null }) {
  if (!seen) return null;
  const text =
    seen.status === 'online'
      ? 'Online now'
      : seen.status === 'away'
        ? 'Away'
        : seen.last_seen === null
          ? 'Offline'
          : `Last seen ${ago(seen.last_seen, now.value) === 'now' ? 'just now' : `${ago(seen.last_seen, now.value)} ago`}`;
  return (
    <span class="seen" data-testid="last-seen" data-status={seen.status}>
      <span class={`dot dot-${seen.status}`} aria-hidden="true" />
      {text}
    </span>
  );
}

const SHOWN = 7;
const LOOK_EVERY_MS = 8_000;
/** The server answers for so many at once. */
const MAX_USERS = 500;

/** Who is online now, of all members; those one follows first. Each one shown is watched, so a change shows at once. */
export function OnlineCard({ session }: { session: Session }) {
  const [online, setOnline] = useState<readonly string[] | null>(null);
  const members = directory.value;
  useEffect(() => {
    const ids = [...members.keys()].filter((id) => id !== session.user).slice(0, MAX_USERS);
    if (ids.length === 0) return;
    const ended = new AbortController();
    const look = async () => {
      const { data } = await session.client.api.presence(ids);
      if (!ended.signal.aborted) setOnline(data.filter(({ status }) => status !== 'offline').map(({ user }) => user));
    };
    void untilDone(ended.signal, look);
    const timer = setInterval(() => document.visibilityState === 'visible' && void look().catch(() => undefined), LOOK_EVERY_MS);
    return () => {
      ended.abort();
      clearInterval(timer);
    };
  }, [session, members.size]);
  const following = session.following.value;
  const sorted = [...(online ?? [])].sort((a, b) => Number(following?.has(b) ?? false) - Number(following?.has(a) ?? false));
  return (
    <section class="card online" aria-labelledby="online-title" data-testid="online-card" data-count={sorted.length}>
      <h2 id="online-title">Online now {online && <span class="sub tabular">{sorted.length}</span>}</h2>
      {online === null ? (
        <p class="sub">Looking who is here…</p>
      ) : sorted.length === 0 ? (
        <p class="sub">Nobody but you. Open a second tab and become somebody else: they show up here at once.</p>
      ) : (
        <ul>
          {sorted.slice(0, SHOWN).map((id) => (
            <li key={id}>
              <button type="button" class="online-person" onClick={() => openProfile(id)} data-testid="online-person" data-user-id={id}>
                <Avatar id={id} name={members.get(id)?.name ?? id} size={32} live={session.client} />
                <span class="who">
                  <span class="name">{members.get(id)?.name ?? id}</span>
                </span>
                {following?.has(id) && <span class="sub">following</span>}
              </button>
            </li>
          ))}
        </ul>
      )}
      {sorted.length > SHOWN && <p class="sub">and {plural(sorted.length - SHOWN, 'other')}</p>}
    </section>
  );
}
