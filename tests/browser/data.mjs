// The checks of the demos with data in them: plotter, stocks and monitor. Called by run.mjs, which
// hands over its helpers. The plotter's lines are written to $WSLOOP_FEED, HOST:PORT.
import assert from 'node:assert/strict';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';

const MARKUP = '<img src=x onerror="window.hit = 1"><script>window.hit = 1</script>';
const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

// Something that writes lines.
async function source(name) {
  const [host, port] = (process.env.WSLOOP_FEED || '127.0.0.1:9876').split(':');
  const socket = connect(Number(port), host);
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  socket.write(`${name}\n`);
  return socket;
}

// A proxy that keeps what went through it, for each connection what was asked and answered.
async function proxy(base) {
  const { hostname, port } = new URL(base);
  const connections = [];
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    const kept = { asked: [], answered: [] };
    connections.push(kept);
    client.on('data', (data) => { kept.asked.push(data); upstream.write(data); });
    upstream.on('data', (data) => { kept.answered.push(data); client.write(data); });
    client.on('close', () => upstream.destroy()).on('error', () => {});
    upstream.on('close', () => client.destroy()).on('error', () => {});
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { base: `http://127.0.0.1:${server.address().port}/`, connections, close: () => server.close() };
}

// Cuts what went over one connection into requests and answers: [path, bytes asked, bytes
// answered], and for a WebSocket the bytes of each message behind it.
function exchanges({ asked, answered }) {
  let [out, back] = [Buffer.concat(asked), Buffer.concat(answered)];
  const found = [];
  for (;;) {
    const [end, ending] = [out.indexOf('\r\n\r\n') + 4, back.indexOf('\r\n\r\n') + 4];
    if (end < 4 || ending < 4) return found;
    const path = out.subarray(0, end).toString('latin1').split(' ')[1];
    const head = back.subarray(0, ending).toString('latin1');
    const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
    found.push({ path, asked: end, answered: ending + length, frames: [] });
    out = out.subarray(end);
    back = back.subarray(ending + length);
    if (!head.startsWith('HTTP/1.1 101')) continue;
    while (back.length >= 4) {
      assert.ok(back[1] < 127, 'a longer frame than expected');
      const size = back[1] < 126 ? 2 + back[1] : 4 + back.readUInt16BE(2);
      found.at(-1).frames.push(size);
      back = back.subarray(size);
    }
    return found;
  }
}

const pixels = (page) => page.locator('#canvas').evaluate((canvas) => canvas.toDataURL());

// Draws what is there, and then looks.
async function settled(page) {
  await page.evaluate(() => new Promise((resolve) => {
    requestAnimationFrame(() => requestAnimationFrame(resolve));
  }));
  return pixels(page);
}

const pointsOf = (name) => [...series.values()].filter((one) => one.name === name)
  .reduce((sum, one) => sum + one.length, 0);
const waitForPoints = (page, name, count) => page.waitForFunction(([name, count]) =>
  [...series.values()].some((one) => one.name === name && one.length >= count), [name, count]);

// Names from the server, put where a page could take them for markup.
const putMarkupInAnswers = (markup) => {
  const parse = JSON.parse;
  JSON.parse = (text) => parse(text, (key, value) => {
    if (key === 'symbol') return markup;
    if (key === 'cut') return [[markup, 1]];
    return value;
  });
};

async function assertNoMarkup(page) {
  assert.equal(await page.locator('main img, [role=main] img, [role=main] script').count(), 0, 'text became an element');
  assert.equal(await page.evaluate(() => window.hit), undefined, 'text was executed');
}

async function plotter({ check, open, state }) {
  await check('plotter: what comes in as lines is drawn, history and live', async (context) => {
    const feed = await source('drawn');
    feed.write('1 1\n2 3\n');
    const page = await open(context, 'plotter');
    await waitForPoints(page, 'drawn', 2);
    const before = await settled(page);
    feed.write('3 -2\n4 0\n');
    await waitForPoints(page, 'drawn', 4);
    assert.notEqual(await settled(page), before, 'the plot did not change');
    assert.equal(await page.locator('#empty').isVisible(), false);
    await page.locator('#legend .name').getByText('drawn', { exact: true }).waitFor();
    feed.write('four five\n5 1\n');
    await page.locator('#counts').filter({ hasText: '1 malformed line' }).waitFor();
    feed.destroy();
  });

  await check('plotter: a page from elsewhere cannot write to the feed', async (context) => {
    const page = await open(context, 'plotter');
    const elsewhere = createHttpServer((_, answer) => answer.end('<title>elsewhere</title>'));
    await new Promise((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
    // In a context of its own, where things may fail.
    const other = await context.browser().newContext();
    const evil = await other.newPage();
    await evil.goto(`http://127.0.0.1:${elsewhere.address().port}/`);
    await evil.evaluate((feed) => fetch(`http://${feed}/`, {
      method: 'POST', mode: 'no-cors', body: 'evil\n1 666\n',
    }).catch(() => {}), process.env.WSLOOP_FEED || '127.0.0.1:9876');
    await other.close();
    elsewhere.close();
    const feed = await source('honest');
    feed.write('1 1\n');
    await waitForPoints(page, 'honest', 1);
    const names = await page.evaluate(() => [...series.values()].map((one) => one.name));
    assert.deepEqual(names.filter((name) => /HTTP|evil/.test(name)), [], 'somebody else has written');
    feed.destroy();
  });

  await check('plotter: pauses, zooms, hides a series, and finds back', async (context) => {
    const feed = await source('looked at');
    feed.write(Array.from({ length: 500 }, (_, x) => `${x} ${Math.sin(x / 20)}\n`).join(''));
    const page = await open(context, 'plotter');
    await waitForPoints(page, 'looked at', 500);
    const whole = await settled(page);
    await page.locator('#in').click();
    const zoomed = await settled(page);
    assert.notEqual(zoomed, whole, 'the button does not zoom');
    await page.locator('#canvas').hover();
    await page.mouse.wheel(0, -200);
    await pause(100); // the wheel's event comes when it comes
    assert.notEqual(await settled(page), zoomed, 'the wheel does not zoom');
    const box = await page.locator('#canvas').boundingBox();
    await page.mouse.move(box.x + 300, box.y + 150);
    await page.mouse.down();
    await page.mouse.move(box.x + 400, box.y + 150, { steps: 4 });
    await page.mouse.up();
    await page.locator('#live[aria-pressed=false]').waitFor();
    await page.locator('#live').click();
    await page.locator('#live[aria-pressed=true]').waitFor();
    await page.locator('#all').click();
    assert.equal(await settled(page), whole, '"Show all" does not show all again');

    const item = page.locator('#legend button').filter({ hasText: 'looked at' });
    await item.click();
    assert.notEqual(await settled(page), whole, 'the series is not hidden');
    await item.click();
    assert.equal(await settled(page), whole);

    await page.locator('#pause').click();
    feed.write(Array.from({ length: 500 }, (_, x) => `${500 + x} 2\n`).join(''));
    await pause(500);
    assert.equal(await settled(page), whole, 'paused, and it goes on');
    assert.equal(await page.evaluate(pointsOf, 'looked at'), 500);
    await page.locator('#pause').click();
    await waitForPoints(page, 'looked at', 1000);
    assert.notEqual(await settled(page), whole);
    feed.destroy();
  });

  await check('plotter: two fingers zoom', async (context) => {
    const feed = await source('pinched');
    feed.write('0 0\n50 1\n100 0\n');
    const page = await open(context, 'plotter');
    await waitForPoints(page, 'pinched', 3);
    await settled(page);
    const box = await page.locator('#canvas').boundingBox();
    const [left, right, y] = [box.x + 0.4 * box.width, box.x + 0.6 * box.width, box.y + 100];
    const touches = await context.newCDPSession(page);
    const touch = (type, apart) => touches.send('Input.dispatchTouchEvent', {
      type, touchPoints: apart === null ? [] : [{ x: left - apart, y, id: 1 }, { x: right + apart, y, id: 2 }],
    });
    await touch('touchStart', 0);
    for (const apart of [10, 20, 30, 40]) await touch('touchMove', apart);
    await touch('touchEnd', null);
    await page.waitForFunction(() => view.span !== null && view.span < 0.8 * (allOfX()[1] - allOfX()[0]));
    feed.destroy();
  }, { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });

  await check('plotter: 10,000 points a second, drawn once a frame, none lost', async (context) => {
    await context.addInitScript(() => {
      window.asks = window.drawn = 0;
      const { send } = WebSocket.prototype;
      WebSocket.prototype.send = function (data) { window.asks += data === '' ? 1 : 1000; send.call(this, data); };
      const count = () => { window.drawn += 1; requestAnimationFrame(count); };
      count();
    });
    const page = await open(context, 'plotter');
    const feed = await source('fast');
    const [ticks, each] = [250, 200];
    const start = Date.now();
    for (let tick = 0; tick < ticks; tick += 1) {
      await pause(start + tick * 20 - Date.now());
      const lines = Array.from({ length: each }, (_, n) => `${tick * each + n} ${Math.random()}\n`);
      feed.write(lines.join(''));
    }
    await waitForPoints(page, 'fast', ticks * each);
    const took = (Date.now() - start) / 1000;
    const [asks, frames] = await page.evaluate(() => [window.asks, window.drawn]);
    assert.equal(await page.evaluate(pointsOf, 'fast'), ticks * each);
    assert.ok(took < 7, `5 s of points took ${took} s`);
    assert.ok(asks > 10 && asks <= frames + 1, `${asks} fetches in ${frames} frames`);
    feed.destroy();
  });

  await check('plotter: a name with markup stays text, and a reconnected page has each point once', async (context) => {
    const feed = await source(MARKUP);
    feed.write('1 1\n2 2\n');
    const page = await open(context, 'plotter');
    await page.locator('#legend .name').getByText(MARKUP, { exact: true }).waitFor();
    await assertNoMarkup(page);
    await page.evaluate(() => connection.socket.close(4000));
    await state(page, 'waiting');
    await state(page, 'open');
    feed.write('3 3\n');
    await waitForPoints(page, MARKUP, 3);
    assert.equal(await page.evaluate(pointsOf, MARKUP), 3);
    feed.destroy();
  });
}

async function stocks({ base, check, open, state }) {
  // With TLS nobody in between can count.
  const counted = new URL(base).protocol === 'http:';
  if (counted) await check('stocks: what the page counts is what went over the wire', async (context) => {
    const wire = await proxy(base);
    try {
      const page = await context.newPage();
      await page.goto(new URL('stocks.html', wire.base).href);
      await state(page, 'open');
      await page.waitForFunction(() => poll.answers >= 4 && push.answers >= 4);
      const seen = await page.evaluate(() => [poll, push].map((way) => ({
        answers: way.answers, total: way.total, heads: way.heads, each: way.each,
      })));
      const all = wire.connections.flatMap(exchanges);
      const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
      const polled = all.filter(({ path }) => path === '/quote').slice(0, seen[0].answers);
      assert.equal(polled.length, seen[0].answers);
      assert.equal(seen[0].total, sum(polled.map(({ asked, answered }) => asked + answered)));
      const [pushed] = all.filter(({ path }) => path === '/stocks');
      const frames = sum(pushed.frames.slice(0, seen[1].answers));
      assert.equal(seen[1].total, pushed.asked + pushed.answered + frames);
      assert.ok(seen[1].each < seen[0].each && seen[1].heads < seen[0].heads);
      const cost = await page.locator('#cost tr').first().locator('td').allTextContents();
      assert.match(cost.join(' '), /^[\d.]+ [kM]B\/s [\d.]+ kB\/s$/);
    } finally {
      wire.close();
    }
  });

  await check('stocks: the same quotes on both sides, and ages that make sense', async (context) => {
    const page = await open(context, 'stocks');
    await page.waitForFunction(() => poll.answers >= 3 && push.answers >= 3);
    const symbols = (id) => page.locator(`#${id} .quotes th`).allTextContents();
    assert.deepEqual(await symbols('poll'), await symbols('push'));
    const ages = await page.evaluate(() => [poll.ages, push.ages].map((ages) => ages.map(byOneClock)));
    for (const age of ages.flat()) assert.ok(age > -5 && age < 2500, `${age} ms old`);
  });

  await check('stocks: a symbol with markup stays text', async (context) => {
    await context.addInitScript(putMarkupInAnswers, MARKUP);
    const page = await open(context, 'stocks');
    for (const id of ['poll', 'push']) {
      await page.locator(`#${id} .quotes th`).first().filter({ hasText: MARKUP }).waitFor();
    }
    await assertNoMarkup(page);
  });
}

async function monitor({ check, open }) {
  const row = (page, table, name) => page.locator(`#${table} tr`)
    .filter({ has: page.locator('th').getByText(name, { exact: true }) }).locator('td');

  await check('monitor: a WebSocket more, and it shows; one less, too', async (context) => {
    const page = await open(context, 'monitor');
    await row(page, 'versions', 'RFC 6455').waitFor();
    const before = Number(await row(page, 'versions', 'RFC 6455').textContent());
    const showing = (count) => page.waitForFunction((count) => last.open[4][1] === count, count);
    const other = await open(context, 'echo');
    await showing(before + 1);
    await other.close();
    await showing(before);
    const values = await page.locator('.gauge .value').allTextContents();
    assert.match(values.join(' | '), /^\d+ \| [\d.,]+ \/ [\d.,]+ \/s \| .* [kM]?B\/s \| \d+.* B \| [\d.]+ MB \| 0:\d\d:\d\d$/);
    await page.waitForFunction(() => GAUGES[2].history.length > 3);
  });

  await check('monitor: a reason with markup stays text', async (context) => {
    await context.addInitScript(putMarkupInAnswers, MARKUP);
    const page = await open(context, 'monitor');
    await page.locator('#cut th').first().filter({ hasText: MARKUP }).waitFor();
    await assertNoMarkup(page);
  });
}

// Each page in all its looks, with something to look at.
async function screenshots({ check, open, shots }) {
  const sizes = {
    desktop: { viewport: { width: 1100, height: 800 } },
    phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
  };
  const feeds = [await source('temperature, °C'), await source('load'), await source(MARKUP)];
  const start = Date.now() - 60_000;
  const point = (tick) => feeds.forEach((feed, place) => {
    if (tick % (1 + 9 * place)) return;
    feed.write(`${start + tick * 20} ${(20 * Math.sin(tick / 120 + place) + 8 * place + Math.random() * (6 - 3 * place)).toFixed(3)}\n`);
  });
  let tick = 0;
  const timer = setInterval(() => { while (start + tick * 20 < Date.now()) point(tick++); }, 20);
  for (const name of ['plotter', 'stocks', 'monitor']) {
    for (const [size, options] of Object.entries(sizes)) {
      for (const colorScheme of ['light', 'dark']) {
        await check(`${name}: screenshot, ${size}, ${colorScheme}`, async (context) => {
          const page = await open(context, name);
          if (name === 'plotter') {
            // Without what the other checks have plotted.
            await waitForPoints(page, 'load', 100);
            await page.evaluate((names) => {
              for (const [id, one] of series) if (!names.includes(one.name) || one.x[0] < 1e12) series.delete(id);
              redraw();
            }, ['temperature, °C', 'load', MARKUP]);
          }
          await pause(name === 'plotter' ? 1000 : 3500);
          await page.screenshot({ path: join(shots, `${name}-${size}-${colorScheme}.png`), fullPage: true, animations: 'disabled' });
        }, { ...options, colorScheme });
      }
    }
  }
  clearInterval(timer);
  for (const feed of feeds) feed.destroy();
}

export default async function dataDemos(helpers) {
  await plotter(helpers);
  await stocks(helpers);
  await monitor(helpers);
  if (helpers.shots) await screenshots(helpers);
}
