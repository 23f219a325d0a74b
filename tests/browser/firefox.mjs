// Every page of the demo site in Firefox: it must load, connect and raise no error.
// Usage: node firefox.mjs BASE_URL [SCREENSHOT_DIR]      Firefox is $FIREFOX or firefox-esr.
// Firefox is spoken to through Marionette, its own protocol for this: JSON over TCP, the length in
// front, so that nothing has to be installed. Exit code: 0 all passed, 1 not, 2 could not start.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [base, shots] = process.argv.slice(2);
if (!base || !URL.canParse(base)) {
  console.error('usage: node firefox.mjs BASE_URL [SCREENSHOT_DIR]');
  process.exit(2);
}
const PATIENCE = 60_000; // for Firefox to start, and for any one page
const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

// Asks again and again until there is an answer.
async function until(what, ask) {
  for (const start = Date.now(); Date.now() - start < PATIENCE; await pause(100)) {
    const answer = await ask();
    if (answer) return answer;
  }
  throw new Error(`${what}: not within ${PATIENCE / 1000} s`);
}

// A connection to Marionette: `ask` sends a command and waits for its answer.
async function marionette(port) {
  const socket = connect(port, '127.0.0.1');
  const waiting = new Map();
  let input = Buffer.alloc(0);
  let number = 0;
  socket.on('data', (data) => {
    input = Buffer.concat([input, data]);
    for (;;) {
      const colon = input.indexOf(':');
      const end = colon + 1 + Number(input.subarray(0, Math.max(colon, 0)));
      if (colon < 0 || input.length < end) return;
      const message = JSON.parse(input.subarray(colon + 1, end));
      input = input.subarray(end);
      if (!Array.isArray(message)) continue; // the greeting
      const [, id, error, result] = message;
      const [resolve, reject] = waiting.get(id);
      if (error) reject(new Error(`${error.error}: ${error.message}`));
      else resolve(result);
    }
  });
  socket.on('close', () => waiting.forEach(([, reject]) => reject(new Error('Firefox is gone'))));
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return (command, parameters = {}) => new Promise((resolve, reject) => {
    number += 1;
    waiting.set(number, [resolve, reject]);
    const message = JSON.stringify([0, number, command, parameters]);
    socket.write(`${Buffer.byteLength(message)}:${message}`);
  });
}

const profile = mkdtempSync(join(tmpdir(), 'wsloop-firefox-'));
writeFileSync(join(profile, 'user.js'), [
  ['marionette.port', 0], // any; it is written into the profile
  ['browser.shell.checkDefaultBrowser', false],
  ['datareporting.policy.dataSubmissionEnabled', false],
  ['toolkit.telemetry.reportingpolicy.firstRun', false],
  ['app.update.disabledForTesting', true],
].map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`).join(''));
const program = process.env.FIREFOX || 'firefox-esr';
const firefox = spawn(program, ['--headless', '--marionette', '--no-remote', '--profile', profile],
  { stdio: 'ignore', env: { ...process.env, HOME: profile } });
let ended = null;
firefox.on('error', (error) => { ended = error.message; });
firefox.on('exit', (code) => { ended = `it ended with ${code}`; });

async function start() {
  const port = await until('Firefox starts', () => {
    if (ended) throw new Error(`${program}: ${ended}`);
    try {
      return Number(readFileSync(join(profile, 'MarionetteActivePort'), 'utf8'));
    } catch {
      return 0;
    }
  });
  const ask = await marionette(port);
  await ask('WebDriver:NewSession', { capabilities: {} });
  return ask;
}

// Opens a page, and waits until it says what is wanted.
async function check(ask, name) {
  const run = async (script) => (await ask('WebDriver:ExecuteScript', { script, args: [] })).value;
  const url = new URL(name, base).href;
  assert.equal((await fetch(url)).status, 200);
  await ask('WebDriver:Navigate', { url });
  await run('window.wrong = []; addEventListener("error", function (event) { wrong.push(event.message); });');
  await until(`${name} is open`, () => run('var state = document.getElementById("state");' +
    'return state && state.getAttribute("data-state") === "open";'));
  if (name === 'echo.html') {
    await run('connection.send("from Firefox")');
    await until('the echo', () => run('return document.getElementById("log").textContent.indexOf("echo: from Firefox") >= 0;'));
  }
  await pause(500); // for the page to go to work
  assert.deepEqual(await run('return wrong'), [], 'errors in the page');
  assert.equal(await run('return document.getElementById("state").getAttribute("data-state")'), 'open');
  if (shots) {
    const { value } = await ask('WebDriver:TakeScreenshot', { full: true });
    writeFileSync(join(shots, `${name.replace('.html', '')}-firefox.png`), Buffer.from(value, 'base64'));
  }
  return run('return Array.from(document.querySelectorAll(".card .what > :first-child a"), ' +
    'function (link) { return link.getAttribute("href"); });');
}

let failed = 0;
try {
  if (shots) mkdirSync(shots, { recursive: true });
  const ask = await start();
  const pages = ['index.html'];
  for (const name of pages) {
    try {
      pages.push(...await check(ask, name));
      console.log(`ok    ${name} in Firefox`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${name} in Firefox: ${error.message}`);
    }
  }
  assert.ok(pages.length > 1, 'the index has cards');
} catch (error) {
  console.error(error.message);
  failed += 1;
} finally {
  if (!ended) {
    const gone = new Promise((resolve) => firefox.once('exit', resolve));
    firefox.kill();
    await Promise.race([gone, pause(10_000)]);
    if (!ended) firefox.kill('SIGKILL');
  }
  rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}
process.exit(failed ? 1 : 0);
