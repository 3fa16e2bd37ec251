import json
import os
import stat
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.errors import ServingError
from serving.access.audit import DROPPED_TORN_LINE, FIRST_HEAD, AuditEntry, AuditLog

AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a log in a folder that does not exist yet."""
    return tmp_path / "home" / "audit.jsonl"


def add(path: Path, count: int, *, act: str = "erase") -> list[AuditEntry]:
    """Append entries."""
    log = AuditLog(path)
    return [log.append(actor="crm", act=act, detail={"subject": f"é{number}"}, at=AT) for number in range(count)]


def test_entries_hold_together(path: Path) -> None:
    """What was appended is given back, numbered and chained, and verifies; the last hash is the head."""
    written = add(path, 3)
    assert list(AuditLog(path).entries()) == written
    assert [entry.number for entry in written] == [1, 2, 3]
    assert [entry.previous for entry in written] == [FIRST_HEAD, written[0].sha256, written[1].sha256]
    verdict = AuditLog(path).verify()
    assert (verdict.n_entries, verdict.head, verdict.broken_line) == (3, written[-1].sha256, None)
    assert written[0].at == "2026-01-02T03:04:05+00:00"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_slow_reader(path: Path) -> None:
    """Whoever dawdles over the entries keeps nobody from adding one."""
    add(path, 2)
    entries = AuditLog(path).entries()
    next(entries)
    code = f"""
        from datetime import UTC, datetime; from pathlib import Path
        from serving.access.audit import AuditLog
        AuditLog(Path({str(path)!r})).append(actor="crm", act="erase", detail={{}}, at=datetime.now(UTC))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=30)
    assert len([*AuditLog(path).entries()]) == 3


def test_no_log_yet(path: Path) -> None:
    """A log without entries is whole, and holds nothing that was expected of it."""
    log = AuditLog(path)
    assert list(log.entries()) == []
    assert log.verify() == log.verify(FIRST_HEAD)
    assert (log.verify().n_entries, log.verify().broken_line) == (0, None)
    assert log.verify("f" * 64).broken_line == 1


def lines_of(path: Path) -> list[bytes]:
    """Read the lines."""
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("broken", [1, 3, 5])
@pytest.mark.parametrize(
    ("old", "new"), [(b"crm", b"bob"), (b'"number":', b'"number":1'), (b"erase", b"erasE"), (b',"at"', b', "at"')]
)
def test_altered(path: Path, broken: int, old: bytes, new: bytes) -> None:
    """A changed value, number or space is found at its line."""
    add(path, 5)
    lines = lines_of(path)
    altered = lines[broken - 1].replace(old, new)
    assert altered != lines[broken - 1]
    path.write_bytes(b"".join([*lines[: broken - 1], altered, *lines[broken:]]))
    verdict = AuditLog(path).verify()
    assert (verdict.n_entries, verdict.broken_line) == (broken - 1, broken)


@pytest.mark.parametrize(
    ("order", "broken"),
    [((0, 2, 3), 2), ((1, 2, 3), 1), ((0, 2, 1, 3), 2), ((0, 1, 1, 2), 3), ((3, 2, 1, 0), 1)],
    ids=["removed", "removed first", "swapped", "repeated", "reversed"],
)
def test_lines_moved(path: Path, order: tuple[int, ...], broken: int) -> None:
    """Removed, repeated and moved lines are found where the chain breaks."""
    add(path, 4)
    lines = lines_of(path)
    path.write_bytes(b"".join(lines[i] for i in order))
    assert AuditLog(path).verify().broken_line == broken


def test_foreign_line(path: Path) -> None:
    """A line that was inserted, or replaced by one that is whole in itself, is found by what stands around it."""
    add(path, 3)
    lines = lines_of(path)
    other = path.with_name("other.jsonl")
    add(other, 3, act="reload")
    path.write_bytes(b"".join([lines[0], lines_of(other)[0], *lines[1:]]))
    assert AuditLog(path).verify().broken_line == 2
    path.write_bytes(b"".join([lines_of(other)[0], *lines[1:]]))
    assert AuditLog(path).verify().broken_line == 2


def test_cut_off(path: Path) -> None:
    """A log whose last lines were cut off looks whole, but not to who kept a later hash."""
    written = add(path, 5)
    path.write_bytes(b"".join(lines_of(path)[:3]))
    log = AuditLog(path)
    assert log.verify().broken_line is None
    assert log.verify(written[2].sha256).broken_line is None
    assert log.verify(written[0].sha256).broken_line is None
    assert log.verify(written[4].sha256).broken_line == 4
    assert "cut off" in log.verify(written[4].sha256).problem


def test_torn_line(path: Path) -> None:
    """A line that a crash left unfinished is told, and dropped by the next append, which says so."""
    add(path, 2)
    whole = path.read_bytes()
    torn = whole.splitlines(keepends=True)[-1][:40]
    path.write_bytes(whole + torn)
    verdict = AuditLog(path).verify()
    assert (verdict.n_entries, verdict.broken_line, verdict.problem) == (2, 3, "It is unfinished.")
    add(path, 1)
    entries = list(AuditLog(path).entries())
    assert [entry.act for entry in entries] == ["erase", "erase", DROPPED_TORN_LINE, "erase"]
    assert entries[2].detail == {"bytes": 40}
    assert AuditLog(path).verify().broken_line is None


@pytest.mark.parametrize("size", [0, 1, 40])
def test_torn_first_line(path: Path, size: int) -> None:
    """A crash within the very first line is survived too."""
    add(path, 1)
    path.write_bytes(path.read_bytes()[:size])
    add(path, 1)
    assert AuditLog(path).verify().n_entries == 1 + (size > 0)


def test_altered_end(path: Path) -> None:
    """Nothing is hung on a last line that was altered."""
    add(path, 2)
    path.write_bytes(path.read_bytes().replace(b"crm", b"bob"))
    with pytest.raises(ServingError, match="altered"):
        add(path, 1)


@pytest.mark.parametrize("length", [4000, 4096, 20_000])
def test_long_lines(path: Path, length: int) -> None:
    """Lines longer than what is read at once are followed like any other."""
    log = AuditLog(path)
    for _ in range(3):
        log.append(actor="crm", act="reload", detail={"reason": "x" * length}, at=AT)
    assert AuditLog(path).verify().n_entries == 3


def test_symlink(path: Path) -> None:
    """A log that is a link to another file is not written through."""
    path.parent.mkdir()
    target = path.with_name("target")
    target.touch()
    path.symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        add(path, 1)
    assert target.read_bytes() == b""


def test_many_writers(path: Path) -> None:
    """Threads and processes that append at the same time make one chain, and lose no line."""
    code = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC\n"
        "from serving.access.audit import AuditLog\n"
        "for n in range(20):\n"
        "    AuditLog(Path(sys.argv[1])).append(actor='p', act='reload', detail={'n': n}, at=datetime.now(UTC))\n"
    )
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=root, env=os.environ) as process:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: add(path, 5), range(8)))
        assert process.wait(60) == 0
    assert AuditLog(path).verify().n_entries == 60


def test_lines_are_json(path: Path) -> None:
    """Every line is a JSON object on its own, whatever an entry holds."""
    AuditLog(path).append(actor='a"\n\u2028', act="reload", detail={"x": [1, 2.5, None, True]}, at=AT)
    assert json.loads(path.read_text(encoding="utf-8").split("\n")[0])["actor"] == 'a"\n\u2028'
    assert AuditLog(path).verify().n_entries == 1
