"""The way of a request to our app: straight, or through BentoML's layers where they have something to add."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.access.scopes import PROBES


class Shortcut:
    """Let requests reach our app without BentoML's layers, unless they are traced.

    These layers cost more than reading a stored score, and what they would do, ours have done: limits, metrics, logs,
    problems. Traces are BentoML's, so they take the long way; probes never do, as overload must not touch them.

    Args:
        app: BentoML's app, which starts and ends the service.
        own: Ours.
        is_traced: Whether requests are traced.
        limit_seconds: The time that an answer may take; BentoML keeps one of its own.
    """

    def __init__(self, app: ASGIApp, own: ASGIApp, *, is_traced: bool, limit_seconds: float) -> None:
        self._app = app
        self._own = own
        self._is_traced = is_traced
        self._limit_seconds = limit_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on.

        Raises:
            TimeoutError: If the answer takes too long.
        """
        if scope["type"] != "http" or (self._is_traced and scope["path"] not in PROBES):
            await self._app(scope, receive, send)
            return
        async with asyncio.timeout(self._limit_seconds):
            await self._own(scope, receive, send)
