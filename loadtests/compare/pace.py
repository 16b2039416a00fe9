"""Calls at a rate that is kept, whatever the answers take: open loop, as independent customers call.

    python pace.py --port 8080 --rate 5000 --seconds 5 --request request.bin

Gaps are exponential. A latency counts from the moment the call was due, so that a generator or a
proxy that falls behind cannot hide it. One thread on one epoll; nothing but the standard library,
for it must cost little beside the origin on the same core. Prints one line of JSON, times in seconds.
"""

import argparse
import gc
import json
import select
import socket
import sys
import time
from collections import deque
from pathlib import Path
from random import Random
from typing import Final

_CONNECTIONS: Final = 64
_GRACE_S: Final = 5.0


class Connection:
    """A keep-alive connection: the due time of the call under way, and what came of its reply."""

    __slots__ = ("due", "got", "sock")

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.due = 0.0
        self.got = b""


def complete(reply: bytes) -> int | None:
    """The status once the reply is whole, None before that. Content-Length or chunked."""
    end = reply.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = reply[: end + 2].lower()
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        length = int(head[at + 17 : head.index(b"\r\n", at + 17)])
        whole = len(reply) >= end + 4 + length
    else:
        whole = reply.endswith(b"\r\n0\r\n\r\n")
    return int(reply[9:12]) if whole else None


class Pacer:
    """Sends at the due times over connections that are free, the oldest due call first."""

    def __init__(self, port: int, request: bytes, rate: float, dice: Random) -> None:
        self._request = request
        self._rate = rate
        self._dice = dice
        self._free = [Connection(port) for _ in range(_CONNECTIONS)]
        self._epoll = select.epoll()
        self._of = {c.sock.fileno(): c for c in self._free}
        for number in self._of:
            self._epoll.register(number, select.EPOLLIN)
        self._waiting: deque[float] = deque()
        self.latencies: list[float] = []
        self.lateness: list[float] = []
        self.errors = 0

    def run(self, seconds: float) -> None:
        """Until every call was answered, or the grace is over: then the rest are errors."""
        now = time.perf_counter()
        due, end = now, now + seconds
        while due < end or self._busy():
            now = time.perf_counter()
            while due <= now and due < end:
                self._waiting.append(due)
                self.lateness.append(now - due)
                due += self._dice.expovariate(self._rate)
            self._send()
            if now > end + _GRACE_S:
                self.errors += len(self._waiting) + self._open()
                return
            self._receive(max(0.0, min(due, end) - time.perf_counter()) if due < end else 0.1)

    def _open(self) -> int:
        return len(self._of) - len(self._free)

    def _busy(self) -> bool:
        return bool(self._waiting) or self._open() > 0

    def _send(self) -> None:
        while self._waiting and self._free:
            connection = self._free.pop()
            connection.due = self._waiting.popleft()
            connection.sock.send(self._request)

    def _receive(self, patience_s: float) -> None:
        # epoll waits whole milliseconds; select, on the epoll itself, waits microseconds.
        select.select([self._epoll], [], [], patience_s)
        for number, _ in self._epoll.poll(0):
            connection = self._of[number]
            data = connection.sock.recv(65536)
            status = complete(connection.got + data if connection.got else data)
            if status is None and data:
                connection.got += data
                continue
            self.latencies.append(time.perf_counter() - connection.due)
            self.errors += status is None or not 200 <= status < 300
            connection.got = b""
            if data:
                self._free.append(connection)
            else:
                self._epoll.unregister(number)
                del self._of[number]


def percentile(values: list[float], share: float) -> float:
    """The value that this share of the sorted values does not exceed; 0 without any."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description="Calls at a steady rate.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="calls a second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--request", type=Path, required=True, help="file with the request's bytes")
    given = parser.parse_args()
    gc.disable()  # a collection would be somebody's latency
    pacer = Pacer(given.port, given.request.read_bytes(), given.rate, Random(given.port))
    pacer.run(given.seconds)
    latencies, lateness = sorted(pacer.latencies), sorted(pacer.lateness)
    said = {
        "replies": len(latencies),
        "errors": pacer.errors,
        "rate": len(latencies) / given.seconds,
        "p50": percentile(latencies, 0.5),
        "p99": percentile(latencies, 0.99),
        "late_p99": percentile(lateness, 0.99),
    }
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
