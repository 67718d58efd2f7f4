import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareIds } from '../src/client/ids.ts';
import { ago, characters, duration, initials } from '../src/demo/format.ts';
import { hrefAs, parseRoute } from '../src/demo/router.ts';
import { noStats, withPost } from '../src/demo/stats.ts';
import { rng } from './support/model.ts';

test('ids are ordered as numbers, beyond what a JavaScript number holds', () => {
  const random = rng(7);
  const id = () => String(BigInt(Math.floor(random() * 2 ** 32)) << BigInt(Math.floor(random() * 31)));
  for (let i = 0; i < 5_000; i += 1) {
    const [a, b] = [id(), id()];
    const expected = BigInt(a) < BigInt(b) ? -1 : BigInt(a) > BigInt(b) ? 1 : 0;
    assert.equal(Math.sign(compareIds(a, b)), expected, `${a} ${b}`);
  }
});

test('a member’s link leads back to the member, whatever the id', () => {
  for (const user of ['SenSanders', 'a@b.example:1', '.', 'x_-y']) assert.deepEqual(parseRoute(hrefAs(user)), { name: 'as', user });
  for (const hash of ['', '#/', '#/as/', '#/as/a/b', '#/as/%E0%A4%A']) assert.deepEqual(parseRoute(hash), { name: 'choose' });
});

test('times are short, and the future is now', () => {
  const now = Date.parse('2026-03-10T12:00:00.000Z');
  const before = (seconds: number) => ago(new Date(now - seconds * 1_000).toISOString(), now);
  assert.deepEqual([-5, 9, 34, 60, 3_599, 3_600, 86_400 * 2].map(before), ['now', 'now', '30 s', '1 min', '59 min', '1 h', '2 d']);
  assert.equal(before(86_400 * 30), 'Feb 8');
  assert.equal(before(86_400 * 400), 'Feb 3, 2025');
  assert.equal(ago('nonsense', now), '');
  assert.deepEqual([9, 999, 1_200, 6_000, 90_000].map(duration), ['9 ms', '999 ms', '1.2 s', '6 s', '2 min']);
});

test('characters are counted as the server does', () => {
  assert.equal(characters('a😀é'), 3);
});

test('initials come from any name', () => {
  assert.deepEqual(['Sen Sanders', 'rosadelauro', '', 'José María Ñ', '@@'].map(initials), ['SS', 'R', '?', 'JÑ', '?']);
});

test('the median is of the latest live posts; recovered ones only count', () => {
  let stats = noStats;
  for (const ms of [9, 1, 5]) stats = withPost(stats, 'pushed', ms);
  stats = withPost(stats, 'pushed', null);
  assert.deepEqual([stats.pushed.count, stats.pushed.medianMs, stats.pulled.count], [4, 5, 0]);
  for (let i = 0; i < 200; i += 1) stats = withPost(stats, 'pushed', 100);
  assert.deepEqual([stats.pushed.count, stats.pushed.medianMs, stats.pushed.latest.length], [204, 100, 60]);
});
