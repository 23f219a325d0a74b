#!/usr/bin/env python3
"""Every WebSocket version in a plain socket: the bytes of the drafts out, the exact bytes back.

Usage: raw.py [ws[s]://]HOST:PORT

Each row of VERSIONS is a whole conversation on /mirror: the client's fields, the server's answer,
frames out (a text, then a close), frames in, end of stream. Hixie answers are compared as they
stand, digest included; of the others the status line and the fields in any order.
"""
import socket
import ssl
import sys

REQUEST = b"GET /mirror HTTP/1.1\r\n%b\r\n%b"

HIXIE = b"Upgrade: WebSocket\r\nConnection: Upgrade\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
KEYS = b"Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n"
ANSWER_75 = (
    b"HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
    b"WebSocket-Origin: http://localhost\r\nWebSocket-Location: ws://localhost/mirror\r\n\r\n"
)
ANSWER_76 = (
    b"HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Origin: http://localhost\r\nSec-WebSocket-Location: ws://localhost/mirror\r\n\r\n"
    b"8jKS'y:G*Co,Wxa-"
)

HYBI = (
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
DRAFT = HYBI + b"Sec-WebSocket-Origin: http://localhost\r\nSec-WebSocket-Version: %d\r\n"
RFC = HYBI + b"Origin: http://localhost\r\nSec-WebSocket-Version: 13\r\n"
ANSWER_HYBI = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)

# "Hello" as Hixie's 00…FF; masked with the key of RFC 6455 section 5.7, then a masked close 1000.
TEXT = b"\x00Hello\xff"
MASKED = bytes.fromhex("818537fa213d7f9f4d5158" "888237fa213d3412")
UNMASKED = bytes.fromhex("810548656c6c6f" "880203e8")

VERSIONS = {  # name: request, answer, frames out, frames in
    "Hixie-75": (REQUEST % (HIXIE, b""), ANSWER_75, TEXT, TEXT),
    "Hixie-76": (REQUEST % (HIXIE + KEYS, b"^n:ds[4U"), ANSWER_76, TEXT + b"\xff\x00", TEXT + b"\xff\x00"),
    "HyBi-07": (REQUEST % (DRAFT % 7, b""), ANSWER_HYBI, MASKED, UNMASKED),
    "HyBi-08": (REQUEST % (DRAFT % 8, b""), ANSWER_HYBI, MASKED, UNMASKED),
    "RFC 6455": (REQUEST % (RFC, b""), ANSWER_HYBI, MASKED, UNMASKED),
}


def same_answer(got, want):
    if want is ANSWER_HYBI:  # fields in any order
        got, want = got.split(b"\r\n"), want.split(b"\r\n")
        return got[0] == want[0] and sorted(got) == sorted(want)
    return got == want


def connect(host, port, secure):
    s = socket.create_connection((host, port), timeout=10)
    return ssl.create_default_context().wrap_socket(s, server_hostname=host) if secure else s


def converse(host, port, secure, request, answer, out, back):
    if secure:
        answer = answer.replace(b"Location: ws:", b"Location: wss:")
    with connect(host, port, secure) as s, s.makefile("rb") as stream:
        s.sendall(request)
        got = stream.read(len(answer))
        if not same_answer(got, answer):
            return f"handshake: expected {answer!r}\n  got {got!r}"
        s.sendall(out)
        if back == TEXT:  # Hixie-75 has no close on the wire: half-close, and the echo still comes
            if secure:
                got = stream.read(len(back))
                return None if got == back else f"frames: expected {back!r}\n  got {got!r}"
            s.shutdown(socket.SHUT_WR)
        got = stream.read()
        return None if got == back else f"frames: expected {back!r}\n  got {got!r}"


def main():
    scheme, _, address = sys.argv[1].rpartition("://")
    host, port = address.rsplit(":", 1)
    failed = 0
    for name, conversation in VERSIONS.items():
        try:
            error = converse(host, int(port), scheme == "wss", *conversation)
        except OSError as e:
            error = repr(e)
        failed += error is not None
        print(f"FAIL {name}: {error}" if error else f"ok   {name}", flush=True)
    print(f"{len(VERSIONS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
