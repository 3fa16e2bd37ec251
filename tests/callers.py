"""Many callers of a service at once, over connections that stay open, and what became of each of their requests."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer.

    Args:
        at: Seconds after the start at which it was whole.
        waited: Seconds since its request was sent.
        status: Its status.
    """

    at: float
    waited: float
    status: int


@dataclass(slots=True)
class Told:
    """What became of the requests.

    Args:
        answers: All that were whole.
        cut: Requests that were sent, and whose connection ended before the answer was whole.
        refused: Connections that were not made.
        closed: Connections that ended between requests.
    """

    answers: list[Answered] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    refused: int = 0
    closed: int = 0

    @property
    def statuses(self) -> Counter[int]:
        """How often each status came."""
        return Counter(answer.status for answer in self.answers)

    def good(self, since: float = 0.0) -> list[Answered]:
        """Return the answers of 200 that came at or after a time."""
        return [answer for answer in self.answers if answer.status == 200 and answer.at >= since]


def build_request(method: str, path: str, body: bytes = b"", *, key: str = "") -> bytes:
    """Build an HTTP/1.1 request."""
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    if key:
        head += f"authorization: Bearer {key}\r\n"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode("ascii") + b"\r\n" + body


async def call(port: int, requests: Sequence[bytes], *, connections: int, seconds: float) -> Told:
    """Send requests for so many seconds, or until the port is closed; each as soon as its predecessor was answered.

    That never offers more than the service answers: `arrivals` does.

    Args:
        port: Of the service, on this machine.
        requests: Sent in turn by each connection.
        connections: Kept open, each with one request under way at most.
        seconds: How long.
    """
    told, start = Told(), time.perf_counter()
    await asyncio.gather(*(_Caller(port, requests, told, start, seconds).run() for _ in range(connections)))
    return told


class _Caller:
    def __init__(self, port: int, requests: Sequence[bytes], told: Told, start: float, seconds: float) -> None:
        self._port = port
        self._requests = requests
        self._told = told
        self._start = start
        self._end = start + seconds

    async def run(self) -> None:
        """Call until the end."""
        number = 0
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while time.perf_counter() < self._end:
            streams = streams or await self._connect()
            if streams is None:
                return
            stays = await self._ask(*streams, self._requests[number % len(self._requests)])
            number += 1
            if not stays:
                streams[1].close()
                streams = None
        if streams is not None:
            streams[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            return await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            self._told.refused += 1
            return None

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bool:
        """Send a request, and tell whether its connection stays open."""
        if reader.at_eof():
            self._told.closed += 1
            return False
        sent = time.perf_counter()
        try:
            writer.write(request)
            head = await reader.readuntil(_HEAD_END)
            length = _LENGTH.search(head)
            await reader.readexactly(int(length[1]) if length else 0)
        except (OSError, asyncio.IncompleteReadError) as error:
            self._told.cut.append(f"{time.perf_counter() - self._start:.2f} s: {type(error).__name__}")
            return False
        now = time.perf_counter()
        self._told.answers.append(Answered(now - self._start, now - sent, int(head[9:12])))
        return _CLOSE.search(head) is None
