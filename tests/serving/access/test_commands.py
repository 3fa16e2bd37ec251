import json
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.access.audit import AuditLog
from serving.access.keys import KeyFile
from tests.command_line import Outcome, Run, assert_refused, run_main


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run commands in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: run_main(monkeypatch, capsys, *words)


@pytest.fixture
def acts(tmp_path: Path) -> Callable[[], list[tuple[str, str]]]:
    """Read what the audit log tells."""
    return lambda: [(e.act, str(e.detail["name"])) for e in AuditLog(tmp_path / ".lifestage" / "audit.jsonl").entries()]


def test_rotation(run: Run, tmp_path: Path, acts: Callable[[], list[tuple[str, str]]]) -> None:
    """The three steps of a rotation: both keys work in between, and each act is on record."""
    file = KeyFile(tmp_path / ".lifestage" / "keys.json")
    first = run("keys", "crm", "--scope", "score", "--scope", "read").out
    second = run("keys", "crm", "--rotate").out
    assert {found and found.scopes for found in map(file.recognise, (first, second))} == {("score", "read")}
    assert_refused(run("keys", "crm", "--rotate"), 2, "2 active keys")
    assert run("keys", "crm", "--retire").code == 0
    assert [file.recognise(key) is not None for key in (first, second)] == [False, True]
    assert run("keys", "crm", "--remove").code == 0
    assert acts() == [(act, "crm") for act in ("key_created", "key_created", "key_removed", "key_removed")]


def test_listing(run: Run) -> None:
    """The list names scopes and the beginning of a hash; neither it nor the audit log holds a key."""
    assert "No keys yet" in run("keys").err
    keys = [run("keys", "crm").out, run("keys", "boss", "--scope", "admin").out]
    for shown in (run("keys").out, run("audit").out):
        assert "score, read, lists" in shown or "'score', 'read', 'lists'" in shown
        assert "admin" in shown
        assert not any(key in shown for key in keys)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("crm", "--scope", "everything"), "no scope everything"),
        (("crm", "--rotate"), "No key is named crm"),
        (("crm", "--rotate", "--remove"), "do not go together"),
        (("crm", "--rotate", "--scope", "admin"), "do not go together"),
        (("local",), "no name for a key"),
    ],
)
def test_refused(run: Run, tmp_path: Path, words: tuple[str, ...], problem: str) -> None:
    """What cannot be meant is refused, and nothing is put on record."""
    assert_refused(run("keys", *words), 2, problem)
    assert not (tmp_path / ".lifestage" / "audit.jsonl").exists()


def head_of(outcome: Outcome) -> str:
    """Read the head that the command prints."""
    return outcome.out.rpartition("Head: ")[2]


def test_audit(run: Run, tmp_path: Path) -> None:
    """The log is listed, and verified; a changed or a missing line is named, with exit code 7."""
    assert run("audit").code == run("audit", "--verify").code == 0
    for name in ("crm", "shop", "desk"):
        run("keys", name)
    listed = run("audit", "--last", "2")
    assert "3 entries" in listed.out
    assert "shop" in listed.out
    assert "crm" not in listed.out
    head = head_of(listed)
    assert run("audit", "--verify", "--head", head).code == 0

    path = tmp_path / ".lifestage" / "audit.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:2]), encoding="utf-8")
    assert run("audit", "--verify").code == 0
    assert_refused(run("audit", "--head", head), 7, "broken at line 3")
    altered = json.dumps({**json.loads(lines[1]), "actor": "nobody"}, sort_keys=True, separators=(",", ":"))
    path.write_text(f"{lines[0]}{altered}\n{lines[2]}", encoding="utf-8")
    assert_refused(run("audit", "--verify"), 7, "broken at line 2")
    assert "the next is broken" in run("audit").out


@pytest.mark.parametrize("words", [("--rotate",), ("--retire",), ("--remove",), ("--scope", "read")])
def test_nameless(run: Run, words: tuple[str, ...]) -> None:
    """What is to be done to a key needs its name."""
    assert_refused(run("keys", *words), 2, "Whose key")


@pytest.mark.parametrize("words", [("new",), ("crm", "--rotate"), ("crm", "--remove")])
def test_unrecorded(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    """What cannot be put on record does not take effect."""
    run("keys", "crm")
    home = tmp_path / ".lifestage"
    before = (home / "keys.json").read_text(encoding="utf-8")
    (home / "audit.jsonl").write_text('{"altered": true}\n', encoding="utf-8")
    assert run("keys", *words).code == 7
    assert (home / "keys.json").read_text(encoding="utf-8") == before
