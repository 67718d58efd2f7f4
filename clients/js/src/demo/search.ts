import type { Member } from './demo-api.ts';

/** Lower case, without accents. */
function plain(text: string): string {
  return text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
}

/** Words of names and of ids such as `SenSanders`. */
function words(text: string): string[] {
  return plain(text.replace(/(\p{Ll})(\p{Lu})/gu, '$1 $2'))
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== '');
}

/** Whether one letter more, less, other, or swapped with the next makes `typed` the beginning of `word`. */
function almostBegins(word: string, typed: string): boolean {
  let at = 0;
  while (at < typed.length && word[at] === typed[at]) at += 1;
  if (at === typed.length) return true;
  const rest = typed.slice(at + 1);
  const swapped = typed.charAt(at + 1) + typed.charAt(at) + typed.slice(at + 2);
  return (
    word.startsWith(rest, at + 1) ||
    word.startsWith(rest, at) ||
    word.startsWith(typed.slice(at), at + 1) ||
    (typed.length > at + 1 && word.startsWith(swapped, at))
  );
}

/** How long a word must be before a slip in it is forgiven. */
const FORGIVEN = 4;

function scoreOf(typed: string, whole: string, parts: readonly string[]): number {
  if (whole === typed || parts.includes(typed)) return 100;
  if (whole.startsWith(typed)) return 90;
  if (parts.some((word) => word.startsWith(typed))) return 80;
  if (whole.includes(typed)) return 60;
  if (typed.length >= FORGIVEN && parts.some((word) => almostBegins(word, typed))) return 40;
  return 0;
}

/** Members that match every word of the query, best first; slips are forgiven. An empty query matches all, in their order. */
export function searchMembers(members: readonly Member[], query: string): readonly Member[] {
  const typed =
    words(query).length > 0
      ? plain(query)
          .split(/[\s@]+/)
          .filter((word) => word !== '')
      : [];
  if (typed.length === 0) return query.trim() === '' ? members : [];
  const found: { member: Member; score: number; at: number }[] = [];
  members.forEach((member, at) => {
    const [id, name] = [plain(member.id), plain(member.name)];
    const parts = [...words(member.id), ...words(member.name)];
    let score = 0;
    for (const word of typed) {
      const best = Math.max(scoreOf(word, id, parts), scoreOf(word, name, parts));
      if (best === 0) return;
      score += best;
    }
    found.push({ member, score, at });
  });
  // Those with most followers come first among equals: that is the order of `members`.
  return found.sort((a, b) => b.score - a.score || a.at - b.at).map(({ member }) => member);
}
