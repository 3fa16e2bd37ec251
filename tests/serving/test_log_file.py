import io
import json
from pathlib import Path

import pytest

from serving.log_file import LogFile, LogKeeper


def test_bounded(tmp_path: Path) -> None:
    """However much is printed, so many files of such a size are kept, the newest lines last."""
    log = LogFile(tmp_path / "logs" / "serve.log", max_bytes=100, kept=3)
    for number in range(200):
        log.write(b"%09d\n" % number)
    log.close()
    paths = sorted((tmp_path / "logs").iterdir())
    assert [path.name for path in paths] == ["serve.log", "serve.log.1", "serve.log.2"]
    assert all(path.stat().st_size <= 100 for path in paths)
    text = "".join(path.read_text(encoding="ascii") for path in reversed(paths))
    assert [int(line) for line in text.splitlines()] == [*range(170, 200)]


def test_goes_on(tmp_path: Path) -> None:
    """A log that is opened again is added to."""
    for _ in range(2):
        log = LogFile(tmp_path / "serve.log")
        log.write(b"line\n")
        log.close()
    assert (tmp_path / "serve.log").read_text(encoding="ascii") == "line\nline\n"


def test_nowhere_to_write(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Where no file can be written, the lines go to standard error."""
    (tmp_path / "logs").write_text("in the way", encoding="ascii")
    log = LogFile(tmp_path / "logs" / "serve.log")
    log.write(b"line\n")
    assert capfdbinary.readouterr().err == b"line\n"


def test_cannot_be_moved(tmp_path: Path) -> None:
    """A full file that cannot be moved away is added to: no line is lost."""
    (tmp_path / "serve.log.1").mkdir()
    (tmp_path / "serve.log.1" / "in the way").touch()
    log = LogFile(tmp_path / "serve.log", max_bytes=50, kept=2)
    for number in range(20):
        log.write(b"%09d\n" % number)
    log.close()
    lines = (tmp_path / "serve.log").read_text(encoding="ascii").splitlines()
    assert [int(line) for line in lines] == [*range(20)]


def test_keeper(tmp_path: Path) -> None:
    """All that a process prints is kept as JSON, and its last lines are told."""
    printed = io.BytesIO(b'{"ts":"2026","event":"a"}\nalice@example.org\n')
    tail = LogKeeper(printed, LogFile(tmp_path / "serve.log")).finish()
    lines = (tmp_path / "serve.log").read_text(encoding="ascii").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["a", "(printed past the log)"]
    assert tail == lines
