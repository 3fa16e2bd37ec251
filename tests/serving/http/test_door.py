import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from starlette.types import Receive, Scope, Send

from serving.http.admission import Admission
from serving.http.door import MOST_BODY_BYTES, Door, DoorProtocol
from serving.http.draining import Draining
from serving.state import LiveState
from serving.telemetry.metrics import Metrics
from tests.callers import build_request

ROUTES = {"/v1/score": ["POST"], "/v1/scores": ["GET"], "/livez": ["GET", "HEAD"]}
SCORE, READ = build_request("POST", "/v1/score", b"x" * 100), build_request("GET", "/v1/scores?customer_id=c")


class House:
    """A real server behind a door, with room for one request, which stays until it is told to end."""

    def __init__(self) -> None:
        self.end = asyncio.Event()
        self.n_read = 0
        self.metrics = Metrics(CollectorRegistry())
        self.draining = Draining()
        self.admission = Admission(self.stay, lambda: 1, lambda _n_waiting: 0.0)
        live = LiveState()
        self.door = Door(self.admission, routes=ROUTES, live=live, metrics=self.metrics, draining=self.draining)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note that a request was read."""
        self.n_read += 1
        await self.admission(scope, receive, send)

    async def stay(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer, in the end; a probe at once."""
        if scope["path"] != "/livez":
            await self.end.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, *pieces: bytes) -> tuple[int, bytes, bytes]:
        """Send a request, and return status, head and body of the answer."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.01)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head[9:12]), head, await self.reader.readexactly(length)


@asynccontextmanager
async def full_house() -> AsyncIterator[
    tuple[House, Callable[[], Awaitable[Caller]], asyncio.Task[tuple[int, bytes, bytes]]]
]:
    """Open a house, fill it, and yield it with what makes connections and what runs the request within."""
    house = House()
    protocol = type("Protocol", (DoorProtocol,), {"door": house.door})
    config = uvicorn.Config(
        house.app, http=protocol, interface="asgi3", log_config=None, lifespan="off", server_header=False
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        opened: list[Caller] = []

        async def connect() -> Caller:
            opened.append(Caller(*await asyncio.open_connection(*listener.getsockname())))
            return opened[-1]

        within = asyncio.create_task((await connect()).ask(SCORE))
        while house.n_read == 0:
            await asyncio.sleep(0.01)
        yield house, connect, within
        house.end.set()
        await within
        for caller in opened:
            caller.writer.close()
        server.should_exit = True
        await serving


def test_refused_unread() -> None:
    """While no place is free, requests are refused before they are read, on a connection that stays, and counted."""

    async def scene() -> None:
        async with full_house() as (house, connect, within):
            caller = await connect()
            for request in (SCORE, READ, SCORE):
                status, head, body = await caller.ask(request)
                assert (status, json.loads(body)["type"]) == (503, "urn:lifestage:problem:overloaded")
                assert all(name in head for name in (b"retry-after: 1", b"nosniff", b"no-store", b"x-request-id: "))
                assert b"connection: close" not in head
            assert house.n_read == 1
            house.door.tell()
            counted = generate_latest(house.metrics.registry).decode()
            assert 'method="POST",model_version="(none)",route="/v1/score",status="503"} 2.0' in counted
            assert 'lifestage_refusals_total{reason="overloaded"} 3.0' in counted
            house.end.set()
            assert (await within)[0] == 200
            assert (await caller.ask(SCORE))[0] == 200

    asyncio.run(scene())


def test_body_in_pieces() -> None:
    """A refused request's body that comes later is dropped, and the next request is understood."""

    async def scene() -> None:
        async with full_house() as (house, connect, _):
            caller = await connect()
            head, _, body = SCORE.partition(b"\r\n\r\n")
            assert (await caller.ask(head + b"\r\n\r\n"))[0] == 503
            assert (await caller.ask(body[:10], body[10:] + READ))[0] == 503
            house.end.set()
            assert (await caller.ask(READ))[0] == 200

    asyncio.run(scene())


def test_probes_pass() -> None:
    """Probes are answered while the door is shut; while the service ends, all is left to who closes connections."""

    async def scene() -> None:
        async with full_house() as (house, connect, _):
            caller = await connect()
            assert (await caller.ask(build_request("GET", "/livez")))[0] == 200
            house.draining.is_draining = True
            n_read = house.n_read
            assert (await caller.ask(READ))[0] == 503
            assert house.n_read == n_read + 1

    asyncio.run(scene())


@pytest.fixture
def door() -> Door:
    """A door whose house does not matter."""
    house = House()
    return house.door


@pytest.mark.parametrize(
    "request_bytes",
    [
        SCORE[:20],
        SCORE + READ,
        READ + READ,
        READ.replace(b"HTTP/1.1", b"HTTP/1.0"),
        READ.replace(b"/v1/scores", b"/v1/other"),
        READ.replace(b"GET", b"PUT"),
        READ.replace(b"\r\n", b"\n"),
        READ.replace(b"?", b"?\nhost: a\n"),
        READ.replace(b"host:", b"Connection: close\r\nhost:"),
        READ.replace(b"host:", b"Connection:upgrade\r\nhost:"),
        SCORE.replace(b"host:", b"Expect: 100-continue\r\nhost:"),
        SCORE.replace(b"host:", b"Transfer-Encoding: chunked\r\nhost:"),
        SCORE.replace(b"host:", b"Content-Length: 100\r\nhost:"),
        SCORE.replace(b"content-length:", b"content-length :"),
        SCORE.replace(b"host:", b"host: a\r\n content-length: 5\r\nhost:"),
        build_request("HEAD", "/livez"),
        build_request("POST", "/v1/score", b"x" * (MOST_BODY_BYTES + 1)),
        READ.replace(b"host:", b"x: " + b"x" * 5000 + b"\r\nhost:"),
    ],
)
def test_read_by_others(door: Door, request_bytes: bytes) -> None:
    """Whatever is unfinished, unusual or not ours is left to those who read HTTP thoroughly."""
    assert door.read(request_bytes) is None


def test_plain(door: Door) -> None:
    """What callers usually send is understood, and how much of it is to come."""
    assert door.read(READ) == (("GET", "/v1/scores"), 0)
    assert door.read(READ.replace(b"host:", b"Connection: keep-alive\r\nHost:")) == (("GET", "/v1/scores"), 0)
    assert door.read(SCORE[:-30]) == (("POST", "/v1/score"), 30)
