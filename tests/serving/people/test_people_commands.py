"""The commands of people's rights, over a real home folder and the files of a shop."""

import json
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest

from serving.people.erasure import receipts_folder
from serving.people.schemas import Receipt
from serving.people.traces import find_traces
from serving.store.score_store import ScoreStore
from tests.command_line import Run, assert_refused
from tests.whole_shop import AS_OF

GONE, OBJECTING, LINKED = "shopper-001", "shopper-002", "newcomer-00"
SCORE = ("score", "--as-of", AS_OF.isoformat())


@pytest.fixture
def home(visited_home: Path, visited_store: ScoreStore, tmp_path: Path) -> Path:
    """A copy of a home whose champion has published two runs."""
    assert visited_store.runs()
    return Path(shutil.copytree(visited_home, tmp_path / "home"))


def ids(path: str) -> set[str]:
    """Return whose rows a file holds."""
    return set(pl.read_parquet(path)["customer_id"])


def holders(home: Path, customer_id: str) -> list[str]:
    """Return the files of a home folder that hold an id, in whatever encoding."""
    written = [customer_id.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")]
    files = [path for path in home.rglob("*") if path.is_file()]
    return [path.name for path in files if any(each in path.read_bytes() for each in written)]


def test_main_job(run: Run, home: Path, files: tuple[str, ...]) -> None:
    """Erased, a person is nowhere in the home folder, nor in lists written before, and no later batch has them."""
    assert run(*SCORE, *files, "--out", "scores.parquet").code == 0
    assert run("at-risk", "--limit", "500", "--out", "list.csv").code == 0
    assert run("history", "--as-of", AS_OF.isoformat(), *files, "--out", "history.parquet").code == 0
    everybody = ids("scores.parquet")
    assert GONE in everybody
    assert holders(home, GONE)

    done = run("erase", "--customer-id", GONE, "--yes")
    assert (done.code, done.err) == (0, "")
    assert "scores.parquet: rewritten" in done.out
    assert holders(home, GONE) == []
    assert find_traces(home, GONE) == []
    assert ids("scores.parquet") == everybody - {GONE}
    assert GONE not in ids("history.parquet")
    assert GONE not in Path("list.csv").read_text(encoding="utf-8")

    again = run(*SCORE, *files, "--out", "again.parquet")
    assert again.code == 0
    assert "1 person is left out: 1 erased, 0 objecting." in again.err
    assert ids("again.parquet") == everybody - {GONE}
    assert holders(home, GONE) == []
    assert_refused(run("history", "--as-of", AS_OF.isoformat(), *files, "--customer-id", GONE), 3, "no order before")


def test_deleted_store(run: Run, home: Path, files: tuple[str, ...]) -> None:
    """An erased person stays out of batches and trainings though the store was deleted."""
    run("erase", "--customer-id", GONE, "--yes")
    for path in home.glob("scores.db*"):
        path.unlink()
    assert "1 person is left out: 1 erased, 0 objecting." in run("horizon", *files[:2]).err
    again = run(*SCORE, *files, "--out", "again.parquet")
    assert again.code == 0
    assert ids("again.parquet")
    assert GONE not in ids("again.parquet")
    assert holders(home, GONE) == []


def test_objection(run: Run, files: tuple[str, ...]) -> None:
    """Whoever objects is in no list at once and in no batch, is listed as objecting, and comes back once withdrawn."""
    assert run("object", "--customer-id", OBJECTING).code == 0
    assert run("at-risk", "--limit", "500", "--out", "list.parquet").code == 0
    assert OBJECTING not in ids("list.parquet")
    assert OBJECTING in run("objections").out
    told = run(*SCORE, *files, "--out", "scores.parquet")
    assert "1 person is left out: 0 erased, 1 objecting." in told.err
    assert OBJECTING not in ids("scores.parquet")
    assert "withdrawn" in run("object", "--customer-id", OBJECTING, "--withdraw").out
    assert "No objection" in run("object", "--customer-id", OBJECTING, "--withdraw").out
    assert "left out" not in run(*SCORE, *files, "--out", "scores.parquet").err
    assert OBJECTING in ids("scores.parquet")


def test_training(run: Run, files: tuple[str, ...]) -> None:
    """What learns from the files leaves withheld people out as well, and says how many, not whom."""
    run("erase", "--customer-id", LINKED, "--yes")
    run("object", "--customer-id", OBJECTING)
    told = run("horizon", *files[:2])
    assert "2 people are left out: 1 erased, 1 objecting." in told.err
    assert LINKED not in told.err + told.out


def test_receipt(run: Run, home: Path) -> None:
    """The receipt as JSON is the one that is kept, true for somebody unknown too."""
    receipt = Receipt.model_validate_json(run("erase", "--customer-id", "nobody-at-all", "--yes", "--json").out)
    assert not receipt.is_found
    [kept] = receipts_folder(home).iterdir()
    assert json.loads(kept.read_text(encoding="utf-8")) == receipt.model_dump()
    assert "Nothing of this person was found" in run("erase", "--customer-id", "nobody-at-all", "--yes").out


def test_not_asked(run: Run) -> None:
    """Without a terminal to ask on, erasing takes --yes; nothing is erased otherwise."""
    assert not sys.stdin.isatty()
    assert_refused(run("erase", "--customer-id", GONE), 2, "no terminal")
    assert GONE in run("at-risk", "--limit", "500").out


def test_empty_home(run: Run, tmp_path: Path) -> None:
    """People can be erased, and object, before anything was scored; a training reads no store that is not there."""
    home = str(tmp_path / "new")
    assert run("object", "--customer-id", "c1", "--home", home).code == 0
    assert run("erase", "--customer-id", "c1", "--yes", "--home", home).code == 0
    assert run("objections", "--home", home).out == ""


def test_lost_key(run: Run, home: Path, files: tuple[str, ...]) -> None:
    """Without the key of the tombstones a batch is refused, rather than bring erased people back."""
    run("erase", "--customer-id", GONE, "--yes")
    (home / "people.key").unlink()
    assert_refused(run(*SCORE, *files), 7, "cannot be recognised")
