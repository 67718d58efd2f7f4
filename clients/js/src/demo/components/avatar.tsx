import { memo } from 'preact/compat';
import { initials } from '../format.ts';

/** Ground, shape: muted pairs, dark enough for white letters. */
const PALETTE = [
  ['#3d5a80', '#50719c'],
  ['#5b4b8a', '#7262a3'],
  ['#7a4069', '#945583'],
  ['#8a3b3b', '#a45050'],
  ['#8a5a2b', '#a06d3b'],
  ['#66661f', '#7c7c33'],
  ['#3f6b3f', '#528252'],
  ['#2b6b63', '#3b8178'],
  ['#2f6380', '#407a99'],
  ['#55585f', '#6b6f77'],
] as const;

/** FNV-1a: any id, the same picture on every device. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  // FNV's low bits are weak for short ids.
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return (h ^ (h >>> 13)) >>> 0;
}

/** A picture drawn from the id, with the name's initials. Decoration: the name always stands beside it. */
export const Avatar = memo(function Avatar({ id, name, size }: { id: string; name: string; size: number }) {
  const h = hash(id);
  const [ground, shape] = PALETTE[h % PALETTE.length] ?? PALETTE[0];
  const turn = ((h >>> 8) % 8) * 45;
  const round = ((h >>> 12) & 1) === 1;
  return (
    <svg class="avatar" viewBox="0 0 40 40" width={size} height={size} aria-hidden="true" focusable="false">
      <rect width="40" height="40" fill={ground} />
      <g transform={`rotate(${turn} 20 20)`}>
        {round ? <circle cx="34" cy="20" r="17" fill={shape} /> : <rect x="20" y="-10" width="34" height="60" fill={shape} />}
      </g>
      <text x="20" y="20" dy="0.35em" text-anchor="middle" fill="#fff" font-size="14.5" font-weight="600" letter-spacing="0.3">
        {initials(name)}
      </text>
    </svg>
  );
});
