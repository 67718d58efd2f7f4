import { memo } from 'preact/compat';
import type { Presence } from '../../client/index.ts';
import { portraitOf } from '../portrait.ts';
import { usePresence, type Watcher } from '../use-presence.ts';

/** Behind the head: long hair. */
const BACKS: Readonly<Record<number, string>> = {
  4: 'M9.6 18c0-8 4.4-11.4 10.4-11.4S30.4 10 30.4 18v9.5c0 2-1.4 3-3 3H12.6c-1.6 0-3-1-3-3z',
  5: 'M10.2 17c0-7 4-10.4 9.8-10.4S29.8 10 29.8 17c0 3.4.6 5.4 1.6 7-2 1.4-4.4 2-6 2h-10.8c-1.6 0-4-.6-6-2 1-1.6 1.6-3.6 1.6-7z',
  6: 'M20 2.2a4.4 4.4 0 0 1 3.4 7.2h-6.8A4.4 4.4 0 0 1 20 2.2z',
  7: 'M8.6 17.6A11.4 11 0 0 1 31.4 17.6c0 4-1.4 7.2-3.6 9H12.2c-2.2-1.8-3.6-5-3.6-9z',
};

/** Over the forehead. */
const TOPS: readonly string[] = [
  'M10.9 16.4c-.6-6.2 3.4-9.6 9.1-9.6s9.7 3.4 9.1 9.6c-1-2.6-2-4-3.4-4.9-3 .9-8.4.9-11.4 0-1.4.9-2.4 2.3-3.4 4.9z',
  'M10.8 16.8C10 9.6 14.2 6.4 20.6 6.4c5.4 0 8.9 3.2 8.6 9.8-1.2-2.2-2-3.4-2.8-5.6-4.2 2.4-9.4 2.6-12.8 1.8-1.2 1-2 2.2-2.8 4.4z',
  'M11 15.4c.2-1.8.6-3.2 1.2-4.4 1.6 1.4 3 .4 3.8-.6 1.4 1.4 3 1.2 4-.2 1 1.4 2.8 1.6 4 .2.8 1 2.2 2 3.8.6.6 1.2 1 2.6 1.2 4.4 1.4-6-2.2-9.2-9-9.2s-10.4 3.2-9 9.2z',
  'M11.2 14.8c.2-2 .6-3 1-3.8-.2 1.6 0 2.6-.2 4.4zM28.8 14.8c-.2-2-.6-3-1-3.8.2 1.6 0 2.6.2 4.4z',
  'M11 17c-.6-6.8 3-10 9-10s9.6 3.2 9 10c-1.6-1.8-3.2-3.8-4-6.2-3.2 3-8.6 4.4-14 6.2z',
  'M10.8 17.4C10.4 10.4 14 7 20 7s9.6 3.4 9.2 10.4c-1.2-3-2.6-5-4.2-6.2-.6 1.2-1.4 1.8-2.6 2.4.2-.8.2-1.4 0-2.2-3 2-7.4 2.4-9.2 2.6-1 1-1.8 2-2.4 3.4z',
  'M11 16c-.4-6 3.2-9 9-9s9.4 3 9 9c-1-3-2.6-4.8-4-5.6-2.8.8-7.2.8-10 0-1.4.8-3 2.6-4 5.6z',
  'M10.8 16.2C10.6 10 14.2 7.2 20 7.2s9.4 2.8 9.2 9c-1.4-2.6-2.6-3.6-4.6-4.2-2.8 1.4-6.4 1.4-9.2 0-2 .6-3.2 1.6-4.6 4.2z',
];

const MOUTHS: readonly string[] = ['M17 22.2c1.8 1.6 4.2 1.6 6 0', 'M17.6 22.6c1.6.8 3.2.8 4.8 0', 'M16.8 21.8c.8 2.8 5.6 2.8 6.4 0z'];

interface Props {
  id: string;
  name: string;
  size: number;
  /** Shows whether they are online. */
  live?: Watcher | undefined;
}

/** A portrait drawn from the id. Decoration: the name always stands beside it; a dot says whether they are online. */
export const Avatar = memo(function Avatar({ id, size, live }: Props) {
  const drawn = <Portrait id={id} size={size} />;
  if (!live) return drawn;
  return (
    <span class="with-dot" data-size={size < 50 ? 'small' : 'large'}>
      {drawn}
      <LiveDot id={id} live={live} />
    </span>
  );
});

const Portrait = memo(function Portrait({ id, size }: { id: string; size: number }) {
  const p = portraitOf(id);
  const back = BACKS[p.style];
  return (
    <svg class="avatar" viewBox="0 0 40 40" width={size} height={size} aria-hidden="true" focusable="false">
      <rect width="40" height="40" fill={p.ground} />
      {back && <path d={back} fill={p.hair} />}
      <path d="M4.5 41c0-8.4 6-12 15.5-12s15.5 3.6 15.5 12z" fill={p.coat} />
      <path d="M15 29.4l5 5.6 5-5.6-1.4-3.4h-7.2z" fill={p.collar} />
      <path d="M16.6 22h6.8v5.8c0 2-1.6 3.4-3.4 3.4s-3.4-1.4-3.4-3.4z" fill={p.shade} />
      <ellipse cx="11.3" cy="17.8" rx="1.5" ry="2" fill={p.shade} />
      <ellipse cx="28.7" cy="17.8" rx="1.5" ry="2" fill={p.shade} />
      <path d="M11.4 16.2c0-5.2 3.6-8.2 8.6-8.2s8.6 3 8.6 8.2c0 6-3.8 10.4-8.6 10.4s-8.6-4.4-8.6-10.4z" fill={p.skin} />
      {p.beard && (
        <path
          d="M11.6 18.4c1.4 2.4 3.8 2.2 5.4 1.8 2-.5 4-.5 6 0 1.6.4 4 .6 5.4-1.8-.2 5-3.8 8.8-8.4 8.8s-8.2-3.8-8.4-8.8z"
          fill={p.hair}
        />
      )}
      <path d={TOPS[p.style] ?? TOPS[0]} fill={p.hair} />
      <path
        d="M14.8 14.9c.9-.7 2.1-.7 3 0M22.2 14.9c.9-.7 2.1-.7 3 0"
        fill="none"
        stroke={p.hair}
        stroke-width="0.9"
        stroke-linecap="round"
      />
      <circle cx="16.4" cy="17.3" r="1.05" fill="#26211f" />
      <circle cx="23.6" cy="17.3" r="1.05" fill="#26211f" />
      <path d="M20 17.8l-.7 2.2h1.3" fill="none" stroke={p.shade} stroke-width="0.9" stroke-linecap="round" stroke-linejoin="round" />
      <path
        d={MOUTHS[p.mouth] ?? MOUTHS[0]}
        fill={p.mouth === 2 ? '#fff' : 'none'}
        stroke={p.beard ? '#f3e2d8' : '#8c3b32'}
        stroke-width="0.95"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
      {p.glasses && (
        <g fill="rgb(255 255 255 / 25%)" stroke="#2c2f36" stroke-width="0.8">
          <circle cx="16.3" cy="17.4" r="2.9" />
          <circle cx="23.7" cy="17.4" r="2.9" />
          <path d="M19.2 17.2h1.6" />
        </g>
      )}
    </svg>
  );
});

export const STATUS_NAMES: Readonly<Record<Presence['status'], string>> = { online: 'online', away: 'away', offline: 'offline' };

function LiveDot({ id, live }: { id: string; live: Watcher }) {
  const seen = usePresence(live, id);
  if (!seen || seen.status === 'offline') return null;
  return (
    <span
      class={`dot dot-${seen.status}`}
      title={STATUS_NAMES[seen.status]}
      data-testid="presence-dot"
      data-user-id={id}
      data-status={seen.status}
    >
      <span class="visually-hidden">{STATUS_NAMES[seen.status]}</span>
    </span>
  );
}
