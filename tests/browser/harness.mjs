// The demonstration as a process, headless Chromium before it, and what a visitor does with both.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { eventually, start } from '../clients/server.mjs';

export { eventually };
export const SHOTS = fileURLToPath(new URL('../../.cache/screenshots/', import.meta.url));
export const SIZES = [
  { name: 'wide', width: 1280, height: 800 },
  { name: 'narrow', width: 390, height: 844 },
];
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
/** What the browser says of a connection that is cut on purpose. */
export const CUT = /WebSocket|ERR_INTERNET_DISCONNECTED|ERR_CONNECTION/;

export const byId = (page, id) => page.getByTestId(id);

export class Demo {
  complaints = [];

  /** Starts a demonstration whose simulated members post every so often; 0: never. */
  static async start(everyMs) {
    const demo = new Demo();
    mkdirSync(SHOTS, { recursive: true });
    demo.profile = mkdtempSync(join(tmpdir(), 'fama-chromium-'));
    try {
      demo.server = await start({ args: ['demo', '--port', '0', '--post-every-ms', String(everyMs)] });
      if (process.env.FAMA_PAGE === 'sources') await demo.#fromSources();
      demo.context = await chromium.launchPersistentContext(demo.profile, {
        executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
        headless: true,
        viewport: SIZES[0],
        args: FLAGS,
      });
      demo.context.setDefaultTimeout(20_000);
      return demo;
    } catch (error) {
      await demo.stop();
      throw error;
    }
  }

  /** The page as the sources give it, before the same server: to try a change without building the server anew. */
  async #fromSources() {
    const file = fileURLToPath(new URL('../../clients/js/dev/server.mjs', import.meta.url));
    this.proxy = spawn(process.execPath, [file, '--server', this.server.url, '--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await once(this.proxy.stdout, 'data');
    this.server.url = String(line).trim();
  }

  async stop() {
    await this.context?.close();
    this.proxy?.kill();
    await this.server?.stop();
    if (this.profile) rmSync(this.profile, { recursive: true, force: true });
  }

  /** A tab of its own; whatever its console complains about is kept, unless it is expected. */
  async tab(path, expected = []) {
    const page = await this.context.newPage();
    const complain = (text) => {
      if (!expected.some((pattern) => pattern.test(text))) this.complaints.push(text);
    };
    page.on('console', (message) => message.type() === 'error' && complain(message.text()));
    page.on('pageerror', (error) => complain(String(error)));
    await page.goto(this.server.url + path);
    return page;
  }

  /** A tab that is a member, connected and with a feed. */
  async as(user, expected = []) {
    const page = await this.tab(`/#/as/${encodeURIComponent(user)}`, expected);
    await state(page, 'connected');
    await byId(page, 'feed').and(page.locator('[data-status=ready]')).waitFor();
    return page;
  }

  async members(limit = 100) {
    return (await (await fetch(`${this.server.url}/demo/members?limit=${limit}`)).json()).data;
  }

  /** Calls the API as a member. */
  async call(user, method, path, body) {
    const token = await fetch(`${this.server.url}/demo/token`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ user }),
    });
    const headers = { Authorization: `Bearer ${(await token.json()).token}`, 'Content-Type': 'application/json' };
    const answer = await fetch(this.server.url + path, { method, headers, ...(body && { body: JSON.stringify(body) }) });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }

  /** A member and one whom that member follows. */
  async pair() {
    for (const { id: reader } of await this.members()) {
      const following = await this.call(reader, 'GET', '/v1/following?limit=1');
      if (following.data.length) return { reader, author: following.data[0].user };
    }
    throw new Error('nobody follows anybody');
  }

  /** Members that `user` does not follow and that do not follow `user`: nothing between them yet. */
  async strangers(user, howMany) {
    const [following, followers] = await Promise.all(
      ['following', 'followers'].map(async (list) => {
        const found = new Set();
        for (let cursor = ''; cursor !== null; ) {
          const page = await this.call(user, 'GET', `/v1/${list}?limit=100${cursor && `&cursor=${cursor}`}`);
          for (const one of page.data) found.add(one.user);
          cursor = page.next_cursor;
        }
        return found;
      }),
    );
    const all = await this.members();
    const found = all.map(({ id }) => id).filter((id) => id !== user && !following.has(id) && !followers.has(id));
    assert.ok(found.length >= howMany);
    return found.slice(0, howMany);
  }
}

export const state = (page, wanted) => byId(page, 'connection-state').and(page.locator(`[data-state=${wanted}]`)).waitFor();
export const post = (page, id) => page.locator(`[data-testid=post][data-post-id="${id}"]`);

/** Writes a post as a visitor does; its id. */
export async function compose(page, text) {
  const answer = page.waitForResponse((r) => r.url().endsWith('/v1/posts') && r.request().method() === 'POST');
  await byId(page, 'composer').fill(text);
  await byId(page, 'composer-send').click();
  const response = await answer;
  assert.equal(response.status(), 201);
  return (await response.json()).id;
}

/** New posts may wait behind the pill while the reader looks at older ones. */
export async function shown(page, id) {
  await eventually(
    'the post is there',
    async () => {
      if ((await post(page, id).count()) > 0) return true;
      const pill = byId(page, 'new-posts-pill');
      if (await pill.isVisible()) await pill.click({ timeout: 500 }).catch(() => {});
      return false;
    },
    20_000,
  );
}

/** Waits until an element has this attribute. */
export async function has(page, id, attribute, value) {
  await byId(page, id).and(page.locator(`[${attribute}="${value}"]`)).first().waitFor({ state: 'attached' });
}
