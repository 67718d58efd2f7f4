// The demo page in headless Chromium, driven as a visitor would.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { byId, compose, CUT, Demo, eventually, post, shown, state } from './harness.mjs';

describe('the demo page', () => {
  let demo;
  before(async () => {
    demo = await Demo.start(1_000);
  });
  after(() => demo?.stop());

  // First, while there is no other visitor whom they could answer.
  test('simulated members answer a visitor', async () => {
    const { id: author } = (await demo.members())[10];
    const page = await demo.as(author);
    const id = await compose(page, `Is anybody there? ${Date.now()}`);
    await eventually(
      'somebody likes it, answers it, or passes it on',
      async () => {
        const { data } = await demo.call(author, 'GET', '/v1/notifications');
        return data.some((one) => one.subject?.id === id || one.data?.reply_to === id);
      },
      120_000,
    );
    await eventually('the bell says so', async () => Number(await byId(page, 'bell').getAttribute('data-unseen')) > 0);
    await page.close();
  });

  test('a visitor becomes a member', async () => {
    const page = await demo.tab('/');
    await byId(page, 'member-search').first().fill('sanders');
    await byId(page, 'member-option').first().waitFor();
    await page.keyboard.press('Enter');
    await state(page, 'connected');
    await byId(page, 'post').first().waitFor();
    assert.match(page.url(), /#\/as\/SenSanders/);
    await page.close();
  });

  test('a post arrives live, and what was missed is recovered and accounted for', async () => {
    const { reader, author } = await demo.pair();
    const reading = await demo.as(reader, [CUT]);
    const writing = await demo.as(author);
    const live = await compose(writing, `A live post, ${Date.now()}`);
    await shown(reading, live);
    assert.ok(await post(writing, live).isVisible(), 'the author sees it too');

    await byId(reading, 'cut-connection').click();
    await byId(reading, 'connection-state').and(reading.locator(':not([data-state=connected])')).waitFor();
    await byId(reading, 'cut-note').waitFor();
    const missed = [];
    for (let n = 0; n < 3; n += 1) missed.push(await compose(writing, `Missed ${n}, ${Date.now()}`));
    assert.equal(await post(reading, missed[0]).count(), 0, 'the connection really is cut');
    await state(reading, 'connected');
    const note = byId(reading, 'recovered-note');
    await note.waitFor();
    for (const id of missed) await shown(reading, id);
    for (const id of [live, ...missed]) assert.equal(await post(reading, id).count(), 1, 'each is there once');
    assert.equal(await note.getAttribute('data-complete'), 'true');
    const rows = await byId(reading, 'recovered-offsets').locator('tr[data-channel]').evaluateAll((all) => all.map(({ dataset }) => ({ ...dataset })));
    const events = rows.reduce((sum, { from, to }) => sum + Number(to) - Number(from), 0);
    assert.ok(events >= 3, `the offsets account for what was missed: ${JSON.stringify(rows)}`);
    await reading.close();
    await writing.close();
  });

  test('likes, follows, and scrolling on', async () => {
    const { reader } = await demo.pair();
    const page = await demo.as(reader);
    await byId(page, 'post').first().waitFor();
    const like = byId(page, 'like-toggle').first();
    const pressed = await like.getAttribute('aria-pressed');
    const [answer] = await Promise.all([
      page.waitForResponse((r) => r.url().includes('/reactions/like') && r.request().method() !== 'GET'),
      like.click(),
    ]);
    assert.equal(answer.status(), 204);
    await eventually('the like shows', async () => (await like.getAttribute('aria-pressed')) !== pressed);
    const toggle = byId(page, 'follow-toggle').first();
    const [change] = await Promise.all([page.waitForResponse((r) => r.url().includes('/v1/following/')), toggle.click()]);
    assert.equal(change.status(), 204);
    const before = await byId(page, 'post').count();
    await eventually('more posts come', async () => {
      await page.mouse.wheel(0, 5_000);
      return (await byId(page, 'post').count()) > before;
    });
    await page.close();
  });

  test('the charts show what the server and the page measure', async () => {
    const { reader } = await demo.pair();
    const page = await demo.as(reader);
    await byId(page, 'header-hood').click();
    await byId(page, 'hood-panel').waitFor();
    await eventually('charts have points', async () => Number(await byId(page, 'chart').first().getAttribute('data-points')) >= 2);
    const vitals = await (await fetch(`${demo.server.url}/demo/vitals`)).json();
    assert.ok(vitals.connections >= 1 && vitals.users_online >= 1, JSON.stringify(vitals));
    const before = vitals.posts_pushed + vitals.posts_pulled;
    await eventually('posts are counted, and their fan-out timed', async () => {
      const now = await (await fetch(`${demo.server.url}/demo/vitals`)).json();
      return now.posts_pushed + now.posts_pulled > before && now.fanned_out > vitals.fanned_out;
    }, 20_000);
    await page.getByText('As a table').first().click();
    assert.ok((await page.locator('.chart table').first().locator('tbody tr').count()) >= 2, 'numbers for who can’t see lines');
    await page.keyboard.press('Escape');
    await byId(page, 'hood-panel').waitFor({ state: 'detached' });
    const focused = await page.evaluate(() => document.activeElement?.getAttribute('data-testid'));
    assert.equal(focused, 'header-hood', 'the focus goes back to where it came from');
    await page.close();
  });

  test('nothing was complained about', () => assert.deepEqual(demo.complaints, []));
});
