"""What every request passes before it reaches a route: plain ASGI, so that nothing is parsed too early."""

from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from itertools import chain

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.errors import LifestageError
from features.settings import ServingSettings
from serving.access.addresses import is_loopback
from serving.access.keys import LOCAL_CALLER, KeyFile, StoredKey
from serving.access.rates import Rate, RateLimits, address_group
from serving.access.scopes import LIVE_PATH, OPEN_PATHS, needed_scope
from serving.http.problems import (
    MEDIA_TYPE,
    RETRY_AFTER_SECONDS,
    build_problem,
    problem_response,
    status_of,
)
from serving.telemetry.unexpected import log_unexpected

MAX_URL_BYTES = 8192
MAX_HEADER_BYTES = 32_768  # uvicorn reads no more than 65,536, and answers in plain text beyond
CALLER, REFUSAL = "caller", "refusal"  # in the state of a request: whose key it is; why it was refused
# Of wrong keys from one address. A right key passes all the same: behind a proxy, one address is everybody's.
WRONG_KEYS = Rate(per_second=10.0, burst=150.0)

_RETRY_AFTER = {429: RETRY_AFTER_SECONDS, 503: 5}  # what is not ready takes longer than what is busy
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)
_KEPT_HEADERS = ("allow", "www-authenticate", "retry-after")


class ProblemBoundary:
    """Turn whatever goes wrong further in into a problem, and answer what is not ours itself.

    A path or method that is not ours goes no further: they become metric labels, and could hold anything. Nor does a
    head that is longer than anything we could have asked for.

    Args:
        app: What lies further in.
        routes: The paths that exist, with their methods, or None to let everything through.
    """

    def __init__(self, app: ASGIApp, routes: Mapping[str, Collection[str]] | None = None) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back."""
        if scope["type"] == "websocket":
            await _refuse_websocket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        outgoing = _Outgoing(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal is not None:
            await outgoing.answer(*refusal)
            return
        try:
            await self._app(scope, receive, outgoing)
        except Exception as error:  # noqa: BLE001  # the last boundary before the caller
            log_unexpected(error)
            if outgoing.has_started:
                raise RuntimeError("The answer broke off.") from None
            await outgoing.answer(status_of(error), error=error)
        else:
            await outgoing.answer_refused()

    def _refusal(self, scope: Scope) -> tuple[int, dict[str, str]] | None:
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_URL_BYTES:
            return 414, {}
        if sum(map(len, chain.from_iterable(scope["headers"]))) > MAX_HEADER_BYTES:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, {}
        if self._routes is None:
            return None
        methods = self._routes.get(scope["path"])
        if methods is None:
            return HTTPStatus.NOT_FOUND, {}
        if scope["method"] not in methods:
            return HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": ", ".join(sorted(methods))}
        return None


class _Outgoing:
    """Send messages on, adding safe headers; foreign errors are held back, as problems take their place.

    FastAPI answers 500 before it passes an error on, so what is held back is not the last word.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._refused: tuple[int, dict[str, str]] | None = None
        self.has_started = False

    async def __call__(self, message: Message) -> None:
        if self._refused is not None:
            return
        if message["type"] == "http.response.start":
            raw = message.setdefault("headers", [])
            if message["status"] >= HTTPStatus.BAD_REQUEST:
                headers = MutableHeaders(raw=raw)
                if headers.get("content-type") != MEDIA_TYPE:
                    self._refused = message["status"], {k: headers[k] for k in _KEPT_HEADERS if k in headers}
                    return
                _say_when(message["status"], headers)
            _protect(raw)
            self.has_started = True
        await self._send(message)

    async def answer_refused(self) -> None:
        """Send the problem in place of what was held back, if anything was."""
        if self._refused is not None:
            await self.answer(*self._refused)

    async def answer(
        self, status: int, headers: dict[str, str] | None = None, *, error: Exception | None = None
    ) -> None:
        """Send a problem, in the words of the error where it is one of ours."""
        self.has_started = True
        detail, remedy = (error.problem, error.remedy) if isinstance(error, LifestageError) else ("", "")
        response = problem_response(build_problem(status, detail=detail, remedy=remedy), headers)
        _say_when(status, response.headers)
        _protect(response.headers.raw)
        await response(self._scope, self._receive, self._send)


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1000})
        return
    response = problem_response(build_problem(404, detail="Nothing here speaks WebSocket."))
    _protect(response.headers.raw)
    await response(scope, receive, send)  # Starlette prefixes its messages for a websocket


def _say_when(status: int, headers: MutableHeaders) -> None:
    """Tell whoever should come again when to, where nothing further in knew better."""
    if status in _RETRY_AFTER:
        headers.setdefault("retry-after", str(_RETRY_AFTER[status]))


def _protect(headers: list[tuple[bytes, bytes]]) -> None:
    present = dict(headers)
    headers += [header for header in SAFE_HEADERS if header[0] not in present]


class KeyGuard:
    """Ask for a key that opens the route, and for patience; or, in insecure-local mode, for a caller on this machine.

    In that mode the Host header must name this machine too, or a foreign web page could reach the service
    through a name of its own that resolves to 127.0.0.1. Who calls is told further in, by the name of the key.

    Args:
        app: What lies further in.
        keys: Gives the key file, or None in insecure-local mode.
        settings: Gives how often a key may be used.
        limits: Counts how often keys are used, and wrong ones tried.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: Callable[[], KeyFile | None],
        settings: Callable[[], ServingSettings],
        limits: RateLimits | None = None,
    ) -> None:
        self._app = app
        self._keys = keys
        self._settings = settings
        self._limits = limits or RateLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if it may, refuse it otherwise."""
        if scope["type"] != "http" or scope["path"] == LIVE_PATH:
            await self._app(scope, receive, send)
            return
        keys = self._keys()
        refusal = _refuse_foreign(scope) if keys is None else self._refuse(scope, keys)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal(scope, receive, send)

    def _refuse(self, scope: Scope, keys: KeyFile) -> Response | None:
        if scope["path"] in OPEN_PATHS:
            return None
        key = _presented(scope, keys)
        if key is None:
            return self._refuse_wrong_key(scope)
        scope.setdefault("state", {})[CALLER] = key.name
        settings = self._settings()
        rate = Rate(settings.requests_per_second, settings.burst_requests).shared_by(settings.workers)
        if wait := self._limits.take(f"key {key.name}", rate):
            return _ask_to_wait(wait, f"The key makes more than {settings.requests_per_second:g} requests per second.")
        needed = needed_scope(scope["method"], scope["path"])
        if not key.opens(needed):
            scope["state"][REFUSAL] = "scope-missing"
            return _refuse_scope(key, needed)
        return None

    def _refuse_wrong_key(self, scope: Scope) -> Response:
        client = scope.get("client")
        group = address_group(client[0] if client else "")
        if wait := self._limits.take(f"wrong {group}", WRONG_KEYS):
            return _ask_to_wait(wait, "Too many requests without a valid key came from this address.")
        return problem_response(build_problem(HTTPStatus.UNAUTHORIZED), {"WWW-Authenticate": "Bearer"})


def _presented(scope: Scope, keys: KeyFile) -> StoredKey | None:
    scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
    return keys.recognise(key.strip()) if scheme.lower() == "bearer" else None


def _refuse_foreign(scope: Scope) -> Response | None:
    if not (_is_local_client(scope) and _is_local_host(Headers(scope=scope).get("host", ""))):
        return problem_response(build_problem(HTTPStatus.FORBIDDEN))
    scope.setdefault("state", {})[CALLER] = LOCAL_CALLER
    return None


def _refuse_scope(key: StoredKey, needed: str) -> Response:
    problem = build_problem(
        HTTPStatus.FORBIDDEN,
        slug="scope-missing",
        detail=f"This needs a key with the scope {needed}; yours has {', '.join(key.scopes) or 'none'}.",
        remedy=f"Ask for a key that was created with lifestage keys NAME --scope {needed}.",
    )
    return problem_response(problem, {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needed}"'})


def _ask_to_wait(seconds: int, detail: str) -> Response:
    problem = build_problem(HTTPStatus.TOO_MANY_REQUESTS, detail=detail)
    return problem_response(problem, {"Retry-After": str(seconds)})


def _is_local_client(scope: Scope) -> bool:
    client = scope.get("client")
    return client is not None and is_loopback(client[0])


def _is_local_host(host: str) -> bool:
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    return is_loopback(name.lower())
