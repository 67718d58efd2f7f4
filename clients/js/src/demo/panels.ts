import { signal } from '@preact/signals';

/** What is open over the feed; one at a time. */
export type Panel =
  { name: 'profile'; id: string } | { name: 'post'; id: string } | { name: 'find' } | { name: 'inbox' } | { name: 'hood' } | null;

export const panel = signal<Panel>(null);

export function openPanel(next: NonNullable<Panel>): void {
  panel.value = next;
}

export function openProfile(id: string): void {
  openPanel({ name: 'profile', id });
}

export function openPost(id: string): void {
  openPanel({ name: 'post', id });
}

export function closePanel(): void {
  panel.value = null;
}
