"""An id where it should not be: in logs, where it is struck out, and in whatever else lies in the home folder."""

import re
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

SHORTEST_WORD = 6  # a shorter id may be any number or word
_DATABASES = (".db", ".db-wal", ".db-shm")  # opening the file of a database in use drops its locks
_PART_BYTES = 1 << 22
_OVERLAP_BYTES = 4096  # longer than any id
_EDGE = rb"[0-9A-Za-z_]"


def redact_logs(home: Path, customer_id: str) -> dict[str, int]:
    """Strike an id out of the logs, in place, byte by byte, as a running service goes on writing to them.

    Returns:
        File name → places. Logs hold no ids, so there should be none.
    """
    folder = home / "logs"
    files = sorted(path for path in folder.rglob("*") if _is_file(path)) if folder.is_dir() else []
    struck = {path.relative_to(home).as_posix(): _redact(path, _mention(customer_id)) for path in files}
    return {name: places for name, places in struck.items() if places}


def find_traces(home: Path, customer_id: str) -> list[str] | None:
    """Return which files of the home folder hold an id as a word; None where it is too short to be told from others.

    Databases and compressed files are not looked into.
    """
    if len(customer_id) < SHORTEST_WORD:
        return None
    word = _word(customer_id)
    files = sorted(path for path in home.rglob("*") if _is_file(path) and path.suffix not in _DATABASES)
    return [path.relative_to(home).as_posix() for path in files if _holds(path, word)]


def _mention(customer_id: str) -> re.Pattern[bytes]:
    """Match an id; a short one only where it is called a customer's."""
    if len(customer_id) >= SHORTEST_WORD:
        return _word(customer_id)
    called = rb"(?:customer_id|person_id)[\"']?\s*[=:]\s*[\"']?"
    return re.compile(called + rb"(" + re.escape(_encoded(customer_id)) + rb")(?!" + _EDGE + rb")")


def _word(customer_id: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?<!" + _EDGE + rb")(" + re.escape(_encoded(customer_id)) + rb")(?!" + _EDGE + rb")")


def _redact(path: Path, mention: re.Pattern[bytes]) -> int:
    try:
        with path.open("r+b", buffering=0) as file:
            spans = list(_find(file, mention))
            for start, end in spans:
                file.seek(start)
                file.write(b"*" * (end - start))
            return len(spans)
    except OSError:  # gone, or closed to us
        return 0


def _holds(path: Path, word: re.Pattern[bytes]) -> bool:
    try:
        with path.open("rb", buffering=0) as file:
            return any(True for _ in _find(file, word))
    except OSError:
        return False


def _find(file: FileIO, mention: re.Pattern[bytes]) -> Iterator[tuple[int, int]]:
    """Yield where a file holds an id, each place once, without holding the whole file.

    The file is read and not mapped: whoever maps a file that another shortens is killed.
    """
    start, seen, part, coming = 0, 0, b"", file.read(_PART_BYTES)
    while coming:
        part, coming = part[-_OVERLAP_BYTES:] + coming, file.read(_PART_BYTES)
        settled = len(part) - (_OVERLAP_BYTES // 2 if coming else 0)  # what follows a place may be in the next part
        for found in mention.finditer(part):
            place = start + found.start(1)
            if place >= seen and found.start(1) < settled:
                yield place, start + found.end(1)
        seen = start + settled
        start += len(part) - min(len(part), _OVERLAP_BYTES)


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _encoded(customer_id: str) -> bytes:
    return customer_id.encode("utf-8", errors="surrogatepass")
