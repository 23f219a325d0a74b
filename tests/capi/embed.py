#!/usr/bin/env python3
"""demo/embed.c: its own timer and standard input go on beside wsloop, and it ends by itself.

Usage: embed.py PROGRAM [ARGUMENT…]      Exit status 0: all of it works.
"""
import signal
import socket
import subprocess
import sys
from pathlib import Path

RAW = Path(__file__).parent.parent / "interop" / "raw.py"
REQUEST = (
    b"GET /room HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
# "Hello" and a close of 1001, masked with the key of RFC 6455 section 5.7.
HELLO = bytes.fromhex("818537fa213d7f9f4d5158")
GOING_AWAY = bytes.fromhex("888237fa213d3413")


def read_until(program, wanted):
    """Reads what it prints, up to a line that begins so."""
    for line in program.stdout:
        if line.startswith(wanted):
            return line.rstrip("\n")
    sys.exit(f"embed.py: it ended without printing {wanted!r}")


def expect(stream, bytes):
    got = stream.read(len(bytes))
    if got != bytes:
        sys.exit(f"embed.py: {got!r} came, not {bytes!r}")


def main():
    signal.alarm(60)  # which ends this, should anything not come
    command = [*sys.argv[1:], "127.0.0.1:0"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as program:
        try:
            drive(program)
        finally:
            program.kill()  # nothing to it, if it has ended


def drive(program):
    port = int(read_until(program, "listening on port ").split()[-1])
    read_until(program, "tick")  # with nobody there
    subprocess.run([sys.executable, RAW, f"127.0.0.1:{port}"], check=True, timeout=30)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        stream = client.makefile("rb")
        client.sendall(REQUEST)
        while stream.readline() != b"\r\n":
            pass
        address = "{}:{}".format(*client.getsockname())
        read_until(program, f"+ {address}")
        client.sendall(HELLO)
        expect(stream, b"\x81\x05Hello")
        read_until(program, "< Hello")
        program.stdin.write("typed\n")
        expect(stream, b"\x81\x05typed")
        read_until(program, "tick")  # and with somebody there
        program.stdin.close()
        expect(stream, b"\x88")
        stream.read(stream.read(1)[0])
        client.sendall(GOING_AWAY)
        if stream.read():
            sys.exit("embed.py: bytes behind the close")
    read_until(program, "- 1001")
    if program.wait(30) != 0:
        sys.exit(f"embed.py: it ended with {program.returncode}")
    print("timer, standard input and clients of five versions, in one loop")


if __name__ == "__main__":
    main()
