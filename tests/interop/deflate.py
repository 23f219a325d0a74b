#!/usr/bin/env python3
"""permessage-deflate between wsloop and the PyPI client `websockets` (requirements.txt), with all its settings.

Usage: deflate.py ws://HOST:PORT       (a server with --deflate and the built-in paths)
"""
import asyncio
import itertools
import os
import socket
import struct
import sys
import zlib

from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate

URL = sys.argv[1]
LINES = "\n".join(f"{i * 7919 % 100003} €" for i in range(5000))
MESSAGES = ["", "short", "x" * 1024, LINES, "ab" * 400_000, os.urandom(300), os.urandom(200_000), bytes(1024 * 1024)]


async def check_settings(**settings):
    """All messages come back by this client, and what was agreed on is what it asked for."""
    factory = ClientPerMessageDeflateFactory(**settings)
    async with connect(URL + "/mirror", proxy=None, max_size=None, compression=None, extensions=[factory]) as ws:
        [agreed] = ws.protocol.extensions
        assert isinstance(agreed, PerMessageDeflate), agreed
        assert agreed.local_no_context_takeover and agreed.remote_no_context_takeover, agreed
        assert agreed.remote_max_window_bits == settings.get("server_max_window_bits", 15), agreed
        for message in MESSAGES + MESSAGES:
            await ws.send(message)
            assert await ws.recv() == message, f"{len(message)} changed"
        await ws.send([LINES, "", "ab" * 3000])
        assert await ws.recv() == LINES + "ab" * 3000


def read(connection, count):
    bytes = b""
    while len(bytes) < count:
        more = connection.recv(count - len(bytes))
        assert more, "the stream ended"
        bytes += more
    return bytes


def check_window(bits):
    """What the server sends needs no larger window than was agreed on.

    One byte is inflated at a time, so that whatever is referred back to comes from zlib's window.
    """
    host, port = URL.removeprefix("ws://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall((
            f"GET /mirror HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={bits}\r\n\r\n").encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += read(connection, 1)
        assert f"; server_max_window_bits={bits}\r\n".encode() in head, head
        # Repeats at all distances up to 70,000.
        once = os.urandom(40)
        message = b"".join(once + bytes(gap) + os.urandom(7) for gap in list(range(60, 700)) + [16_000, 33_000, 70_000])
        connection.sendall(b"\x82\xff" + struct.pack(">Q", len(message)) + bytes(4) + message)
        first, length = read(connection, 2)
        assert first == 0xC2, f"{first:x}: not compressed"
        if length == 126:
            [length] = struct.unpack(">H", read(connection, 2))
        elif length == 127:
            [length] = struct.unpack(">Q", read(connection, 8))
        rest = read(connection, length) + b"\x00\x00\xff\xff"
        inflater, got = zlib.decompressobj(wbits=-bits), bytearray()
        while rest:
            got += inflater.decompress(rest, 1)
            rest = inflater.unconsumed_tail
        got += inflater.flush()
        assert got == message, f"{bits}: {len(got)} of {len(message)}"


async def main():
    flags = [{}, {"server_no_context_takeover": True}, {"client_no_context_takeover": True},
             {"server_no_context_takeover": True, "client_no_context_takeover": True}]
    windows = [{}, {"client_max_window_bits": True}]
    windows += [{f"{side}_max_window_bits": bits} for side in ("server", "client") for bits in range(9, 16)]
    windows += [{"server_max_window_bits": 8}, {"server_max_window_bits": 9, "client_max_window_bits": 10}]
    failed = checks = 0
    for flag, window in itertools.product(flags, windows):
        checks += 1
        try:
            await asyncio.wait_for(check_settings(**flag, **window), 60)
        except Exception as e:  # whatever it is, it is this check's
            failed += 1
            print(f"FAIL {flag | window}: {e!r}", flush=True)
    for bits in range(8, 16):
        checks += 1
        try:
            await asyncio.to_thread(check_window, bits)
        except Exception as e:
            failed += 1
            print(f"FAIL window of {bits}: {e!r}", flush=True)
    print(f"{checks - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
