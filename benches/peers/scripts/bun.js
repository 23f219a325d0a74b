// Bun, whose server is uWebSockets: `bun bun.js PORT`. /broadcast sends everything to everyone
// there; other paths echo.
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2]),
  fetch(request, server) {
    const toAll = new URL(request.url).pathname === '/broadcast';
    if (!server.upgrade(request, { data: toAll })) return new Response(null, { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 16 << 20,
    backpressureLimit: 1 << 30,
    open(ws) {
      if (ws.data) ws.subscribe('all');
    },
    message(ws, message) {
      if (ws.data) server.publish('all', message);
      else ws.send(message);
    },
  },
});
