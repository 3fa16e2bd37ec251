"""Requests that arrive when they arrive, whatever became of those before: an open loop, from a process of its own.

A caller who waits for an answer before it asks again offers no more than it is answered. Here each request has its
time, and is sent then on any connection that is free, or on another one, up to a number of them.
"""

import json
import re
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

MOST_CONNECTIONS = 1500
DRAIN_SECONDS = 10.0

_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n")
_HEAD_END = b"\r\n\r\n"
_RETRY = b"\r\nretry-after: "


@dataclass(slots=True)
class Offered:
    """What became of the requests.

    Attributes:
        seconds: For which requests were offered.
        sent: Requests that were sent, in all.
        unsent: Requests whose time came while all connections were taken.
        statuses: Status → how often it came.
        waits: Of the good answers: seconds from the time a request was due to its whole answer.
        untold: Answers of 429 or 503 that did not say when to come again.
        cut: Requests whose connection ended before their answer was whole, or that were never answered.
        connections: That were opened.
    """

    seconds: float
    sent: int = 0
    unsent: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    untold: int = 0
    cut: int = 0
    connections: int = 0

    def join(self, other: "Offered") -> "Offered":
        """Return what became of the requests of this turn and of a later one."""
        return Offered(
            seconds=self.seconds + other.seconds,
            sent=self.sent + other.sent,
            unsent=self.unsent + other.unsent,
            statuses=dict(Counter(self.statuses) + Counter(other.statuses)),
            waits=[*self.waits, *other.waits],
            untold=self.untold + other.untold,
            cut=self.cut + other.cut,
            connections=self.connections + other.connections,
        )

    @property
    def good_per_second(self) -> float:
        """Good answers per second of offering."""
        return self.statuses.get(200, 0) / self.seconds


def offer(
    port: int, request: bytes, *, per_second: float, seconds: float, connections: int = MOST_CONNECTIONS
) -> Offered:
    """Offer requests at a rate, evenly, from a process of its own, and return what became of them.

    Args:
        port: Of the service, on this machine.
        request: Sent each time.
        per_second: Requests.
        seconds: For which they are offered; then answers under way are waited for.
        connections: At most.
    """
    command = [sys.executable, "-m", "tests.arrivals", str(port), str(per_second), str(seconds), str(connections)]
    done = subprocess.run(command, input=request, stdout=subprocess.PIPE, check=True)
    told = json.loads(done.stdout)
    return Offered(**{**told, "statuses": {int(status): count for status, count in told["statuses"].items()}})


@dataclass(slots=True, eq=False)
class _Connection:
    """One connection, with one request under way at most."""

    socket: socket.socket
    due: float = 0.0
    buffer: bytes = b""


class _Offering:
    """Sends at its times, and reads what comes; few system calls, as it shares the machine with the service."""

    def __init__(self, port: int, request: bytes, connections: int, told: Offered) -> None:
        self._port = port
        self._request = request
        self._most = connections
        self._told = told
        self._epoll = select.epoll()
        self._all: dict[int, _Connection] = {}
        self._free: list[_Connection] = []

    def run(self, per_second: float, seconds: float) -> None:
        """Offer for so long, then wait for the rest."""
        start, number, total = time.perf_counter(), 0, round(per_second * seconds)
        while number < total:
            now = time.perf_counter()
            while number < total and (due := start + number / per_second) <= now:
                self._send(due)
                number += 1
            self._read(0.001)
        self._told.seconds = time.perf_counter() - start
        end = time.perf_counter() + DRAIN_SECONDS
        while self._n_under_way() and time.perf_counter() < end:
            self._read(0.05)
        self._told.cut += self._n_under_way()

    def _n_under_way(self) -> int:
        return len(self._all) - len(self._free)

    def _send(self, due: float) -> None:
        found = self._take()
        if found is None:
            self._told.unsent += 1
            return
        found.due = due
        self._told.sent += 1
        try:
            found.socket.send(self._request)
        except OSError:
            self._lose(found)

    def _take(self) -> _Connection | None:
        """Return the connection that was used last, or a new one."""
        if self._free:
            return self._free.pop()
        if len(self._all) >= self._most:
            return None
        made = _Connection(socket.create_connection(("127.0.0.1", self._port), timeout=5.0))
        made.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.socket.setblocking(False)
        self._all[made.socket.fileno()] = made
        self._epoll.register(made.socket, select.EPOLLIN)
        self._told.connections += 1
        return made

    def _read(self, seconds: float) -> None:
        for number, _ in self._epoll.poll(seconds):
            self._hear(self._all[number])

    def _hear(self, one: _Connection) -> None:
        try:
            data = one.socket.recv(65_536)
        except OSError:
            data = b""
        if not data:
            self._lose(one)
            return
        data = one.buffer + data
        head_end = data.find(_HEAD_END)
        length = _LENGTH.search(data, 0, head_end + 2) if head_end > 0 else None
        if length is None or len(data) < head_end + len(_HEAD_END) + int(length[1]):
            one.buffer = data
            return
        self._count(one, data[: head_end + 2])

    def _count(self, one: _Connection, head: bytes) -> None:
        one.buffer, status, now = b"", int(head[9:12]), time.perf_counter()
        self._told.statuses[status] = self._told.statuses.get(status, 0) + 1
        if status == 200:
            self._told.waits.append(now - one.due)
        elif _RETRY not in head:
            self._told.untold += 1
        self._free.append(one)

    def _lose(self, one: _Connection) -> None:
        """Forget a connection that ended; between requests that harms nobody."""
        if one in self._free:
            self._free.remove(one)
        else:
            self._told.cut += 1
        del self._all[one.socket.fileno()]
        self._epoll.unregister(one.socket)
        one.socket.close()


def main(arguments: list[str]) -> None:
    """Offer the request that standard input holds, and print what became of it."""
    port, per_second, seconds, connections = (float(argument) for argument in arguments)
    told = Offered(seconds)
    _Offering(int(port), sys.stdin.buffer.read(), int(connections), told).run(per_second, seconds)
    json.dump(asdict(told), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
