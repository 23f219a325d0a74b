// permessage-deflate in a real browser: Chromium agrees on it, and messages of all kinds come back.
// Usage: node deflate.mjs BASE_URL      Chromium is $CHROMIUM or /usr/bin/chromium.
// Exit code: 0 all passed, 1 not.
import assert from 'node:assert/strict';
import { tryPage } from './page.mjs';

const [base] = process.argv.slice(2);
await tryPage(base, 'permessage-deflate in Chromium', async (page) => {
  const [extensions, wrong] = await page.evaluate(async (url) => {
    const socket = new WebSocket(url);
    socket.binaryType = 'arraybuffer';
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error('does not open'));
    });
    const noise = new Uint8Array(65_536);
    crypto.getRandomValues(noise);
    const messages = ['', 'short', 'grüße 🌍 '.repeat(10_000), 'x'.repeat(1024 * 1024), noise, new Uint8Array(1024 * 1024)];
    const wrong = [];
    for (const message of [...messages, ...messages]) {
      const answer = await new Promise((resolve) => {
        socket.onmessage = (event) => resolve(event.data);
        socket.onclose = (event) => resolve(`closed with ${event.code}`);
        socket.send(message);
      });
      const same = typeof message === 'string' ? answer === message
        : answer instanceof ArrayBuffer && new Uint8Array(answer).every((byte, i) => byte === message[i])
          && answer.byteLength === message.length;
      if (!same) wrong.push(`${message.length}: ${String(answer).slice(0, 60)}`);
    }
    return [socket.extensions, wrong];
  }, new URL('mirror', base.replace('http:', 'ws:')).href);
  assert.equal(extensions, 'permessage-deflate; server_no_context_takeover; client_no_context_takeover');
  assert.deepEqual(wrong, []);
  return `Chromium agrees on ${extensions}`;
});
