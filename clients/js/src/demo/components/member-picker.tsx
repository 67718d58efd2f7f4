import { useEffect, useId, useMemo, useRef, useState } from 'preact/hooks';
import type { Member } from '../demo-api.ts';
import { directory, directoryError, directoryReady, loadDirectory } from '../directory.ts';
import { count } from '../format.ts';
import { explain } from '../notices.ts';
import { searchMembers } from '../search.ts';
import type { Watcher } from '../use-presence.ts';
import { Avatar } from './avatar.tsx';
import { SearchIcon } from './icons.tsx';

const PAGE = 30;

interface Props {
  label: string;
  /** Shows who is online. */
  live?: Watcher;
  onPick: (member: Member) => void;
}

/** A combobox with its list always open: type to search, arrows to move, Enter to pick. */
export function MemberPicker({ label, live, onPick }: Props) {
  const id = useId();
  const [query, setQuery] = useState('');
  const [active, setActive] = useState(0);
  const [shown, setShown] = useState(PAGE);
  const list = useRef<HTMLUListElement>(null);
  const everybody = directory.value;
  // All members are here, so that every key is answered at once.
  const found = useMemo(() => searchMembers([...everybody.values()], query), [everybody, query]);
  const members = found.slice(0, shown);
  useEffect(() => void loadDirectory(), []);
  const optionId = (index: number) => `${id}-option-${index}`;
  const chosen = Math.min(active, members.length - 1);

  const more = () => setShown((n) => Math.min(found.length, n + PAGE));
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
            setShown(PAGE);
            list.current?.scrollTo(0, 0);
          }}
          onKeyDown={onKeyDown}
        />
      </div>
      <ul class="options" id={`${id}-list`} role="listbox" aria-label={label} ref={list} onScroll={onScroll} data-testid="member-list">
        {members.map((member, index) => (
          <Option
            key={member.id}
            id={optionId(index)}
            index={index}
            member={member}
            active={index === chosen}
            live={live}
            onPick={onPick}
          />
        ))}
      </ul>
      <PickerFooter found={found.length} query={query} />
    </div>
  );
}

function Option({
  id,
  index,
  member,
  active,
  live,
  onPick,
}: {
  id: string;
  index: number;
  member: Member;
  active: boolean;
  live: Watcher | undefined;
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
      <Avatar id={member.id} name={member.name} size={40} live={live} />
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

function PickerFooter({ found, query }: { found: number; query: string }) {
  if (directoryError.value && !directoryReady.value) {
    return (
      <div class="picker-note" role="alert">
        <span>{explain(directoryError.value)} Trying again every few seconds.</span>
      </div>
    );
  }
  const empty = !directoryReady.value
    ? 'Loading members…'
    : query.trim() === ''
      ? 'There are no members.'
      : `Nobody matches “${query.trim()}”.`;
  return (
    <div class={found === 0 ? 'picker-note' : 'picker-note visually-hidden'} role="status">
      {found === 0 ? empty : `${count(found)} members listed`}
    </div>
  );
}
