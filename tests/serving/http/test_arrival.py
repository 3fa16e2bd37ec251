"""Bodies that are slow hold no place, and bodies that nobody reads cost no answer."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Message, Receive, Scope, Send

from serving.http import arrival
from serving.http.arrival import AWAITED_BYTES, Arrival

Parts = list[bytes]


async def _refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer without reading."""
    await send({"type": "http.response.start", "status": 401, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"no"})


async def _echo(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body."""
    body, is_open = b"", True
    while is_open:
        message = await receive()
        body += message.get("body", b"")
        is_open = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


class Caller:
    """Sends a body in parts, and notes what is answered."""

    def __init__(self, parts: Parts, *, is_slow: bool = False) -> None:
        self.answered: list[Message] = []
        self.n_left = len(parts)
        self._parts = parts
        self._is_slow = is_slow

    async def receive(self) -> Message:
        """Send the next part; a slow caller sends no more than one."""
        if self._is_slow and self.n_left < len(self._parts):
            await asyncio.sleep(60)
        part = self._parts[-self.n_left]
        self.n_left -= 1
        return {"type": "http.request", "body": part, "more_body": self.n_left > 0}

    async def send(self, message: Message) -> None:
        """Note an answer."""
        self.answered.append(message)

    def call(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], *headers: tuple[bytes, bytes]) -> None:
        """Send the request."""
        asyncio.run(Arrival(app)({"type": "http", "headers": list(headers)}, self.receive, self.send))


@pytest.mark.parametrize("header", [(b"content-length", b"6"), (b"transfer-encoding", b"chunked")])
def test_whole(header: tuple[bytes, bytes]) -> None:
    """Whoever reads the body gets all of it, in its order."""
    caller = Caller([b"ab", b"cd", b"ef"])
    caller.call(_echo, header)
    assert caller.answered[1]["body"] == b"abcdef"


def test_awaited() -> None:
    """A short body is here before anybody further in hears of the request."""
    caller = Caller([b"ab", b"cd"])
    seen: list[int] = []

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(caller.n_left)
        await _refuse(scope, receive, send)

    caller.call(look, (b"content-length", b"4"))
    assert seen == [0]


@pytest.mark.parametrize("header", [(b"content-length", str(AWAITED_BYTES + 1).encode()), (b"transfer-encoding", b"x")])
def test_cleared(header: tuple[bytes, bytes]) -> None:
    """A body that is refused unread is received all the same, and the connection may stay."""
    caller = Caller([b"x" * 1000] * 100)
    caller.call(_refuse, header)
    assert caller.n_left == 0
    assert caller.answered[0] == {"type": "http.response.start", "status": 401, "headers": [(b"a", b"b")]}


@pytest.mark.parametrize("is_slow", [True, False])
def test_cut_off(monkeypatch: pytest.MonkeyPatch, *, is_slow: bool) -> None:
    """Who sends too slowly, or too much, gets the answer, and the connection ends."""
    monkeypatch.setattr(arrival, "CLEARED_SECONDS", 0.05)
    monkeypatch.setattr(arrival, "CLEARED_BYTES", 10_000)
    caller = Caller([b"x" * 1000] * 100, is_slow=is_slow)
    caller.call(_refuse, (b"transfer-encoding", b"chunked"))
    assert 0 < caller.n_left < 100
    assert caller.answered[0]["headers"][-1] == (b"connection", b"close")
    assert caller.answered[1]["body"] == b"no"


def test_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short body that does not come is refused in time, and nobody further in hears of it."""
    monkeypatch.setattr(arrival, "AWAITED_SECONDS", 0.05)
    caller = Caller([b"ab", b"cd"], is_slow=True)
    caller.call(_refuse, (b"content-length", b"4"))
    assert caller.answered[0]["status"] == 408
    assert (b"connection", b"close") in caller.answered[0]["headers"]
