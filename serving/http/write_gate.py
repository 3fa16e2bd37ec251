"""How many writes happen at once: few, so that those that wait for the store do not take the threads of readers."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.access.scopes import is_write
from serving.http.admission import Admission

MOST_WRITES: Final = 4  # of the 40 threads that answer requests
MOST_WAITING: Final = 16
PATIENCE_SECONDS: Final = 2.0


class WriteGate:
    """Let a few writes in at a time, have some wait for them, and ask the rest to come again.

    The store has one writer at a time, which a publication may be for half a minute.

    Args:
        app: What lies further in.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._gate = Admission(app, lambda: MOST_WRITES, _patience)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        is_ours = scope["type"] == "http" and is_write(scope["method"], scope["path"])
        await (self._gate if is_ours else self._app)(scope, receive, send)


def _patience(n_waiting: int) -> float:
    return 0.0 if n_waiting >= MOST_WAITING else PATIENCE_SECONDS
