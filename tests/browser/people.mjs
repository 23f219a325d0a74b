// The checks of the pages that people use together: tracker, chat, websock, sync. Called by run.mjs.
import assert from 'node:assert/strict';

const MARKUP = '<img src=x onerror="window.hit = 1">';
const ZURICH = { latitude: 47.3769, longitude: 8.5417 };
const SYDNEY = { latitude: -33.8688, longitude: 151.2093 };

const waitFor = (page, what, ...args) => page.waitForFunction(what, args[0], { polling: 30 });
const text = (page, selector) => page.locator(selector).textContent();

// No message has become an element or was executed.
async function unharmed(page) {
  assert.equal(await page.locator('img[src=x]').count(), 0, 'a message became an element');
  assert.equal(await page.evaluate(() => window.hit), undefined, 'a message was executed');
}

async function comeIn(page, name) {
  await page.locator('#name').fill(name);
  await page.locator('#come-in').click();
  await page.locator('#log li.note').filter({ hasText: 'You are' }).last().waitFor();
}

async function sayInRoom(page, words) {
  await page.locator('#input').fill(words);
  await page.locator('#send').click();
}

// The rows of the tracker's table that are like this.
const row = (page, name, words) => page.locator('#people tr')
  .filter({ has: page.locator('.name').getByText(name, { exact: true }) }).filter({ hasText: words });

// The whole map as the browser would paint it, to see whether it has changed.
const picture = (page) => page.evaluate(() => document.getElementById('map').toDataURL());

const value = (page, id) => page.evaluate((id) => Number(document.getElementById(id).value), id);

// Puts a slider somewhere as a hand would, without letting go.
const drag = (page, id, to) => page.evaluate(([id, to]) => {
  const slider = document.getElementById(id);
  slider.value = to;
  slider.dispatchEvent(new Event('input', { bubbles: true }));
}, [id, to]);
const letGo = (page, id) => page.evaluate((id) => {
  document.getElementById(id).dispatchEvent(new Event('change', { bubbles: true }));
}, id);

export async function checkPeople(tools) {
  await checkChat(tools);
  await checkWebsock(tools);
  await checkTracker(tools);
  await checkSync(tools);
}

async function checkChat({ check, open, line, lines, keepSockets }) {
  await check('chat: two people talk, and a third hears what was said before', async (context) => {
    const mark = Math.random().toString(36).slice(2); // the room remembers earlier runs
    const [ann, ben] = [await open(context, 'chat'), await open(context, 'chat')];
    await comeIn(ann, `Ann ${mark}`);
    await comeIn(ben, `ann ${mark}`);
    await line(ann, 'note', `ann ${mark} 2 has come.`);
    await sayInRoom(ann, `anybody there, ${mark}?`);
    await line(ben, 'received', `anybody there, ${mark}?`);
    await sayInRoom(ben, `yes, ${mark}`);
    await line(ann, 'received', `yes, ${mark}`);
    assert.ok((await lines(ann, 'sent')).includes(`anybody there, ${mark}?`), 'one’s own words come back');
    const late = await open(context, 'chat');
    await comeIn(late, `Cid ${mark}`);
    await line(late, 'received', `yes, ${mark}`);
    assert.match((await lines(late, 'note')).at(-1), new RegExp(`You are Cid ${mark}\\. Here: .*ann ${mark} 2`));
    await ben.close();
    await line(ann, 'note', `ann ${mark} 2 has gone.`);
  });

  await check('chat: markup in names, messages and answers stays text', async (context) => {
    const [evil, other] = [await open(context, 'chat'), await open(context, 'chat')];
    await comeIn(other, 'Other');
    await comeIn(evil, '<img src=x onerror=a=1>');
    await line(other, 'note', '<img src=x onerror=a=1> has come.');
    await sayInRoom(evil, MARKUP);
    await line(other, 'received', MARKUP);
    await line(evil, 'sent', MARKUP);
    await evil.locator('#echo-input').fill(MARKUP);
    await evil.locator('#echo-send').click();
    await evil.locator('#echo-log li.received').filter({ hasText: `Server echoed: ${MARKUP}` }).waitFor();
    await unharmed(evil);
    await unharmed(other);
  });

  await check('chat: the room cannot be spoken for, and says what it does not pass on', async (context) => {
    const page = await open(context, 'chat');
    await comeIn(page, '* Ann: x');
    assert.match((await lines(page, 'note')).at(-1), /^You are Ann x( \d+)?\. Here: /);
    await page.evaluate(() => room.send('* You are the server. Here: nobody'));
    await line(page, 'sent', '* You are the server. Here: nobody');
    await page.evaluate(() => room.send('x'.repeat(501)));
    await line(page, 'note', 'Not passed on: it is longer than 500 characters.');
  });

  await check('chat: after a lost connection one is in the room again, by name', async (context) => {
    await context.addInitScript(keepSockets);
    const page = await open(context, 'chat');
    const name = `Zoë ${Math.random().toString(36).slice(2)}`;
    await comeIn(page, name);
    await sayInRoom(page, `before, ${name}`);
    await line(page, 'sent', `before, ${name}`);
    await page.evaluate(() => window.sockets.find((socket) => /chat/.test(socket.url)).close(4000));
    await waitFor(page, () => room.state === 'open' && !entering);
    await sayInRoom(page, `after, ${name}`);
    await page.locator('#log li .text').filter({ hasText: `after, ${name}` }).waitFor();
    const again = (await page.locator('#log li .text').allTextContents()).filter((words) => words === `before, ${name}`);
    assert.equal(again.length, 1, 'what the room remembers is shown once');
  });
}

async function checkWebsock({ check, open, state }) {
  await check('websock: stars go and come, and the buttons work', async (context) => {
    const page = await open(context, 'websock');
    assert.equal(await page.locator('#address').inputValue(), page.url().replace('http', 'ws').replace('websock.html', 'mirror'));
    await waitFor(page, () => Number(document.getElementById('received-count').textContent) >= 2);
    assert.match(await text(page, '#received'), /^\*\*+$/);
    assert.ok(await page.locator('#connect').isDisabled());
    await page.locator('#disconnect').click();
    await state(page, 'closed');
    assert.equal(await text(page, '#state'), 'Disconnected');
    const count = await text(page, '#sent-count');
    await page.waitForTimeout(1500);
    assert.equal(await text(page, '#sent-count'), count, 'no stars without a connection');
    await page.locator('#connect').click();
    await state(page, 'open');
    await waitFor(page, () => document.getElementById('received-count').textContent === '1');
  });

  await check('websock: markup that comes back stays text', async (context) => {
    const page = await open(context, 'websock');
    await page.evaluate((markup) => connection.send(markup), MARKUP);
    await page.locator('#received').filter({ hasText: MARKUP.slice(-30) }).waitFor();
    await unharmed(page);
  });
}

async function checkTracker({ check, open }) {
  const granted = { geolocation: ZURICH, permissions: ['geolocation'] };

  await check('tracker: nothing is shared unasked; then everyone sees it, late ones too, until it stops', async (context) => {
    const [me, other] = [await open(context, 'tracker'), await open(context, 'tracker')];
    assert.equal(await text(me, '#told'), 'Your position is not shared.');
    assert.equal(await row(other, 'Me', '').count(), 0);
    const empty = await picture(other);
    await me.locator('#share').click();
    await row(me, 'Me', '47.377° N').filter({ hasText: '8.542° E' }).waitFor();
    const seen = other.locator('#people tr').filter({ hasText: '47.377° N' });
    await seen.waitFor();
    assert.match(await seen.locator('.name').textContent(), /^User \d+$/);
    assert.notEqual(await picture(other), empty, 'the map shows it');
    await context.setGeolocation(SYDNEY);
    await other.locator('#people tr').filter({ hasText: '33.869° S' }).filter({ hasText: '151.209° E' }).waitFor();
    const late = await open(context, 'tracker');
    await late.locator('#people tr').filter({ hasText: '33.869° S' }).waitFor();
    await me.locator('#stop').click();
    for (const page of [me, other, late]) {
      await page.locator('#people tr').filter({ hasText: '33.869° S' }).waitFor({ state: 'detached' });
    }
    assert.equal(await text(me, '#told'), 'Your position is not shared.');
    await me.locator('#share').click();
    await other.locator('#people tr').filter({ hasText: '33.869° S' }).waitFor();
    await me.close();
    await other.locator('#people tr').filter({ hasText: '33.869° S' }).waitFor({ state: 'detached' });
  }, granted);

  await check('tracker: a refusal is told in words, and one can pretend', async (context) => {
    const page = await open(context, 'tracker');
    await page.locator('#share').click();
    await page.locator('#told').filter({ hasText: 'This page may not know your position' }).waitFor();
    assert.ok(await page.locator('#stop').isDisabled());
    await page.locator('#pretend').click();
    const map = await page.locator('#map').boundingBox();
    await page.locator('#map').click({ position: { x: map.width * 0.75, y: map.height / 2 } });
    await row(page, 'Me', /(89\.[5-9]|90\.[0-5])\d\d° E/).waitFor();
    await page.locator('#lat').fill('-54.8');
    await page.locator('#lon').fill('-68.3');
    await page.locator('#place button').click();
    await row(page, 'Me', '54.800° S').filter({ hasText: '68.300° W' }).waitFor();
    const before = await picture(page);
    await page.locator('#everyone').click();
    assert.notEqual(await picture(page), before);
  });

  await check('tracker: nonsense is not passed on', async (context) => {
    const [page, other] = [await open(context, 'tracker'), await open(context, 'tracker')];
    for (const nonsense of [`["${MARKUP.replaceAll('"', "'")}",1,1]`, '[1,91,0]', 'hello', '[1,"1",1]']) {
      const code = await page.evaluate((nonsense) => new Promise((resolve) => {
        const socket = new WebSocket(connection.url);
        socket.onopen = () => socket.send(nonsense);
        socket.onclose = (event) => resolve(event.code);
      }), nonsense);
      assert.equal(code, 1008, nonsense);
    }
    assert.equal(await other.locator('#people tr').filter({ hasText: /img|hello/ }).count(), 0);
    await unharmed(other);
  });

  await check('tracker: the errors of geolocation are told in words', async (context) => {
    await context.addInitScript(() => {
      navigator.geolocation.watchPosition = (_, failed) => { window.failed = failed; return 1; };
    });
    const page = await open(context, 'tracker');
    await page.locator('#share').click();
    for (const [code, words] of [[2, 'does not find out where it is'], [3, 'takes too long'], [9, 'cannot be had: why']]) {
      await page.evaluate((code) => window.failed({ code, message: 'why' }), code);
      assert.ok((await text(page, '#told')).includes(words), words);
    }
  });
}

async function checkSync({ check, open }) {
  await check('sync: two pages play, move and stop together, and a late one joins them', async (context) => {
    const [one, two] = [await open(context, 'sync'), await open(context, 'sync')];
    if (await text(one, '#play') === 'Pause') await one.locator('#play').click();
    await drag(one, 'position', 20);
    await waitFor(two, () => document.getElementById('position').value === '20');
    await drag(one, 'position', 30);
    await letGo(one, 'position');
    await waitFor(two, () => document.getElementById('position').value === '30');
    await drag(two, 'volume', 72);
    await letGo(two, 'volume');
    await waitFor(one, () => document.getElementById('volume').value === '72');
    await one.locator('#play').click();
    await waitFor(two, () => document.getElementById('play').textContent === 'Pause');
    await two.waitForTimeout(1200);
    const late = await open(context, 'sync');
    await waitFor(late, () => Number(document.getElementById('position').value) > 31);
    const places = await Promise.all([one, two, late].map((page) => value(page, 'position')));
    assert.ok(Math.max(...places) - Math.min(...places) < 0.8, `in step: ${places.join(', ')}`);
    assert.equal(await value(late, 'volume'), 72);
    await late.locator('#play').click();
    await waitFor(one, () => document.getElementById('play').textContent === 'Play');
    const place = await one.evaluate(() => String(Math.round(state.position * 10) / 10));
    for (const page of [one, two, late]) {
      await waitFor(page, (place) => document.getElementById('position').value === place, place);
    }
  });

  await check('sync: two who drag at once settle on one value', async (context) => {
    const [one, two] = [await open(context, 'sync'), await open(context, 'sync')];
    const hands = async (page, from) => {
      for (let i = 0; i < 20; i += 1) await drag(page, 'volume', from + i);
      await page.waitForTimeout(100);
      assert.equal(await value(page, 'volume'), from + 19, 'the slider stays in the hand');
      await letGo(page, 'volume');
    };
    await Promise.all([hands(one, 10), hands(two, 60)]);
    await waitFor(one, () => made === asked);
    await waitFor(two, () => made === asked);
    const version = await one.evaluate(() => state.version);
    await waitFor(two, (version) => state.version === version, version);
    await one.waitForTimeout(100);
    assert.equal(await value(one, 'volume'), await value(two, 'volume'));
    assert.ok([29, 79].includes(await value(one, 'volume')));
  });

  await check('sync: a slider put back where it was lets go', async (context) => {
    const page = await open(context, 'sync');
    await drag(page, 'volume', 5);
    await page.evaluate(() => document.getElementById('volume').onmouseup());
    await page.evaluate(() => connection.send('volume 55')); // as somebody else would
    await waitFor(page, () => document.getElementById('volume').value === '55');
  });

  await check('sync: a tone, only after a click, and quiet', async (context) => {
    await context.addInitScript(() => {
      window.tones = [];
      const create = AudioContext.prototype.createOscillator;
      AudioContext.prototype.createOscillator = function () {
        const tone = create.call(this);
        window.tones.push(tone);
        return tone;
      };
    });
    const page = await open(context, 'sync');
    if (await text(page, '#play') === 'Play') await page.locator('#play').click();
    await page.waitForTimeout(700);
    assert.equal(await page.evaluate(() => window.tones.length), 0, 'a tone without being asked');
    await page.locator('#sound').click();
    await waitFor(page, () => window.tones.length >= 2);
    await page.locator('#sound').click();
    await page.locator('#play').click();
  });
}

// What the pages are to show when their picture is taken.
export const peoplePictures = {
  async chat(page, context) {
    const other = await context.newPage();
    await other.goto(page.url());
    await comeIn(page, 'Ann');
    await comeIn(other, 'Ben');
    await sayInRoom(page, 'Is anybody there?');
    await page.locator('#log li.sent').filter({ hasText: 'Is anybody' }).last().waitFor();
    const long = 'I am, with a longer line to see how it wraps: the quick brown fox jumps over the lazy dog.';
    await sayInRoom(other, long);
    await sayInRoom(other, '<b>just text</b>');
    await page.locator('#log li.received').filter({ hasText: '<b>just' }).last().waitFor();
    await page.locator('#echo-input').fill('Hello, server');
    await page.locator('#echo-send').click();
    await page.locator('#echo-log li.received').first().waitFor();
    await other.close();
    await page.locator('#log li.note').filter({ hasText: 'has gone' }).last().waitFor();
  },
  async tracker(page) {
    await page.evaluate(() => {
      window.others = [[51.5, -0.12], [-33.87, 151.21], [35.68, 139.69], [-22.9, -43.2], [37.77, -122.42]].map((place) => {
        const socket = new WebSocket(connection.url);
        socket.onopen = () => socket.send(JSON.stringify(place));
        return socket;
      });
    });
    await page.locator('#pretend').click();
    await page.locator('#lat').fill('47.377');
    await page.locator('#lon').fill('8.542');
    await page.locator('#place button').click();
    await page.waitForFunction(() => document.querySelectorAll('#people tr').length >= 6);
  },
  async websock(page) {
    await waitFor(page, () => Number(document.getElementById('received-count').textContent) >= 4);
  },
  async sync(page) {
    await drag(page, 'position', 23.4);
    await letGo(page, 'position');
    await drag(page, 'volume', 45);
    await letGo(page, 'volume');
    await page.waitForTimeout(300);
  },
};
