import { useId } from 'preact/hooks';

export interface Series {
  name: string;
  /** Colours it: `pushed`, `pulled`, `accent`, `muted`. */
  tone: string;
  /** Oldest first; `null` is a gap. */
  values: readonly (number | null)[];
}

interface Props {
  title: string;
  /** What it means, for who sees it the first time. */
  about: string;
  series: readonly Series[];
  /** Unix milliseconds of the values. */
  times: readonly number[];
  format: (value: number) => string;
  /** How many values the chart is wide. */
  wide: number;
}

const WIDTH = 300;
const HEIGHT = 84;
const ROWS = 10;
/** A line along the top would not be seen. */
const HEADROOM = 1.1;

/** 1, 2 or 5 times a power of ten, not below `value`. */
export function niceTop(value: number): number {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 2, 5, 10]) if (value <= step * unit) return step * unit;
  return 10 * unit;
}

/** A line of SVG, newest at the right, past what was not measured. The first value is a dot, drawn by its round cap. */
export function pathOf(values: readonly (number | null)[], wide: number, top: number): string {
  const step = WIDTH / Math.max(1, wide - 1);
  let path = '';
  values.forEach((value, index) => {
    if (value === null) return;
    const x = (WIDTH - (values.length - 1 - index) * step).toFixed(1);
    const y = (HEIGHT - (Math.min(value, top) / top) * HEIGHT).toFixed(1);
    path += path === '' ? `M${x} ${y}h0` : `L${x} ${y}`;
  });
  return path;
}

const last = (values: readonly (number | null)[]) => values.findLast((value) => value !== null) ?? null;

/** A chart of the last minutes, with its numbers as a table for who can't see it. */
export function Chart({ title, about, series, times, format, wide }: Props) {
  const id = useId();
  const all = series.flatMap(({ values }) => values.filter((value) => value !== null));
  const top = niceTop(Math.max(0, ...all) * HEADROOM);
  const summary = series
    .map(
      ({ name, values }) =>
        `${name}: ${showOr(last(values), format)} now, ${showOr(all.length > 0 ? Math.max(...values.map((v) => v ?? 0)) : null, format)} at most`,
    )
    .join('; ');
  return (
    <section class="chart" aria-labelledby={`${id}-title`} data-testid="chart" data-points={times.length}>
      <h3 id={`${id}-title`}>{title}</h3>
      <dl class="chart-now">
        {series.map(({ name, tone, values }) => (
          <div key={name} class={`tone-${tone}`}>
            <dt>
              <span class="key" aria-hidden="true" />
              {name}
            </dt>
            <dd class="tabular">{showOr(last(values), format)}</dd>
          </div>
        ))}
      </dl>
      <div class="plot">
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${title}. ${summary}`}>
          <path class="grid" d={`M0 .5H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}`} />
          {series.map(({ name, tone, values }) => (
            <path key={name} class={`line tone-${tone}`} d={pathOf(values, wide, top)} />
          ))}
        </svg>
        <span class="plot-top sub tabular" aria-hidden="true">
          {format(top)}
        </span>
        {all.length === 0 && <span class="plot-empty sub">Nothing measured yet</span>}
      </div>
      <p class="sub">{about}</p>
      <details>
        <summary>As a table</summary>
        <Table series={series} times={times} format={format} title={title} />
      </details>
    </section>
  );
}

function showOr(value: number | null, format: (value: number) => string): string {
  return value === null ? '–' : format(value);
}

const clock = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });

function Table({ series, times, format, title }: Pick<Props, 'series' | 'times' | 'format' | 'title'>) {
  const rows = times
    .map((at, index) => ({ at, index }))
    .slice(-ROWS)
    .reverse();
  return (
    <table class="tabular">
      <caption class="visually-hidden">{title}, latest first</caption>
      <thead>
        <tr>
          <th scope="col">Time</th>
          {series.map(({ name }) => (
            <th scope="col" key={name}>
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map(({ at, index }) => (
          <tr key={at}>
            <th scope="row">{clock.format(at)}</th>
            {series.map(({ name, values }) => (
              <td key={name}>{showOr(values[index] ?? null, format)}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
