// Pages that hear a path by EventSource and say something there by fetch, on the server's own port and
// on another. Called by run.mjs, which hands over its helpers. The server offers /live: --publish, --last.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';

// In the page: opens an EventSource, and keeps what it hears.
const listen = (url) => new Promise((resolve, reject) => {
  window.heard = [];
  window.source = new EventSource(url);
  window.source.onopen = () => resolve();
  window.source.onerror = () => reject(new Error('it does not open'));
  window.source.onmessage = ({ data }) => window.heard.push(data);
});
const post = ([url, body, type]) => fetch(url, {
  method: 'POST', body, headers: type ? { 'Content-Type': type } : {},
}).then(({ status }) => status);
const hears = (page, text) => page.waitForFunction((wanted) => window.heard.includes(wanted), text);

export default async function checkEvents({ base, check, address }) {
  const live = new URL('live', base).href;

  await check('events: EventSource hears what fetch and WebSocket say', async (context) => {
    const page = await context.newPage();
    await page.goto(address('echo'));
    await page.evaluate(listen, live);
    const mark = Math.random().toString(36).slice(2);
    const texts = [mark, `two\nlines ${mark}`, `data: gr\u00fc\u00dfe \u{1f30d} ${mark}`, 'x'.repeat(100_000) + mark];
    for (const text of texts) assert.equal(await page.evaluate(post, [live, text]), 204);
    await page.evaluate(([url, text]) => new Promise((resolve) => {
      const socket = new WebSocket(url);
      socket.onopen = () => socket.send(text);
      socket.onmessage = ({ data }) => data === text && resolve(socket.close());
    }), [live.replace('http', 'ws'), `by WebSocket ${mark}`]);
    await hears(page, `by WebSocket ${mark}`);
    const heard = await page.evaluate(() => window.heard);
    assert.deepEqual(heard.slice(heard.indexOf(mark)), [...texts, `by WebSocket ${mark}`]);

    // Who comes now is sent the last at once.
    const other = await context.newPage();
    await other.goto(address('echo'));
    await other.evaluate(listen, live);
    await hears(other, `by WebSocket ${mark}`);
    assert.deepEqual(await other.evaluate(() => window.heard), [`by WebSocket ${mark}`]);
  });

  await check('events: a page of another port is let in, and may read the answers', async (context) => {
    const server = createServer((_, response) => {
      response.setHeader('Content-Type', 'text/html').end('<link rel=icon href=data:,><p>a page');
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const page = await context.newPage();
      await page.goto(`http://127.0.0.1:${server.address().port}/`);
      await page.evaluate(listen, live);
      const mark = Math.random().toString(36).slice(2);
      // The browser asks first whether bytes may be sent.
      assert.equal(await page.evaluate(post, [live, 'bytes', 'application/octet-stream']), 204);
      assert.equal(await page.evaluate(post, [live, mark]), 204);
      await hears(page, mark);
      assert.ok(!await page.evaluate(() => window.heard.includes('bytes')));
    } finally {
      server.close();
    }
  });
}
