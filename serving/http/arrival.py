"""The body of a request: awaited before the request takes a place, and cleared away before it is refused.

Who sends a body byte by byte must not hold one of the few places meanwhile. And a refusal that leaves a body unread
must not be lost: a connection that is closed over unread bytes is reset, and its answer with it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.bodies import BODY_SECONDS, announced_bytes, late_body

AWAITED_BYTES = 65_536  # a longer body is read where it is limited
AWAITED_SECONDS = BODY_SECONDS
CLEARED_BYTES, CLEARED_SECONDS = 16_777_216, 1.0  # who sends more, or more slowly, is cut off

_CLOSE = (b"connection", b"close")


class Arrival:
    """Let requests in once their body is here, and answers out once it is out of the way.

    Args:
        app: What lies further in.
        max_body_bytes: Gives the length beyond which a body is refused, and so not awaited.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: Callable[[], int] = lambda: AWAITED_BYTES) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back."""
        length = announced_bytes(scope) if scope["type"] == "http" else 0
        if length == 0:
            await self._app(scope, receive, send)
            return
        body = _Body(receive)
        is_awaited = length is not None and length <= min(AWAITED_BYTES, self._max_body_bytes())
        if is_awaited and not await body.wait():
            await late_body(AWAITED_SECONDS)(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and not body.is_here and not await body.clear():
                message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            await send(message)

        await self._app(scope, body.receive, answer)


class _Body:
    """Receives the messages of a request, some of them ahead."""

    def __init__(self, receive: Receive) -> None:
        self.is_here = False
        self._receive = receive
        self._ahead: list[Message] = []

    async def receive(self) -> Message:
        """Return the next message."""
        return self._ahead.pop(0) if self._ahead else await self._next()

    async def wait(self) -> bool:
        """Wait until the body is here, but not too long, and tell whether it came; it is kept for whoever reads it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(AWAITED_SECONDS):
                while not self.is_here:
                    self._ahead.append(await self._next())
        return self.is_here

    async def clear(self) -> bool:
        """Receive what is still to come of a body that nobody wants, within limits, and tell whether that was all."""
        n_bytes = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(CLEARED_SECONDS):
                while not self.is_here and n_bytes <= CLEARED_BYTES:
                    n_bytes += len((await self._next()).get("body", b""))
        return self.is_here

    async def _next(self) -> Message:
        message = await self._receive()
        self.is_here = message["type"] != "http.request" or not message.get("more_body", False)
        return message
