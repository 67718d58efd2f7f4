import { useCallback, useEffect, useId, useRef, useState } from 'preact/hooks';
import { FamaError } from '../../client/index.ts';
import { findMembers, type Member } from '../demo-api.ts';
import { count } from '../format.ts';
import { explain } from '../notices.ts';
import { Avatar } from './avatar.tsx';
import { SearchIcon } from './icons.tsx';

interface Found {
  members: Member[];
  cursor: string | null;
  state: 'loading' | 'ready' | 'error';
  error: FamaError | null;
}

const PAGE = 20;
const TYPING_MS = 120;
const nothing: Found = { members: [], cursor: null, state: 'loading', error: null };

/** Pages of the members that match `query`; the answer to an older query never replaces a newer one's. */
function useMembers(query: string) {
  const [found, setFound] = useState<Found>(nothing);
  const current = useRef<AbortController | null>(null);

  const load = useCallback(
    async (cursor: string | null) => {
      current.current?.abort();
      const mine = new AbortController();
      current.current = mine;
      setFound((before) => ({ ...before, state: 'loading', error: null }));
      try {
        const q = query.trim();
        const page = await findMembers({ ...(q !== '' && { q }), limit: PAGE, cursor: cursor ?? undefined }, mine.signal);
        if (mine.signal.aborted) return;
        const next = page.has_more ? page.next_cursor : null;
        setFound((before) => ({
          members: cursor === null ? page.data : [...before.members, ...page.data],
          cursor: next,
          state: 'ready',
          error: null,
        }));
      } catch (thrown) {
        if (!mine.signal.aborted) setFound((before) => ({ ...before, state: 'error', error: FamaError.from(thrown) }));
      }
    },
    [query],
  );

  useEffect(() => {
    const timer = setTimeout(() => void load(null), query === '' ? 0 : TYPING_MS);
    return () => {
      clearTimeout(timer);
      current.current?.abort();
    };
  }, [load]);

  return { found, load };
}

interface Props {
  label: string;
  /** Members that can't be picked: oneself, say. */
  except?: string;
  onPick: (member: Member) => void;
}

/** A combobox with its list always open: type to search, arrows to move, Enter to pick. */
export function MemberPicker({ label, except, onPick }: Props) {
  const id = useId();
  const [query, setQuery] = useState('');
  const [active, setActive] = useState(0);
  const { found, load } = useMembers(query);
  const list = useRef<HTMLUListElement>(null);
  const members = found.members.filter((member) => member.id !== except);
  const optionId = (index: number) => `${id}-option-${index}`;
  const chosen = Math.min(active, members.length - 1);

  const more = () => {
    if (found.state === 'ready' && found.cursor !== null) void load(found.cursor);
  };
  const move = (to: number) => {
    const next = Math.max(0, Math.min(members.length - 1, to));
    setActive(next);
    list.current?.querySelector(`[data-index="${next}"]`)?.scrollIntoView({ block: 'nearest' });
    if (next >= members.length - 4) more();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 6, PageUp: -6 };
    const step = steps[event.key];
    if (step !== undefined) {
      event.preventDefault();
      move(chosen + step);
    } else if (event.key === 'Enter' && !event.isComposing) {
      event.preventDefault();
      const member = members[chosen];
      if (member) onPick(member);
    } else if (event.key === 'Escape' && query !== '') {
      // Escape empties the field first; only then does it close a dialog around it.
      event.preventDefault();
      event.stopPropagation();
      setQuery('');
    }
  };
  const onScroll = () => {
    const box = list.current;
    if (box && box.scrollTop + box.clientHeight > box.scrollHeight - 200) more();
  };

  return (
    <div class="picker">
      <div class="search">
        <SearchIcon />
        <input
          type="search"
          role="combobox"
          list={undefined}
          aria-label={label}
          aria-expanded="true"
          aria-controls={`${id}-list`}
          aria-autocomplete="list"
          {...(members.length > 0 && { 'aria-activedescendant': optionId(chosen) })}
          placeholder="Search by name or id"
          autocomplete="off"
          spellcheck={false}
          value={query}
          maxLength={64}
          data-testid="member-search"
          onInput={(event) => {
            setQuery(event.currentTarget.value);
            setActive(0);
          }}
          onKeyDown={onKeyDown}
        />
      </div>
      <ul class="options" id={`${id}-list`} role="listbox" aria-label={label} ref={list} onScroll={onScroll} data-testid="member-list">
        {members.map((member, index) => (
          <Option key={member.id} id={optionId(index)} index={index} member={member} active={index === chosen} onPick={onPick} />
        ))}
      </ul>
      <PickerFooter
        found={found}
        empty={members.length === 0}
        query={query}
        retry={() => void load(found.members.length > 0 ? found.cursor : null)}
      />
    </div>
  );
}

function Option({
  id,
  index,
  member,
  active,
  onPick,
}: {
  id: string;
  index: number;
  member: Member;
  active: boolean;
  onPick: (member: Member) => void;
}) {
  return (
    <li
      id={id}
      role="option"
      aria-selected={active}
      class="option"
      data-index={index}
      data-member-id={member.id}
      data-testid="member-option"
      // Keeps the focus, and so the keyboard, in the search field.
      onMouseDown={(event) => event.preventDefault()}
      onClick={() => onPick(member)}
    >
      <Avatar id={member.id} name={member.name} size={40} />
      <span class="who">
        <span class="name">{member.name}</span>
        <span class="sub">
          @{member.id}
          <span class="narrow"> · {count(member.followers)} followers</span>
        </span>
      </span>
      <span class="facts">
        <span class="fact">
          <b>{count(member.followers)}</b> followers
        </span>
        <span class="fact">
          <b>{count(member.following)}</b> following
        </span>
      </span>
      <span class={`mode mode-${member.delivery}`}>{member.delivery === 'pull' ? 'pulled' : 'pushed'}</span>
    </li>
  );
}

function PickerFooter({ found, empty, query, retry }: { found: Found; empty: boolean; query: string; retry: () => void }) {
  if (found.state === 'error') {
    return (
      <div class="picker-note" role="alert">
        <span>{explain(found.error)}</span>
        <button type="button" class="button small" onClick={retry}>
          Try again
        </button>
      </div>
    );
  }
  const text =
    found.state === 'loading'
      ? empty
        ? 'Loading members…'
        : ''
      : empty
        ? query.trim() === ''
          ? 'There are no members.'
          : `Nobody matches “${query.trim()}”.`
        : '';
  return (
    <div class={text === '' ? 'picker-note visually-hidden' : 'picker-note'} role="status">
      {text === '' ? `${count(found.members.length)}${found.cursor === null ? '' : ' or more'} members listed` : text}
    </div>
  );
}
