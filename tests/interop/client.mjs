// wsloop against the npm client `ws` (package.json).
// Usage: node client.mjs ws[s]://HOST:PORT      (a server with the built-in paths and default limits)
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import WebSocket from 'ws';

const url = process.argv[2];
const LIMIT = 1024 * 1024; // the server's default for one message

// An open connection: `next()` is the next message, `closed` the [code, reason] it will end with.
async function open(path, protocols = [], options = {}) {
  const ws = new WebSocket(url + path, protocols, { handshakeTimeout: 10_000, ...options });
  const inbox = [];
  let wake = () => {};
  ws.on('message', (data, isBinary) => { inbox.push(isBinary ? data : data.toString()); wake(); });
  ws.closed = new Promise((resolve) => ws.on('close', (code, reason) => resolve([code, reason.toString()])));
  ws.closed.then(() => wake());
  ws.next = async () => {
    while (!inbox.length) {
      if (ws.readyState === WebSocket.CLOSED) throw new Error('closed instead of a message');
      await new Promise((resolve) => { wake = resolve; });
    }
    return inbox.shift();
  };
  await once(ws, 'open');
  ws.on('error', () => {}); // what matters arrives with 'close'
  return ws;
}

async function close(...sockets) {
  for (const ws of sockets) ws.close(1000);
  for (const ws of sockets) assert.equal((await ws.closed)[0], 1000);
}

async function bounce(ws, message, want = message) {
  ws.send(message);
  const got = await ws.next();
  if (Buffer.isBuffer(want)) assert.ok(Buffer.isBuffer(got) && got.equals(want), `${want.length} bytes changed`);
  else assert.equal(got, want);
}

function refused(path, options = {}) {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url + path, [], { handshakeTimeout: 10_000, ...options });
    ws.on('unexpected-response', (request, response) => { request.destroy(); resolve(response.statusCode); });
    ws.on('open', () => { ws.terminate(); reject(new Error('accepted')); });
    ws.on('error', reject);
  });
}

const checks = {
  async 'text and unicode on /mirror'() {
    const ws = await open('/mirror');
    for (const text of ['', 'Hello', '\0', '\u00ff κόσμε € 漢字 \u{1f600}', '\ufeffBOM\u{10ffff}', 'ü'.repeat(40_000)]) {
      await bounce(ws, text);
    }
    await close(ws);
  },

  async 'binary of many sizes on /mirror'() {
    const ws = await open('/mirror');
    for (const size of [0, 1, 125, 126, 65_535, 65_536, 1_000_000]) await bounce(ws, randomBytes(size));
    await close(ws);
  },

  async 'fragmented sends with a ping between'() {
    const ws = await open('/mirror');
    const pong = once(ws, 'pong');
    ws.send('Hel', { fin: false });
    ws.ping('between');
    ws.send('', { fin: false });
    assert.equal((await pong)[0].toString(), 'between');
    ws.send('lo w\u00f6rld');
    assert.equal(await ws.next(), 'Hello w\u00f6rld');
    const parts = [randomBytes(70_000), randomBytes(126), Buffer.alloc(0)];
    parts.forEach((part, i) => ws.send(part, { fin: i === 2 }));
    assert.ok((await ws.next()).equals(Buffer.concat(parts)));
    await close(ws);
  },

  async 'ping is answered, pong is not'() {
    const ws = await open('/mirror');
    for (const payload of [Buffer.alloc(0), randomBytes(125)]) {
      const pong = once(ws, 'pong');
      ws.ping(payload);
      assert.ok((await pong)[0].equals(payload));
    }
    ws.pong('unasked');
    await bounce(ws, 'still here');
    await close(ws);
  },

  async 'a burst stays in order'() {
    const ws = await open('/mirror');
    for (let i = 0; i < 2_000; i++) ws.send(String(i));
    for (let i = 0; i < 2_000; i++) assert.equal(await ws.next(), String(i));
    await close(ws);
  },

  async '/echo prefixes text only'() {
    const ws = await open('/echo');
    await bounce(ws, 'hi', 'echo: hi');
    await bounce(ws, Buffer.from([0, 255]));
    await close(ws);
  },

  async '/websocket answers Server echoed'() {
    const ws = await open('/websocket');
    await bounce(ws, 'hi', 'Server echoed: hi');
    await close(ws);
  },

  async 'broadcast reaches three clients, at /broadcast and /'() {
    for (const path of ['/broadcast', '/']) {
      const all = await Promise.all([open(path), open(path), open(path)]);
      for (const [i, sender] of all.entries()) {
        sender.send(`from ${i}`);
        for (const ws of all) assert.equal(await ws.next(), `from ${i}`);
      }
      all[0].send(Buffer.from([0, 255]));
      for (const ws of all) assert.ok((await ws.next()).equals(Buffer.from([0, 255])));
      await close(...all);
    }
  },

  async 'hello, and world a second later'() {
    const start = performance.now();
    const ws = await open('/hello');
    for (const [text, due] of [['hello', 1000], ['world', 2000]]) {
      assert.equal(await ws.next(), text);
      const took = performance.now() - start;
      assert.ok(took >= due - 100 && took < due + 3000, `${text} came after ${took.toFixed()} ms`);
    }
    await close(ws);
  },

  async 'close codes are answered with the same'() {
    for (const [code, reason] of [[1000, ''], [1000, 'bye'], [3000, 'r\u00e9ason'], [4999, 'x'.repeat(123)]]) {
      const ws = await open('/mirror');
      ws.close(code, reason);
      assert.equal((await ws.closed)[0], code);
    }
  },

  async 'a close without a code is answered without one'() {
    const ws = await open('/mirror');
    ws.close();
    assert.deepEqual(await ws.closed, [1005, '']);
  },

  async 'the largest message passes, a longer one is 1009, others go on'() {
    const other = await open('/mirror');
    await bounce(other, Buffer.alloc(LIMIT));
    for (const sizes of [[LIMIT + 1], [LIMIT / 2, LIMIT / 2, 1]]) {
      const ws = await open('/mirror');
      sizes.forEach((size, i) => ws.send(Buffer.alloc(size), { fin: i === sizes.length - 1 }));
      assert.equal((await ws.closed)[0], 1009);
      await bounce(other, 'goes on');
    }
    await close(other);
  },

  async 'a client that vanishes does not disturb others'() {
    const [other, ws] = await Promise.all([open('/broadcast'), open('/broadcast')]);
    ws.terminate();
    await ws.closed;
    await bounce(other, 'still here');
    await close(other);
  },

  async 'an unknown path is 404'() {
    assert.equal(await refused('/no/such/path'), 404);
  },

  async 'a foreign origin is 403, the own one is let in'() {
    const own = url.replace('ws', 'http');
    for (const protocolVersion of [8, 13]) {
      assert.equal(await refused('/mirror', { protocolVersion, origin: 'http://foreign.example' }), 403);
      await close(await open('/mirror', [], { protocolVersion, origin: own }));
    }
  },

  async 'version 8 speaks too'() {
    const ws = await open('/mirror', [], { protocolVersion: 8 });
    await bounce(ws, 'Hello');
    await bounce(ws, randomBytes(70_000));
    await close(ws);
  },

  async 'no subprotocol when none chosen'() {
    const ws = await open('/mirror');
    assert.equal(ws.protocol, '');
    await close(ws);
    await assert.rejects(open('/mirror', ['chat']), /Server sent no subprotocol/); // as browsers do
  },

  async 'a hundred connections at once'() {
    const all = await Promise.all(Array.from({ length: 100 }, () => open('/mirror')));
    all.forEach((ws, i) => ws.send(`text of ${i}`));
    for (const [i, ws] of all.entries()) assert.equal(await ws.next(), `text of ${i}`);
    await close(...all);
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(reject, 30_000, new Error('no end after 30 s')); });
  try {
    await Promise.race([check(), late]);
    console.log(`ok   ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAIL ${name}: ${error.message.replace(/\s+/g, ' ')}`);
  }
  clearTimeout(timer);
}
console.log(`${Object.keys(checks).length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
