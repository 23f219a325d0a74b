#!/usr/bin/env python3
"""What one visitor can cost the others: time and memory, by how many sockets it has.

Usage: benches/visitor.py PROGRAM [SOCKETS…]    SOCKETS: 1 100 1000 if none is given

Starts the program for each row, and measures how long a bystander waits for its echoes while the
visitor does its worst, and how much memory the program takes by then. Prints Markdown. Needs Linux.
"""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
# How long the bystander is watched after the visitor has sent what it has to send.
WATCHED = 2.0
MIB = 1024 * 1024


def frame(first, payload):
    """A client's frame, masked with zeros."""
    size = len(payload)
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 65536:
        head = bytes([first, 0xFE]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, 0xFF]) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


class Server:
    """The program, on a port that the system chooses."""

    def __init__(self, program):
        command = [program, "-l", "127.0.0.1:0", "--quiet"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def open(self, path):
        client = self.connect()
        client.sendall(REQUEST.format(path=path).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += client.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        return client

    def memory(self, name):
        """In MiB."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            line = next(line for line in status if line.startswith(name))
        return int(line.split()[1]) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Bystander(threading.Thread):
    """Sends a word to /echo, again and again, and notes how long each answer takes."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.client = server.open("/echo")
        self.waited = []
        self.goes_on = True

    def run(self):
        word, answer = frame(0x81, b"word"), len(b"\x81\x0aecho: word")
        while self.goes_on:
            start = time.monotonic()
            self.client.sendall(word)
            came = 0
            while came < answer:
                came += len(self.client.recv(answer - came))
            self.waited.append(time.monotonic() - start)
            time.sleep(0.001)


def offer(client, data):
    """Sends what the server takes, and no more."""
    client.settimeout(0.5)
    try:
        client.sendall(data)
    except (TimeoutError, BlockingIOError, ConnectionError):
        pass


def idle(server, count):
    return [server.open("/echo") for _ in range(count)]


def half_a_head(server, count):
    clients = [server.connect() for _ in range(count)]
    for client in clients:
        offer(client, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 8000)
    return clients


def half_a_message(server, count):
    clients = [server.open("/echo") for _ in range(count)]
    for client in clients:
        offer(client, frame(0x82, bytes(MIB))[:600_000])
    return clients


def answers_unread(server, count):
    clients = [server.open("/mirror") for _ in range(count)]
    for client in clients:
        for _ in range(5):
            offer(client, frame(0x82, bytes(900_000)))
    return clients


def broadcasts(server, count):
    clients = [server.open("/broadcast") for _ in range(count)]
    offer(clients[0], frame(0x81, b"play") * 6500)
    return clients


def commands(server, count):
    clients = [server.open("/sync") for _ in range(count)]
    offer(clients[0], frame(0x81, b"play") * 6500)
    return clients


def requests(server, count):
    clients = [server.connect() for _ in range(count)]
    for client in clients:
        offer(client, b"GET /plotter.html HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 500)
    return clients


WORST = {
    "stays, and says nothing": idle,
    "sends half a head of 8 KiB": half_a_head,
    "sends 600 kB of a message of 1 MiB": half_a_message,
    "asks for 4.5 MB, and reads none": answers_unread,
    "one socket sends 6,500 messages to `/broadcast`, where all are": broadcasts,
    "the same to `/sync`": commands,
    "asks for 500 pages at once, and reads none": requests,
}


def measure(program, worst, count):
    """The longest wait in ms, and the memory in MiB."""
    server = Server(program)
    try:
        bystander = Bystander(server)
        bystander.start()
        clients = worst(server, count)
        time.sleep(WATCHED)
        bystander.goes_on = False
        bystander.join(timeout=60)
        memory = server.memory("VmRSS")
        for client in clients:
            client.close()
    finally:
        server.stop()
    return max(bystander.waited) * 1000, memory


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    program = os.path.abspath(sys.argv[1])
    counts = [int(word) for word in sys.argv[2:]] or [1, 100, 1000]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    columns = "".join(f" {count:,} |" for count in counts)
    print(f"| a visitor that has so many sockets, and with each |{columns}")
    print("|---|" + "--:|" * len(counts))
    for name, worst in WORST.items():
        cells = ""
        for count in counts:
            waited, memory = measure(program, worst, count)
            cells += f" {waited:.0f} ms, {memory:.0f} MiB |"
        print(f"| {name} |{cells}", flush=True)


main()
