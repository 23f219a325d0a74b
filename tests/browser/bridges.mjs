// The checks of the pages of bridges, train and terminal. Called by run.mjs, for a server with the bridges
// of run.sh. The process of the train's program stands in the file $WSLOOP_TRAIN_PID.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const MARKUP = '<img src=x onerror="window.hit = 1">';
const waitFor = (page, what, ...args) => page.waitForFunction(what, args[0], { polling: 30 });
const pressed = (page, line) => page.locator(`button[data-line="${line}"][aria-pressed=true]`).waitFor();

// Puts the lever somewhere, as a hand would.
const lever = (page, to) => page.evaluate((to) => {
  document.getElementById('lever').value = to;
  document.getElementById('lever').dispatchEvent(new Event('input'));
}, to);

// Until the train stands on this page too, where the program has said.
async function stands(page) {
  await page.bringToFront(); // others are painted seldom
  await waitFor(page, () => told && shown && told.velocity === 0 && Math.abs(between(told, shown)) < 0.2);
}

export async function checkBridges(tools) {
  await checkTrain(tools);
  await checkTerminal(tools);
}

async function checkTrain({ check, open, address, state }) {
  await check('train: two windows drive one train, and see the same', async (context) => {
    const [one, two] = [await open(context, 'train'), await open(context, 'train')];
    for (const page of [one, two]) await stands(page);
    const before = await one.evaluate(() => told);
    await two.locator('button[data-line="points 2 left"]').click();
    for (const page of [one, two]) await pressed(page, 'points 2 left');
    await one.bringToFront();
    await one.locator('button[data-line="points 2 right"]').click();
    for (const page of [one, two]) await pressed(page, 'points 2 right');
    const map = await one.locator('#map').boundingBox();
    await one.mouse.click(map.x + map.width / 2, map.y + map.height * (120 + 26) / 466); // the track on the bridge
    for (const page of [one, two]) await pressed(page, 'points 2 left');
    await lever(one, 80);
    for (const page of [one, two]) {
      await page.bringToFront();
      await waitFor(page, () => document.getElementById('lever').value === '80' && told.velocity > 30);
      await page.getByText('80 km/h', { exact: true }).waitFor();
      const place = await page.evaluate(() => document.getElementById('engine').getAttribute('transform'));
      await waitFor(page, (place) => document.getElementById('engine').getAttribute('transform') !== place, place);
    }
    await two.locator('button', { hasText: 'Stop' }).click();
    for (const page of [one, two]) await stands(page);
    const places = await Promise.all([one, two].map((page) => page.evaluate(() => told)));
    assert.deepEqual([places[0].section, places[0].offset], [places[1].section, places[1].offset]);
    assert.notDeepEqual([places[0].section, places[0].offset], [before.section, before.offset]);
    const late = await open(context, 'train');
    await stands(late);
    await pressed(late, 'points 2 left');
    assert.equal(await late.evaluate(() => told.offset), places[0].offset);
  });

  await check('train: keys drive it, and no points move under it', async (context) => {
    const [page, other] = [await open(context, 'train'), await open(context, 'train')];
    await page.bringToFront();
    await stands(page);
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    for (const window of [page, other]) await window.getByText('10 km/h', { exact: true }).waitFor();
    assert.equal(await page.locator('#lever').getAttribute('aria-valuetext'), '10 km/h');
    await page.locator('#lever').press('ArrowLeft');
    await other.getByText('5 km/h', { exact: true }).waitFor();
    await page.keyboard.press('0');
    for (const window of [page, other]) await stands(window);
    await page.bringToFront();
    const under = await page.evaluate(() => (told.section === 0 || along(told, -160).section === 0 ? '1' : '2'));
    const way = await page.evaluate((under) => points[under], under);
    await page.keyboard.press(under);
    for (const window of [page, other]) await window.getByText(`No, points ${under} do not move under a train.`).waitFor();
    assert.equal(await page.evaluate((under) => points[under], under), way);
    await page.evaluate(() => connection.send('speed fast'));
    await other.getByText('No, that is not how a train is driven.').waitFor();
  });

  await check('train: all see it whistle, and hear it where somebody has whistled', async (context) => {
    await context.addInitScript(() => {
      window.tones = 0;
      window.OscillatorNode = class extends window.OscillatorNode {
        constructor(...options) { super(...options); window.tones += 1; }
      };
    });
    const [page, other] = [await open(context, 'train'), await open(context, 'train')];
    await page.bringToFront();
    await page.keyboard.press('w');
    for (const window of [page, other]) await window.getByText('The train whistles.').waitFor();
    assert.deepEqual([await page.evaluate(() => tones), await other.evaluate(() => tones)], [3, 0]);
  });

  await check('train: its program is killed, and comes back', async (context) => {
    const page = await open(context, 'train');
    await stands(page);
    await page.evaluate(() => connection.send('speed -20'));
    await waitFor(page, () => told.velocity < -10);
    await page.evaluate(() => {
      const element = document.getElementById('state');
      new MutationObserver(() => {
        if (element.getAttribute('data-state') !== 'waiting' || window.ended) return;
        window.ended = [element.textContent, document.getElementById('scene').className,
          document.getElementById('lever').disabled, told.velocity];
      }).observe(element, { childList: true, attributes: true });
    });
    process.kill(Number(readFileSync(process.env.WSLOOP_TRAIN_PID, 'utf8')), 'SIGKILL');
    const ended = await (await waitFor(page, () => window.ended)).jsonValue();
    assert.match(ended[0], /^Closed with code 1013 \(.+\), reconnecting in \d+ s$/);
    assert.deepEqual(ended.slice(1), ['scene away', true, 0]);
    await state(page, 'open');
    await page.locator('#scene:not(.away)').waitFor();
    await waitFor(page, () => speed === 0 && told.section === 0 && told.offset === 270); // a new train
    await lever(page, 20);
    await waitFor(page, () => told.velocity > 10);
    await lever(page, 0);
    await stands(page);
  });

  await check('train: the page and the program are of one mind about the track', async (context) => {
    const page = await open(context, 'train');
    const program = await (await fetch(new URL('demo/train.py', address('train')))).text();
    const track = JSON.parse(/^TRACK = (.*)$/m.exec(program)[1]);
    const lengths = await page.evaluate(() => length);
    assert.equal(Object.keys(lengths).length, track.flatMap(Object.keys).length);
    track.forEach((ways, section) => {
      for (const [way, length] of Object.entries(ways)) {
        assert.ok(Math.abs(lengths[`w${section}${way}`] - length) < 1, `${section} ${way}: ${lengths[`w${section}${way}`]}`);
      }
    });
  });

  await check('train: where there is none, the page says how to get one', async (context) => {
    // In a context of its own, whose error is what is wanted.
    const other = await context.browser().newContext({ ignoreHTTPSErrors: true, permissions: ['clipboard-read'] });
    await other.addInitScript(() => {
      window.WebSocket = class extends window.WebSocket {
        constructor(url) { super(url.replace(/train$/, 'nobody')); }
      };
    });
    const page = await other.newPage();
    await page.goto(address('train'));
    await page.getByText('No train here yet').waitFor();
    await page.locator('#copy').click();
    await page.getByText('Copied').waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.equal(copied, "wsloop --bridge '/train=shared:exec:demo/train.py'");
    assert.ok(await page.locator('#whistle').isDisabled());
    await other.close();
  });
}

async function checkTerminal({ check, address, state }) {
  const openAt = async (context, path) => {
    const page = await context.newPage();
    await page.goto(`${address('terminal')}#${path}`);
    await state(page, 'open');
    return page;
  };
  const line = (page, kind, text) => page.locator(`#screen .${kind}`).getByText(text, { exact: true }).first().waitFor();
  const type = async (page, text) => {
    await page.locator('#input').fill(text);
    await page.locator('#input').press('Enter');
  };

  await check('terminal: what is typed goes to the path, and what comes is shown as text', async (context) => {
    const page = await openAt(context, '/shout');
    await type(page, 'grüße 🌍');
    await line(page, 'sent', 'grüße 🌍');
    await line(page, 'received', 'GRÜßE 🌍!');
    await type(page, MARKUP);
    await line(page, 'received', `${MARKUP.toUpperCase()}!`);
    assert.equal(await page.locator('img[src]:not([src="favicon.svg"])').count(), 0, 'a message became an element');
    assert.equal(await page.evaluate(() => window.hit), undefined, 'a message was executed');
  });

  await check('terminal: an end is told with code and reason, and the button connects anew', async (context) => {
    const page = await openAt(context, '/shout');
    await type(page, 'quit');
    await line(page, 'received', 'QUIT!');
    await line(page, 'note', 'Closed with code 1000.');
    await type(page, 'anyone?');
    await line(page, 'bad', 'Not sent: there is no open connection.');
    assert.equal(await page.locator('#input').inputValue(), 'anyone?');
    await page.getByText('Reconnect', { exact: true }).click();
    await state(page, 'open');
    await page.locator('#input').press('Enter');
    await line(page, 'received', 'ANYONE?!');
    await page.locator('#path').fill('fail'); // on another path, whose program fails
    await page.getByText('Connect', { exact: true }).click();
    await page.locator('#screen .note').getByText('/fail').waitFor();
    assert.equal(new URL(page.url()).hash, '#/fail');
    await type(page, 'go on');
    await page.locator('#screen .bad').getByText(/^Closed with code 1011 \(.*3\)\.$/).waitFor();
    await state(page, 'closed'); // and no other is started unasked
    await page.getByText('Reconnect', { exact: true }).click();
    await page.getByText('Disconnect', { exact: true }).click();
    await state(page, 'closed');
  });

  await check('terminal: the arrow keys bring back what was sent', async (context) => {
    const page = await openAt(context, '/echo');
    for (const text of ['one', 'two', 'two', '']) await type(page, text);
    const input = page.locator('#input');
    await input.fill('three');
    const seen = [];
    for (const key of ['ArrowUp', 'ArrowUp', 'ArrowUp', 'ArrowDown', 'ArrowDown', 'ArrowDown']) {
      await input.press(key);
      seen.push(await input.inputValue());
    }
    assert.deepEqual(seen, ['two', 'one', 'one', 'two', 'three', 'three']);
  });

  await check('terminal: bytes are shown as text, or as they are', async (context) => {
    const page = await openAt(context, '/bytes');
    await page.locator('#feed').check();
    await type(page, 'grüße');
    await line(page, 'received', 'grüße');
    await page.evaluate(() => connection.send(new Uint8Array([0xc3]))); // a letter in two pieces
    await page.evaluate(() => connection.send(new Uint8Array([0xbc, 0x3f])));
    await line(page, 'received', 'ü?');
    await page.locator('#binary').selectOption('hex');
    await type(page, 'grüße');
    await line(page, 'received', '67 72 c3 bc c3 9f 65 0a                          gr····e·');
  });

  await check('terminal: a flood leaves the last thousand lines', async (context) => {
    const page = await openAt(context, '/echo');
    await page.evaluate(() => { for (let i = 1; i <= 3000; i += 1) connection.send(`${i}`); });
    await line(page, 'received', 'echo: 3000');
    assert.ok(await page.locator('#screen > *').count() <= 1000);
    await page.evaluate(() => connection.send('x'.repeat(30000)));
    await page.locator('#screen .received').getByText(/^echo: x+… \(30006 characters\)$/).waitFor();
  });

  await check('terminal: the commands can be copied, and the first does what it says', async (context) => {
    await context.grantPermissions(['clipboard-read']);
    const page = await openAt(context, '/greet'); // which is what the first of them bridges
    await page.getByText('Copy', { exact: true }).first().click();
    await page.getByText('Copied', { exact: true }).waitFor();
    await type(page, 'Ann');
    await line(page, 'received', 'Hello Ann!');
    assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^wsloop --bridge '\/greet=exec:while .*; done'$/);
  });
}

// What the pages are to show when their picture is taken.
export const bridgePictures = {
  async train(page) {
    await lever(page, 60);
    await waitFor(page, () => shown && shown.section === 1 && shown.offset > 250);
    await lever(page, 0);
    await stands(page);
  },
  async terminal(page) {
    for (const text of ['Hello, loop', 'A longer line, to see how it wraps: the quick brown fox jumps over the lazy dog.']) {
      await page.locator('#input').fill(text);
      await page.locator('#input').press('Enter');
      await page.getByText(`echo: ${text}`, { exact: true }).waitFor();
    }
  },
};
