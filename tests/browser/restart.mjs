// Every page is open while the server is killed, stays away a moment and comes back on the same
// port: each must say that it reconnects, and then be at work again.
// Usage: WSLOOP_TRAIN=…/demo/train.py node restart.mjs WSLOOP_BINARY      Chromium is $CHROMIUM or /usr/bin/chromium.
// Exit code: 0 all passed, 1 not, 2 could not start.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [binary] = process.argv.slice(2);
if (!binary) {
  console.error('usage: node restart.mjs WSLOOP_BINARY');
  process.exit(2);
}

// Starts the server, and answers with it and the HOST:PORT it says it listens on.
async function start(address) {
  const train = `/train=shared:exec:'${process.env.WSLOOP_TRAIN}'`;
  const server = spawn(binary, ['--quiet', '--listen', address, '--bridge', train], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: server.stdout });
  const [line] = await Promise.race([once(lines, 'line'), once(server, 'exit').then(() => ['(nothing)'])]);
  assert.match(line, /^listening on ws:\/\//);
  return { server, address: line.slice('listening on ws://'.length) };
}

async function kill(server) {
  const gone = once(server, 'exit');
  server.kill('SIGKILL'); // no farewell: the connections just end
  await gone;
}

// What each page is to be able to do once it is back.
const atWork = {
  async echo(page) {
    await page.locator('#input').fill('again');
    await page.locator('#send').click();
    await page.getByText('echo: again', { exact: true }).waitFor();
  },
  async broadcast(page) {
    await page.locator('#input').fill('again');
    await page.locator('#send').click();
    await page.locator('#log li.received').filter({ hasText: 'again' }).waitFor();
  },
  async hello(page) {
    await page.locator('#log li.received').nth(1).waitFor();
  },
  async index(page) {
    await page.locator('#rtt').filter({ hasText: 'there and back' }).waitFor();
  },
  async tracker(page) { // what was shared is shared again
    await page.locator('#people tr').filter({ hasText: '10.000° N' }).waitFor();
    const seen = await page.evaluate(() => new Promise((resolve) => {
      new WebSocket(connection.url).onmessage = (event) => resolve(event.data);
    }));
    assert.equal(seen, '[100001,10,20]');
  },
  async chat(page) { // still by the name that was given
    await page.locator('#echo-state[data-state=open]').waitFor();
    await page.locator('#input').fill('again');
    await page.locator('#send').click();
    await page.locator('#log li.sent').filter({ hasText: 'Ann' }).filter({ hasText: 'again' }).waitFor();
    assert.equal(await page.getByText('before', { exact: true }).count(), 1, 'what was read stays');
  },
  async websock(page) {
    const count = Number(await page.locator('#received-count').textContent());
    await page.waitForFunction((count) => Number(document.getElementById('received-count').textContent) > count, count);
  },
  async sync(page) {
    await page.locator('#play').click();
    await page.locator('#play').getByText('Pause').waitFor();
    await page.locator('#play').click();
  },
  async train(page) {
    await page.locator('button[data-line="points 2 left"][aria-pressed=false]').click();
    await page.locator('button[data-line="points 2 left"][aria-pressed=true]').waitFor();
  },
  async terminal(page) {
    await page.locator('#input').fill('again');
    await page.locator('#input').press('Enter');
    await page.getByText('echo: again', { exact: true }).waitFor();
  },
};

// What is done on a page before the server goes.
const before = {
  async tracker(page) {
    await page.locator('#pretend').click();
    await page.locator('#lat').fill('10');
    await page.locator('#lon').fill('20');
    await page.locator('#place button').click();
  },
  async chat(page) {
    await page.locator('#name').fill('Ann');
    await page.locator('#come-in').click();
    await page.locator('#input').fill('before');
    await page.locator('#send').click();
    await page.getByText('before', { exact: true }).waitFor();
  },
};

let { server, address } = await start('127.0.0.1:0');
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run'],
});
let failed = 0;
try {
  const context = await browser.newContext();
  context.setDefaultTimeout(30_000);
  // All pages there are: those that the index links to, and itself.
  const index = await context.newPage();
  await index.goto(`http://${address}/index.html`);
  const names = await index.evaluate(() => Array.from(document.querySelectorAll('.card .what > :first-child a'),
    (link) => /(\w+)\.html$/.exec(link.href)[1]));
  const pages = { index };
  for (const name of names) {
    const page = await context.newPage();
    const answer = await page.goto(`http://${address}/${name}.html`);
    assert.equal(answer.status(), 200, name);
    pages[name] = page;
  }
  for (const [name, page] of Object.entries(pages)) {
    await page.locator('#state[data-state=open]').waitFor();
    await before[name]?.(page);
  }
  await kill(server);
  for (const page of Object.values(pages)) {
    await page.locator('#state[data-state=waiting]').filter({ hasText: 'reconnecting' }).waitFor();
  }
  ({ server } = await start(address));
  for (const [name, page] of Object.entries(pages)) {
    try {
      await page.locator('#state[data-state=open]').waitFor();
      await atWork[name]?.(page);
      console.log(`ok    ${name}: back after a restart of the server`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${name}: ${error.message}`);
    }
  }
} catch (error) {
  failed += 1;
  console.log(`FAIL  ${error.stack}`);
} finally {
  await browser.close();
  await kill(server);
}
process.exitCode = failed ? 1 : 0;
