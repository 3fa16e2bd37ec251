"""Writes that can be repeated without harm: the same Idempotency-Key gets the same answer, and nothing happens twice.

Of key and request only keyed hashes are kept, as customer ids are easily guessed. An answer is kept where the write
succeeded; one that failed did nothing, and may be tried again with the same key.
"""

import hmac
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access.scopes import is_write
from serving.http.bodies import JSON, replay_body
from serving.http.guards import CALLER
from serving.http.problems import RETRY_AFTER_SECONDS, build_problem, problem_response
from serving.people.identity import make_key
from serving.state import LiveState, ServingState
from serving.store.writes import EarlierWrite, WriteMark, WriteStore

KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
GIVEN_UP_SECONDS = 120  # twice as long as a request may take: whoever ran it has died

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class IdempotencyGuard:
    """Let a write with an Idempotency-Key through once, and answer its repetitions with what was answered then.

    Args:
        app: What lies further in.
        live: Gives the store, and how long keys are remembered.
        clock: Tells the time.
    """

    def __init__(
        self, app: ASGIApp, live: LiveState, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._app = app
        self._live = live
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it from memory."""
        is_ours = scope["type"] == "http" and is_write(scope["method"], scope["path"])
        keys = Headers(scope=scope).getlist(KEY_HEADER) if is_ours else []
        if not keys:
            await self._app(scope, receive, send)
            return
        if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
            await _refuse_key()(scope, receive, send)
            return
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            return
        state = self._live.current
        writes = WriteStore(state.store)
        mark, earlier = await run_in_threadpool(self._begin, writes, state, scope, keys[0], body)
        if earlier is not None:
            await _repeat(earlier, mark)(scope, receive, send)
            return
        await self._run(scope, replay_body(body, receive), send, writes=writes, mark=mark)

    def _begin(
        self, writes: WriteStore, state: ServingState, scope: Scope, key: str, body: bytes
    ) -> tuple[WriteMark, EarlierWrite | None]:
        mark = _mark(scope, key, body, secret=_secret(state), at=self._clock())
        forget_before = mark.received_at - timedelta(hours=state.settings.idempotency_hours)
        given_up_before = mark.received_at - timedelta(seconds=GIVEN_UP_SECONDS)
        return mark, writes.begin(mark, forget_before=forget_before, given_up_before=given_up_before)

    async def _run(self, scope: Scope, receive: Receive, send: Send, *, writes: WriteStore, mark: WriteMark) -> None:
        """Let the write happen, and keep its answer before anybody sees it.

        A write that was cancelled may still be running: it stays noted until it is given up.
        """
        answer = _Held()
        try:
            await self._app(scope, receive, answer)
        except Exception:
            await run_in_threadpool(writes.release, mark)
            raise
        text = answer.text
        if text is None:
            await run_in_threadpool(writes.release, mark)
        else:
            await run_in_threadpool(writes.finish, mark, status=answer.status, answer=text)
        for message in answer.messages:
            await send(message)


class _Held:
    """Holds an answer back."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def text(self) -> str | None:
        """The answer, if it is one to be kept: whole, JSON, and that of a success."""
        if not self.messages or self.messages[-1].get("more_body", False):
            return None
        headers = Headers(raw=self.messages[0].get("headers", []))
        if self.status >= HTTPStatus.MULTIPLE_CHOICES or headers.get("content-type") != JSON:
            return None
        return b"".join(message.get("body", b"") for message in self.messages).decode("utf-8")


def _mark(scope: Scope, key: str, body: bytes, *, secret: bytes, at: datetime) -> WriteMark:
    caller = str(scope["state"][CALLER])
    request = f"{scope['method']}\0{scope['path']}\0".encode() + scope["query_string"] + b"\0" + body
    return WriteMark(
        caller=caller,
        key_hash=_hash(secret, f"{caller}\0{key}".encode()),
        request_hash=_hash(secret + key.encode("ascii"), request),
        received_at=at,
    )


def _secret(state: ServingState) -> bytes:
    """Return what makes the hashes unguessable: the secret that also hides who was erased."""
    return b"" if state.people is None else make_key(state.people.home).secret


def _repeat(earlier: EarlierWrite, mark: WriteMark) -> Response:
    """Answer a write whose key was seen before."""
    if earlier.request_hash != mark.request_hash:
        problem = build_problem(
            422,
            slug="idempotency-key-reused",
            detail="This Idempotency-Key was sent with another request before.",
            remedy="Make a new key for each write, such as a random UUID; repeat a write with all as it was.",
        )
        return problem_response(problem)
    if earlier.status is None:
        detail = "A request with this Idempotency-Key is still running."
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return problem_response(build_problem(HTTPStatus.CONFLICT, detail=detail), headers)
    return Response(earlier.answer, earlier.status, {REPLAYED_HEADER: "true"}, media_type=JSON)


def _refuse_key() -> Response:
    problem = build_problem(
        HTTPStatus.BAD_REQUEST,
        slug="idempotency-key-unfit",
        detail="The Idempotency-Key is not usable.",
        remedy="Send one header of 1 to 255 visible ASCII characters, such as a random UUID.",
    )
    return problem_response(problem)


def _hash(secret: bytes, message: bytes) -> str:
    return hmac.digest(secret, message, "sha256").hex()
