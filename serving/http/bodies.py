"""What a request may carry, checked before anything is parsed."""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.problems import build_problem, problem_response

JSON, NDJSON = "application/json", "application/x-ndjson"

BODY_SECONDS = 20.0


class BodyGuard:
    """Let only uncompressed bodies of a limited size through, in limited time, and hand them on as one piece.

    A body that nothing would read is refused, not ignored: what its sender meant by it would not happen.

    Args:
        app: What lies further in.
        media_types: Path → what may be posted to it; no other path reads a body.
        max_body_bytes: Gives the limit.
        seconds: That a body may take to arrive.
    """

    def __init__(
        self,
        app: ASGIApp,
        media_types: Mapping[str, tuple[str, ...]],
        max_body_bytes: Callable[[], int],
        seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._media_types = media_types
        self._max_body_bytes = max_body_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if its body may, refuse it otherwise."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        accepted = self._media_types.get(scope["path"]) if scope["method"] == "POST" else None
        if accepted is None:
            further = self._app if announced_bytes(scope) == 0 else _unread_body()
            await further(scope, receive, send)
            return
        limit = self._max_body_bytes()
        try:
            body = _refusal(Headers(scope=scope), accepted, limit) or await self._read(receive, limit)
        except ClientDisconnect:
            return  # half a body is not what its sender meant, and nobody waits for an answer
        if isinstance(body, Response):
            await body(scope, receive, send)
            return
        await self._app(scope, replay_body(body, receive), send)

    async def _read(self, receive: Receive, limit: int) -> bytes | Response:
        try:
            async with asyncio.timeout(self._seconds):
                body = await _read_at_most(receive, limit)
        except TimeoutError:
            return late_body(self._seconds)
        return _too_large(limit) if body is None else body


def _refusal(headers: Headers, accepted: tuple[str, ...], limit: int) -> Response | None:
    declared = headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        return _too_large(limit)
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in accepted or headers.get("content-encoding", "identity").lower() != "identity":
        remedy = f"Send Content-Type: {' or '.join(accepted)}, uncompressed."
        return problem_response(build_problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, remedy=remedy))
    return None


def _unread_body() -> Response:
    detail = "Nothing here reads a body."
    remedy = "Leave it out; /v1/openapi.json says what the query may hold."
    return problem_response(build_problem(400, slug="unexpected-body", detail=detail, remedy=remedy))


async def _read_at_most(receive: Receive, limit: int) -> bytes | None:
    """Read the body, or no further than is needed to see that it exceeds the limit."""
    body = bytearray()
    is_open = True
    while is_open:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        is_open = message.get("more_body", False)
    return bytes(body)


def announced_bytes(scope: Scope) -> int | None:
    """Return how long the body of a request is, None where that is not said."""
    length: int | None = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            length = int(value) if value.isdigit() else None
    return length


def _too_large(limit: int) -> Response:
    detail = f"The body exceeds {limit} bytes."
    return problem_response(build_problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail=detail))


def late_body(seconds: float) -> Response:
    """Refuse a body that had not arrived after so many seconds; what may still come of it ends the connection."""
    detail = f"The body had not arrived after {seconds:g} seconds."
    return problem_response(build_problem(HTTPStatus.REQUEST_TIMEOUT, detail=detail), {"Connection": "close"})


def replay_body(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read to whoever reads it next."""
    pending = [body]

    async def replay() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replay
