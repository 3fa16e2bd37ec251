import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import pytest
from sqlalchemy import event

from features.errors import StoreError
from serving.store.lookup import Lookup
from serving.store.score_store import ScoreStore, sqlite_url
from tests.serving.score_rows import build_customers
from tests.serving.store.databases import change
from tests.serving.store.test_store import publish


def test_many_at_once(store: ScoreStore) -> None:
    """However many ask at a time, each gets the customer that it asked for."""
    publish(store, build_customers(40))
    ids = [f"c{number % 40}" for number in range(400)]
    with ThreadPoolExecutor(8) as threads:
        found = [*threads.map(store.get_current, ids)]
    assert [row["customer_id"] for _, row in filter(None, found) if row] == ids


def test_after_a_failure(tmp_path: Path) -> None:
    """A connection that failed is not kept: once the cause is gone, customers are found again."""
    url = sqlite_url(tmp_path / "scores.db")
    with ScoreStore.open(url) as store:
        publish(store, build_customers(2))
        assert store.get_current("c1") is not None
        change(url, "ALTER TABLE objections RENAME TO mislaid")
        with pytest.raises(StoreError):
            store.get_current("c1")
        change(url, "ALTER TABLE mislaid RENAME TO objections")
        assert store.get_current("c1") is not None


def test_failed_connection(tmp_path: Path) -> None:
    """A connection that failed is closed, and the next customer is looked for on another."""
    url, taken = sqlite_url(tmp_path / "scores.db"), SimpleQueue[sqlite3.Connection]()
    with ScoreStore.open(url) as store:
        publish(store, build_customers(2))
        lookup = Lookup(store.engine)
        event.listen(store.engine, "checkout", lambda driver, *_: taken.put(driver))
        assert lookup.find("c1")
        change(url, "ALTER TABLE objections RENAME TO mislaid")
        with pytest.raises(sqlite3.OperationalError):
            lookup.find("c1")
        assert store.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of pools that count
        change(url, "ALTER TABLE mislaid RENAME TO objections")
        assert lookup.find("c1")
        failed, other = taken.get(), taken.get()
        assert other is not failed
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            failed.execute("SELECT 1")
        lookup.close()


def test_given_back(store: ScoreStore) -> None:
    """A store that is closed keeps no connection."""
    publish(store, build_customers(1))
    store.get_current("c0")
    store.close()
    assert store.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of pools that count
