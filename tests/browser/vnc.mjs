// noVNC, the VNC client of many web pages, through a bridge to a VNC server of Debian, x11vnc, which needs no
// screen: it shows a file, and writes down what is typed and clicked.
// Usage: node vnc.mjs WSLOOP_BINARY      Chromium is $CHROMIUM or /usr/bin/chromium.
// Exit code: 0 all passed, 1 not, 2 could not start.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const [binary] = process.argv.slice(2);
if (!binary) {
  console.error('usage: node vnc.mjs WSLOOP_BINARY');
  process.exit(2);
}

const [WIDTH, HEIGHT] = [320, 240];
const work = mkdtempSync(join(tmpdir(), 'wsloop-vnc-'));
const [screen, events, site] = ['screen', 'events', 'site'].map((name) => join(work, name));
const children = [];

// Starts a program, and answers with it and the first group of the first of its lines that is like this.
async function start(program, args, like) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const failed = new Promise((_, reject) => {
    child.once('error', reject).once('exit', (code) => reject(new Error(`${program} ended with ${code}`)));
  });
  failed.catch(() => {}); // once it has started it may end
  const found = new Promise((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => like.test(line) && resolve(like.exec(line)[1]));
  });
  return [child, await Promise.race([found, failed])];
}

// Writes a picture to the screen, four rectangles of these colours, [red, green, blue].
function paint(colours) {
  const pixels = Buffer.alloc(WIDTH * HEIGHT * 4);
  for (let y = 0; y < HEIGHT; y += 1) {
    for (let x = 0; x < WIDTH; x += 1) {
      const [red, green, blue] = colours[(y < HEIGHT / 2 ? 0 : 2) + (x < WIDTH / 2 ? 0 : 1)];
      pixels.set([blue, green, red], (y * WIDTH + x) * 4);
    }
  }
  writeFileSync(screen, pixels, { flag: 'r+' }); // into the same file, which x11vnc has mapped
}

// Until the page shows these colours in the middle of the four rectangles.
const shows = (page, colours) => page.waitForFunction((colours) => {
  const canvas = document.querySelector('canvas');
  const pen = canvas.getContext('2d');
  return canvas.width === 320 && canvas.height === 240 && colours.every((colour, i) => {
    const pixel = pen.getImageData(80 + 160 * (i % 2), i < 2 ? 60 : 180, 1, 1).data;
    return colour.every((value, part) => Math.abs(pixel[part] - value) < 12); // a JPEG is not exact
  });
}, colours, { polling: 30 });

// Until x11vnc has written down something like this.
async function happened(like) {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline;) {
    if (like.test(readFileSync(events, 'utf8'))) return;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  assert.fail(`${like} in ${readFileSync(events, 'utf8')}`);
}

const [RED, GREEN, BLUE, WHITE] = [[220, 30, 30], [30, 200, 60], [40, 60, 230], [240, 240, 240]];
let browser;
try {
  writeFileSync(screen, Buffer.alloc(WIDTH * HEIGHT * 4));
  writeFileSync(events, '');
  paint([RED, GREEN, BLUE, WHITE]);
  cpSync(join(dirname(fileURLToPath(import.meta.resolve('@novnc/novnc'))), '..'), site, { recursive: true });
  writeFileSync(join(site, 'index.html'), '<!DOCTYPE html><title>VNC</title><body><div id="vnc"></div>');
  const [vnc, port] = await start('x11vnc', ['-q', '-norc', '-nopw', '-localhost', '-no6', '-autoport', '5960',
    '-forever', '-rawfb', `map:${screen}@${WIDTH}x${HEIGHT}x32`, '-pipeinput', `cat > '${events}'`], /^PORT=(\d+)$/);
  const [, address] = await start(binary, ['--quiet', '--listen', '127.0.0.1:0', '--root', site,
    '--bridge', `/vnc=tcp:127.0.0.1:${port}`], /^listening on ws:\/\/(.*)$/);
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run'],
  });
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(20_000);
  await page.goto(`http://${address}/`);
  await page.evaluate(async () => {
    const { default: RFB } = await import('/core/rfb.js');
    window.rfb = new RFB(document.getElementById('vnc'), `ws://${location.host}/vnc`, { wsProtocols: ['binary'] });
    window.seen = {};
    for (const name of ['connect', 'desktopname', 'disconnect']) {
      rfb.addEventListener(name, (event) => { seen[name] = event.detail; });
    }
  });
  await page.waitForFunction(() => seen.connect && seen.desktopname);
  const { name } = await page.evaluate(() => seen.desktopname);
  assert.equal(name, 'x11vnc');
  await shows(page, [RED, GREEN, BLUE, WHITE]);
  paint([WHITE, BLUE, GREEN, RED]);
  await shows(page, [WHITE, BLUE, GREEN, RED]);

  const box = await page.locator('canvas').boundingBox();
  await page.mouse.click(box.x + 123, box.y + 45);
  await happened(/^Pointer \d+ 123 45 1 /m);
  await page.keyboard.press('k');
  await happened(/^Keysym \d+ 1 107 k /m);

  vnc.kill(); // the client is told when the server of VNC ends
  await page.waitForFunction(() => seen.disconnect);
  console.log(`ok    noVNC through a bridge: ${name}, pixels, a click and a key`);
} catch (error) {
  console.log(`FAIL  noVNC through a bridge: ${error.stack}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
  for (const child of children.filter((child) => child.exitCode === null && child.signalCode === null)) {
    const gone = once(child, 'exit');
    child.kill();
    await gone;
  }
  rmSync(work, { recursive: true, force: true });
}
