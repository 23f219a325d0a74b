#!/usr/bin/env python3
"""20,000 messages at once, over 40 plain sockets, to a server whose budgets leave most of them lying.

Usage: burst.py HOST:PORT PATIENCE

Every message goes out before the first answer is looked for, so that no later one rouses the server.
Exit status 0: all came back as they were; 1: one did not within PATIENCE seconds of silence.
"""
import selectors
import socket
import sys

SOCKETS, EACH = 40, 500
REQUEST = (
    b"GET /mirror HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
KEY = b"\x37\xfa\x21\x3d"


def conversation(number):
    """What one socket sends, and the frames that are to come back."""
    out, back = bytearray(REQUEST), bytearray()
    for message in range(EACH):
        payload = b"%d/%d" % (number, message) + b"." * (message % 50)
        out += bytes([0x81, 0x80 | len(payload)]) + KEY
        out += bytes(byte ^ KEY[place % 4] for place, byte in enumerate(payload))
        back += bytes([0x81, len(payload)]) + payload
    return out, back


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    patience = float(sys.argv[2])
    selector = selectors.DefaultSelector()
    for number in range(SOCKETS):
        out, back = conversation(number)
        peer = socket.create_connection((host, int(port)), timeout=10)
        peer.sendall(out)
        peer.setblocking(False)
        selector.register(peer, selectors.EVENT_READ, (bytearray(), back))
    done = 0
    while done < SOCKETS:
        events = selector.select(patience)
        if not events:
            print(f"stalled: {done} of {SOCKETS} sockets have all their messages")
            return 1
        for key, _ in events:
            got, back = key.data
            bytes = key.fileobj.recv(1 << 16)
            got += bytes
            head = got.find(b"\r\n\r\n") + 4
            if not bytes or not back.startswith(got[head:] if head > 3 else b""):
                print(f"wrong answer: {bytes(got[-200:])!r}")
                return 1
            if head > 3 and len(got) - head == len(back):
                selector.unregister(key.fileobj)
                key.fileobj.close()
                done += 1
    print(f"{SOCKETS * EACH} messages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
