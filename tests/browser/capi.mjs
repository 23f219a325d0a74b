// A WebSocket server in C, and a real browser.
// Usage: node capi.mjs PAGE_URL ECHO_URL      Chromium is $CHROMIUM or /usr/bin/chromium.
// Exit code: 0 all passed, 1 not.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const [base, echo] = process.argv.slice(2);
const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
const browser = await chromium.launch({
  executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
});
try {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(20_000);
  await page.goto(new URL('echo.html', base).href);
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
  console.log('ok    Chromium and demo/echo.c');
} catch (error) {
  console.log(`FAIL  demo/echo.c in Chromium: ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
