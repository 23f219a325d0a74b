// A WebSocket server in C, and a real browser.
// Usage: node capi.mjs PAGE_URL ECHO_URL      Chromium is $CHROMIUM or /usr/bin/chromium.
// Exit code: 0 all passed, 1 not.
import assert from 'node:assert/strict';
import { tryPage } from './page.mjs';

const [base, echo] = process.argv.slice(2);
await tryPage(base, 'demo/echo.c in Chromium', async (page) => {
  const answers = await page.evaluate((url) => new Promise((resolve, reject) => {
    const messages = ['', 'grüße 🌍', 'x'.repeat(100_000)];
    const answers = [];
    const socket = new WebSocket(url);
    socket.onopen = () => messages.forEach((message) => socket.send(message));
    socket.onerror = () => reject(new Error('it does not open, or breaks'));
    socket.onmessage = ({ data }) => {
      answers.push(data === messages[answers.length]);
      if (answers.length === messages.length) socket.close(1000);
    };
    socket.onclose = ({ code }) => resolve([...answers, code]);
  }), echo);
  assert.deepEqual(answers, [true, true, true, 1000]);
  return 'Chromium and demo/echo.c';
});
