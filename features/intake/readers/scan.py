"""What one pass over the bytes of a text file finds out, in bounded memory."""

import codecs
import re
from collections.abc import Iterable

MAX_LINE_BYTES = 1 << 20

_CONTROLS = (0x1F, 0x1E, 0x1D, 0x1C, 0x02, 0x03)
_UTF8_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


class Scan:
    """What one pass over the bytes of a file finds.

    Attributes:
        seen: Which of the bytes that matter occur.
        is_utf8: Whether all can be decoded.
        has_sequences: Whether some letters are written as only UTF-8 writes them.
        has_bare_returns: Whether a carriage return occurs without a line feed.
        has_long_lines: Whether a line exceeds `MAX_LINE_BYTES`.
    """

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.is_utf8 = True
        self.has_sequences = False
        self.has_bare_returns = False
        self.has_long_lines = False
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._tail = b""
        self._n_since_line_feed = 0

    @property
    def is_plain(self) -> bool:
        """Whether the bytes are UTF-8 in lines that can be read where they lie."""
        return self.is_utf8 and 0 not in self.seen and not self.has_bare_returns and not self.has_long_lines

    @property
    def unused(self) -> list[int]:
        """Control characters that do not occur, so that they can stand for something else."""
        return [byte for byte in _CONTROLS if byte not in self.seen]

    def take(self, chunk: bytes, *, is_last: bool = False) -> None:
        """Look at the next bytes."""
        wanted = (0, ord('"'), ord("\r"), *_CONTROLS)
        self.seen.update(byte for byte in wanted if byte not in self.seen and byte in chunk)
        self.is_utf8 = self.is_utf8 and decodes(self._decoder, chunk, is_last=is_last)
        joined = self._tail + chunk
        if not self.has_sequences and not joined.isascii():
            self.has_sequences = _UTF8_SEQUENCE.search(joined) is not None
        if ord("\r") in self.seen:
            whole = joined if is_last else joined.removesuffix(b"\r")
            self.has_bare_returns |= whole.count(b"\r") != whole.count(b"\r\n")
        self._tail = joined[-3:]
        self.has_long_lines = self.has_long_lines or has_long_line(chunk, self._n_since_line_feed)
        last = chunk.rfind(b"\n")
        self._n_since_line_feed = len(chunk) - 1 - last if last >= 0 else self._n_since_line_feed + len(chunk)


def scan_bytes(chunks: Iterable[bytes]) -> Scan:
    """Look at all bytes of a file once."""
    scan = Scan()
    for chunk in chunks:
        scan.take(chunk)
    scan.take(b"", is_last=True)
    return scan


def decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, *, is_last: bool = False) -> bool:
    """Return whether the next bytes can be decoded."""
    try:
        decoder.decode(chunk, is_last)
    except UnicodeDecodeError:
        return False
    return True


def has_long_line(chunk: bytes, n_before: int = 0) -> bool:
    """Return whether a line exceeds the limit, looking only where the next line feed must be at the latest."""
    last = -1 - n_before
    while len(chunk) - 1 - last > MAX_LINE_BYTES:
        found = chunk.rfind(b"\n", max(last + 1, 0), max(last + 2 + MAX_LINE_BYTES, 0))
        if found < 0:
            return True
        last = found
    return False
