"""PyPI's websockets on asyncio: `python3 python.py PORT`. /broadcast sends everything to everyone
there; other paths echo."""

import asyncio
import sys

from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed

room = set()


async def handle(ws):
    to_all = ws.request.path == "/broadcast"
    if to_all:
        room.add(ws)
    try:
        async for message in ws:
            if to_all:
                broadcast(room, message)
            else:
                await ws.send(message)
    except ConnectionClosed:
        pass
    finally:
        room.discard(ws)


async def main():
    port = int(sys.argv[1])
    options = dict(compression=None, max_size=16 << 20, backlog=4096, open_timeout=60)
    async with serve(handle, "127.0.0.1", port, **options) as server:
        await server.serve_forever()


asyncio.run(main())
