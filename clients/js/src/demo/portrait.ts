/** What a portrait is made of: the same for an id on every device, and nothing is loaded for it. */
export interface Portrait {
  ground: string;
  skin: string;
  shade: string;
  hair: string;
  coat: string;
  collar: string;
  style: number;
  mouth: number;
  glasses: boolean;
  beard: boolean;
}

const GROUNDS = ['#cfe0f3', '#dcd5f0', '#f0d5e2', '#f5d9cf', '#f3e3c3', '#dfe8c4', '#cbe6d4', '#c8e5e3', '#d9dee5', '#e9d8c9'];
const SKINS = [
  ['#f6d7bf', '#e5b898'],
  ['#efc4a0', '#d9a47c'],
  ['#dca77c', '#c18a5f'],
  ['#bf8457', '#a36b41'],
  ['#97633f', '#7d4f30'],
  ['#704628', '#59361d'],
] as const;
const HAIRS = ['#2b2320', '#4a3427', '#6e4a2f', '#9a6b3c', '#c9a062', '#7d7d80', '#b9b9ba', '#8c3f2b'];
const COATS = [
  ['#33496b', '#f2f4f7'],
  ['#4a3f6b', '#efe9f7'],
  ['#6d3350', '#f7e9ef'],
  ['#7a3b2e', '#f7ece6'],
  ['#3d5a3e', '#eef4ea'],
  ['#22585a', '#e6f3f2'],
  ['#3b3e45', '#eceef1'],
  ['#8a6a24', '#f8f1df'],
] as const;
export const STYLES = 8;
export const MOUTHS = 3;

/** FNV-1a with a finish: its low bits are weak for short ids. */
export function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
  return (h ^ (h >>> 15)) >>> 0;
}

export function portraitOf(id: string): Portrait {
  let state = hash(id);
  /** A number below `sides`, another one each time. */
  const roll = (sides: number) => {
    state = (Math.imul(state, 0x19660d) + 0x3c6ef35f) >>> 0;
    return (state >>> 12) % sides;
  };
  const pick = <T>(list: readonly [T, ...T[]] | readonly T[], first: T): T => list[roll(list.length)] ?? first;
  const ground = pick(GROUNDS, '#cfe0f3');
  const [skin, shade] = pick(SKINS, SKINS[0]);
  const hair = pick(HAIRS, '#2b2320');
  const [coat, collar] = pick(COATS, COATS[0]);
  const style = roll(STYLES);
  const mouth = roll(MOUTHS);
  const glasses = roll(4) === 0;
  // Beards go with short hair.
  const beard = style < 4 && roll(3) === 0;
  return { ground, skin, shade, hair, coat, collar, style, mouth, glasses, beard };
}
