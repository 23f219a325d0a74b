// The demo site in a real browser: Chromium, driven by playwright-core (package.json).
// Usage: WSLOOP_FEED=HOST:PORT WSLOOP_TRAIN_PID=FILE node run.mjs BASE_URL [SCREENSHOT_DIR]      e.g. node run.mjs http://127.0.0.1:8080/
// Chromium is $CHROMIUM or /usr/bin/chromium. Exit code: 0 all passed, 1 not, 2 could not start.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { bridgePictures, checkBridges } from './bridges.mjs';
import { checkPeople, peoplePictures } from './people.mjs';

const [base, shots] = process.argv.slice(2);
const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
const PAGES = [
  'index', 'echo', 'broadcast', 'hello', 'tracker', 'chat', 'websock', 'sync',
  'plotter', 'stocks', 'monitor', 'train', 'terminal',
];
const TIMEOUT = 10_000; // for any one thing to happen

function giveUp(why) {
  console.error(why);
  process.exit(2);
}
if (!base || !URL.canParse(base)) giveUp('usage: node run.mjs BASE_URL [SCREENSHOT_DIR]');
const { chromium } = await import('playwright-core')
  .catch(() => giveUp('playwright-core is missing: run `npm ci` in the folder of run.mjs'));
if (!existsSync(executablePath)) {
  giveUp(`no browser at ${executablePath}: install Chromium (Debian: apt install chromium), or set CHROMIUM to its path`);
}
await fetch(base).catch((error) => giveUp(`no server at ${base}: ${error.cause?.message ?? error.message}`));
const browser = await chromium.launch({
  executablePath,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
}).catch((error) => giveUp(`Chromium does not start: ${error.message}`));

let passed = 0;
let failed = 0;

// One check, in a browser context of its own. Whatever it is about, nothing may go wrong in the
// pages it opens: no error in the console, no exception, no failed request.
async function check(name, body, options = {}) {
  // The certificate of a test vouches for itself.
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  const wrong = [];
  context.setDefaultTimeout(TIMEOUT);
  context.on('page', (page) => page.on('requestfailed', (request) => wrong.push(`failed request: ${request.url()}`)));
  context.on('console', (message) => message.type() === 'error' && wrong.push(`console: ${message.text()}`));
  context.on('weberror', (error) => wrong.push(`exception: ${error.error().message}`));
  try {
    await body(context);
    assert.deepEqual(wrong, [], 'errors in the page');
    passed += 1;
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    const why = error.message.replace(/\x1b\[\d+m/g, '').trim(); // without colours
    console.log(`FAIL  ${name}\n      ${why.replaceAll('\n', '\n      ')}`);
    for (const line of wrong) console.log(`      ${line}`);
  } finally {
    await context.close();
  }
}

const address = (name) => new URL(`${name}.html`, base).href;
const state = (page, want) => page.locator(`#state[data-state=${want}]`).waitFor();

async function open(context, name) {
  const page = await context.newPage();
  await page.goto(address(name));
  await state(page, 'open');
  return page;
}

// Lines of the log: all of a kind, and waiting for one with exactly this text.
const lines = (page, kind) => page.locator(`#log li.${kind} .text`).allTextContents();
const line = (page, kind, text) => page.locator(`#log li.${kind}`)
  .filter({ has: page.locator('.text').getByText(text, { exact: true }) }).first().waitFor();

async function say(page, text) {
  await page.locator('#input').pressSequentially(text);
  await page.locator('#send').click();
}

for (const name of PAGES) {
  await check(`${name}: opens, connects, fits a phone, and every link answers 200`, async (context) => {
    const page = await open(context, name);
    assert.match(await page.locator('#state').textContent(), /^Open/);
    const { width, links } = await page.evaluate(() => ({
      width: document.documentElement.scrollWidth,
      links: Array.from(document.querySelectorAll('[href], [src]'), (element) =>
        new URL(element.getAttribute('href') || element.getAttribute('src'), location).href),
    }));
    assert.ok(width <= 390, `${width} pixels wide on a screen of 390`);
    for (const link of new Set(links)) assert.equal((await fetch(link)).status, 200, link);
  }, { viewport: { width: 390, height: 844 } });
}

await check('the policy of the pages lets no other script run', async (context) => {
  // In a context of its own, whose errors are what is wanted.
  const other = await context.browser().newContext({ ignoreHTTPSErrors: true });
  const page = await other.newPage();
  await page.goto(address('echo'));
  await state(page, 'open');
  const ran = await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'window.hit = 1';
    document.body.append(script);
    document.body.insertAdjacentHTML('beforeend', '<p id="p" onclick="window.hit = 1">');
    document.getElementById('p').click();
    return window.hit;
  });
  assert.equal(ran, undefined);
  await other.close();
});

await check('index: is what / serves, and shows a round-trip time, again on demand', async (context) => {
  const page = await context.newPage();
  await page.goto(base);
  await state(page, 'open');
  const time = page.locator('#rtt').filter({ hasText: /^\d+ bytes there and back in .* ms$/ });
  await time.waitFor();
  await page.evaluate(() => { document.getElementById('rtt').textContent = ''; });
  await page.locator('#again').click();
  await time.waitFor();
});

await check('echo: what is typed comes back, by button and by Enter', async (context) => {
  const page = await open(context, 'echo');
  await say(page, 'by button: grüße 🌍');
  await line(page, 'received', 'echo: by button: grüße 🌍');
  assert.equal(await page.locator('#input').inputValue(), '', 'the input should be empty again');
  await page.keyboard.type('by Enter'); // the input has the focus again
  await page.keyboard.press('Enter');
  await line(page, 'received', 'echo: by Enter');
  assert.deepEqual(await lines(page, 'sent'), ['by button: grüße 🌍', 'by Enter']);
  assert.deepEqual(await lines(page, 'received'), ['echo: by button: grüße 🌍', 'echo: by Enter']);
});

for (const name of ['echo', 'broadcast']) {
  await check(`${name}: markup in a message stays text`, async (context) => {
    const page = await open(context, name);
    const markup = '<img src=x onerror="window.hit = 1"><script>window.hit = 1</script>';
    await say(page, markup);
    await page.locator('#log li.received').first().waitFor();
    assert.equal(await page.locator('#log img, #log script').count(), 0, 'a message became an element');
    assert.equal(await page.evaluate(() => window.hit), undefined, 'a message was executed');
    await line(page, 'sent', markup);
    await line(page, 'received', (name === 'echo' ? 'echo: ' : '') + markup);
  });
}

await check('echo: the log keeps its last 200 lines', async (context) => {
  const page = await open(context, 'echo');
  await page.evaluate(() => { for (let i = 1; i <= 300; i += 1) connection.send(`number ${i}`); });
  await line(page, 'received', 'echo: number 300');
  const texts = await page.locator('#log li .text').allTextContents();
  assert.equal(texts.length, 200);
  assert.equal(texts[0], 'echo: number 101');
});

await check('broadcast: two tabs hear each other and themselves', async (context) => {
  const [one, two] = [await open(context, 'broadcast'), await open(context, 'broadcast')];
  const mark = Math.random().toString(36).slice(2); // others may be talking there too
  const texts = [`from one, ${mark}`, `from two, ${mark}`];
  await one.bringToFront();
  await say(one, texts[0]);
  await line(two, 'received', texts[0]);
  await two.bringToFront();
  await say(two, texts[1]);
  for (const page of [one, two]) {
    await line(page, 'received', texts[1]);
    const received = (await lines(page, 'received')).filter((text) => text.endsWith(mark));
    assert.deepEqual(received, texts);
  }
  assert.deepEqual(await lines(one, 'sent'), [texts[0]]);
  assert.deepEqual(await lines(two, 'sent'), [texts[1]]);
});

await check('hello: hello, then world, a second apart, and the connection stays open', async (context) => {
  const page = await open(context, 'hello');
  const alerts = [];
  page.on('dialog', (dialog) => { alerts.push(dialog.message()); dialog.accept(); });
  await line(page, 'received', 'world');
  assert.deepEqual(await lines(page, 'received'), ['hello', 'world']);
  const times = (await page.locator('#log li.received .label').allTextContents()).map(parseFloat);
  assert.ok(times[0] > 0.7 && times[1] - times[0] > 0.7, `came after ${times.join(' and ')} s`);
  assert.deepEqual(alerts, [], 'alert() without being asked');
  await state(page, 'open');
});

await check('hello: alert() when asked', async (context) => {
  const page = await context.newPage();
  const alerts = [];
  page.on('dialog', (dialog) => { alerts.push(dialog.message()); dialog.accept(); });
  await page.goto(address('hello'));
  await page.getByLabel('alert()').check();
  await line(page, 'received', 'world');
  await page.evaluate(() => {}); // answered once no alert holds the page
  assert.equal(alerts.at(-1), 'world');
});

// Every socket of the page, for checks that need to reach past connection.js.
const keepSockets = () => {
  window.sockets = [];
  window.WebSocket = class extends window.WebSocket {
    constructor(url) { super(url); window.sockets.push(this); }
  };
};

await check('a lost connection comes back, and says so meanwhile', async (context) => {
  await context.addInitScript(keepSockets);
  const page = await open(context, 'echo');
  const seen = await page.evaluate(() => new Promise((resolve) => {
    const element = document.getElementById('state');
    const seen = [];
    new MutationObserver(() => {
      const now = `${element.getAttribute('data-state')}: ${element.textContent}`;
      if (seen.at(-1) !== now) seen.push(now);
      if (now.startsWith('open')) resolve(seen);
    }).observe(element, { attributes: true, childList: true });
    window.sockets[0].close(4000);
  }));
  assert.deepEqual(seen, ['waiting: Closed with code 4000, reconnecting in 1 s', 'connecting: Connecting', 'open: Open']);
  await say(page, 'here again');
  await line(page, 'received', 'echo: here again');
});

await check('without a connection nothing is lost: the text stays in the input', async (context) => {
  await context.addInitScript(keepSockets);
  const page = await open(context, 'echo');
  await page.evaluate(() => window.sockets[0].close(1000)); // a normal end: no reconnection
  await state(page, 'closed');
  assert.equal(await page.locator('#state').textContent(), 'Closed with code 1000');
  await say(page, 'anyone?');
  await line(page, 'note', 'there is no open connection');
  assert.equal(await page.locator('#input').inputValue(), 'anyone?');
});

await check('a browser with MozWebSocket only works', async (context) => {
  await context.addInitScript(() => { window.MozWebSocket = window.WebSocket; delete window.WebSocket; });
  const page = await open(context, 'echo');
  assert.equal(await page.evaluate(() => 'WebSocket' in window), false);
  await say(page, 'from 2011');
  await line(page, 'received', 'echo: from 2011');
});

await check('a browser without WebSocket is told so', async (context) => {
  await context.addInitScript(() => { delete window.WebSocket; });
  for (const name of PAGES) {
    const page = await context.newPage();
    await page.goto(address(name));
    await state(page, 'closed');
    assert.match(await page.locator('#state').textContent(), /has no WebSocket/);
  }
});

await checkPeople({ check, open, address, state, line, lines, keepSockets });
await checkBridges({ check, open, address, state });

if (shots) {
  mkdirSync(shots, { recursive: true });
  const looks = {
    desktop: { viewport: { width: 1100, height: 800 }, colorScheme: 'light' },
    phone: { viewport: { width: 390, height: 844 }, colorScheme: 'dark', isMobile: true, hasTouch: true },
  };
  for (const name of PAGES) {
    for (const [look, options] of Object.entries(looks)) {
      await check(`${name}: screenshot, ${look}`, async (context) => {
        const page = await open(context, name);
        if (name === 'index') await page.locator('#rtt').filter({ hasText: 'ms' }).waitFor();
        if (name === 'hello') await line(page, 'received', 'world');
        if (name === 'echo' || name === 'broadcast') {
          const prefix = name === 'echo' ? 'echo: ' : '';
          const long = 'A longer line, to see how it wraps: the quick brown fox jumps over the lazy dog, twice.';
          for (const text of ['Hello, loop', long, '<b>just text</b>']) {
            await say(page, text);
            await line(page, 'received', prefix + text);
          }
        }
        if (peoplePictures[name]) await peoplePictures[name](page, context);
        if (bridgePictures[name]) await bridgePictures[name](page);
        await page.screenshot({ path: join(shots, `${name}-${look}.png`), fullPage: true, animations: 'disabled' });
      }, options);
    }
  }
}

const { default: checkEvents } = await import('./events.mjs');
await checkEvents({ base, check, address });

const { default: dataDemos } = await import('./data.mjs');
await dataDemos({ base, check, open, state, shots });

await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
