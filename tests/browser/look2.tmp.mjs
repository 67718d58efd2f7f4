import { chromium } from 'playwright-core';
const b = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-quic'] });
const p = await b.newPage({ viewport: { width: 1280, height: 800 } });
p.on('console', (m) => console.log('console', m.type(), m.text()));
p.on('websocket', (w) => { console.log('ws', w.url()); w.on('framesent', (f) => console.log('>', String(f.payload).slice(0, 300))); w.on('framereceived', (f) => console.log('<', String(f.payload).slice(0, 300))); w.on('close', () => console.log('closed')); });
await p.goto('http://127.0.0.1:8123/#/as/RepRoKhanna');
await p.waitForTimeout(5000);
console.log(await p.locator('[data-testid=bell]').evaluate((e) => e.outerHTML.slice(0, 200)).catch(String));
await b.close();
