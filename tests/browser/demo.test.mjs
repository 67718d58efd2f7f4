// The demo page in headless Chromium, driven as a visitor would. Screenshots are left in .cache/screenshots/.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { eventually, start } from '../clients/server.mjs';

const SHOTS = fileURLToPath(new URL('../../.cache/screenshots/', import.meta.url));
const SIZES = [
  { name: 'wide', width: 1280, height: 800 },
  { name: 'narrow', width: 390, height: 844 },
];
const byId = (page, id) => page.getByTestId(id);

describe('the demo page', () => {
  let server, context, profile;
  const complaints = [];

  before(async () => {
    mkdirSync(SHOTS, { recursive: true });
    profile = mkdtempSync(join(tmpdir(), 'fama-chromium-'));
    server = await start({ args: ['demo', '--port', '0', '--post-every-ms', '2000'] });
    context = await chromium.launchPersistentContext(profile, {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      headless: true,
      viewport: SIZES[0],
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
    context.setDefaultTimeout(20_000);
  });
  after(async () => {
    await context?.close();
    await server?.stop();
    if (profile) rmSync(profile, { recursive: true, force: true });
  });

  /** A tab of its own; whatever its console complains about fails the test. */
  async function tab(path, expected = []) {
    const page = await context.newPage();
    const complain = (text) => {
      if (!expected.some((pattern) => pattern.test(text))) complaints.push(text);
    };
    page.on('console', (message) => message.type() === 'error' && complain(message.text()));
    page.on('pageerror', (error) => complain(String(error)));
    await page.goto(server.url + path);
    return page;
  }

  const state = (page, wanted) => byId(page, 'connection-state').and(page.locator(`[data-state=${wanted}]`)).waitFor();
  const post = (page, id) => page.locator(`[data-testid=post][data-post-id="${id}"]`);

  async function compose(page, text) {
    const answer = page.waitForResponse((r) => r.url().endsWith('/v1/posts') && r.request().method() === 'POST');
    await byId(page, 'composer').fill(text);
    await byId(page, 'composer-send').click();
    const response = await answer;
    assert.equal(response.status(), 201);
    return (await response.json()).id;
  }

  /** A member and one whom that member follows. */
  async function pair() {
    const members = await (await fetch(`${server.url}/demo/members?limit=100`)).json();
    for (const { id: reader } of members.data) {
      const answer = await fetch(`${server.url}/demo/token`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ user: reader }),
      });
      const { token } = await answer.json();
      const headers = { Authorization: `Bearer ${token}` };
      const following = await (await fetch(`${server.url}/v1/following?limit=1`, { headers })).json();
      if (following.data?.length) return { reader, author: following.data[0].user };
    }
    throw new Error('nobody follows anybody');
  }

  test('a visitor becomes a member', async () => {
    const page = await tab('/');
    for (const size of SIZES) {
      await page.setViewportSize(size);
      await page.screenshot({ path: join(SHOTS, `home-${size.name}.png`) });
    }
    await byId(page, 'member-search').first().fill('a');
    await byId(page, 'member-option').first().click();
    await state(page, 'connected');
    await byId(page, 'post').first().waitFor();
    assert.match(page.url(), /#\/as\//);
    await page.close();
  });

  test('a post arrives live, and what was missed is recovered', async () => {
    const { reader, author } = await pair();
    // The connection is cut on purpose: that the browser says so is no complaint.
    const reading = await tab(`/#/as/${encodeURIComponent(reader)}`, [/WebSocket|ERR_INTERNET_DISCONNECTED/]);
    const writing = await tab(`/#/as/${encodeURIComponent(author)}`);
    await Promise.all([state(reading, 'connected'), state(writing, 'connected')]);
    await byId(reading, 'post').first().waitFor();

    const live = await compose(writing, `A live post, ${Date.now()}`);
    await shown(reading, live);
    assert.ok(await post(writing, live).isVisible(), 'the author sees it too');

    await byId(reading, 'cut-connection').click();
    await byId(reading, 'connection-state').and(reading.locator(':not([data-state=connected])')).waitFor();
    const missed = [];
    for (let n = 0; n < 3; n += 1) missed.push(await compose(writing, `Missed ${n}, ${Date.now()}`));
    assert.equal(await post(reading, missed[0]).count(), 0, 'the connection really is cut');
    await state(reading, 'connected');
    await byId(reading, 'recovered-note').waitFor();
    for (const id of missed) await shown(reading, id);
    for (const id of [live, ...missed]) assert.equal(await post(reading, id).count(), 1, 'each is there once');

    for (const size of SIZES) {
      await reading.setViewportSize(size);
      await reading.evaluate(() => scrollTo(0, 0));
      await reading.screenshot({ path: join(SHOTS, `feed-${size.name}.png`) });
      const [wide, room] = await reading.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(wide <= room, `nothing sticks out at ${size.width}: ${wide} > ${room}`);
    }
    await reading.emulateMedia({ colorScheme: 'dark' });
    await reading.screenshot({ path: join(SHOTS, 'feed-dark.png') });
    await reading.close();
    await writing.close();
  });

  /** New posts may wait behind the pill while the reader looks at older ones. */
  async function shown(page, id) {
    await eventually('the post is there', async () => {
      if ((await post(page, id).count()) > 0) return true;
      const pill = byId(page, 'new-posts-pill');
      if (await pill.isVisible()) await pill.click({ timeout: 500 }).catch(() => {});
      return false;
    }, 20_000);
  }

  test('likes, follows, and scrolling on', async () => {
    const { reader } = await pair();
    const page = await tab(`/#/as/${encodeURIComponent(reader)}`);
    await state(page, 'connected');
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
    if (await toggle.isVisible()) {
      const [change] = await Promise.all([page.waitForResponse((r) => r.url().includes('/v1/following/')), toggle.click()]);
      assert.equal(change.status(), 204);
    }
    const before = await byId(page, 'post').count();
    await eventually('more posts come', async () => {
      await page.mouse.wheel(0, 5_000);
      return (await byId(page, 'post').count()) > before;
    });
    await page.close();
  });

  test('nothing was complained about', () => assert.deepEqual(complaints, []));
});
