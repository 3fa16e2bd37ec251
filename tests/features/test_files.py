"""A file is written whole or not at all, and held by one at a time."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from features.files import PRIVATE, held_alone, write_once, write_whole, written_whole


def test_replaced(tmp_path: Path) -> None:
    """The new file takes the old one's place, and no draft stays."""
    path = tmp_path / "file"
    for contents in ("old", b"new", "é"):
        write_whole(path, contents)
    assert path.read_bytes() == "é".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_failure(tmp_path: Path) -> None:
    """Where a draft is not finished, the old file stands, and no draft stays."""
    path = tmp_path / "file"
    write_whole(path, "old")

    def spoil() -> None:
        with written_whole(path) as draft:
            draft.write_text("half", encoding="utf-8")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        spoil()
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_mode(tmp_path: Path) -> None:
    """A private file is nobody else's from its first byte on; another is as the umask says."""
    before = os.umask(0o022)
    try:
        with written_whole(tmp_path / "private", mode=PRIVATE) as draft:
            assert draft.stat().st_mode & 0o777 == PRIVATE
        write_whole(tmp_path / "usual", "")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"private": PRIVATE, "usual": 0o644}


def test_once(tmp_path: Path) -> None:
    """Of several who write a file once, one does, and whole."""
    path = tmp_path / "file"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda letter: write_once(path, letter * 1000), "abcd"))
    assert path.read_text(encoding="utf-8") in {letter * 1000 for letter in "abcd"}
    assert list(tmp_path.iterdir()) == [path]


def test_alone(tmp_path: Path) -> None:
    """Who holds a lock keeps the others waiting: nothing that is read and written under it is lost."""
    path = tmp_path / "count"
    path.write_text("0", encoding="utf-8")

    def add(_: int) -> None:
        with held_alone(tmp_path / "lock"):
            write_whole(path, str(int(path.read_text(encoding="utf-8")) + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(20)))
    assert path.read_text(encoding="utf-8") == "20"
    (tmp_path / "link").symlink_to(tmp_path / "lock")
    with pytest.raises(OSError, match="symbolic"), held_alone(tmp_path / "link"):
        pass
