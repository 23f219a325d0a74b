// npm's ws on Node: `node ws.cjs PORT`. /broadcast sends everything to everyone there; others echo.
'use strict';
const { WebSocketServer } = require('ws');

const port = Number(process.argv[2]);
const server = new WebSocketServer({
  host: '127.0.0.1',
  port,
  backlog: 4096,
  perMessageDeflate: false,
  maxPayload: 16 << 20,
});
const room = new Set();
server.on('connection', (socket, request) => {
  socket.on('error', () => {});
  if (request.url !== '/broadcast') {
    socket.on('message', (data, binary) => socket.send(data, { binary }));
    return;
  }
  room.add(socket);
  socket.on('close', () => room.delete(socket));
  socket.on('message', (data, binary) => {
    for (const to of room) to.send(data, { binary });
  });
});
