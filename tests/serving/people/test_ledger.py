"""What the home folder remembers when its store does not."""

import shutil
from pathlib import Path

import pytest

from features.errors import ServingError
from serving.people.desk import PeopleDesk, open_desk
from serving.people.gate import ERASED
from serving.people.identity import key_path
from serving.people.ledger import Ledger, ledger_path, load_ledger, remember
from serving.people.withheld import load_withheld
from serving.store.score_store import AtRiskFilters, ScoreStore, sqlite_url
from serving.store.tables import METADATA
from tests.serving.people.conftest import AT
from tests.serving.score_rows import build_customers, publish_rows
from tests.serving.store.databases import change


def lose_store(desk: PeopleDesk, url: str) -> ScoreStore:
    """Lose all that a store holds, and open what takes its place."""
    desk.store.close()
    if url.startswith("postgresql"):
        change(url, f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY")
    else:
        for path in desk.home.glob("scores.db*"):
            path.unlink()
    return ScoreStore.open(url)


def test_lost_tombstones(desk: PeopleDesk, people_url: str) -> None:
    """Whoever was erased before a store was lost is left out by its successor too, of batches and of requests."""
    desk.erase("c5", actor="crm", at=AT)
    with lose_store(desk, people_url) as store:
        assert load_withheld(desk.home, store).find(["c5", "c6"]) == {"c5": ERASED}
        assert open_desk(desk.home, store).withheld(["c5", "c6"]) == {"c5": ERASED}


def test_service_first(desk: PeopleDesk, people_url: str) -> None:
    """A service that starts on a new store knows who was erased, before any batch."""
    desk.erase("c5", actor="crm", at=AT)
    with lose_store(desk, people_url) as store:
        assert open_desk(desk.home, store).withheld(["c5"]) == {"c5": ERASED}


def test_lost_key_and_store(desk: PeopleDesk, people_url: str) -> None:
    """Where the key is lost with the store, a batch is refused."""
    desk.erase("c5", actor="crm", at=AT)
    key_path(desk.home).unlink()
    with lose_store(desk, people_url) as store, pytest.raises(ServingError, match="cannot be recognised"):
        load_withheld(desk.home, store)


def test_old_backup(home: Path, tmp_path: Path) -> None:
    """A backup from before an erasure, put in the store's place, loses the person's rows as it is opened."""
    url, backup = sqlite_url(home / "scores.db"), tmp_path / "backup.db"
    with ScoreStore.open(url) as store:
        publish_rows(store, build_customers(10), published_at=AT, keep_runs=2)
    shutil.copy(home / "scores.db", backup)
    with ScoreStore.open(url) as store:
        open_desk(home, store).erase("c5", actor="crm", at=AT)
    shutil.copy(backup, home / "scores.db")
    with ScoreStore.open(url) as store:
        assert open_desk(home, store).withheld(["c5"]) == {"c5": ERASED}
        [run] = store.runs()
        assert store.get("c5", run) is None
        assert run.n_customers == store.count(run, filters=AtRiskFilters(min_p_churn=0.0)) == 9


def test_lost_objections(desk: PeopleDesk, people_url: str) -> None:
    """A batch on a new store is refused until the objections are in it again; those that ended do not count."""
    for customer_id in ("c1", "c2", "c3"):
        desk.record_objection(customer_id, actor="crm", at=AT)
    desk.withdraw_objection("c1", actor="crm", at=AT)
    desk.erase("c2", actor="crm", at=AT)
    load_withheld(desk.home, desk.store)
    with lose_store(desk, people_url) as store:
        with pytest.raises(ServingError, match="lacks 1 of the objections"):
            load_withheld(desk.home, store)
        open_desk(desk.home, store).record_objection("c3", actor="crm", at=AT)
        assert load_withheld(desk.home, store).objecting == {"c3"}


def test_torn_line(home: Path) -> None:
    """A line that a crash left unfinished spoils no other; an act is noted once, and no id with it."""
    remember(home, "erased", "mark.01", at=AT)
    with ledger_path(home).open("a", encoding="utf-8") as file:
        file.write('{"act": "era')
    for _ in range(2):
        remember(home, "objected", "mark.02", at=AT)
    assert load_ledger(home) == Ledger({"mark.01": AT.isoformat()}, frozenset({"mark.02"}))
    assert ledger_path(home).read_text(encoding="utf-8").count("mark.02") == 1
    assert ledger_path(home).stat().st_mode & 0o777 == 0o600
