import os
import re
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batch import write_frame
from serving.csv_export import to_csv
from serving.people.desk import PeopleDesk, open_desk
from serving.people.erasure import receipts_folder
from serving.people.exports import ExportOutcome, list_exports, record_export, rewrite_exports
from serving.people.gate import build_guard
from serving.people.identity import key_path, load_key, make_key
from serving.people.schemas import Receipt
from serving.people.traces import find_traces, redact_logs
from serving.store.score_store import AtRiskFilters, ScoreStore, sqlite_url
from tests.serving.people.conftest import AT
from tests.serving.score_rows import build_customers, build_frame, build_publication, build_row, publish_rows

ID = "söphie@example.org"
WRITTEN = (ID.encode(), ID.encode("utf-16-le"), ID.encode("latin-1"), b"s\\u00f6phie@example.org", b"s%C3%B6phie%40")


def traces(home: Path) -> list[str]:
    """Return the files of a home folder that hold the id, however it is written."""
    files = (path for path in home.rglob("*") if path.is_file())
    return [path.name for path in files if any(written in path.read_bytes() for written in WRITTEN)]


def publish_with_her(store: ScoreStore, n_customers: int = 40) -> None:
    """Publish a run that has her in it."""
    rows = pl.concat([build_customers(n_customers), build_frame(build_row(ID))])
    publish_rows(store, rows, published_at=AT, keep_runs=2)


def test_nowhere(home: Path) -> None:
    """Once erased, the id is in no file of the home folder: not in the store, its log, its free pages or a list."""
    store = ScoreStore.open(sqlite_url(home / "scores.db"))
    for _ in range(4):  # two of the runs are pruned, and leave free pages
        publish_with_her(store, 400)
    (home / "logs").mkdir()
    (home / "logs" / "serve.log").write_text(f"an accident: {ID}!\nall is well\n", encoding="utf-8")
    write_frame(pl.DataFrame({"customer_id": [ID, "c1"]}), home / "list.csv")
    record_export(home, home / "list.csv", kind="at-risk", at=AT)
    assert {"scores.db-wal", "serve.log", "list.csv"} <= {*traces(home)}
    receipt = open_desk(home, store).erase(ID, actor="crm", at=AT)
    assert traces(home) == []
    store.close()
    assert traces(home) == []
    assert (receipt.removed.scores, receipt.removed.log_entries, receipt.removed.exports[0].rows) == (2, 1, 1)
    assert receipt.is_complete
    assert "all is well" in (home / "logs" / "serve.log").read_text(encoding="utf-8")


def test_old_pages(home: Path) -> None:
    """Copies of the id that deletions without care left in free pages are found, and go with a rebuilt file."""
    store = ScoreStore.open(sqlite_url(home / "scores.db"))
    publish_with_her(store)
    store.close()
    with sqlite3.connect(home / "scores.db") as careless:
        careless.execute("PRAGMA secure_delete = OFF")
        careless.execute("DELETE FROM scores")
    careless.close()
    assert ID.encode() in (home / "scores.db").read_bytes()
    with ScoreStore.open(sqlite_url(home / "scores.db")) as store:
        open_desk(home, store).erase(ID, actor="crm", at=AT)
        assert traces(home) == []


@pytest.mark.parametrize("customer_id", ["c1", "c39"])
def test_part_of_longer_ids(home: Path, customer_id: str) -> None:
    """An id that living ones begin with does not have the whole file rebuilt, which would take a while."""
    with ScoreStore.open(sqlite_url(home / "scores.db")) as store:
        for _ in range(4):
            publish_with_her(store, 400)
        desk = open_desk(home, store)
        desk.record_objection("c1 2", actor="crm", at=AT)
        before = schema_version(home)
        assert desk.erase(customer_id, actor="crm", at=AT).is_complete
        assert schema_version(home) == before


def schema_version(home: Path) -> int:
    """Return what SQLite counts up whenever a file is rebuilt."""
    with closing(sqlite3.connect(home / "scores.db")) as file:
        return int(file.execute("PRAGMA schema_version").fetchone()[0])


def test_copy_beside_longer_ids(home: Path) -> None:
    """A copy that a deletion without care left is found among the living ids that it is a part of."""
    with ScoreStore.open(sqlite_url(home / "scores.db")) as store:
        publish_with_her(store, 400)
    with closing(sqlite3.connect(home / "scores.db")) as careless:
        careless.execute("PRAGMA secure_delete = OFF")
        careless.execute("DELETE FROM scores WHERE customer_id = 'c39'")
        careless.commit()
    with ScoreStore.open(sqlite_url(home / "scores.db")) as store:
        before = schema_version(home)
        assert open_desk(home, store).erase("c39", actor="crm", at=AT).is_complete
        assert schema_version(home) > before


def test_failed_look(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the files cannot be looked through, the receipt does not call the erasure complete."""
    with ScoreStore.open(sqlite_url(home / "scores.db")) as store:
        publish_with_her(store)
        desk = open_desk(home, store)
        for broken in ("/does/not/exist", "/bin/false"):
            monkeypatch.setattr(sys, "executable", broken)
            receipt = desk.erase(ID, actor="crm", at=AT)
            assert "erase the id again" in receipt.to_do[0]


def test_busy_reader(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody reads the past, the log cannot be emptied: the receipt says so, and erasing again completes."""
    monkeypatch.setattr("serving.store.scrubbing._WAIT_MS", 50)
    with ScoreStore.open(sqlite_url(home / "scores.db")) as store:
        publish_with_her(store)
        desk = open_desk(home, store)
        with store.at_one_moment() as held:
            assert held.current_run()
            receipt = desk.erase(ID, actor="crm", at=AT)
        assert not receipt.is_complete
        assert "erase the id again" in receipt.to_do[0]
        assert desk.erase(ID, actor="crm", at=AT).is_complete
        assert traces(home) == []


def test_publication_under_way(desk: PeopleDesk, home: Path) -> None:
    """A publication that was computed before the erasure does not bring the person back."""
    stale = build_publication(build_customers(10, as_of="1998-03-01"))
    desk.erase("c5", actor="crm", at=AT)
    run = desk.store.publish(
        stale.scores, published_at=AT, keep_runs=3, reports=stale.reports, guard=build_guard(home, desk.store)
    )
    assert run.n_customers == desk.store.count(run, filters=AtRiskFilters()) == 9
    assert desk.store.get("c5", run) is None


def test_erasures_among_publications(desk: PeopleDesk, home: Path) -> None:
    """However erasures and publications fall together, no erased person is left in a kept run."""
    stale = build_publication(build_customers(200, as_of="1998-03-01"))
    failed: list[BaseException] = []

    def publish() -> None:
        try:
            for _ in range(4):
                guard = build_guard(home, desk.store)
                desk.store.publish(stale.scores, published_at=AT, keep_runs=3, reports=stale.reports, guard=guard)
        except BaseException as error:
            failed.append(error)
            raise

    publisher = threading.Thread(target=publish)
    publisher.start()
    gone = [f"c{i}" for i in range(8)]
    for customer_id in gone:
        desk.erase(customer_id, actor="crm", at=AT)
    publisher.join()
    assert failed == []
    for run in desk.store.runs():
        assert [desk.store.get(customer_id, run) for customer_id in gone] == [None] * len(gone)
        assert run.n_customers == desk.store.count(run, filters=AtRiskFilters())


def test_reports_hold_no_ids(people_store: ScoreStore) -> None:
    """No published report names anybody, so that an erasure can leave them as they are."""
    with people_store.reading() as connection:
        bodies = [row[0] for row in connection.exec_driver_sql("SELECT body FROM reports")]
    assert bodies
    assert not any(f'"c{i}"' in body for body in bodies for i in range(40))


def test_receipt_is_kept(desk: PeopleDesk, home: Path) -> None:
    """The receipt is in the home folder as it was given, and names the person by the hash alone."""
    receipt = desk.erase("c5-of-the-shop", actor="crm", at=AT)
    [kept] = receipts_folder(home).iterdir()
    text = kept.read_text(encoding="utf-8")
    assert Receipt.model_validate_json(text) == receipt
    assert "c5-of-the-shop" not in text
    key = load_key(home)
    assert key is not None
    assert receipt.subject == key.hash_id("c5-of-the-shop")


def test_server_says_whose_its_files_are(desk: PeopleDesk, people_url: str) -> None:
    """On a database server the receipt says that its files are its administrator's."""
    told = [left.what for left in desk.erase("c5", actor="crm", at=AT).remains]
    assert ("the database server's own files" in told) == people_url.startswith("postgresql")


@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv"])
@pytest.mark.parametrize("customer_id", ["c2", "=1+1", 'a "b", c', "007"])
def test_exports(home: Path, tmp_path: Path, name: str, customer_id: str) -> None:
    """A file that we wrote loses the person's rows, and nothing else of it changes."""
    rows = build_customers(6).with_columns(reasons=pl.Series(["one, two", None, "", "ü\nv", '"', "z"]))
    hers = rows.head(1).with_columns(customer_id=pl.lit(customer_id))
    others = rows.filter(pl.col("customer_id") != customer_id)
    path, expected = tmp_path / name, tmp_path / f"expected-{name}"
    write_frame(pl.concat([others.head(3), hers, others.tail(-3)]), path)
    write_frame(others, expected)
    record_export(home, path, kind="score", at=AT)
    [outcome] = rewrite_exports(home, customer_id)
    assert (outcome.outcome, outcome.rows) == ("rewritten", 1)
    if name.endswith("csv"):
        assert path.read_bytes() == expected.read_bytes()
    else:
        assert pl.read_parquet(path).equals(others)
    [again] = rewrite_exports(home, customer_id)
    assert again.outcome == "without this person"


def test_changed_export(home: Path, tmp_path: Path) -> None:
    """A file that somebody changed is told of, and not touched."""
    path = tmp_path / "list.csv"
    path.write_text(to_csv(pl.DataFrame({"customer_id": ["c1"]})), encoding="utf-8")
    record_export(home, path, kind="at-risk", at=AT)
    path.write_text("customer_id,note\nc1,call her\n", encoding="utf-8")
    [outcome] = rewrite_exports(home, "c1")
    assert outcome.outcome == "changed since, not touched"
    assert "call her" in path.read_text(encoding="utf-8")


def test_lost_export(home: Path, tmp_path: Path) -> None:
    """A file that is not there, as its drive may be away, is told of and kept track of until it is back."""
    path = tmp_path / "list.csv"
    path.write_text("customer_id\nc1\n", encoding="utf-8")
    record_export(home, path, kind="at-risk", at=AT)
    record_export(home, path, kind="at-risk", at=AT)
    assert len(list_exports(home)) == 1
    away = path.rename(tmp_path / "away.csv")
    with ScoreStore.open(sqlite_url(home / "scores.db")) as store:
        receipt = open_desk(home, store).erase("c1", actor="crm", at=AT)
        assert not receipt.is_complete
        assert str(path) in receipt.to_do[0]
        away.rename(path)
        again = open_desk(home, store).erase("c1", actor="crm", at=AT)
    assert again.is_complete
    assert again.removed.exports[0].rows == 1


def _rewrite_while(
    others_write: Callable[[], object], home: Path, monkeypatch: pytest.MonkeyPatch
) -> list[ExportOutcome]:
    """Rewrite the exports of `c1`, while others write as soon as a file has been read."""
    read = pl.read_csv

    def read_and_write(*arguments: Any, **named: Any) -> pl.DataFrame:
        frame = read(*arguments, **named)
        others_write()
        return frame

    with monkeypatch.context() as patched:
        patched.setattr(pl, "read_csv", read_and_write)
        return rewrite_exports(home, "c1")


def test_written_anew_meanwhile(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that a command writes anew and records while an erasure rewrites it keeps its new entry, and its rows."""
    path = tmp_path / "list.csv"
    path.write_text("customer_id\nc1\nc2\n", encoding="utf-8")
    record_export(home, path, kind="at-risk", at=AT)

    def write_and_record() -> None:
        path.write_text("customer_id\nc1\nc3\n", encoding="utf-8")
        record_export(home, path, kind="prospects", at=AT)

    [outcome] = _rewrite_while(write_and_record, home, monkeypatch)
    assert outcome.outcome == "cannot be rewritten"
    assert [export.kind for export in list_exports(home)] == ["prospects"]
    [outcome] = rewrite_exports(home, "c1")
    assert (outcome.outcome, outcome.rows) == ("rewritten", 1)
    assert path.read_text(encoding="utf-8") == "customer_id\nc3\n"


def test_forgotten_draft(home: Path, tmp_path: Path) -> None:
    """What a writer left behind who was killed long ago goes too; that of one who may be at work stays."""
    path, old, new = (tmp_path / name for name in ("a.csv", ".a.csv.0123abcd.draft", ".a.csv.89efabcd.draft"))
    for each in (path, old, new):
        each.write_text("customer_id\nc1\n", encoding="utf-8")
    os.utime(old, (0, 0))
    record_export(home, path, kind="at-risk", at=AT)
    rewrite_exports(home, "c1")
    assert (old.exists(), new.exists()) == (False, True)


def test_overwritten_meanwhile(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is written anew while an erasure rewrites it is not replaced by what it was before."""
    path = tmp_path / "list.csv"
    path.write_text("customer_id\nc1\nc2\n", encoding="utf-8")
    record_export(home, path, kind="at-risk", at=AT)
    [outcome] = _rewrite_while(lambda: path.write_text("customer_id\nc3\n", encoding="utf-8"), home, monkeypatch)
    assert outcome.outcome == "cannot be rewritten"
    assert path.read_text(encoding="utf-8") == "customer_id\nc3\n"


def test_cut_short(desk: PeopleDesk, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An erasure that was cut short after the store was done is completed by another."""
    write_frame(pl.DataFrame({"customer_id": ["c5", "c6"]}), home / "list.parquet")
    record_export(home, home / "list.parquet", kind="at-risk", at=AT)
    with monkeypatch.context() as patched:
        patched.setattr("serving.people.erasure.rewrite_exports", _die)
        with pytest.raises(KeyboardInterrupt):
            desk.erase("c5", actor="crm", at=AT)
    assert desk.withheld(["c5"])
    receipt = desk.erase("c5", actor="crm", at=AT)
    assert (receipt.is_repeated, receipt.is_found, receipt.is_complete) == (True, True, True)
    assert pl.read_parquet(home / "list.parquet")["customer_id"].to_list() == ["c6"]


def _die(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def test_rewriting_cut_short(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose rewriting was cut short, before or after it took its place, is ours to rewrite still."""
    path = tmp_path / "list.csv"
    path.write_text("customer_id\nc1\nc2\n", encoding="utf-8")
    record_export(home, path, kind="at-risk", at=AT)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", _break_off(path))
        with pytest.raises(KeyboardInterrupt):
            rewrite_exports(home, "c1")
    assert [outcome.outcome for outcome in rewrite_exports(home, "c1")] == ["rewritten"]
    assert path.read_text(encoding="utf-8") == "customer_id\nc2\n"


def _break_off(at: Path) -> Callable[[Path, Path], Path]:
    replace = Path.replace

    def broken(draft: Path, target: Path) -> Path:
        if target == at:
            raise KeyboardInterrupt
        return replace(draft, target)

    return broken


@given(
    text=st.lists(st.sampled_from([ID, "x", " ", "\n", "customer_id=", "ö"]), max_size=60).map("".join),
    size=st.integers(1, 64),
)
def test_logs(text: str, size: int) -> None:
    """In a log of any length, read in parts of any length, every mention is struck out, and nothing else changes."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving.people.traces._PART_BYTES", size)
        patch.setattr("serving.people.traces._OVERLAP_BYTES", 4 * len(ID.encode()))
        log = Path(folder) / "logs" / "serve.log"
        log.parent.mkdir()
        log.write_text(text, encoding="utf-8")
        word = re.compile(rf"(?<![0-9A-Za-z_]){re.escape(ID)}(?![0-9A-Za-z_])".encode())
        expected, n_places = word.subn(b"*" * len(ID.encode()), text.encode())
        assert bool(find_traces(Path(folder), ID)) == bool(n_places)
        assert sum(redact_logs(Path(folder), ID).values()) == n_places
        assert log.read_bytes() == expected


def test_short_id(home: Path) -> None:
    """An id that could be any number is struck out where it is called a customer's, and nowhere else."""
    (home / "logs").mkdir()
    log = home / "logs" / "serve.log"
    log.write_text(
        '{"status": 200, "customer_id": "200"} customer_id=200&limit=200 customer_id=2001\n', encoding="utf-8"
    )
    assert redact_logs(home, "200") == {"logs/serve.log": 2}
    struck = '{"status": 200, "customer_id": "***"} customer_id=***&limit=200 customer_id=2001\n'
    assert log.read_text(encoding="utf-8") == struck
    assert find_traces(home, "200") is None


def test_document() -> None:
    """The receipt in the documents is one."""
    text = (Path(__file__).parents[3] / "docs" / "people.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert Receipt.model_validate_json(shown).is_complete


def test_key_is_private(home: Path) -> None:
    """The key is made once, for its owner's eyes, and found again; another home's hashes differ."""
    key = make_key(home)
    assert key_path(home).stat().st_mode & 0o777 == 0o600
    assert make_key(home) == key
    assert make_key(home / "other").hash_id("c1") != key.hash_id("c1")
    assert "secret" not in repr(key)


def test_key_of_many(home: Path) -> None:
    """Of several who make the key at once, all get the same."""
    made: list[str] = []
    makers = [threading.Thread(target=lambda: made.append(make_key(home).hash_id("c1"))) for _ in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(made) == 8
    assert len(set(made)) == 1
