import { useState } from 'preact/hooks';
import { attempt } from '../notices.ts';
import type { Session } from '../session.ts';

interface Props {
  session: Session;
  user: string;
  name: string;
  following: boolean;
  /** One of many in a list: not as loud. */
  listed?: boolean;
  /** Told after the server has taken it. */
  onChanged?: (following: boolean) => void;
}

export function FollowToggle({ session, user, name, following, listed, onChanged }: Props) {
  const [busy, setBusy] = useState(false);
  const toggle = async () => {
    if (busy) return;
    setBusy(true);
    const worked = await attempt(following ? `Unfollowing ${name}` : `Following ${name}`, () => session.follow(user, !following));
    setBusy(false);
    if (worked) onChanged?.(!following);
  };
  return (
    <button
      type="button"
      class={following ? 'button small follow on' : listed ? 'button small follow' : 'button small follow primary'}
      // The text is the state, so it is not a pressed button as well.
      aria-label={`${following ? 'Following' : 'Follow'} ${name}`}
      aria-busy={busy}
      data-following={following}
      data-testid="follow-toggle"
      data-user-id={user}
      onClick={() => void toggle()}
    >
      {following ? 'Following' : 'Follow'}
    </button>
  );
}
