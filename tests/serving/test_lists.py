import csv
import io
from datetime import UTC, datetime

import polars as pl
import pytest

from features.errors import InputError, ServingError
from serving.columns import SCORE_COLUMNS
from serving.lists import at_risk_csv, load_at_risk
from serving.store.score_store import AtRiskFilters, RunInfo, ScoreStore
from tests.serving.score_rows import COMMON_ERROR, WORDING, build_customers, build_frame, build_row, publish_rows

_AFTER_STAGE = SCORE_COLUMNS.index("stage") + 1
_WORDS = ("stage_label", "is_label_borrowed")
LIST_COLUMNS = (*SCORE_COLUMNS[:_AFTER_STAGE], *_WORDS, *SCORE_COLUMNS[_AFTER_STAGE:], "plays")


def publish(store: ScoreStore, scores: pl.DataFrame, *, keep_runs: int = 2) -> RunInfo:
    """Publish with the time that does not matter here."""
    return publish_rows(store, scores, published_at=datetime(2026, 1, 2, tzinfo=UTC), keep_runs=keep_runs)


def test_pages(store: ScoreStore) -> None:
    """Following the cursor gives each customer once, in order, and ends."""
    publish(store, build_customers(11))
    whole = load_at_risk(store, limit=100)

    pages = [load_at_risk(store, limit=4)]
    while pages[-1].next_cursor:
        pages.append(load_at_risk(store, limit=4, cursor=pages[-1].next_cursor))

    assert [len(page.rows) for page in pages] == [4, 4, 3]
    assert tuple(row for page in pages for row in page.rows) == whole.rows
    assert {page.matching_customers for page in pages} == {11}


def test_exact_last_page(store: ScoreStore) -> None:
    """A list that ends with a full page offers no empty page after it."""
    publish(store, build_customers(4))
    assert load_at_risk(store, limit=4).next_cursor is None


def test_cursor_keeps_the_run(store: ScoreStore) -> None:
    """A list begun on one run is finished on it, though another was published meanwhile."""
    publish(store, build_customers(4, model_version="v1"))
    first = load_at_risk(store, limit=2)
    publish(store, build_customers(4, model_version="v2"))

    second = load_at_risk(store, limit=2, cursor=first.next_cursor)

    assert second.run == first.run
    assert {row["model_version"] for row in second.rows} == {"v1"}


def test_cursor_of_a_pruned_run(store: ScoreStore) -> None:
    """When the run of a cursor is gone, the caller is told to start again."""
    publish(store, build_customers(4), keep_runs=1)
    cursor = load_at_risk(store, limit=2).next_cursor
    publish(store, build_customers(4), keep_runs=1)
    with pytest.raises(InputError, match="no longer stored"):
        load_at_risk(store, limit=2, cursor=cursor)


def test_cursor_of_other_filters(store: ScoreStore) -> None:
    """A cursor does not carry over to a list with other filters."""
    publish(store, build_customers(4), keep_runs=1)
    cursor = load_at_risk(store, limit=2).next_cursor
    with pytest.raises(InputError, match="other filters"):
        load_at_risk(store, limit=2, cursor=cursor, filters=AtRiskFilters(stage="repeat"))


@pytest.mark.parametrize("cursor", ["x", "????", "bnVsbA", "W10", "e30", "é", "eyJydW4iOiAxfQ"])
def test_foreign_cursor(store: ScoreStore, cursor: str) -> None:
    """A cursor that we did not make is refused."""
    with pytest.raises(InputError, match="not valid"):
        load_at_risk(store, limit=2, cursor=cursor)


def test_totals(store: ScoreStore) -> None:
    """The totals of a page are the sums of its rows."""
    publish(store, build_customers(5), keep_runs=1)
    page = load_at_risk(store, limit=3)
    assert page.totals.customers == 3
    assert page.totals.value_at_risk == sum(row["value_at_risk"] for row in page.rows)
    assert page.totals.clv_12m == sum(row["clv_12m"] for row in page.rows)
    assert page.totals.historic_value == sum(row["historic_value"] for row in page.rows)


def test_totals_interval(store: ScoreStore) -> None:
    """A longer list is surer of its total, relative to it, but never than the error that all customers share."""
    publish(store, build_customers(400))
    halves = []
    for n in (1, 4, 400):
        totals = load_at_risk(store, limit=n).totals
        assert totals.clv_12m_low < totals.clv_12m < totals.clv_12m_high
        halves.append(0.5 * (totals.clv_12m_high - totals.clv_12m_low) / totals.clv_12m)
    assert halves == sorted(halves, reverse=True)
    one_deviation = 1.2816  # to either side: 80 % of a normal distribution
    assert halves[0] == pytest.approx(one_deviation * 50 / 120, rel=0.05)
    assert halves[-1] == pytest.approx(one_deviation * COMMON_ERROR, rel=0.05)


def test_totals_of_nobody(store: ScoreStore) -> None:
    """A list that nobody is on is worth 0, surely."""
    publish(store, build_customers(2))
    totals = load_at_risk(store, limit=9, filters=AtRiskFilters(stage="lost")).totals
    assert (totals.customers, totals.clv_12m, totals.clv_12m_low, totals.clv_12m_high) == (0, 0.0, 0.0, 0.0)


def test_nothing_published(store: ScoreStore) -> None:
    """Before the first publication the answer says which command to run."""
    with pytest.raises(ServingError, match="lifestage score"):
        load_at_risk(store, limit=3)


def test_csv(store: ScoreStore) -> None:
    """The list as CSV has the score columns, the stage in words and what to do, and no cell of it is a formula."""
    publish(store, build_frame(build_row("=1+1", value_at_risk=-2.5), build_row("plain")))

    rows = list(csv.DictReader(io.StringIO(at_risk_csv(load_at_risk(store, limit=9), WORDING))))

    assert tuple(rows[0]) == LIST_COLUMNS
    assert {(row["stage_label"], row["plays"]) for row in rows} == {
        (WORDING.label("repeat").text, " · ".join(WORDING.plays("repeat")))
    }
    assert [row["customer_id"] for row in rows] == ["plain", "'=1+1"]
    assert rows[1]["value_at_risk"] == "-2.5"
    assert rows[0]["clv_by_month"] == str([10.0] * 12)


def test_csv_of_an_empty_list(store: ScoreStore) -> None:
    """A list that nobody is on is a CSV with a header alone."""
    publish(store, build_customers(2), keep_runs=1)
    page = load_at_risk(store, limit=9, filters=AtRiskFilters(stage="lost"))
    assert at_risk_csv(page, WORDING).splitlines() == [",".join(LIST_COLUMNS)]
