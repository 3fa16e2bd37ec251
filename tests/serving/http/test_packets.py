import asyncio

import pytest

from serving.http.packets import JoiningTransport

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Wire(asyncio.Transport):
    """A connection that notes what is sent."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.sent: list[bytes] = []
        self.is_open = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Note some bytes."""
        self.sent.append(bytes(data))

    def close(self) -> None:
        """End."""
        self.is_open = False

    def is_closing(self) -> bool:
        """Tell whether it ended."""
        return not self.is_open


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ([HEAD, b"ok"], [HEAD + b"ok"]),
        ([HEAD, b"o", b"k"], [HEAD + b"o", b"k"]),
        ([HEAD, b""], [HEAD]),
        ([HEAD + b"ok"], [HEAD + b"ok"]),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", HEAD, b"ok"], [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + b"ok"]),
    ],
)
def test_joined(written: list[bytes], sent: list[bytes]) -> None:
    """The head of an answer goes with what follows; all else goes as it comes."""
    wire = Wire()
    joining = JoiningTransport(wire)
    for data in written:
        joining.write(data)
    assert wire.sent == sent


def test_closed() -> None:
    """A head that nothing followed is sent before the connection ends."""
    wire = Wire()
    joining = JoiningTransport(wire)
    joining.write(HEAD)
    assert (wire.sent, joining.is_closing()) == ([], False)
    joining.close()
    assert (wire.sent, joining.is_closing()) == ([HEAD], True)
    assert joining.get_extra_info("peername") == ("127.0.0.1", 1)
