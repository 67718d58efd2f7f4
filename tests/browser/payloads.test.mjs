// What somebody wrote stays text: payloads in posts, names, and addresses make no dialog, no element and no request.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { byId, Demo, eventually, shown, state } from './harness.mjs';

const PAYLOADS = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<svg onload=alert(1)>',
  '<svg><script>alert(1)</script></svg>',
  '<iframe src="javascript:alert(1)"></iframe>',
  '<iframe srcdoc="<script>parent.alert(1)</script>"></iframe>',
  '<body onload=alert(1)>',
  '<a href="javascript:alert(1)">here</a>',
  '<a href="data:text/html,<script>alert(1)</script>">here</a>',
  '<details open ontoggle=alert(1)>',
  '<input autofocus onfocus=alert(1)>',
  '<video><source onerror=alert(1)></video>',
  '<audio src=x onerror=alert(1)>',
  '<object data="javascript:alert(1)"></object>',
  '<embed src="javascript:alert(1)">',
  '<link rel=stylesheet href="javascript:alert(1)">',
  '<meta http-equiv=refresh content="0;url=javascript:alert(1)">',
  '<base href="javascript:alert(1)//">',
  '<form action="javascript:alert(1)"><button>go</button></form>',
  '<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>',
  '<template><script>alert(1)</script></template>',
  '<style>*{background:url("javascript:alert(1)")}</style>',
  '"><script>alert(1)</script>',
  "'-alert(1)-'",
  '"onmouseover="alert(1)" x="',
  '</textarea><script>alert(1)</script>',
  '<!--><img src=x onerror=alert(1)>-->',
  '{{constructor.constructor("alert(1)")()}}',
  '${alert(1)}',
  'javascript:alert(1)',
  '&lt;img src=x onerror=alert(1)&gt;',
  '\u202e<img src=x onerror=alert(1)>\u0000',
].map((payload) => payload.replace('\u0000', ''));

describe('what somebody wrote', () => {
  let demo, reader, author;
  before(async () => {
    demo = await Demo.start(0);
    ({ reader, author } = await demo.pair());
  });
  after(() => demo?.stop());

  test('is text, wherever it is shown', async () => {
    const page = await demo.as(reader);
    const dialogs = [];
    page.on('dialog', (dialog) => {
      dialogs.push(dialog.message());
      void dialog.dismiss();
    });
    const outside = [];
    page.on('request', (request) => {
      if (!request.url().startsWith(demo.server.url) && !request.url().startsWith('data:')) outside.push(request.url());
    });
    const elements = () => page.evaluate(() => {
      const names = {};
      for (const { localName } of document.querySelectorAll('script, iframe, object, embed, base, meta, form, video, audio, template, math, style, link, img, input')) {
        names[localName] = (names[localName] ?? 0) + 1;
      }
      return names;
    });
    const before = await elements();
    const payloads = PAYLOADS.filter((text) => text !== '');
    assert.ok(payloads.length >= 30);
    const ids = [];
    for (const text of payloads) {
      const body = { text, mentions: [reader], attachments: [{ url: text.startsWith('javascript:') ? text : `javascript:alert(1)//${ids.length}`, type: 'link' }] };
      const made = await demo.call(author, 'POST', '/v1/posts', body).catch(() => demo.call(author, 'POST', '/v1/posts', { text, mentions: [reader] }));
      ids.push(made.id);
    }
    for (const [at, id] of ids.entries()) {
      await shown(page, id);
      const text = await page.locator(`[data-post-id="${id}"]`).getByTestId('post-text').textContent();
      assert.equal(text, payloads[at]);
    }
    assert.equal(await page.locator('[data-testid=attachment]').count(), 0, 'only addresses of the web are links');
    assert.deepEqual(await elements(), before, 'the feed made no element of them');

    for (const name of payloads.slice(0, 6)) {
      await demo.call(author, 'PUT', `/v1/users/${author}`, { name });
      await page.locator(`[data-post-id="${ids.at(-1)}"]`).getByTestId('post-author').click();
      await eventually('the name is text', async () => (await byId(page, 'profile-name').textContent()) === name);
      assert.deepEqual(await elements(), before, `the name ${name} made no element`);
      await page.keyboard.press('Escape');
    }
    await byId(page, 'bell').click();
    await byId(page, 'notification').first().locator('.notification-open').click();
    await byId(page, 'thread-post').first().waitFor();
    const { form = 0, input = 0, ...rest } = await elements();
    const { form: forms = 0, input: inputs = 0, ...others } = before;
    // The room for a reply is a form with a field.
    assert.deepEqual([rest, form, input], [others, forms + 1, inputs + 1]);
    await page.reload();
    await state(page, 'connected');
    await byId(page, 'post').first().waitFor();
    assert.deepEqual([dialogs, outside], [[], []]);
    await page.close();
  });

  test('could do nothing even as an element: the policy stops it', async () => {
    const refused = /Content Security Policy/;
    const page = await demo.tab('/', [refused]);
    const ran = await page.evaluate(async () => {
      globalThis.ran = false;
      const script = document.createElement('script');
      script.textContent = 'globalThis.ran = true';
      document.body.append(script);
      const image = document.createElement('div');
      image.innerHTML = '<img src="/none.png" onerror="globalThis.ran = true">';
      document.body.append(image);
      await new Promise((resolve) => setTimeout(resolve, 500));
      return globalThis.ran;
    });
    assert.equal(ran, false);
    const policy = (await (await fetch(demo.server.url)).headers.get('content-security-policy')) ?? '';
    assert.match(policy, /default-src 'self'/);
    assert.doesNotMatch(policy, /unsafe|https:/);
    await page.close();
  });

  test('nothing was complained about', () => {
    // The picture that is not there is part of the attempt.
    assert.deepEqual(demo.complaints.filter((text) => !/404/.test(text)), []);
  });
});
