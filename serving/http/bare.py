"""The shortest way to routes that are asked most often: from our guards to their function.

FastAPI's layers cost several times what reading a stored score does. A route whose function takes the request and
returns the response needs none of them: it reads its query and body itself. It stands in the app all the same, as the
OpenAPI document is made from there. Writes have guards of their own further in, and go the usual way.
"""

from collections.abc import Iterable

from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.access.scopes import is_write
from serving.http.problems import answer_error
from serving.http.queries import StrictRoute


class BareRoutes:
    """Answer the routes that FastAPI has nothing to add to, and pass on what asks for others.

    Args:
        app: What lies further in.
        routes: Its routes.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._handlers = {
            (method, route.path): handler
            for route in routes
            if isinstance(route, StrictRoute) and (handler := route.get_bare_handler()) is not None
            for method in route.methods or ()
            if not is_write(method, route.path)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        handler = self._handlers.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if handler is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001  # what is not foreseen is raised again
            response = answer_error(request, error)
        await response(scope, receive, send)
