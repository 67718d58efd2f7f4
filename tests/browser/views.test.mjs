// Each view in light and dark, wide and narrow: axe-core finds nothing to object to, nothing sticks out, and a picture
// of it is left in .cache/screenshots/.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { byId, compose, CUT, Demo, eventually, SHOTS, SIZES, state } from './harness.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

describe('every view', () => {
  let demo, me, friend;
  before(async () => {
    demo = await Demo.start(1_000);
    const followed = await demo.pair();
    [me, friend] = [followed.author, followed.reader];
    const mine = await demo.call(me, 'POST', '/v1/posts', { text: 'What would you ask first?' });
    for (const user of (await demo.strangers(me, 12)).slice(4)) await demo.call(user, 'PUT', `/v1/posts/${mine.id}/reactions/like`);
    await demo.call(friend, 'POST', '/v1/posts', { text: 'Who pays for it, and from when?', reply_to: mine.id });
    await demo.call(friend, 'POST', '/v1/posts', { text: `A good question of @${me}`, mentions: [me] });
  });
  after(() => demo?.stop());

  /** Looks at a view in every way. */
  async function look(page, name) {
    // Of posts off the screen the browser computes no style anew, and axe would read that of the other scheme.
    await page.evaluate(() => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync('* { content-visibility: visible !important }');
      document.adoptedStyleSheets = [sheet];
    });
    for (const size of SIZES) {
      await page.setViewportSize(size);
      for (const scheme of ['light', 'dark']) {
        // Nothing is on its way while it is looked at.
        await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
        await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
        await page.waitForTimeout(300);
        await page.screenshot({ path: join(SHOTS, `${name}-${size.name}-${scheme}.png`) });
        const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok(wide <= room, `${name}: something sticks out at ${size.width}: ${wide} > ${room}`);
        await page.evaluate(AXE);
        const { violations } = await page.evaluate(() => axe.run(document.querySelector('dialog[open]') ?? document));
        const found = violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`).join(' | ')}`);
        assert.deepEqual(found, [], `${name}, ${size.name}, ${scheme}`);
      }
    }
    await page.setViewportSize(SIZES[0]);
  }

  test('the choice of a member', async () => {
    const page = await demo.tab('/');
    await byId(page, 'member-option').nth(5).waitFor();
    await look(page, 'choose');
    await page.close();
  });

  test('the feed, and what is over it', async () => {
    const others = await Promise.all([friend, ...(await demo.strangers(me, 3))].map((user) => demo.as(user)));
    const page = await demo.as(me, [CUT]);
    await compose(page, 'Good morning from the demonstration.');
    await eventually('somebody came live', async () => (await page.locator('[data-testid=post][data-arrival=pushed], [data-testid=post][data-arrival=pulled]').count()) > 2, 60_000);
    await byId(page, 'online-person').first().waitFor();
    await page.evaluate(() => scrollTo(0, 0));
    await look(page, 'feed');
    const open = async (button, panel, ready) => {
      await button();
      await byId(page, panel).waitFor();
      await ready?.();
      await look(page, panel);
      await page.keyboard.press('Escape');
      await byId(page, panel).waitFor({ state: 'detached' });
    };
    await open(() => byId(page, 'bell').click(), 'inbox-panel', () => byId(page, 'notification').first().waitFor());
    await open(() => byId(page, 'find-people').click(), 'find-panel', () => byId(page, 'member-option').first().waitFor());
    await open(() => byId(page, 'own-profile').click(), 'author-panel', () => byId(page, 'profile-posts').locator('li').first().waitFor());
    await open(() => byId(page, 'open-post').first().click(), 'post-panel', () => byId(page, 'thread-post').first().waitFor());
    const charts = () => eventually('charts', async () => Number(await byId(page, 'chart').first().getAttribute('data-points')) > 8, 40_000);
    await open(() => byId(page, 'header-hood').click(), 'hood-panel', charts);
    await byId(page, 'cut-connection').click();
    await byId(page, 'cut-note').waitFor();
    await page.setViewportSize(SIZES[0]);
    await page.screenshot({ path: join(SHOTS, 'cut-wide-dark.png') });
    await state(page, 'connected');
    await byId(page, 'recovered-note').waitFor();
    await look(page, 'recovered');
    for (const one of [page, ...others]) await one.close();
  });

  test('a feed that can’t be loaded says so, and what is empty', async () => {
    const page = await demo.context.newPage();
    await page.route('**/v1/feed**', (route) => route.fulfill({ status: 503, json: { error: 'unavailable', message: 'not now' } }));
    await page.route('**/v1/notifications?**', (route) => route.fulfill({ json: { data: [], next_cursor: null, has_more: false } }));
    await page.goto(`${demo.server.url}/#/as/${me}`);
    await page.getByText('The feed could not be loaded').waitFor();
    await look(page, 'failed');
    await byId(page, 'bell').click();
    await page.getByText('Nothing yet').waitFor();
    await look(page, 'inbox-empty');
    await page.unroute('**/v1/feed**');
    await page.keyboard.press('Escape');
    // It is tried again by itself, too.
    await byId(page, 'post').first().waitFor();
    await page.close();
  });

  test('nothing was complained about', () => assert.deepEqual(demo.complaints, []));
});
