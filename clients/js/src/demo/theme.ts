import { signal } from '@preact/signals';

export type Theme = 'auto' | 'light' | 'dark';
const KEY = 'fama-theme';
const NEXT: Record<Theme, Theme> = { auto: 'light', light: 'dark', dark: 'auto' };

export const theme = signal<Theme>('auto');

export function startTheme(): void {
  try {
    const stored = localStorage.getItem(KEY);
    if (stored === 'light' || stored === 'dark') theme.value = stored;
  } catch {
    // Storage may be denied: the system's theme it is.
  }
  theme.subscribe((value) => {
    document.documentElement.dataset['theme'] = value;
  });
}

export function nextTheme(): void {
  theme.value = NEXT[theme.value];
  try {
    localStorage.setItem(KEY, theme.value);
  } catch {
    // It lasts as long as the page, then.
  }
}
