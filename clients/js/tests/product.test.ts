import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Notification } from '../src/client/types.ts';
import type { Member } from '../src/demo/demo-api.ts';
import { niceTop, pathOf } from '../src/demo/components/chart.tsx';
import { smooth } from '../src/demo/components/hood.tsx';
import { safeUrl } from '../src/demo/components/post-card.tsx';
import { badgeText, sentenceOf } from '../src/demo/notification-text.ts';
import { MOUTHS, portraitOf, STYLES } from '../src/demo/portrait.ts';
import { searchMembers } from '../src/demo/search.ts';
import { noLatencies, percentile, sampleOf, withLatency, type Vitals } from '../src/demo/vitals.ts';

const member = (id: string, name: string): Member => ({ id, name, followers: 1, following: 1, delivery: 'push' });
const members = [
  member('SenSanders', 'Sen Sanders'),
  member('rosadelauro', 'rosadelauro'),
  member('RepJimBanks', 'Rep Jim Banks'),
  member('Jim_Jordan', 'Jim Jordan'),
  member('JoséMuñoz', 'José Muñoz'),
];
const found = (query: string) => searchMembers(members, query).map(({ id }) => id);

test('search finds by words in any order, without accents, and forgives one slip', () => {
  assert.deepEqual(
    found('  '),
    members.map(({ id }) => id),
  );
  assert.deepEqual(found('jim'), ['RepJimBanks', 'Jim_Jordan']);
  assert.deepEqual(found('jordan jim'), ['Jim_Jordan']);
  assert.deepEqual(found('@sensanders'), ['SenSanders']);
  assert.deepEqual(found('munoz jose'), ['JoséMuñoz']);
  assert.deepEqual(found('lauro'), ['rosadelauro'], 'also in the middle');
  for (const slip of ['snaders', 'sandrs', 'sannders', 'sambers'])
    assert.deepEqual(found(slip), slip === 'sambers' ? [] : ['SenSanders'], slip);
  assert.deepEqual(found('jxm'), [], 'short words are taken as they are');
  assert.deepEqual(found('%%%'), []);
});

test('what begins with the query comes before what contains it', () => {
  const list = [member('Abanks', 'A'), member('x', 'New Bank'), member('bank', 'Bank')];
  assert.deepEqual(
    searchMembers(list, 'bank').map(({ id }) => id),
    ['x', 'bank', 'Abanks'],
  );
});

test('portraits are the same each time, and differ', () => {
  assert.deepEqual(portraitOf('ada'), portraitOf('ada'));
  const all = Array.from({ length: 500 }, (_, n) => portraitOf(`user-${n}`));
  assert.ok(new Set(all.map((p) => JSON.stringify(p))).size > 480, 'hardly two are alike');
  assert.equal(new Set(all.map(({ style }) => style)).size, STYLES);
  assert.equal(new Set(all.map(({ mouth }) => mouth)).size, MOUTHS);
});

test('notifications are sentences', () => {
  const sentence = (type: string, actors: string[], actor_count: number, data: unknown = null, text: string | null = null) => {
    const base = { id: '1', subject: null, created_at: '', updated_at: '', seen: false, read: false };
    const notification: Notification = { ...base, type, actors, actor_count, data, text };
    return Object.values(sentenceOf(notification, (id) => id.toUpperCase()))
      .join(' ')
      .trim();
  };
  const like = { reaction: 'like' };
  assert.equal(sentence('reaction', ['a'], 1, like), 'A liked your post');
  assert.equal(sentence('reaction', ['a', 'b'], 2, like), 'A and B liked your post');
  assert.equal(sentence('reaction', ['a', 'b', 'c'], 6, like), 'A and 5 others liked your post');
  assert.equal(sentence('reaction', ['a'], 1, { reaction: 'wow' }), 'A reacted to your post');
  assert.equal(sentence('follow', ['a'], 2), 'A and 1 other followed you');
  assert.equal(sentence('sale', [], 0, null, 'Half price'), 'Half price');
  assert.equal(sentence('sale', [], 0), 'Something new: sale');
  assert.deepEqual([1, 99, 100].map(badgeText), ['1', '99', '99+']);
});

test('samples are what happened between two looks', () => {
  const vitals = (fields: Partial<Vitals>): Vitals => ({
    at_ms: 1_000,
    connections: 1,
    users_online: 1,
    posts_pushed: 10,
    posts_pulled: 5,
    fanned_out: 10,
    fan_out_ms: 100,
    jobs_waiting: 0,
    deliveries: 50,
    delivery: [],
    feed_pages: 0,
    ...fields,
  });
  const seen = withLatency(withLatency(withLatency(noLatencies, 'pushed', 4), 'pushed', 8), 'pulled', 3);
  const after = vitals({ at_ms: 3_000, posts_pushed: 14, fanned_out: 12, fan_out_ms: 130, deliveries: 90, connections: 3 });
  const sample = sampleOf(vitals({}), after, seen, 7);
  assert.deepEqual(
    [
      sample?.at,
      sample?.pushedPerSecond,
      sample?.pulledPerSecond,
      sample?.fanOutMs,
      sample?.deliveriesPerSecond,
      sample?.pushedMs,
      sample?.pulledMs,
    ],
    [7, 2, 0, 15, 20, 6, 3],
  );
  assert.equal(sampleOf(after, after, noLatencies, 7), null, 'the same look twice');
  assert.equal(sampleOf(after, vitals({ at_ms: 9_000 }), noLatencies, 7), null, 'the server began anew');
  assert.equal(sampleOf(vitals({}), vitals({ at_ms: 2_000 }), noLatencies, 7)?.fanOutMs, null, 'nothing to measure is not zero');
});

test('percentiles are ends of buckets', () => {
  const buckets = [
    { le_ms: 5, count: 50 },
    { le_ms: 10, count: 98 },
    { le_ms: null, count: 100 },
  ];
  assert.deepEqual(
    [0.5, 0.9, 0.99].map((part) => percentile(buckets, part)),
    [5, 10, null],
  );
  assert.equal(percentile([], 0.5), null);
});

test('lines end at the right, and go past gaps', () => {
  assert.equal(pathOf([0, 10, null, 5], 4, 10), 'M0.0 84.0h0L100.0 0.0L300.0 42.0');
  assert.equal(pathOf([null, null], 4, 10), '');
  assert.deepEqual([0, 0.3, 1.4, 12, 70, 100].map(niceTop), [1, 0.5, 2, 20, 100, 100]);
  assert.deepEqual(smooth([1, 3, 5], 2), [1, 2, 4]);
});

test('only addresses of the web are links', () => {
  assert.equal(safeUrl('https://example.com/a'), 'https://example.com/a');
  for (const bad of ['javascript:alert(1)', 'JaVaScRiPt:alert(1)', 'data:text/html,x', 'vbscript:x', '//example.com', '', null, 3])
    assert.equal(safeUrl(bad), null, String(bad));
});
