import type { Notification } from '../client/index.ts';
import { count } from './format.ts';

const DID: Readonly<Record<string, string>> = {
  follow: 'followed you',
  mention: 'mentioned you',
  reply: 'replied to you',
  repost: 'reposted your post',
};

function didOf({ type, data }: Notification): string | null {
  if (type !== 'reaction') return DID[type] ?? null;
  const kind = typeof data === 'object' && data !== null && 'reaction' in data ? data.reaction : null;
  return kind === 'like' ? 'liked your post' : 'reacted to your post';
}

/** `Ada and 5 others liked your post`, in parts: who, and what they did. */
export function sentenceOf(notification: Notification, nameOf: (id: string) => string): { who: string; did: string } {
  const did = didOf(notification);
  const [first, second] = notification.actors;
  if (did === null || first === undefined) return { who: '', did: notification.text ?? `Something new: ${notification.type}` };
  const others = notification.actor_count - 1;
  if (others <= 0) return { who: nameOf(first), did };
  const rest = others === 1 && second !== undefined ? nameOf(second) : `${count(others)} ${others === 1 ? 'other' : 'others'}`;
  return { who: `${nameOf(first)} and ${rest}`, did };
}

/** What the badge shows: counts end at 100. */
export function badgeText(unseen: number): string {
  return unseen >= 100 ? '99+' : String(unseen);
}
