"""What every request passes before it reaches a route: plain ASGI, so that nothing is parsed too early."""

import ipaddress
from collections.abc import Callable, Collection
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.keys import KeyFile
from serving.problems import MEDIA_TYPE, RETRY_AFTER_SECONDS, build_problem, log_unexpected, problem_response, status_of

_KEPT_HEADERS = ("allow", "www-authenticate", "retry-after")


class ProblemBoundary:
    """Turn whatever goes wrong further in into a problem, and answer unknown paths itself.

    A path that is not ours goes no further: paths become metric labels, and could hold anything.

    Args:
        app: What lies further in.
        paths: The paths that exist, or None to let all paths through.
    """

    def __init__(self, app: ASGIApp, paths: Collection[str] | None = None) -> None:
        self._app = app
        self._paths = None if paths is None else frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        outgoing = _Outgoing(scope, receive, send)
        if self._paths is not None and scope["path"] not in self._paths:
            await outgoing.answer(HTTPStatus.NOT_FOUND)
            return
        try:
            await self._app(scope, receive, outgoing)
        except Exception as error:  # noqa: BLE001  # the last boundary before the caller
            log_unexpected(error)
            if outgoing.has_started:
                raise RuntimeError("The answer broke off.") from None
            await outgoing.answer(status_of(error))


class _Outgoing:
    """Send messages on, adding safe headers and replacing foreign error bodies by problems."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._is_replaced = False
        self.has_started = False

    async def __call__(self, message: Message) -> None:
        if self._is_replaced:
            return
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            if message["status"] >= HTTPStatus.BAD_REQUEST and headers.get("content-type") != MEDIA_TYPE:
                self._is_replaced = True
                await self.answer(message["status"], {k: headers[k] for k in _KEPT_HEADERS if k in headers})
                return
            _protect(headers)
            self.has_started = True
        await self._send(message)

    async def answer(self, status: int, headers: dict[str, str] | None = None) -> None:
        """Send a problem."""
        self.has_started = True
        response = problem_response(build_problem(status), headers)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            response.headers.setdefault("retry-after", str(RETRY_AFTER_SECONDS))
        _protect(response.headers)
        await response(self._scope, self._receive, self._send)


def _protect(headers: MutableHeaders) -> None:
    headers.setdefault("x-content-type-options", "nosniff")
    headers.setdefault("cache-control", "no-store")
    headers.setdefault("referrer-policy", "no-referrer")


class KeyGuard:
    """Ask for a key on /v1/; or, in insecure-local mode, for a caller on this very machine.

    In that mode the Host header must name this machine too, or a foreign web page could reach the service
    through a name of its own that resolves to 127.0.0.1.

    Args:
        app: What lies further in.
        keys: Gives the key file, or None in insecure-local mode.
    """

    def __init__(self, app: ASGIApp, keys: Callable[[], KeyFile | None]) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if it may, refuse it otherwise."""
        if scope["type"] != "http" or scope["path"] == "/livez":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        headers = {"WWW-Authenticate": "Bearer"} if refusal == HTTPStatus.UNAUTHORIZED else None
        await problem_response(build_problem(refusal), headers)(scope, receive, send)

    def _refusal(self, scope: Scope) -> int | None:
        headers = Headers(scope=scope)
        keys = self._keys()
        if keys is None:
            is_local = _is_local_client(scope) and _is_local_host(headers.get("host", ""))
            return None if is_local else HTTPStatus.FORBIDDEN
        if not scope["path"].startswith("/v1/"):
            return None
        scheme, _, key = headers.get("authorization", "").partition(" ")
        return None if scheme.lower() == "bearer" and keys.accepts(key.strip()) else HTTPStatus.UNAUTHORIZED


class BodyGuard:
    """Let only uncompressed JSON of a limited size through to POST routes, and hand it on as one piece.

    Args:
        app: What lies further in.
        paths: The paths that read a body.
        max_body_bytes: Gives the limit.
    """

    def __init__(self, app: ASGIApp, paths: Collection[str], max_body_bytes: Callable[[], int]) -> None:
        self._app = app
        self._paths = frozenset(paths)
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if its body may, refuse it otherwise."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        body = await self._read(Headers(scope=scope), receive)
        if isinstance(body, HTTPStatus):
            await problem_response(build_problem(body))(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, headers: Headers, receive: Receive) -> bytes | HTTPStatus:
        limit = self._max_body_bytes()
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > limit:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json" or headers.get("content-encoding", "identity").lower() != "identity":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        body = bytearray()
        is_open = True
        while is_open:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > limit:
                return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            is_open = message.get("more_body", False)
        return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    pending = [body]

    async def replay() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replay


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local_client(scope: Scope) -> bool:
    client = scope.get("client")
    return client is not None and is_loopback(client[0])


def _is_local_host(host: str) -> bool:
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    return is_loopback(name.lower())
