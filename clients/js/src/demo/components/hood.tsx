import { count, duration, plural } from '../format.ts';
import type { Session } from '../session.ts';
import { percentile, type Sample } from '../vitals.ts';
import { Chart, type Series } from './chart.tsx';
import { Dialog } from './dialog.tsx';

/** Samples that a chart is wide: three minutes. */
const WIDE = 90;
/** Posts are few: their rate is a mean over so many samples. */
const SMOOTH = 5;

const perSecond = (value: number) => `${Number(value.toFixed(value < 10 ? 1 : 0))}/s`;
const whole = (value: number) => count(Math.round(value));

/** The mean of each value and the few before it. */
export function smooth(values: readonly number[], over: number): number[] {
  return values.map((_, index) => {
    const part = values.slice(Math.max(0, index - over + 1), index + 1);
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
}

export function HoodDialog({ session, threshold, onClose }: { session: Session; threshold: number; onClose: () => void }) {
  const samples = session.vitals.samples.value;
  const times = samples.map(({ at }) => at);
  const line = (name: string, tone: string, value: (sample: Sample) => number | null): Series => ({
    name,
    tone,
    values: samples.map(value),
  });
  const rate = (name: string, tone: string, value: (sample: Sample) => number): Series => ({
    name,
    tone,
    values: smooth(samples.map(value), SMOOTH),
  });
  return (
    <Dialog labelledBy="hood-title" class="hood-dialog" testid="hood-panel" onClose={onClose}>
      <div class="hood-head">
        <h2 id="hood-title">Under the hood</h2>
        <p class="sub">Measured now, by this page and by the server process that serves it. Nothing is made up but the posts.</p>
      </div>
      {session.vitals.failed.value && (
        <p class="note warn" role="status">
          <span>The server does not tell its numbers at the moment. The charts go on when it does.</span>
        </p>
      )}
      <Facts session={session} />
      <div class="charts">
        <Chart
          title="Posts"
          about={`All members together. Authors with ${count(threshold)} followers or more are pulled, the rest pushed.`}
          series={[rate('Pushed', 'pushed', (s) => s.pushedPerSecond), rate('Pulled', 'pulled', (s) => s.pulledPerSecond)]}
          times={times}
          format={perSecond}
          wide={WIDE}
        />
        <Chart
          title="Delivery to this page"
          about="From the author’s click to your screen: stored on disk, fanned out, sent. Measured here."
          series={[line('Pushed', 'pushed', (s) => s.pushedMs), line('Pulled', 'pulled', (s) => s.pulledMs)]}
          times={times}
          format={duration}
          wide={WIDE}
        />
        <Chart
          title="Fan-out"
          about="From publishing until the last follower has the post. Measured by the server."
          series={[line('Mean', 'accent', (s) => s.fanOutMs)]}
          times={times}
          format={duration}
          wide={WIDE}
        />
        <Chart
          title="Connections"
          about="Sockets open on this server, and the members behind them: one may have several tabs."
          series={[line('Members', 'muted', (s) => s.usersOnline), line('Sockets', 'accent', (s) => s.connections)]}
          times={times}
          format={whole}
          wide={WIDE}
        />
      </div>
      <HowPostsCame session={session} />
    </Dialog>
  );
}

function Facts({ session }: { session: Session }) {
  const vitals = session.vitals.latest.value;
  const latest = session.vitals.samples.value.at(-1);
  const part = (of: number) => {
    const ms = vitals && percentile(vitals.delivery, of);
    return ms == null ? null : `≤ ${duration(ms)}`;
  };
  // The server times one delivery of some: with few visitors there may be none yet, and no number is shown for it.
  const all: readonly (readonly [string, string | null])[] = [
    ['posts since the start', vitals ? count(vitals.posts_pushed + vitals.posts_pulled) : '–'],
    ['deliveries to sockets', vitals ? count(vitals.deliveries) : '–'],
    ['deliveries a second', latest ? perSecond(latest.deliveriesPerSecond) : '–'],
    ['to the socket, median', part(0.5)],
    ['to the socket, 99 of 100', part(0.99)],
    ['jobs waiting', vitals ? count(vitals.jobs_waiting) : '–'],
  ];
  const facts = all.filter(([, value]) => value !== null);
  return (
    <dl class="facts-grid" data-testid="hood-facts">
      {facts.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd class="tabular">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** How the posts that are in the feed now reached this page. */
function HowPostsCame({ session }: { session: Session }) {
  const counts = { pushed: 0, pulled: 0, recovered: 0, page: 0 };
  for (const { arrival } of session.feed.value.items) {
    if (arrival.kind === 'live') counts[arrival.recovered ? 'recovered' : arrival.route] += 1;
    else counts.page += 1;
  }
  const all = counts.pushed + counts.pulled + counts.recovered + counts.page;
  const parts = [
    ['pushed', 'live, on your own channel', counts.pushed],
    ['pulled', 'live, on channels that followers share', counts.pulled],
    ['recovered', 'replayed after a lost connection', counts.recovered],
    ['page', 'loaded with a page of the feed', counts.page],
  ] as const;
  return (
    <section class="came" aria-labelledby="came-title" data-testid="came">
      <h3 id="came-title">How the {plural(all, 'post')} in your feed came</h3>
      <div class="came-bar" aria-hidden="true">
        {parts.map(([key, , n]) => n > 0 && <span key={key} class={`came-${key}`} style={{ flexGrow: n }} />)}
      </div>
      <ul>
        {parts.map(([key, text, n]) => (
          <li key={key} class={`came-${key}`}>
            <span class="key" aria-hidden="true" />
            <b class="tabular">{count(n)}</b> {text}
          </li>
        ))}
      </ul>
    </section>
  );
}
