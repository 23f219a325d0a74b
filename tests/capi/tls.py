#!/usr/bin/env python3
"""Python's ssl against a C program that echoes on wss://, while many clients leave in the middle.

Usage: tls.py HOST:PORT        Exit status 0: those who stayed have had their echo.
"""
import socket
import ssl
import struct
import sys

REQUEST = (
    b"GET /mirror HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
# Masked with zeros.
SMALL, LARGE = b"\x81\x82\0\0\0\0hi", b"\x82\xff" + struct.pack(">Q", 500_000) + bytes(500_004)


def connect():
    host, port = sys.argv[1].rsplit(":", 1)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    peer = context.wrap_socket(socket.create_connection((host, int(port)), timeout=60))
    peer.sendall(REQUEST)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += peer.recv(1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return peer


def main():
    for _ in range(20):
        peer = connect()
        for _ in range(3):
            peer.sendall(LARGE)
        # Its end is a reset, with most of the echo on its way.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
    peer = connect()
    peer.sendall(SMALL)
    echo = b""
    while len(echo) < 4:
        echo += peer.recv(4 - len(echo))
    assert echo == b"\x81\x02hi", echo
    print("20 went, and one was echoed")


if __name__ == "__main__":
    main()
