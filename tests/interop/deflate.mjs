// permessage-deflate between wsloop and the npm client `ws` (package.json), with all its settings.
// Usage: node deflate.mjs ws://HOST:PORT      (a server with --deflate and the built-in paths)
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import WebSocket from 'ws';

const url = process.argv[2];
const ANSWER = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';
const prose = (length) => 'It was on a dreary night of November. '.repeat(length / 38 + 1).slice(0, length);
const lines = Array.from({ length: 5000 }, (_, i) => `${i * 7919 % 100003} €`).join('\n'); // 50 KB, hard to pack

async function open(path, perMessageDeflate, options = {}) {
  const ws = new WebSocket(url + path, [], { handshakeTimeout: 10_000, perMessageDeflate, ...options });
  const inbox = [];
  let wake = () => {};
  ws.on('message', (data, isBinary) => { inbox.push(isBinary ? data : data.toString()); wake(); });
  ws.on('close', () => wake());
  ws.on('upgrade', (response) => { ws.answer = response.headers['sec-websocket-extensions']; });
  ws.next = async () => {
    while (!inbox.length) {
      if (ws.readyState === WebSocket.CLOSED) throw new Error('closed instead of a message');
      await new Promise((resolve) => { wake = resolve; });
    }
    return inbox.shift();
  };
  await once(ws, 'open');
  ws.on('error', (error) => console.log(`     ${error.message}`)); // then it closes
  return ws;
}

async function close(ws) {
  const closed = once(ws, 'close');
  ws.close(1000);
  assert.equal((await closed)[0], 1000);
}

// Everything comes back as it was: short and long, text and binary, in one frame and several.
async function bounceAll(ws) {
  const messages = ['', 'short', prose(1023), prose(1024), lines, prose(900_000), randomBytes(300), randomBytes(200_000),
    Buffer.alloc(1024 * 1024), Buffer.concat([randomBytes(5000), Buffer.alloc(5000, 7)])];
  for (const message of [...messages, ...messages]) {
    ws.send(message);
    assert.deepEqual(await ws.next(), message);
  }
  const parts = [prose(3000), '', lines, 'end'];
  parts.forEach((part, i) => ws.send(part, { fin: i === parts.length - 1 }));
  assert.equal(await ws.next(), parts.join(''));
  // What passed was smaller than what was said.
  const before = ws._socket.bytesRead;
  ws.send(prose(100_000));
  assert.equal(await ws.next(), prose(100_000));
  assert.ok(ws._socket.bytesRead - before < 10_000, `${ws._socket.bytesRead - before} bytes for 100,000`);
}

const settings = [
  [{}, ''],
  [{ threshold: 0 }, ''],
  [{ threshold: 0, serverNoContextTakeover: true }, ''],
  [{ threshold: 0, clientNoContextTakeover: true }, ''],
  [{ threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true }, ''],
  [{ threshold: 0, clientMaxWindowBits: true }, ''],
];
for (let bits = 8; bits <= 15; bits++) {
  settings.push([{ threshold: 0, serverMaxWindowBits: bits }, `; server_max_window_bits=${bits}`]);
  settings.push([{ threshold: 0, clientMaxWindowBits: bits }, '']);
  settings.push([{ threshold: 0, serverMaxWindowBits: bits, clientMaxWindowBits: 9, serverNoContextTakeover: true },
    `; server_max_window_bits=${bits}`]);
}

const checks = {
  async 'nothing is agreed on with who does not ask'() {
    const ws = await open('/mirror', false);
    assert.equal(ws.extensions, '');
    ws.send(lines);
    assert.equal(await ws.next(), lines);
    await close(ws);
  },

  async 'nor with version 8'() {
    const ws = await open('/mirror', false, { protocolVersion: 8, headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } });
    ws.send(lines);
    assert.equal(await ws.next(), lines);
    await close(ws);
  },

  async 'a client that insists on its context goes'() {
    await assert.rejects(open('/mirror', { clientNoContextTakeover: false }), /Sec-WebSocket-Extensions/);
  },

  async 'a broadcast reaches each in its own form'() {
    const all = [await open('/broadcast', false)];
    for (const bits of [8, 9, 12, 15]) all.push(await open('/broadcast', { serverMaxWindowBits: bits }));
    all.push(await open('/broadcast', true), await open('/broadcast', true));
    for (const message of [lines, 'short', randomBytes(9000), Buffer.alloc(9000)]) {
      all[1].send(message);
      for (const ws of all) assert.deepEqual(await ws.next(), message);
    }
    for (const ws of all) await close(ws);
  },

  async 'what grows over the limit is 1009, others go on'() {
    const [other, ws] = [await open('/mirror', true), await open('/mirror', true)];
    const closed = once(ws, 'close');
    ws.send(Buffer.alloc(500_000_000)); // half a megabyte on its way
    assert.equal((await closed)[0], 1009);
    other.send('goes on');
    assert.equal(await other.next(), 'goes on');
    await close(other);
  },
};
for (const [options, more] of settings) {
  checks[`settings ${JSON.stringify(options)}`] = async () => {
    const ws = await open('/mirror', options);
    assert.equal(ws.answer, ANSWER + more);
    assert.equal(ws.extensions, 'permessage-deflate');
    await bounceAll(ws);
    await close(ws);
  };
}

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(reject, 60_000, new Error('no end after 60 s')); });
  try {
    await Promise.race([check(), late]);
  } catch (error) {
    failed++;
    console.log(`FAIL ${name}: ${error.message.replace(/\s+/g, ' ').slice(0, 300)}`);
  }
  clearTimeout(timer);
}
console.log(`${Object.keys(checks).length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
