"""How many requests a worker takes on at once: some more wait at the door, and the rest are refused there."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access.scopes import METRICS_PATH, PROBES
from serving.http.guards import REFUSAL
from serving.http.problems import MEDIA_TYPE, RETRY_AFTER_SECONDS, build_problem

# These answer at once, and are asked most when the service is busy.
ALWAYS_ADMITTED = PROBES | {METRICS_PATH}

PATIENCE_SECONDS = 2.0
MOST_WAITING = 128

OVERLOADED: Final = "overloaded"
# Written once: whoever is refused costs no more than sending it.
OVERLOADED_BODY: Final = (
    build_problem(
        503,
        slug=OVERLOADED,
        detail="The service has as many requests in hand as it can answer in good time.",
        remedy="Wait as long as Retry-After says, then repeat the request; send fewer at once.",
    )
    .model_dump_json()
    .encode("utf-8")
)
OVERLOADED_HEADERS: Final = (
    (b"content-type", MEDIA_TYPE.encode("ascii")),
    (b"content-length", str(len(OVERLOADED_BODY)).encode("ascii")),
    (b"retry-after", str(RETRY_AFTER_SECONDS).encode("ascii")),
)


def some_patience(n_waiting: int) -> float:
    """Return how many seconds a caller waits for a place, given how many wait already.

    Waiting turns a short burst into answers. It is of use only if a place is left in time: whoever gives up after that
    has cost the reading of the request. So few may wait, who are nearly all answered, and the rest are refused at once.
    """
    return 0.0 if n_waiting >= MOST_WAITING else PATIENCE_SECONDS


class _Turn(Enum):
    """What came of waiting."""

    ADMITTED = auto()
    REFUSED = auto()
    GONE = auto()


class Admission:
    """Let a limited number of requests in, have others wait a little for a place, and ask the rest to come again.

    Args:
        app: What lies further in.
        most: Gives how many may be within at once.
        patience: Gives how many seconds one more waits, from how many wait; 0 refuses it at once.
    """

    def __init__(self, app: ASGIApp, most: Callable[[], int], patience: Callable[[int], float]) -> None:
        self._app = app
        self._most = most
        self._patience = patience
        self._n_within = 0
        self._waiting: OrderedDict[asyncio.Future[_Turn], None] = OrderedDict()

    def is_full(self) -> bool:
        """Tell whether one more would be refused at once."""
        return 0 < self._n_within >= self._most() and self._patience(len(self._waiting)) <= 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; one whose caller hung up while it waited is neither."""
        if scope["type"] != "http" or scope["path"] in ALWAYS_ADMITTED:
            await self._app(scope, receive, send)
            return
        if self._n_within < self._most():
            self._n_within += 1
        else:
            kept = _Kept(receive)
            receive, turn = kept, await self._wait(kept)
            if turn is not _Turn.ADMITTED:
                scope.setdefault("state", {})[REFUSAL] = OVERLOADED
                if turn is _Turn.REFUSED:
                    await _refuse(send)
                return
        try:
            await self._app(scope, receive, send)
        finally:
            self._leave()

    async def _wait(self, kept: "_Kept") -> _Turn:
        """Wait for a place that another leaves."""
        seconds = self._patience(len(self._waiting))
        if seconds <= 0.0:
            return _Turn.REFUSED
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[_Turn] = loop.create_future()
        self._waiting[turn] = None
        timer = loop.call_later(seconds, self._settle, turn, _Turn.REFUSED)
        watch = loop.create_task(kept.until_gone())
        watch.add_done_callback(lambda _done: self._settle(turn, _Turn.GONE))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result() is _Turn.ADMITTED:
                self._leave()
            raise
        finally:
            self._waiting.pop(turn, None)
            timer.cancel()
            watch.cancel()

    def _settle(self, turn: asyncio.Future[_Turn], outcome: _Turn) -> None:
        self._waiting.pop(turn, None)
        if not turn.done():
            turn.set_result(outcome)

    def _leave(self) -> None:
        """Leave a place to who waits longest, or to nobody."""
        while self._waiting and self._n_within <= self._most():
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(_Turn.ADMITTED)
                return
        self._n_within -= 1


class _Kept:
    """Reads ahead of the app, no further than the first piece of a body, to see whether a caller hangs up."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._first: Message | None = None

    async def __call__(self) -> Message:
        """Give what was read ahead, then the rest."""
        if self._first is None:
            return await self._receive()
        message, self._first = self._first, None
        return message

    async def until_gone(self) -> None:
        """Return once the caller hung up; of one whose body is still on the way that cannot be told."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            return
        self._first = message
        if message.get("more_body", False):
            await asyncio.get_running_loop().create_future()
        await self._receive()


async def _refuse(send: Send) -> None:
    await send({"type": "http.response.start", "status": 503, "headers": [*OVERLOADED_HEADERS]})
    await send({"type": "http.response.body", "body": OVERLOADED_BODY})
