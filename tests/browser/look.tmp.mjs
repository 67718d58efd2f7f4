import { chromium } from 'playwright-core';
const b = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-quic'] });
const c = await b.newContext({ viewport: { width: 1280, height: 800 } });
const p = await c.newPage();
p.on('console', (m) => console.log('console', m.type(), m.text()));
p.on('pageerror', (e) => console.log('pageerror', e));
await p.goto('http://127.0.0.1:5173/');
await p.waitForTimeout(2500);
await p.screenshot({ path: '/tmp/s-choose.png' });
await p.goto('http://127.0.0.1:5173/#/as/RepRoKhanna');
await p.waitForTimeout(6000);
await p.screenshot({ path: '/tmp/s-feed.png' });
console.log(await p.locator('[data-testid=bell]').evaluate((e) => e.outerHTML).catch(String));
console.log(await p.locator('body').innerText().then((t) => t.slice(0, 600)));
for (const [id, name] of [['bell', 'inbox'], ['header-hood', 'hood'], ['find-people', 'find'], ['own-profile', 'profile']]) {
  await p.getByTestId(id).click();
  await p.waitForTimeout(name === 'hood' ? 12000 : 1500);
  await p.screenshot({ path: `/tmp/s-${name}.png` });
  await p.keyboard.press('Escape');
}
await b.close();
