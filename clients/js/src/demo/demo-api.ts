import { Http, type Delivery, type Page } from '../client/index.ts';

export interface DemoConfig {
  members: number;
  websocket: string;
  /** Followers from which an author is pulled instead of pushed. */
  celebrity_up: number;
  /** Time between two posts of the simulated members. */
  post_every_ms: number;
}

export interface Member {
  id: string;
  name: string;
  followers: number;
  following: number;
  delivery: Delivery;
}

const http = new Http({ url: '' });

export function loadConfig(): Promise<DemoConfig> {
  return http.call('GET', '/demo/config');
}

export function findMembers(
  query: { q?: string; limit?: number; cursor?: string | undefined },
  signal?: AbortSignal,
): Promise<Page<Member>> {
  return http.call('GET', '/demo/members', { query, ...(signal && { signal }) });
}

/** A token that makes the visitor that member. */
export async function tokenFor(user: string): Promise<string> {
  const { token } = await http.call<{ token: string }>('POST', '/demo/token', { body: { user } });
  return token;
}
