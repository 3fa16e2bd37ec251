"""How a worker ends without cutting a request.

On SIGTERM, uvicorn closes idle connections at once and its listening socket soon after: a caller whose request is on
the way to either gets a reset, and cannot know whether it was heard. So we go first:

1. No new connection is made: on Linux a filter on the listening socket drops the packets that open one. Their callers'
   systems repeat them, and meet a closed port. (Where filters cannot be had, connections are still taken meanwhile,
   and one that comes at the very end may be reset.)
2. Connections that were made are served; each answer says `Connection: close`, after which its connection is gone.
3. Once none is left, or those that are left were silent for `IDLE_SECONDS`, uvicorn ends as it always does: it waits
   for the answers under way, and closes the rest.
"""

import asyncio
import logging
import os
import select
import signal
import socket
import struct
import sys
from array import array
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Final

IDLE_SECONDS = 2.0
MOST_SECONDS = 10.0  # where new connections cannot be refused, they would keep us for ever

_TICK_SECONDS = 0.05
_LEAST_SECONDS = 0.2  # packets that were on their way when the filter came
_SO_ATTACH_FILTER: Final = 26
# Classic BPF over a TCP segment: load the byte of flags; if SYN is set and ACK is not, drop it, else keep it.
_NO_SYN: Final = (
    (0x30, 0, 0, 13),  # load byte 13
    (0x54, 0, 0, 0x12),  # and with SYN|ACK
    (0x15, 0, 1, 0x02),  # equal to SYN?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # keep
)
_logger = logging.getLogger("bentoml.lifestage")


class Draining:
    """Stands between SIGTERM and the server: callers first."""

    def __init__(self) -> None:
        self.is_draining = False
        self._task: asyncio.Task[None] | None = None

    def install(self) -> None:
        """Take SIGTERM over from the server whose event loop runs this, if it is one that can be drained."""
        ends = signal.getsignal(signal.SIGTERM)
        server = getattr(ends, "__self__", None)
        if not callable(ends) or not hasattr(server, "server_state"):
            return
        loop = asyncio.get_running_loop()

        def begin(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._begin, server, lambda: ends(number, frame))

        signal.signal(signal.SIGTERM, begin)

    def _begin(self, server: Any, end: Callable[[], object]) -> None:
        if not self.is_draining:
            self.is_draining = True
            self._task = asyncio.get_running_loop().create_task(_drain(server, end))


async def _drain(server: Any, end: Callable[[], object]) -> None:
    try:
        await _serve_rest(server)
    finally:
        end()


async def _serve_rest(server: Any) -> None:
    _logger.info("Ending: no new connections are taken, %d are served", len(server.server_state.connections))
    listeners = [listener for taking in server.servers for listener in taking.sockets]
    for listener in listeners:
        refuse_connections(listener)
    waited = silent = 0.0
    n_requests = server.server_state.total_requests
    while waited < _LEAST_SECONDS or (waited < MOST_SECONDS and _is_busy(server, listeners, silent)):
        await asyncio.sleep(_TICK_SECONDS)
        waited += _TICK_SECONDS
        is_silent = n_requests == server.server_state.total_requests
        silent = silent + _TICK_SECONDS if is_silent else 0.0
        n_requests = server.server_state.total_requests


def _is_busy(server: Any, listeners: Iterable[Any], silent: float) -> bool:
    return _is_waiting(listeners) or (bool(server.server_state.connections) and silent < IDLE_SECONDS)


def _is_waiting(listeners: Iterable[Any]) -> bool:
    """Tell whether connections are made that no worker has taken."""
    poll = select.poll()
    for listener in listeners:
        poll.register(listener.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def refuse_connections(listener: Any) -> bool:
    """Let no further connection be made on a socket, and keep those that were; tell whether this system lets us.

    Where it does not, no queue of connections forms that would be reset when the socket is closed.
    """
    with socket.socket(fileno=os.dup(listener.fileno())) as handle:
        try:
            _attach(handle)
        except OSError:  # not Linux, or one that keeps filters to itself
            handle.listen(0)
            return False
    return True


def _attach(handle: socket.socket) -> None:
    if not sys.platform.startswith("linux"):
        raise OSError("Only Linux filters sockets so.")
    kept = array("B", b"".join(struct.pack("HBBI", *line) for line in _NO_SYN))  # the kernel copies it
    handle.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_NO_SYN), kept.buffer_info()[0]))
