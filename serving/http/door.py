"""Refusing what a full worker cannot take, before it is read as HTTP.

Reading a request costs uvicorn and h11 a good part of what answering it does. Under ten times what a worker can bear,
refusals alone would fill its time. So while `Admission` is full, a plain request to a route of ours is answered with
bytes that were written once; all others go the usual way, and are refused by `Admission`. What is refused here is
counted once a second, and logged as a number.
"""

import asyncio
import logging
import os
import re
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Final

import h11
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.http import malformed
from serving.http.admission import ALWAYS_ADMITTED, OVERLOADED, OVERLOADED_BODY, OVERLOADED_HEADERS, Admission
from serving.http.draining import Draining
from serving.http.guards import SAFE_HEADERS
from serving.http.packets import JoiningTransport
from serving.http.scrape import served_version
from serving.state import LiveState
from serving.telemetry.metrics import Metrics

MOST_HEAD_BYTES = 4096
MOST_BODY_BYTES = 65_536
TELL_SECONDS = 1.0

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]{1,9})\r\n")
# Framing that only a whole parser should judge, and wishes about the connection that it should follow.
_UNUSUAL = re.compile(
    rb"\r\n(?:transfer-encoding|expect|upgrade|connection(?!: ?keep-alive\r\n)|[ \t])|(?<!\r)\n|\r(?!\n)|\x00"
)
_logger = logging.getLogger("bentoml.lifestage")


def _answer_parts() -> tuple[bytes, bytes]:
    """Write the answer, but for the id of its request."""
    headers = b"".join(b"%s: %s\r\n" % header for header in (*OVERLOADED_HEADERS, *SAFE_HEADERS))
    return b"HTTP/1.1 503 Service Unavailable\r\n" + headers + b"x-request-id: ", _HEAD_END + OVERLOADED_BODY


class Door:
    """Refuses requests of one worker.

    Args:
        admission: Says whether the worker is full.
        routes: The paths that exist, with their methods.
        live: Says which model is served.
        metrics: Where refusals are counted.
        draining: Says whether the service is ending: then connections are not to be kept open.
    """

    def __init__(
        self,
        admission: Admission,
        *,
        routes: Mapping[str, Collection[str]],
        live: LiveState,
        metrics: Metrics,
        draining: Draining,
    ) -> None:
        self._admission = admission
        self._draining = draining
        self._live = live
        self._metrics = metrics
        self._routes = {
            f"{method} {path}".encode("ascii"): (method, path)
            for path, methods in routes.items()
            for method in methods
            if path not in ALWAYS_ADMITTED and method != "HEAD"  # whose answer has no body
        }
        self._before, self._after = _answer_parts()
        self._refused: dict[tuple[str, str], int] = {}

    def install(self) -> None:
        """Make uvicorn, in this process, ask here first, and read by h11; it has no setting for that."""
        auto.AutoHTTPProtocol = type("DoorProtocol", (DoorProtocol,), {"door": self})

    def is_shut(self) -> bool:
        """Tell whether requests are refused here now."""
        return self._admission.is_full() and not self._draining.is_draining

    def read(self, data: bytes) -> tuple[tuple[str, str], int] | None:
        """Return method and path of a request that may be refused here, and how much of its body is to come.

        None for what is not the beginning of exactly one plain HTTP/1.1 request to a route of ours.
        """
        head_end = data.find(_HEAD_END, 0, MOST_HEAD_BYTES)
        line_end = data.find(b"\r\n")
        asked = data[:line_end].rpartition(b" ")
        route = self._routes.get(asked[0].partition(b"?")[0])
        if head_end < 0 or route is None or asked[2] != b"HTTP/1.1":
            return None
        head = data[: head_end + 2].lower()
        lengths = _LENGTH.findall(head)
        if _UNUSUAL.search(head) or head.count(b"content-length") != len(lengths) or len(lengths) > 1:
            return None
        length = int(lengths[0]) if lengths else 0
        coming = length - (len(data) - head_end - len(_HEAD_END))
        return (route, coming) if coming >= 0 and length <= MOST_BODY_BYTES else None

    def refuse(self, route: tuple[str, str]) -> bytes:
        """Count a refusal, and return its answer."""
        if not self._refused:
            asyncio.get_running_loop().call_later(TELL_SECONDS, self.tell)
        self._refused[route] = self._refused.get(route, 0) + 1
        return self._before + os.urandom(12).hex().encode("ascii") + self._after

    def tell(self) -> None:
        """Count and log what was refused since it was told last."""
        for (method, path), count in self._refused.items():
            self._metrics.count_refused(path, method, 503, count, model_version=served_version(self._live))
        count = sum(self._refused.values())
        self._metrics.count_refusal(OVERLOADED, count)
        _logger.warning("Overloaded: refused %d requests at the door", count)
        self._refused = {}


class DoorProtocol(H11Protocol):
    """A connection whose requests are refused at a door while it is shut, and that answers whatever it cannot read."""

    door: ClassVar[Door]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._coming = 0
        self._refused_at = 0.0

    def connection_made(self, transport: Any) -> None:
        """Begin, with answers that are sent in one piece."""
        super().connection_made(JoiningTransport(transport))  # type: ignore[arg-type]  # all that uvicorn asks of one

    def data_received(self, data: bytes) -> None:
        """Refuse a request, or have it read; what is left of the body of a refused one is dropped."""
        if self._coming > 0:
            dropped, data = data[: self._coming], data[self._coming :]
            self._coming -= len(dropped)
            if not data:
                return
        if self.door.is_shut() and self._is_between_requests() and (found := self.door.read(data)) is not None:
            route, self._coming = found
            self.transport.write(self.door.refuse(route))
            self.server_state.total_requests += 1
            self._refused_at = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._stay(self.timeout_keep_alive)
            return
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # the signature of the base
        """Answer what is no HTTP with a problem, and end the connection."""
        self.transport.write(malformed.ANSWER)
        self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that was silent for so long; one that was refused meanwhile was not."""
        left = self._refused_at + self.timeout_keep_alive - self.loop.time()
        if left > 0.0:
            self._stay(left)
        else:
            super().timeout_keep_alive_handler()

    def _stay(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _is_between_requests(self) -> bool:
        return (
            self.conn.our_state is h11.IDLE
            and self.conn.their_state is h11.IDLE
            and not self.conn.trailing_data[0]
            and not self.flow.write_paused
            and not self.transport.is_closing()
        )
