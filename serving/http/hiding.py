"""What callers send is kept out of traces.

The layers that BentoML adds, its tracing among them, see of a request the method, the path, the length of its body and
the trace it belongs to: `HiddenRequest` stands before them. `WholeRequest`, behind them, gives our own app the rest.
"""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

_WHOLE: Final = "lifestage.whole"
_SHOWN_HEADERS = frozenset({b"traceparent", b"tracestate", b"content-length", b"content-type", b"transfer-encoding"})


class HiddenRequest:
    """Hide what a request holds from the layers of others.

    Args:
        app: What lies further in.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, without what its caller sent."""
        await self._app(_hide(scope) if scope["type"] == "http" else scope, receive, send)


class WholeRequest:
    """Give the app further in what was hidden from the layers between.

    Args:
        app: Our app.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, whole."""
        await self._app(scope.get(_WHOLE, scope), receive, send)


def _hide(scope: Scope) -> Scope:
    headers = [pair for pair in scope["headers"] if pair[0] in _SHOWN_HEADERS]
    return {**scope, "headers": headers, "query_string": b"", "client": None, _WHOLE: scope}
