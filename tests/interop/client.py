#!/usr/bin/env python3
"""wsloop against the PyPI client `websockets` (requirements.txt).

Usage: client.py ws[s]://HOST:PORT       (a server with the built-in paths and default limits)
"""
import asyncio
import http.client
import os
import sys
import time

from websockets.asyncio.client import connect as dial
from websockets.exceptions import ConnectionClosed, InvalidStatus

URL = sys.argv[1]
SCHEME, HOST = URL.split("://")
HTTP = {"ws": "http", "wss": "https"}[SCHEME]
LIMIT = 1024 * 1024  # the server's default for one message
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def connect(path, **options):
    return dial(URL + path, **{"proxy": None, "max_size": None, "ping_interval": None, "origin": None} | options)


def equal(got, want):
    if got != want:
        raise AssertionError(f"expected {str(want)[:100]!r}, got {str(got)[:100]!r}")


async def bounce(ws, message, want=None):
    await ws.send(message)
    equal(await ws.recv(), message if want is None else want)


async def closed_with(ws):
    """Reads to the end; the code and reason of the server's close frame, or None."""
    try:
        while True:
            await ws.recv()
    except ConnectionClosed as e:
        return e.rcvd and e.rcvd.code


async def refused(path, status, **options):
    try:
        async with connect(path, **options):
            raise AssertionError("accepted")
    except InvalidStatus as e:
        equal(e.response.status_code, status)


@check
async def text_and_unicode_on_mirror():
    async with connect("/mirror") as ws:
        for text in ["", "Hello", "\0", "\u00ff κόσμε € 漢字 \U0001f600", "\ufeffBOM\U0010ffff", "ü" * 40_000]:
            await bounce(ws, text)


@check
async def binary_of_many_sizes_on_mirror():
    async with connect("/mirror") as ws:
        for size in 0, 1, 125, 126, 65_535, 65_536, 1_000_000:
            await bounce(ws, os.urandom(size))


@check
async def fragmented_sends():
    async with connect("/mirror") as ws:
        await bounce(ws, ["Hel", "", "lo ", "w\u00f6rld"], "Hello w\u00f6rld")
        await bounce(ws, [b"\0" * 70_000, b"\xff" * 126, b""], b"\0" * 70_000 + b"\xff" * 126)


@check
async def ping_between_two_fragments():
    async with connect("/mirror") as ws:
        async def parts():
            yield "before "
            await (await ws.ping("between"))
            yield "after"
        await bounce(ws, parts(), "before after")


@check
async def ping_is_answered_pong_is_not():
    async with connect("/mirror") as ws:
        for payload in b"", b"x", os.urandom(125):
            await (await ws.ping(payload))
        await ws.pong(b"unasked")
        await bounce(ws, "still here")


@check
async def many_messages_stay_in_order():
    async with connect("/mirror") as ws:
        for i in range(2_000):
            await ws.send(str(i))
        equal([await ws.recv() for _ in range(2_000)], [str(i) for i in range(2_000)])


@check
async def echo_prefixes_text_only():
    async with connect("/echo") as ws:
        await bounce(ws, "hi", "echo: hi")
        await bounce(ws, b"\x00\xff")


@check
async def websocket_answers_server_echoed():
    async with connect("/websocket") as ws:
        await bounce(ws, "hi", "Server echoed: hi")


async def broadcast(path):
    async with connect(path) as a, connect(path) as b, connect(path) as c:
        for sender, message in (a, "one"), (b, b"\x02"), (c, "three"):
            await sender.send(message)
            for ws in a, b, c:
                equal(await ws.recv(), message)
        await c.close()
        await a.send("four")
        for ws in a, b:
            equal(await ws.recv(), "four")


@check
async def broadcast_reaches_three_clients():
    await broadcast("/broadcast")


@check
async def broadcast_at_the_top():
    await broadcast("/")


@check
async def hello_and_world_one_second_apart():
    start = time.monotonic()
    async with connect("/hello") as ws:
        for text, due in ("hello", 1), ("world", 2):
            equal(await ws.recv(), text)
            took = time.monotonic() - start
            if not due - 0.1 <= took < due + 3:
                raise AssertionError(f"{text} came after {took:.2f} s")


@check
async def close_codes_are_answered_with_the_same():
    for code, reason in (1000, ""), (1000, "bye"), (1001, ""), (3000, "r\u00e9ason"), (4999, "x" * 123):
        async with connect("/mirror") as ws:
            await ws.close(code, reason)
            equal((ws.protocol.close_rcvd.code, ws.protocol.close_rcvd_then_sent), (code, False))


@check
async def messages_before_a_close_are_answered():
    async with connect("/mirror") as ws:
        for i in range(100):
            await ws.send(str(i))
        closing = asyncio.create_task(ws.close())
        equal([m async for m in ws], [str(i) for i in range(100)])
        await closing


@check
async def largest_message_passes_longer_is_1009():
    async with connect("/mirror") as other, connect("/mirror") as ws:
        await bounce(ws, bytes(LIMIT))
        for message in bytes(LIMIT + 1), [bytes(LIMIT // 2)] * 3:
            async with connect("/mirror") as ws:
                try:
                    await ws.send(message)
                except ConnectionClosed:
                    pass  # the answer may come while we still send
                equal(await closed_with(ws), 1009)
            await bounce(other, "goes on")


@check
async def unknown_path_is_404():
    await refused("/no/such/path", 404)


@check
async def foreign_origin_is_403_own_is_let_in():
    await refused("/mirror", 403, origin="http://foreign.example")
    async with connect("/mirror", origin=f"{HTTP}://{HOST}") as ws:
        await bounce(ws, "hi")


@check
async def unknown_version_is_426():
    def get():
        kinds = {"ws": http.client.HTTPConnection, "wss": http.client.HTTPSConnection}
        http_connection = kinds[SCHEME](HOST, timeout=10)
        http_connection.request("GET", "/mirror", headers={
            "Upgrade": "websocket", "Connection": "Upgrade",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "99"})
        response = http_connection.getresponse()
        return response.status, response.getheader("Sec-WebSocket-Version")
    equal(await asyncio.to_thread(get), (426, "13, 8, 7"))


@check
async def no_subprotocol_when_none_chosen():
    for offer in None, ["chat", "superchat"]:
        async with connect("/mirror", subprotocols=offer) as ws:
            equal(ws.subprotocol, None)
            equal(ws.response.headers.get("Sec-WebSocket-Protocol"), None)
            await bounce(ws, "hi")


@check
async def a_hundred_connections_at_once():
    everybody_is_in = asyncio.Barrier(100)

    async def one(i):
        async with connect("/mirror") as ws:
            await everybody_is_in.wait()
            await bounce(ws, f"text of {i}")
            await everybody_is_in.wait()
    await asyncio.gather(*map(one, range(100)))


async def main():
    failed = 0
    for function in CHECKS:
        name = function.__name__.replace("_", " ")
        try:
            await asyncio.wait_for(function(), 30)
            print(f"ok   {name}", flush=True)
        except Exception as e:  # whatever it is, it is this check's
            failed += 1
            print(f"FAIL {name}: {e!r}", flush=True)
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
