import { useEffect, useState } from 'preact/hooks';
import type { FamaClient, Presence } from '../client/index.ts';

/** Whose connection watches. */
export type Watcher = Pick<FamaClient, 'presence'>;

/** Whether somebody is online, for as long as the component is shown; `null` while it is not known. */
export function usePresence(watcher: Watcher, user: string): Presence | null {
  const [seen, setSeen] = useState<Presence | null>(null);
  useEffect(() => watcher.presence.watch(user, setSeen), [watcher, user]);
  return seen;
}
