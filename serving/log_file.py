"""A log that does not grow for ever: what the service prints, in a file of which so many predecessors are kept."""

import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO

from serving.telemetry.logs import wrap_line

MAX_BYTES = 10_000_000
KEPT_FILES = 4

_TAIL_LINES = 20
_JOIN_SECONDS = 5.0


class LogFile:
    """Writes lines to a file, and begins another when it is full; to standard error where it cannot.

    Args:
        path: Of the file; older ones are beside it, as `.1`, `.2` and so on.
        max_bytes: At which another is begun.
        kept: Files at most, this one included.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT_FILES) -> None:
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._file = self._open()
        self._size = path.stat().st_size if self._file is not None else 0

    def write(self, line: bytes) -> None:
        """Write a line; a full disk loses it rather than stop who logs."""
        self.tail.append(line.decode("utf-8", errors="replace").rstrip())
        try:
            self._roll(len(line))
            (self._file or sys.stderr.buffer).write(line)
        except OSError:
            return
        self._size += len(line)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> IO[bytes] | None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return self._path.open("ab", buffering=0)
        except OSError:
            return None

    def _roll(self, coming: int) -> None:
        if self._file is None or self._size == 0 or self._size + coming <= self._max_bytes:
            return
        self._file.close()
        with suppress(OSError):  # a full file that cannot be moved is added to, until it is tried again
            self._shift()
        self._file, self._size = self._open(), 0

    def _shift(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            newer = self._numbered(number - 1)
            if newer.exists():
                newer.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


class LogKeeper:
    """Keeps what a process prints, from a thread of its own.

    Args:
        printed: The output of the process.
        log: Where it goes.
    """

    def __init__(self, printed: IO[bytes], log: LogFile) -> None:
        self._printed = printed
        self._log = log
        self._thread = Thread(target=self._keep, name="log", daemon=True)
        self._thread.start()

    def finish(self) -> list[str]:
        """Wait for the end of the output, and return its last lines."""
        self._thread.join(_JOIN_SECONDS)
        return [*self._log.tail]

    def _keep(self) -> None:
        with self._printed:
            for line in self._printed:
                self._log.write(wrap_line(line))
        self._log.close()
