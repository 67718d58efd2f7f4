import { signal } from '@preact/signals';
import { FamaError } from '../client/index.ts';
import { findMembers, type Member } from './demo-api.ts';
import { untilDone } from './retry.ts';

const PAGE = 100;
/** A demo of more members than this shows ids for the rest. */
const MAX_PAGES = 50;

/** Names of all members, most followed first: posts carry only ids. */
export const directory = signal<ReadonlyMap<string, Member>>(new Map());
/** Whether all of it is there. */
export const directoryReady = signal(false);
/** Why it is not, while it is tried again. */
export const directoryError = signal<FamaError | null>(null);
let loading: Promise<void> | null = null;

/** Loads the directory once, however often it is called. */
export function loadDirectory(): Promise<void> {
  loading ??= untilDone(new AbortController().signal, () => load().catch(failed));
  return loading;
}

async function load(): Promise<void> {
  const all = new Map<string, Member>();
  let cursor: string | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const { data, next_cursor, has_more } = await findMembers({ limit: PAGE, cursor });
    for (const member of data) all.set(member.id, member);
    directory.value = new Map(all);
    directoryError.value = null;
    if (!has_more || next_cursor === null) break;
    cursor = next_cursor;
  }
  directoryReady.value = true;
}

function failed(thrown: unknown): never {
  directoryError.value = FamaError.from(thrown);
  throw thrown;
}

export function nameOf(id: string): string {
  return directory.value.get(id)?.name ?? id;
}
