#!/usr/bin/env python3
"""System calls that fail: strace makes them, and nobody notices but the connection that is concerned.

Usage: run.py BINARY      (needs strace)
"""

import base64
import os
import re
import shutil
import socket
import subprocess
import sys
import threading

PATIENCE = 60
MESSAGES, SIZE = 40, 30_000
REQUEST = (
    b"GET /mirror HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(b"0123456789abcdef") + b"\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)


class Server:
    """The program, whose calls of one kind fail as strace's `when` says."""

    def __init__(self, binary, call, error, when, *options):
        inject = f"inject={call}:error={error}:when={when}"
        self.process = subprocess.Popen(
            ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject, binary]
            + ["-l", "127.0.0.1:0", "--quiet", *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        self.port = int(re.search(r":(\d+)$", line).group(1))

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # strace passes the signal on by ending what it traces.
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(children, encoding="ascii") as pids:
            for pid in pids.read().split():
                os.kill(int(pid), 15)
        assert self.process.wait(PATIENCE) == 0, "the program failed"


def exactly(stream, count):
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise ConnectionError(f"the end after {len(data)} of {count} bytes")
        data += piece
    return data


def session(server):
    """Opens a WebSocket, and sends messages that must come back."""
    stream = server.connect()
    stream.sendall(REQUEST)
    head = b""
    while b"\r\n\r\n" not in head:
        head += exactly(stream, 1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    for number in range(MESSAGES):
        payload = bytes([number]) * SIZE
        stream.sendall(b"\x82\xfe" + SIZE.to_bytes(2, "big") + bytes(4) + payload)
        assert exactly(stream, 4 + SIZE) == b"\x82\x7e" + SIZE.to_bytes(2, "big") + payload
    stream.close()


def sessions(server, count=3):
    """How many of several sessions at once go wrong."""
    failures = []

    def run():
        try:
            session(server)
        except (OSError, AssertionError) as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


# The call, its error, when it fails, and how many sessions may be lost for it.
CASES = [
    ("accept4", "EINTR", "1+2", 0),
    ("accept4", "ECONNABORTED", "1+2", 0),
    ("accept4", "EPERM", "1..2", 0),
    ("accept4", "ENOBUFS", "1", 0),
    ("accept4", "ENOMEM", "2", 0),
    ("accept4", "EMFILE", "2", 0),
    ("recvfrom", "EINTR", "2+3", 0),
    ("recvfrom", "ENOMEM", "20", 1),
    ("read", "EINTR", "40+3", 0),
    ("sendto", "EINTR", "2+3", 0),
    ("sendto", "ENOBUFS", "20", 1),
    ("sendmsg", "EINTR", "2+3", 0),
    ("sendmsg", "ENOBUFS", "5", 1),
    ("epoll_wait", "EINTR", "2+2", 0),
    ("epoll_ctl", "ENOMEM", "6", 1),
    ("timerfd_settime", "ENOMEM", "1+1", 0),
]


def deadlines_hold_without_the_timer(binary):
    """A client that says nothing is answered, though the alarm cannot be set."""
    with Server(binary, "timerfd_settime", "ENOMEM", "1+1", "--handshake-timeout", "1") as server:
        answer = server.connect().recv(1000)
        assert answer.startswith(b"HTTP/1.1 408 "), answer


def main():
    (binary,) = sys.argv[1:]
    if not shutil.which("strace"):
        sys.exit("run.py: strace is missing: apt-get install strace")
    for call, error, when, lost in CASES:
        with Server(binary, call, error, when) as server:
            failures = sessions(server)
            assert len(failures) <= lost, f"{call} {error} {when}: {failures}"
            assert not sessions(server, 1), f"{call} {error} {when}: nobody is served any more"
        print(f"ok   {call} {error} {when}")
    deadlines_hold_without_the_timer(binary)
    print("ok   deadlines without a timer")
    print(f"{len(CASES) + 1} passed, 0 failed")


main()
