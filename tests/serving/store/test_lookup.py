from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from features.errors import StoreError
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


def test_given_back(store: ScoreStore) -> None:
    """A store that is closed keeps no connection."""
    publish(store, build_customers(1))
    store.get_current("c0")
    store.close()
    assert store.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of pools that count
