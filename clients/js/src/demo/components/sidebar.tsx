import { directory } from '../directory.ts';
import { count, duration } from '../format.ts';
import { openPanel, openProfile } from '../panels.ts';
import type { Session } from '../session.ts';
import type { RouteStats } from '../stats.ts';
import { Avatar } from './avatar.tsx';
import { OwnStatusChoice } from './presence.tsx';
import { GaugeIcon, PeopleIcon } from './icons.tsx';

export function ProfileCard({ session, name }: { session: Session; name: string }) {
  const me = session.me.value;
  const member = directory.value.get(session.user);
  const figures = [
    ['followers', me?.followers ?? member?.followers],
    ['following', session.following.value?.size ?? me?.following ?? member?.following],
  ] as const;
  return (
    <section class="card profile" aria-label="You">
      <Avatar id={session.user} name={name} size={56} />
      <div class="profile-id">
        <h1 tabIndex={-1} id="me">
          {name}
        </h1>
        <p class="sub">@{session.user}</p>
      </div>
      <dl class="profile-figures">
        {figures.map(([label, value]) => (
          <div key={label}>
            <dd>{value === undefined ? '–' : count(value)}</dd>
            <dt>{label}</dt>
          </div>
        ))}
      </dl>
      <OwnStatusChoice session={session} />
      <div class="profile-actions">
        {' '}
        <button type="button" class="button small own-profile" onClick={() => openProfile(session.user)} data-testid="own-profile">
          Profile
        </button>
        <a class="button small switch" href="#/" data-testid="switch-member">
          <span>
            Switch<span class="wide"> member</span>
          </span>
        </a>
      </div>{' '}
    </section>
  );
}

export function DeliveryCard({ session, threshold }: { session: Session; threshold: number }) {
  const { pushed, pulled } = session.stats.value;
  return (
    <section class="card delivery" aria-labelledby="delivery-title">
      <h2 id="delivery-title">How posts reach you</h2>
      <RouteRow
        label="Pushed"
        route="pushed"
        stats={pushed}
        text={`from authors below ${count(threshold)} followers, each into your own feed`}
      />
      <RouteRow label="Pulled" route="pulled" stats={pulled} text="from the rest, on a channel that all their followers share" />
      <button type="button" class="button small hood-open" onClick={() => openPanel({ name: 'hood' })} data-testid="open-hood">
        <GaugeIcon />
        Under the hood
      </button>
    </section>
  );
}

const BARS = 24;
const BAR_STEP = 4;
const HEIGHT = 20;

function RouteRow({ label, route, stats, text }: { label: string; route: 'pushed' | 'pulled'; stats: RouteStats; text: string }) {
  return (
    <div class={`route-row route-${route}`} data-testid={`stats-${route}`} data-count={stats.count}>
      <div class="route-line">
        <span class="route-name">{label}</span>
        <span class="route-count tabular">
          {count(stats.count)} <span class="sub">live</span>
        </span>
        <span class="route-median tabular">
          {stats.medianMs === null ? '–' : duration(stats.medianMs)} <span class="sub">median</span>
        </span>
      </div>
      <Bars values={stats.latest.slice(-BARS)} />
      <p class="sub route-text">{text}</p>
    </div>
  );
}

/** Latency of the latest posts, newest at the right; the tallest bar is the slowest of them. */
function Bars({ values }: { values: readonly number[] }) {
  const top = Math.max(10, ...values);
  return (
    <svg class="bars" viewBox={`0 0 ${BARS * BAR_STEP} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true" focusable="false">
      {values.map((value, index) => {
        const height = Math.max(1.5, (value / top) * HEIGHT);
        const x = (BARS - values.length + index) * BAR_STEP;
        return <rect key={index} x={x} y={HEIGHT - height} width={BAR_STEP - 1} height={height} rx={0.8} />;
      })}
    </svg>
  );
}

export function FindPeopleButton({ class: className, onOpen }: { class: string; onOpen: () => void }) {
  return (
    <button type="button" class={`button small ${className}`} onClick={onOpen}>
      <PeopleIcon />
      Find people
    </button>
  );
}
