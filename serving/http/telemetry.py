"""The outermost layer of the service: names, counts and logs each request, and lets none be cut when it ends."""

import os
from collections.abc import Collection
from http import HTTPStatus
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access.scopes import METRICS_PATH, PROBES
from serving.http.draining import Draining
from serving.http.guards import CALLER, REFUSAL
from serving.http.scrape import served_version
from serving.state import LiveState
from serving.telemetry.logs import log_request, logs_requests
from serving.telemetry.metrics import METHODS, Metrics, known_route

_UNLOGGED = PROBES | {METRICS_PATH}
_REFUSED = {
    status: HTTPStatus(status).phrase.lower().replace(" ", "-")
    for status in (400, 401, 403, 409, 413, 415, 422, 429, 503, 504)
}


class Telemetry:
    """Give each request an id, count it and log it.

    Args:
        app: What lies further in.
        routes: The route templates that exist.
        live: Says which model is served.
        metrics: Where requests are counted.
        draining: Says whether the service is ending.
    """

    def __init__(
        self, app: ASGIApp, *, routes: Collection[str], live: LiveState, metrics: Metrics, draining: Draining
    ) -> None:
        self._app = app
        self._routes = frozenset(routes)
        self._live = live
        self._metrics = metrics
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, os.urandom(12).hex(), self._draining)
        state = scope.setdefault("state", {})
        state["request_id"] = answer.request_id
        started = perf_counter()
        self._metrics.begin_request()
        try:
            await self._app(scope, receive, answer)
        finally:
            self._end(scope, answer.status, perf_counter() - started)

    def _end(self, scope: Scope, status: int, seconds: float) -> None:
        route, version, state = known_route(self._routes, scope["path"]), served_version(self._live), scope["state"]
        self._metrics.end_request(route, scope["method"], status, seconds, model_version=version)
        if status in _REFUSED:
            self._metrics.count_refusal(state.get(REFUSAL) or _REFUSED[status])
        if logs_requests() and (route not in _UNLOGGED or status >= 500):
            log_request(
                request_id=state["request_id"],
                caller=state.get(CALLER),
                method=scope["method"] if scope["method"] in METHODS else None,
                route=route,
                status=status,
                duration_ms=round(seconds * 1000.0, 2),
                model_version=version,
            )


class _Answer:
    """Sends an answer on, with the id of its request, and remembers its status."""

    def __init__(self, send: Send, request_id: str, draining: Draining) -> None:
        self.request_id = request_id
        self.status = 0
        self._send = send
        self._draining = draining

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode("ascii"))]
            if self._draining.is_draining:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)
