import { directory } from '../directory.ts';
import { plural } from '../format.ts';
import { openPanel, openProfile } from '../panels.ts';
import type { Session } from '../session.ts';
import { Avatar } from './avatar.tsx';
import { Dialog } from './dialog.tsx';
import { FollowToggle } from './follow-toggle.tsx';
import { MemberPicker } from './member-picker.tsx';
import { FindPeopleButton } from './sidebar.tsx';

const SHOWN = 5;

/** The most followed members, to follow or look at. */
export function Discover({ session }: { session: Session }) {
  const following = session.following.value;
  const members = [...directory.value.values()].filter((member) => member.id !== session.user).slice(0, SHOWN);
  return (
    <section class="card discover" aria-labelledby="discover-title">
      <h2 id="discover-title">Most followed</h2>
      {members.length === 0 ? (
        <p class="sub">Loading members…</p>
      ) : (
        <ul>
          {members.map((member) => (
            <li key={member.id}>
              <Avatar id={member.id} name={member.name} size={36} live={session.client} />
              <span class="who">
                <button type="button" class="author" onClick={() => openProfile(member.id)}>
                  {member.name}
                </button>
                <span class="sub">{plural(member.followers, 'follower')}</span>
              </span>
              {following && (
                <FollowToggle session={session} user={member.id} name={member.name} following={following.has(member.id)} listed />
              )}
            </li>
          ))}
        </ul>
      )}
      <FindPeopleButton class="find" onOpen={() => openPanel({ name: 'find' })} />
    </section>
  );
}

export function FindDialog({ session, onClose }: { session: Session; onClose: () => void }) {
  return (
    <Dialog labelledBy="find-title" class="find-dialog" testid="find-panel" onClose={onClose}>
      <h2 id="find-title">Find people</h2>
      <MemberPicker label="Find a member" live={session.client} onPick={(member) => openProfile(member.id)} />
    </Dialog>
  );
}
