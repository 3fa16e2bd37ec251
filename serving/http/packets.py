"""Answers in as few packets as they need."""

from typing import Any, Final

_HEAD_START: Final = b"HTTP/1.1 "
_INTERIM_START: Final = b"HTTP/1.1 1"  # 100 Continue: nothing follows until the caller goes on
_HEAD_END: Final = b"\r\n\r\n"


class JoiningTransport:
    """Sends the head of an answer together with what follows it.

    uvicorn writes one after the other: two system calls, and two packets, each of which wakes the caller.

    Args:
        transport: Of the connection, which does all the rest.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send some bytes, unless they are a head."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.endswith(_HEAD_END) and data.startswith(_HEAD_START) and not data.startswith(_INTERIM_START):
            self._head = data
            return
        self._transport.write(data)

    def close(self) -> None:
        """Send what was held back, and end the connection."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""
        self._transport.close()

    def is_closing(self) -> bool:
        """Tell whether the connection ends."""
        return bool(self._transport.is_closing())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
