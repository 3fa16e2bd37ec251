"""The audit log: who did what to keys, people and models, as lines that hold one another in place.

Each line is a JSON object that carries its number, the hash of the line before it, and the SHA-256 of its own
canonical JSON. Whoever changes, removes, moves or inserts a line breaks the chain from there on. Whoever can write
the file could still cut its end off, or write all of it anew: a hash kept elsewhere, such as on a receipt, shows that.

Lines hold no customer ids: they would outlive an erasure.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from features.errors import ServingError
from features.files import PRIVATE, sync_folder

FIRST_HEAD = "0" * 64
DROPPED_TORN_LINE = "dropped_torn_line"

_BLOCK_BYTES = 4096
_ENOUGH_LINE_ENDS = 2  # the last whole line lies between two


def audit_path(home: Path) -> Path:
    """Return where the audit log of a home folder is."""
    return home / "audit.jsonl"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act.

    Attributes:
        number: Of the line, from 1.
        at: When, in UTC, to the second.
        actor: The name of the key that asked for it, or `command line`.
        act: What was done, such as `erase`.
        detail: JSON values; no customer ids.
        previous: The hash of the line before it; zeros for the first.
        sha256: Of everything above. The newest is the head of the log.
    """

    number: int
    at: str
    actor: str
    act: str
    detail: Mapping[str, Any]
    previous: str
    sha256: str


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What a look over the whole log found.

    Attributes:
        n_entries: How many lines hold together, from the first.
        head: The hash of the last of them.
        broken_line: The first line that does not, or None.
        problem: What is wrong with it.
    """

    n_entries: int
    head: str
    broken_line: int | None = None
    problem: str = ""


class AuditLog:
    """The audit log in a file; several processes may append to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, *, actor: str, act: str, detail: Mapping[str, Any], at: datetime) -> AuditEntry:
        """Append an act, on the disk when this returns; the entry's hash is the new head.

        A line that a crash left unfinished at the end was never confirmed to anybody: it is dropped, and that is said.

        Raises:
            ServingError: If the last line was altered, so that nothing can be hung on it.
        """
        moment = at.astimezone(UTC).isoformat(timespec="seconds")
        with self._alone() as file:
            last_line, torn = _read_end(file)
            last = _last_entry(last_line)
            if torn:
                file.truncate(file.seek(0, os.SEEK_END) - len(torn))
                last = _add(file, last, at=moment, actor=actor, act=DROPPED_TORN_LINE, detail={"bytes": len(torn)})
            entry = _add(file, last, at=moment, actor=actor, act=act, detail=detail)
            os.fsync(file.fileno())
        return entry

    def entries(self) -> Iterator[AuditEntry]:
        """Give all entries, oldest first, without checking the chain; unreadable lines are left out."""
        for line in self._lines():
            entry = _parse(line)
            if entry is not None:
                yield entry

    def verify(self, expected_head: str | None = None) -> AuditVerdict:
        """Check every line of the log.

        Args:
            expected_head: A hash that the log must hold, as a receipt tells it; without it, lines were cut off.
        """
        n_entries, head = 0, FIRST_HEAD
        is_expected_seen = expected_head in {None, FIRST_HEAD}
        for line in self._lines():
            entry = _parse(line)
            if entry is None or (problem := _fault(entry, number=n_entries + 1, head=head)):
                return AuditVerdict(n_entries, head, n_entries + 1, _unread(line) if entry is None else problem)
            n_entries, head = entry.number, entry.sha256
            is_expected_seen = is_expected_seen or head == expected_head
        if is_expected_seen:
            return AuditVerdict(n_entries, head)
        return AuditVerdict(n_entries, head, n_entries + 1, "No line has the expected hash: lines were cut off here.")

    def _lines(self) -> Iterator[bytes]:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            fcntl.flock(file, fcntl.LOCK_SH)
            lines = file.readlines()
        yield from lines  # whoever dawdles over them keeps nobody from adding

    @contextmanager
    def _alone(self) -> Iterator[FileIO]:
        """Open the file, made if missing, and hold it for a block; the lock keeps out threads and processes alike."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not self._path.exists()
        with FileIO(str(self._path), "a+", opener=_open_privately) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if is_new:
                sync_folder(self._path.parent)
            yield file


def _read_end(file: FileIO) -> tuple[bytes, bytes]:
    """Return the last whole line, and what follows it unfinished."""
    end, size = b"", _BLOCK_BYTES
    length = file.seek(0, os.SEEK_END)
    while end.count(b"\n") < _ENOUGH_LINE_ENDS and len(end) < length:
        file.seek(max(0, length - size))
        end = file.read(size) or b""
        size *= 2
    whole, line_end, torn = end.rpartition(b"\n")
    return whole.rpartition(b"\n")[2] + line_end, torn


def _last_entry(line: bytes) -> AuditEntry | None:
    if not line:
        return None
    entry = _parse(line)
    if entry is None or entry.sha256 != _hash(entry):
        raise ServingError(
            "The last line of the audit log was altered, so nothing can be added to it.",
            remedy="Look at it with lifestage audit --verify; move the file away, and keep it, to start a new one.",
        )
    return entry


def _add(
    file: FileIO, last: AuditEntry | None, *, at: str, actor: str, act: str, detail: Mapping[str, Any]
) -> AuditEntry:
    number, previous = (1, FIRST_HEAD) if last is None else (last.number + 1, last.sha256)
    unsigned = AuditEntry(number, at, actor, act, detail, previous, sha256="")
    entry = replace(unsigned, sha256=_hash(unsigned))
    line = _canonical(asdict(entry)) + b"\n"
    if file.write(line) != len(line):
        raise ServingError("The audit log could not be written.", remedy="Free space on the disk of the home folder.")
    return entry


def _parse(line: bytes) -> AuditEntry | None:
    try:
        entry = AuditEntry(**json.loads(line))
    except (ValueError, TypeError):
        return None
    return entry if line == _canonical(asdict(entry)) + b"\n" else None


def _fault(entry: AuditEntry, *, number: int, head: str) -> str:
    """Say what is wrong with an entry at its place, or nothing."""
    if entry.sha256 != _hash(entry):
        return "It was altered: its hash is not that of its words."
    if entry.number != number:
        return f"It is numbered {entry.number} in place of {number}: lines were removed, inserted or moved."
    if entry.previous != head:
        return "It does not follow the line before it: one of the two was replaced."
    return ""


def _unread(line: bytes) -> str:
    return "It is no entry, or not as it was written." if line.endswith(b"\n") else "It is unfinished."


def _hash(entry: AuditEntry) -> str:
    signed = {name: value for name, value in asdict(entry).items() if name != "sha256"}
    return hashlib.sha256(_canonical(signed)).hexdigest()


def _canonical(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _open_privately(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, PRIVATE)
