import { signal } from '@preact/signals';

export type Route = { name: 'choose' } | { name: 'as'; user: string };

/** `#/as/<id>` is a link to being that member, so that two tabs can be two members. */
export function parseRoute(hash: string): Route {
  const match = /^#\/as\/([^/]+)$/.exec(hash);
  if (!match?.[1]) return { name: 'choose' };
  try {
    return { name: 'as', user: decodeURIComponent(match[1]) };
  } catch {
    return { name: 'choose' };
  }
}

export function hrefAs(user: string): string {
  return `#/as/${encodeURIComponent(user)}`;
}

export const route = signal<Route>({ name: 'choose' });

export function startRouter(): void {
  const read = () => {
    route.value = parseRoute(location.hash);
  };
  addEventListener('hashchange', read);
  read();
}
