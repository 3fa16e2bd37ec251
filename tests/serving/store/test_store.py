import threading
from datetime import UTC, datetime

import polars as pl
import pytest

from features.errors import ServingError
from serving.columns import SCORE_COLUMNS
from serving.store.score_store import AtRiskFilters, Rank, RunInfo, ScoreStore
from tests.serving.score_rows import build_customers, build_frame, build_prospect, build_prospects, build_row
from tests.serving.store.databases import change, count_rows, refuse_row

PUBLISHED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def publish(store: ScoreStore, scores: pl.DataFrame, keep_runs: int = 3) -> RunInfo:
    """Publish with the time that does not matter here."""
    return store.publish(scores, published_at=PUBLISHED_AT, keep_runs=keep_runs)


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
    run = publish(store, build_customers(1))
    for nobody in ("nobody", "", "\0", "c0\0", "\ud800", "x" * 10_000):
        assert store.get(nobody, run) is None
        assert store.get_current(nobody) == (run, None)
        assert store.get_prospect(nobody, run) is None


def test_reopen(store_url: str) -> None:
    """What was published outlives the process."""
    with ScoreStore.open(store_url) as first:
        run = publish(first, build_customers(2))
    with ScoreStore.open(store_url) as second:
        assert second.current_run() == run


def test_pruning(store: ScoreStore, store_url: str) -> None:
    """Only the newest runs are kept, and nothing of the older ones stays behind."""
    runs = [publish(store, build_customers(4, model_version=f"v{i}"), keep_runs=2) for i in range(4)]

    assert [store.run(run.run_id) is not None for run in runs] == [False, False, True, True]
    assert count_rows(store_url, "scores") == 2 * 4


def test_failed_publication(empty_url: str) -> None:
    """A publication that breaks off half-way leaves the old run in place and no rows behind."""
    with ScoreStore.open(empty_url) as store:
        run = publish(store, build_customers(3))
        refuse_row(empty_url, "c999")

        with pytest.raises(ServingError) as told:
            publish(store, build_customers(2_500))

        assert store.current_run() == run
    assert "c999" not in str(told.value)
    assert count_rows(empty_url, "scores") == 3
    assert count_rows(empty_url, "runs") == 1


def test_leftovers(store: ScoreStore, store_url: str) -> None:
    """Rows of a run that is no longer kept disappear with the next publication."""
    publish(store, build_customers(1))
    change(store_url, *(f"DELETE FROM {table}" for table in ("published", "reports", "runs")))

    run = publish(store, build_customers(2), keep_runs=1)

    assert store.current_run() == run
    assert count_rows(store_url, "scores") == 2


def test_readers_see_whole_runs(store: ScoreStore, store_url: str) -> None:
    """While runs are being published, a reader on another connection meets complete runs only."""
    publish(store, build_customers(500, model_version="v0"), keep_runs=9)
    seen: list[tuple[int, int, str]] = []
    is_done = threading.Event()

    def read() -> None:
        with ScoreStore.open(store_url) as reader:
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


def test_two_publishers(store: ScoreStore, store_url: str) -> None:
    """Two publishers at once queue, and both runs are whole."""

    def publish_elsewhere() -> None:
        with ScoreStore.open(store_url) as other:
            publish(other, build_customers(2_000))

    threads = [threading.Thread(target=publish_elsewhere) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert count_rows(store_url, "runs") == 3
    assert count_rows(store_url, "scores") == 6_000


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
        (build_frame(build_row("a\0")), "with a NUL"),
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


def test_totals(store: ScoreStore) -> None:
    """The totals, by stage and RFM code, hold each customer once, and their counts and values sum to the run's."""
    run = publish(
        store,
        build_frame(
            build_row("a", stage="lost", historic_value=5.0, clv_12m=1.0),
            build_row("b", stage="lost", historic_value=7.0, clv_12m=2.0),
            build_row("c", stage="lost", rfm="111", historic_value=9.0, clv_12m=3.0),
            build_row("d", stage="loyal", historic_value=11.0, clv_12m=4.0),
        ),
    )
    assert store.totals(run).rows() == [
        ("lost", "111", 1, 9.0, 3.0),
        ("lost", "543", 2, 12.0, 3.0),
        ("loyal", "543", 1, 11.0, 4.0),
    ]


def test_nullable_columns(store: ScoreStore) -> None:
    """What a stage lacks is nothing, not 0, when it is read back."""
    absent = {"p_next_ambassador": None, "p_second_purchase": None, "p_reactivation": 0.125}
    run = publish(store, build_frame(build_row("a", **absent)))
    read = store.get("a", run)
    assert read is not None
    assert {name: read[name] for name in absent} == absent


def test_reports(store: ScoreStore, store_url: str) -> None:
    """Reports are read back as they were, belong to their run, and go with it."""
    body = {"text": "ü", "numbers": [1, 2.5, None], "nested": {"a": [{"b": True}]}}
    runs = [
        store.publish(build_customers(1), published_at=PUBLISHED_AT, keep_runs=2, reports={"it": [body, number]})
        for number in range(3)
    ]
    assert [store.report(run, "it") for run in runs] == [None, [body, 1], [body, 2]]
    assert store.report(runs[2], "another") is None
    assert count_rows(store_url, "reports WHERE name = 'it'") == 2


def test_endless_report(store: ScoreStore) -> None:
    """A report that JSON cannot write leaves no run behind."""
    with pytest.raises(ValueError, match="JSON"):
        store.publish(build_customers(1), published_at=PUBLISHED_AT, keep_runs=1, reports={"it": [float("nan")]})
    assert store.current_run() is None


def test_prospects(store: ScoreStore, store_url: str) -> None:
    """Prospects are read back as they were, and are pruned with their run; a visitor and a person may share an id."""
    visitor = build_prospect("same", is_visitor=1, stage="new_visitor", p_registration=0.5)
    rows = build_prospects(build_prospect("same"), visitor, build_prospect("other"))
    runs = [store.publish(build_customers(1), published_at=PUBLISHED_AT, keep_runs=1, prospects=rows) for _ in range(2)]
    listed = store.list_prospects(runs[1], stage=None, limit=10)
    assert sorted(listed, key=str) == sorted(rows.to_dicts(), key=str)
    assert count_rows(store_url, "prospects") == 3


@pytest.mark.parametrize("stage", [None, "prospect_cold", "reached"])
def test_ranked_prospects(store: ScoreStore, stage: str | None) -> None:
    """The likeliest come first, equals by id and kind; resumed after any row, the list goes on with the next."""
    ids, stages = ("b", "a", "ü", "Z"), ("prospect_cold", "reached")
    drawn = [
        build_prospect(name, is_visitor=kind, stage=stages[i % 2], p_first_purchase=p)
        for i, (name, kind, p) in enumerate((n, k, p) for n in ids for k in (0, 1) for p in (0.25 + 0.5 * k, 0.5))
        if i % 3
    ]
    unique = {(row["person_id"], row["is_visitor"]): row for row in drawn}
    frame = build_prospects(*unique.values())
    run = store.publish(build_customers(1), published_at=PUBLISHED_AT, keep_runs=1, prospects=frame)
    listed = store.list_prospects(run, stage=stage, limit=100)
    expected = [row for row in unique.values() if stage in {None, row["stage"]}]
    key = [(-row["p_first_purchase"], row["person_id"], row["is_visitor"]) for row in listed]
    assert key == sorted(key)
    assert len(listed) == len(expected) > 0
    for i, row in enumerate(listed):
        place = (row["p_first_purchase"], row["person_id"], row["is_visitor"])
        assert store.list_prospects(run, stage=stage, limit=100, after=place) == listed[i + 1 :]


def test_changes(store: ScoreStore) -> None:
    """Who moved or is new is listed by id with both stages; who stayed, or is known no more, is not."""
    old = build_frame(build_row("a"), build_row("b"), build_row("c", stage="lost"), build_row("gone"))
    new = build_frame(
        build_row("a"),
        build_row("b", stage="loyal", stage_since="1997-12-01"),
        build_row("c", stage="won_back", stage_since="1997-12-02"),
        build_row("d", stage="first_time_buyer", stage_since="1997-12-03"),
    )
    before, now = publish(store, old), publish(store, new)
    listed = store.list_changes(before, now, limit=10)
    assert [tuple(row.values()) for row in listed] == [
        ("b", "repeat", "loyal", "1997-12-01"),
        ("c", "lost", "won_back", "1997-12-02"),
        ("d", None, "first_time_buyer", "1997-12-03"),
    ]
    for i, row in enumerate(listed):
        assert store.list_changes(before, now, limit=10, after=row["customer_id"]) == listed[i + 1 :]
    counted = {(row["from_stage"], row["to_stage"]): row["customers"] for row in store.count_changes(before, now)}
    assert counted == {
        ("repeat", "repeat"): 1,
        ("repeat", "loyal"): 1,
        ("lost", "won_back"): 1,
        (None, "first_time_buyer"): 1,
    }


def test_runs(store: ScoreStore) -> None:
    """The runs that are kept are listed, newest first."""
    assert store.runs() == ()
    made = [publish(store, build_customers(1), keep_runs=2) for _ in range(3)]
    assert store.runs() == (made[2], made[1])
