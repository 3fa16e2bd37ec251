"""A load client that costs little: prepared requests over a few connections, each with one request under way."""

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np

HOST = "127.0.0.1"
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


@dataclass(slots=True)
class Load:
    """What came of requests.

    Args:
        seconds: How long requests were sent.
        busy_seconds: Processor time of the client meanwhile.
        waits: Seconds from each request to the end of its answer.
    """

    seconds: float = 0.0
    busy_seconds: float = 0.0
    waits: list[float] = field(default_factory=list)

    @property
    def throughput(self) -> float:
        """Answers per second."""
        return len(self.waits) / self.seconds

    @property
    def p99_ms(self) -> float:
        """The wait that one request in a hundred exceeds, in milliseconds."""
        return float(np.quantile(self.waits, 0.99)) * 1000.0

    def add(self, other: "Load") -> None:
        """Add what came of further requests."""
        self.seconds += other.seconds
        self.busy_seconds += other.busy_seconds
        self.waits += other.waits


def build_request(method: str, path: str, body: bytes = b"") -> bytes:
    """Build an HTTP/1.1 request."""
    head = f"{method} {path} HTTP/1.1\r\nhost: {HOST}\r\n"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode("ascii") + b"\r\n" + body


def run_load(port: int, requests: Sequence[bytes], *, connections: int, seconds: float) -> Load:
    """Send requests in turn for so many seconds.

    Raises:
        RuntimeError: If an answer is not a 200 of a declared length, or a connection ends early.
    """
    return asyncio.run(_run(port, cycle(requests), connections, seconds))


async def _run(port: int, requests: Iterator[bytes], connections: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    start, busy = time.perf_counter(), time.process_time()
    load, deadline = Load(), start + seconds
    clients = [_Client(requests, load.waits, deadline, loop.create_future()) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, HOST, port)  # type: ignore[misc]  # one each
    await asyncio.gather(*(client.done for client in clients))
    load.seconds, load.busy_seconds = time.perf_counter() - start, time.process_time() - busy
    return load


class _Client(asyncio.Protocol):
    """One connection: sends a request, waits for the whole answer, sends the next."""

    def __init__(
        self, requests: Iterator[bytes], waits: list[float], deadline: float, done: asyncio.Future[None]
    ) -> None:
        self.done = done
        self._requests = requests
        self._waits = waits
        self._deadline = deadline
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send(transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(_HEAD_END)
        if not found:
            return
        length = _LENGTH.search(head + b"\r\n")
        if length is None or not head.startswith(b"HTTP/1.1 200 "):
            self._fail(f"The service answered: {self._received[:500]!r}")
        elif len(body) == int(length[1]):
            self._answered()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"The service ended the connection: {exc}")

    def _answered(self) -> None:
        now = time.perf_counter()
        self._waits.append(now - self._sent_at)
        self._received = b""
        assert self._transport is not None
        if now < self._deadline:
            self._send(self._transport)
            return
        self.done.set_result(None)
        self._transport.close()

    def _send(self, transport: asyncio.Transport) -> None:
        self._sent_at = time.perf_counter()
        transport.write(next(self._requests))

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(why))
