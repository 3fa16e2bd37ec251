import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from features.errors import ServingError
from features.lifecycle.stages import STAGES
from serving.columns import SCORE_COLUMNS
from serving.store import AtRiskFilters, Rank, RunInfo, ScoreStore, sqlite_url
from tests.serving.score_rows import build_customers, build_frame, build_row

PUBLISHED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def publish(store: ScoreStore, scores: pl.DataFrame, keep_runs: int = 3) -> RunInfo:
    """Publish with the time that does not matter here."""
    return store.publish(scores, published_at=PUBLISHED_AT, keep_runs=keep_runs)


def count_rows(path: Path, table: str) -> int:
    """Count rows past the store, as the database has them."""
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        connection.close()


def test_round_trip(store: ScoreStore) -> None:
    """A published score is read back with every column as it was, lists and nulls included."""
    row = build_row("ü 17", next_order_on="1998-03-04", flags="a,b", clv_by_month=[i / 3 for i in range(12)])

    run = publish(store, build_frame(row, build_row("other")))

    read = store.get("ü 17", run)
    assert read == row
    assert read is not None
    assert tuple(read) == SCORE_COLUMNS


def test_run_info(store: ScoreStore) -> None:
    """The current run tells what it was computed from and when it was published."""
    run = publish(store, build_customers(5))

    assert store.current_run() == run
    assert (run.as_of, run.horizon_days, run.model_version, run.n_customers) == ("1998-01-01", 90, "v1", 5)
    assert run.published_at == PUBLISHED_AT.isoformat()


def test_empty_store(store: ScoreStore) -> None:
    """Before the first publication there is no current run."""
    assert store.current_run() is None


def test_unknown_customer(store: ScoreStore) -> None:
    """A customer who was not scored has no score."""
    assert store.get("nobody", publish(store, build_customers(1))) is None


def test_reopen(tmp_path: Path) -> None:
    """What was published outlives the process."""
    url = sqlite_url(tmp_path / "scores.db")
    with ScoreStore.open(url) as first:
        run = publish(first, build_customers(2))
    with ScoreStore.open(url) as second:
        assert second.current_run() == run


def test_pruning(store: ScoreStore, tmp_path: Path) -> None:
    """Only the newest runs are kept, and nothing of the older ones stays behind."""
    runs = [publish(store, build_customers(4, model_version=f"v{i}"), keep_runs=2) for i in range(4)]

    assert [store.run(run.run_id) is not None for run in runs] == [False, False, True, True]
    assert count_rows(tmp_path / "scores.db", "scores") == 2 * 4


def test_failed_publication(store: ScoreStore, tmp_path: Path) -> None:
    """A publication that breaks off half-way leaves the old run in place and no rows behind."""
    run = publish(store, build_customers(3))
    connection = sqlite3.connect(tmp_path / "scores.db")
    connection.execute(
        "CREATE TRIGGER full_disk BEFORE INSERT ON scores WHEN NEW.customer_id = 'c19999' "
        "BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
    )
    connection.close()

    with pytest.raises(Exception, match="disk is full"):
        publish(store, build_customers(20_000))

    assert store.current_run() == run
    assert count_rows(tmp_path / "scores.db", "scores") == 3
    assert count_rows(tmp_path / "scores.db", "runs") == 1


def test_leftovers(store: ScoreStore, tmp_path: Path) -> None:
    """Rows of a run that is no longer kept disappear with the next publication."""
    publish(store, build_customers(1))
    connection = sqlite3.connect(tmp_path / "scores.db")
    connection.execute("DELETE FROM runs")
    connection.execute("DELETE FROM published")
    connection.commit()
    connection.close()

    run = publish(store, build_customers(2), keep_runs=1)

    assert store.current_run() == run
    assert count_rows(tmp_path / "scores.db", "scores") == 2


def test_readers_see_whole_runs(store: ScoreStore, tmp_path: Path) -> None:
    """While runs are being published, a reader on another connection meets complete runs only."""
    publish(store, build_customers(500, model_version="v0"), keep_runs=9)
    seen: list[tuple[int, int, str]] = []
    is_done = threading.Event()

    def read() -> None:
        with ScoreStore.open(sqlite_url(tmp_path / "scores.db")) as reader:
            while not is_done.is_set():
                run = reader.current_run()
                assert run is not None
                count = reader.count(run, filters=AtRiskFilters())
                row = reader.get("c7", run)
                seen.append((run.n_customers, count, (row or {})["model_version"]))

    reading = threading.Thread(target=read)
    reading.start()
    for i in range(1, 6):
        publish(store, build_customers(500 + i, model_version=f"v{i}"), keep_runs=9)
    is_done.set()
    reading.join()

    assert seen
    assert all(n == count and version == f"v{n - 500}" for n, count, version in seen)


def test_two_publishers(store: ScoreStore, tmp_path: Path) -> None:
    """Two publishers at once queue, and both runs are whole."""

    def publish_elsewhere() -> None:
        with ScoreStore.open(sqlite_url(tmp_path / "scores.db")) as other:
            publish(other, build_customers(2_000))

    threads = [threading.Thread(target=publish_elsewhere) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert count_rows(tmp_path / "scores.db", "runs") == 3
    assert count_rows(tmp_path / "scores.db", "scores") == 6_000


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (build_customers(0), "no scores"),
        (build_frame(build_row("a"), build_row("a")), "more than once"),
        (build_frame(build_row("a"), build_row("b", as_of="1998-02-01")), "several values of as_of"),
        (build_frame(build_row("a", p_churn=None)), "finite values of p_churn"),
        (build_frame(build_row("a", clv_12m=float("nan"))), "finite values of clv_12m"),
        (build_frame(build_row("a", clv_by_month=[float("inf")])), "finite values of clv_by_month"),
        (build_customers(2).drop("rfm"), "columns rfm"),
    ],
)
def test_refused_scores(store: ScoreStore, scores: pl.DataFrame, reason: str) -> None:
    """Scores that are empty, doubled, mixed or incomplete are refused, and nothing is published."""
    with pytest.raises(ServingError, match=reason):
        publish(store, scores)
    assert store.current_run() is None


def test_argument_is_kept(store: ScoreStore) -> None:
    """Publishing leaves the caller's frame as it was."""
    scores = build_customers(3).reverse()
    before = scores.clone()
    publish(store, scores)
    assert scores.equals(before)


def test_foreign_table(tmp_path: Path) -> None:
    """A store with other columns is refused with what to do, not read wrongly."""
    connection = sqlite3.connect(tmp_path / "scores.db")
    connection.execute("CREATE TABLE scores (run_id INTEGER, customer_id TEXT)")
    connection.close()
    with pytest.raises(ServingError, match="another version"):
        ScoreStore.open(sqlite_url(tmp_path / "scores.db"))


def test_ranking(store: ScoreStore) -> None:
    """The list falls by value at risk, and equals are ordered by customer id."""
    run = publish(store, build_customers(9).reverse())

    rows = store.list_at_risk(run, filters=AtRiskFilters(), limit=100)

    assert [(row["value_at_risk"], row["customer_id"]) for row in rows] == sorted(
        ((row["value_at_risk"], row["customer_id"]) for row in rows), key=lambda pair: (-pair[0], pair[1])
    )
    assert len(rows) == 9


def test_resuming(store: ScoreStore) -> None:
    """A list resumed after any of its rows goes on with the next, also between equals."""
    run = publish(store, build_customers(7))
    rows = store.list_at_risk(run, filters=AtRiskFilters(), limit=7)
    for i, row in enumerate(rows):
        rank = Rank(row["value_at_risk"], row["customer_id"])
        assert store.list_at_risk(run, filters=AtRiskFilters(), limit=7, after=rank) == rows[i + 1 :]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (AtRiskFilters(), {"a", "b", "c"}),
        (AtRiskFilters(stage="loyal"), {"a"}),
        (AtRiskFilters(size="large"), {"b"}),
        (AtRiskFilters(min_p_churn=0.5), {"b", "c"}),
        (AtRiskFilters(max_p_churn=0.5), {"a", "b"}),
        (AtRiskFilters(stage="loyal", size="large"), set()),
        (AtRiskFilters(stage="' OR 1=1 --"), set()),
    ],
)
def test_filters(store: ScoreStore, filters: AtRiskFilters, expected: set[str]) -> None:
    """Each filter keeps what it names; together they narrow; the count agrees with the list."""
    run = publish(
        store,
        build_frame(
            build_row("a", stage="loyal", p_churn=0.1),
            build_row("b", size="large", p_churn=0.5),
            build_row("c", p_churn=0.9),
        ),
    )
    assert {row["customer_id"] for row in store.list_at_risk(run, filters=filters, limit=10)} == expected
    assert store.count(run, filters=filters) == len(expected)


def test_stage_summary(store: ScoreStore) -> None:
    """The summary has all stages in canonical order, and its counts, shares and values sum to the run's."""
    run = publish(
        store,
        build_frame(
            build_row("a", stage="lost", p_churn=0.8, historic_value=5.0, clv_12m=1.0),
            build_row("b", stage="lost", p_churn=0.6, historic_value=7.0, clv_12m=2.0),
            build_row("c", stage="loyal", p_churn=0.1, historic_value=11.0, clv_12m=4.0),
        ),
    )

    summary = {entry.stage: entry for entry in store.stage_summary(run)}

    assert tuple(summary) == STAGES
    assert sum(entry.customers for entry in summary.values()) == run.n_customers
    assert sum(entry.share for entry in summary.values()) == pytest.approx(1.0)
    assert (summary["lost"].customers, summary["lost"].historic_value, summary["lost"].clv_12m) == (2, 12.0, 3.0)
    assert summary["lost"].mean_p_churn == pytest.approx(0.7)
    assert (summary["repeat"].customers, summary["repeat"].mean_p_churn) == (0, None)
