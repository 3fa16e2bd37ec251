"""One JSON object per line on standard output: what happened, never with what a caller sent.

Texts of other libraries may quote what they failed on. So a foreign record keeps the first line of its template,
without arguments, and an exception is told by its type and by the place it arose at. Of what is printed past the
loggers, such as a traceback or a panic, no more is kept than these.
"""

import asyncio
import json
import logging
import re
import select
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, TextIO

from features.errors import ModelError, ServingError, SettingsError

FORMAT_VARIABLE = "LIFESTAGE_LOG_FORMAT"
LEVEL_VARIABLE = "LIFESTAGE_LOG_LEVEL"
ACCESS_LOGGER = "bentoml.lifestage.access"

# Their arguments are service names, paths of our own routes, ports and process ids.
_TRUSTED = ("bentoml", "circus")
_ABOUT_US = (ModelError, ServingError, SettingsError)
_FIELDS: Final = "lifestage"
_WITHHELD = "(printed past the log)"
# BentoML's own words before and after there are workers, when nobody has sent anything.
_STARTING = re.compile(
    r"\d{4}-\d\d-\d\dT\S+ \[[A-Z]+\] \[cli\]|Error: \[serve\]|If you are (?:attempting|importing|trying) to import "
)
_PLACES = re.compile(
    r"""^ +File "(?P<file>[^"]*)", line (?P<line>\d+)"""  # of a traceback
    r"""|^thread .* panicked at (?P<panic>[\w./-]+\.rs:\d+)"""
    r"""|^(?P<kind>(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Warning))(?=:|$)"""
)


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line: dict[str, Any] = {
            "ts": f"{_second(int(record.created))}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _event(record),
            "pid": record.process,
        }
        line |= getattr(record, _FIELDS, {})
        if record.exc_info and record.exc_info[1] is not None:
            line |= _tell(record.exc_info[1])
        return _encode(line)


class GatheringHandler(logging.StreamHandler[TextIO]):
    """Writes the requests that one turn of an event loop answers by one system call, and all else at once.

    Under load the calls cost more than the lines. All else does not wait, as a process may end in the very turn in
    which it tells of its end. No piece is longer than what a pipe takes whole, as several workers may write to one.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._gathered: list[str] = []
        self._n_gathered = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record after what was kept, or keep it until the turn is over."""
        try:
            line = f"{self.format(record)}\n"
        except Exception:  # noqa: BLE001  # as all handlers do
            self.handleError(record)
            return
        if self._n_gathered + len(line) > select.PIPE_BUF:
            self._try_flush(record)
        may_wait = record.name == ACCESS_LOGGER and (bool(self._gathered) or self._flush_soon(record))
        self._gathered.append(line)
        self._n_gathered += len(line)
        if not may_wait:
            self._try_flush(record)

    def flush(self) -> None:
        """Write what was kept; where that fails, it is lost, and what comes later is not."""
        with self.lock or nullcontext():
            lines, self._gathered, self._n_gathered = self._gathered, [], 0
            if lines:
                self.stream.write("".join(lines))
            super().flush()

    def _flush_soon(self, record: logging.LogRecord) -> bool:
        """Write when this turn of the loop is over, and tell whether there is a loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        loop.call_soon(self._try_flush, record)
        return True

    def _try_flush(self, record: logging.LogRecord) -> None:
        try:
            self.flush()
        except Exception:  # noqa: BLE001  # as all handlers do
            self.handleError(record)


def place_of(traceback: TracebackType | None) -> str:
    """Return file and line where an exception arose."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return "unknown" if traceback is None else f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"


def log_request(**fields: object) -> None:
    """Log an answered request."""
    # A record of our own, as the logger would first search for the line of code that calls it.
    record = logging.LogRecord(ACCESS_LOGGER, logging.INFO, "", 0, "request", (), None)
    setattr(record, _FIELDS, fields)
    _access.handle(record)


def logs_requests() -> bool:
    """Tell whether answered requests are logged."""
    return _access.isEnabledFor(logging.INFO)


def write_json_logs(environment: Mapping[str, str]) -> bool:
    """Make this process log as JSON if its environment says so, and tell whether it did.

    Replaces the handlers that BentoML set up, here and for uvicorn and circus.
    """
    if environment.get(FORMAT_VARIABLE) != "json":
        return False
    handler = GatheringHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    for name in ("", "bentoml", "uvicorn", "uvicorn.error", "circus"):
        logger = logging.getLogger(name)
        logger.handlers = [] if name else [handler]
        logger.propagate = True
    logging.getLogger("bentoml").setLevel(_level(environment))
    logging.getLogger("uvicorn.access").propagate = False  # it would prepare lines that nobody keeps
    logging.captureWarnings(capture=True)
    tell_uncaught_by_place()
    return True


def flush_logs() -> None:
    """Write what handlers keep, as far as it can be written."""
    for handler in logging.getLogger().handlers:
        with suppress(OSError, ValueError):
            handler.flush()


def tell_uncaught_by_place() -> None:
    """Make this process log the exceptions that nothing caught, in any thread, by type and place."""
    sys.excepthook = lambda _kind, error, _traceback: _log_uncaught(error, "the process")
    threading.excepthook = lambda told: _log_uncaught(told.exc_value, "a thread")
    sys.unraisablehook = lambda told: _log_uncaught(told.exc_value, "a finalizer")


def _log_uncaught(error: BaseException | None, where: str) -> None:
    if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
        _uncaught.error("Uncaught %s at %s, in %s", type(error).__name__, place_of(error.__traceback__), where)


def wrap_line(line: bytes) -> bytes:
    """Return a line of output as JSON; of one that was printed past the loggers, what it says of kinds and places."""
    if line.startswith(b'{"ts":"'):
        return line
    text = _keep_places(line.decode("utf-8", errors="replace").rstrip())
    wrapped = {"ts": f"{_second(int(time.time()))}.000Z", "level": "info", "logger": "output", "event": text}
    return _encode(wrapped).encode("ascii") + b"\n"


def _keep_places(text: str) -> str:
    if _STARTING.match(text):
        return text
    found = [f"{m['file']}:{m['line']}" if m["file"] else m["panic"] or m["kind"] for m in _PLACES.finditer(text)]
    return " ".join(found) or _WITHHELD


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").removesuffix("+00:00")


def _event(record: logging.LogRecord) -> str:
    text = record.getMessage() if record.name.startswith(_TRUSTED) else str(record.msg)
    return text.partition("\n")[0]


def _tell(error: BaseException) -> dict[str, str]:
    """Tell of an exception; its message only where it is ours, and about the service itself."""
    told = {"error": type(error).__name__, "at": place_of(error.__traceback__)}
    return {**told, "message": str(error)} if isinstance(error, _ABOUT_US) else told


def _level(environment: Mapping[str, str]) -> int:
    return logging.getLevelNamesMapping().get(environment.get(LEVEL_VARIABLE, "").upper(), logging.INFO)


_access = logging.getLogger(ACCESS_LOGGER)
_uncaught = logging.getLogger("bentoml.lifestage")
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
