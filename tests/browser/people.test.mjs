// Two tabs of one member, and another member: the bell, counts and marks, presence, profiles, search.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { byId, compose, Demo, eventually, has } from './harness.mjs';

describe('members and what is between them', () => {
  let demo, ann, bob, others;
  before(async () => {
    // Nobody posts but the tests: counts are exact.
    demo = await Demo.start(0);
    ann = (await demo.members())[0].id;
    others = await demo.strangers(ann, 8);
    bob = others[0];
  });
  after(() => demo?.stop());

  const unseen = (page, n) => has(page, 'bell', 'data-unseen', n);
  const unread = (page, n) => has(page, 'inbox-unread', 'data-count', n);
  const rows = (page) => byId(page, 'notification');

  test('the bell groups, counts, and is the same in two tabs', async () => {
    const [one, two] = [await demo.as(ann), await demo.as(ann)];
    await Promise.all([unseen(one, 0), unseen(two, 0)]);
    const id = await compose(one, 'Like this, if you like');
    const like = (user) => demo.call(user, 'PUT', `/v1/posts/${id}/reactions/like`);
    await like(bob);
    await Promise.all([unseen(one, 1), unseen(two, 1)]);
    for (const user of others.slice(1, 7)) await like(user);
    await demo.call(bob, 'PUT', `/v1/following/${ann}`);
    await Promise.all([unseen(one, 2), unseen(two, 2)]);

    await byId(one, 'bell').click();
    await has(one, 'inbox', 'data-status', 'ready');
    // Opened in one tab is seen in both, and still unread.
    await Promise.all([unseen(one, 0), unseen(two, 0)]);
    await byId(two, 'bell').click();
    await Promise.all([unread(one, 2), unread(two, 2)]);
    const liked = (page) => rows(page).and(page.locator('[data-type=reaction]'));
    await liked(two).and(two.locator('[data-actors="7"]')).waitFor();
    assert.match(await liked(two).getByTestId('notification-text').innerText(), /^.+ and 6 others liked your post/);

    // One by one, and back.
    await liked(one).getByTestId('notification-read').click();
    await liked(two).and(two.locator('[data-read=true]')).waitFor();
    await Promise.all([unread(one, 1), unread(two, 1)]);
    await liked(two).getByTestId('notification-read').click();
    await liked(one).and(one.locator('[data-read=false]')).waitFor();
    await Promise.all([unread(one, 2), unread(two, 2)]);

    await byId(one, 'inbox-read-all').click();
    await Promise.all([unread(one, 0), unread(two, 0)]);
    await eventually('all are read', async () => (await two.locator('[data-testid=notification][data-read=false]').count()) === 0);

    // Read: the next like begins a new one. What comes while the list is open is seen.
    await like(others[7]);
    await eventually('three', async () => (await rows(two).count()) === 3);
    await Promise.all([unread(one, 1), unread(two, 1), unseen(one, 0), unseen(two, 0)]);
    await rows(one).first().getByTestId('notification-archive').click();
    await eventually('gone from both', async () => (await rows(one).count()) === 2 && (await rows(two).count()) === 2);
    await Promise.all([unread(one, 0), unread(two, 0)]);

    // A notification opens its post.
    await liked(one).first().locator('.notification-open').click();
    await byId(one, 'post-panel').getByText('Like this, if you like').waitFor();
    await Promise.all([one.close(), two.close()]);
  });

  test('the list goes on below', async () => {
    for (let n = 0; n < 45; n += 1) await demo.call(bob, 'POST', '/v1/posts', { text: `Number ${n}`, mentions: [others[3]] });
    const page = await demo.as(others[3]);
    await unseen(page, 45);
    await byId(page, 'bell').click();
    await eventually('all of them', async () => {
      await byId(page, 'inbox-end').scrollIntoViewIfNeeded();
      return (await rows(page).count()) === 45;
    });
    const ids = await rows(page).evaluateAll((all) => all.map(({ dataset }) => dataset.id));
    assert.equal(new Set(ids).size, 45, 'each once');
    await page.close();
  });

  test('who is online shows at once, as they choose', async () => {
    const watching = await demo.as(ann);
    await byId(watching, 'find-people').click();
    await byId(watching, 'find-panel').getByTestId('member-search').fill(bob);
    await byId(watching, 'member-option').and(watching.locator(`[data-member-id="${bob}"]`)).click();
    const seen = byId(watching, 'author-panel').getByTestId('last-seen');
    const is = (status) => seen.and(watching.locator(`[data-status=${status}]`)).waitFor({ timeout: 15_000 });
    await is('offline');
    const [first, second] = [await demo.as(bob), await demo.as(bob)];
    await is('online');
    await byId(first, 'own-status-choice').selectOption('away');
    await is('away');
    await has(second, 'own-status', 'data-status', 'away');
    await byId(second, 'own-status-choice').selectOption('invisible');
    await is('offline');
    await has(first, 'own-status', 'data-status', 'invisible');
    await byId(first, 'own-status-choice').selectOption('online');
    await is('online');
    await watching.keyboard.press('Escape');
    await byId(watching, 'online-person').and(watching.locator(`[data-user-id="${bob}"]`)).waitFor();
    await byId(watching, 'online-person').and(watching.locator(`[data-user-id="${bob}"]`)).click();
    // Closing a tab is a goodbye: no grace as for a lost connection (15 s).
    await Promise.all([first, second].map((page) => page.close({ runBeforeUnload: true })));
    await is('offline');
    assert.match(await seen.innerText(), /Last seen (just now|\d+ s ago)/);
    await watching.close();
  });

  test('a profile: follow, mute, block, and its posts', async () => {
    const page = await demo.as(ann);
    const carol = others[5];
    await page.keyboard.press('/');
    await byId(page, 'find-panel').getByTestId('member-search').fill(carol);
    await page.keyboard.press('Enter');
    const panel = byId(page, 'author-panel');
    await panel.waitFor();
    const user = await demo.call(ann, 'GET', `/v1/users/${carol}`);
    const format = (n) => n.toLocaleString('en');
    await panel.getByTestId('author-followers').and(page.getByText(format(user.followers), { exact: true })).waitFor();
    assert.equal(await panel.getByTestId('author-mode').getAttribute('data-mode'), user.delivery);
    await panel.getByTestId('follow-toggle').click();
    await panel.getByTestId('author-followers').and(page.getByText(format(user.followers + 1), { exact: true })).waitFor();
    await panel.getByTestId('mute-toggle').click();
    await has(page, 'mute-toggle', 'data-muted', 'true');
    assert.equal((await demo.call(ann, 'GET', `/v1/users/${carol}`)).viewer.muted, true);
    await panel.getByTestId('block-toggle').click();
    await has(page, 'block-toggle', 'data-blocked', 'true');
    const viewer = (await demo.call(ann, 'GET', `/v1/users/${carol}`)).viewer;
    assert.deepEqual([viewer.blocked, viewer.following], [true, false]);
    await panel.getByTestId('block-toggle').click();
    await has(page, 'block-toggle', 'data-blocked', 'false');
    await panel.getByTestId('mute-toggle').click();
    await has(page, 'mute-toggle', 'data-muted', 'false');
    await page.close();
  });

  test('search finds by words, without order, and forgives a slip', async () => {
    const page = await demo.tab('/');
    const first = async (typed, wanted) => {
      await byId(page, 'member-search').fill(typed);
      await eventually(`${typed} finds ${wanted}`, async () => (await byId(page, 'member-option').first().getAttribute('data-member-id')) === wanted);
    };
    await first('sanders sen', 'SenSanders');
    await first('snaders', 'SenSanders');
    await first('@SenSanders', 'SenSanders');
    await byId(page, 'member-search').fill('nobody of that name');
    await page.getByText('Nobody matches').waitFor();
    await page.close();
  });

  test('nothing was complained about', () => assert.deepEqual(demo.complaints, []));
});
