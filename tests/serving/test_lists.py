import csv
import io
from datetime import UTC, datetime

import pytest

from features.errors import InputError, ServingError
from serving.columns import SCORE_COLUMNS
from serving.lists import at_risk_csv, load_at_risk
from serving.store import AtRiskFilters, ScoreStore
from tests.serving.score_rows import WORDING, build_customers, build_frame, build_row

PUBLISHED_AT = datetime(2026, 1, 2, tzinfo=UTC)
_AFTER_STAGE = SCORE_COLUMNS.index("stage") + 1
_WORDS = ("stage_label", "is_label_borrowed")
LIST_COLUMNS = (*SCORE_COLUMNS[:_AFTER_STAGE], *_WORDS, *SCORE_COLUMNS[_AFTER_STAGE:], "plays")


def test_pages(store: ScoreStore) -> None:
    """Following the cursor gives each customer once, in order, and ends."""
    store.publish(build_customers(11), published_at=PUBLISHED_AT, keep_runs=3)
    whole = load_at_risk(store, limit=100)

    pages = [load_at_risk(store, limit=4)]
    while pages[-1].next_cursor:
        pages.append(load_at_risk(store, limit=4, cursor=pages[-1].next_cursor))

    assert [len(page.rows) for page in pages] == [4, 4, 3]
    assert tuple(row for page in pages for row in page.rows) == whole.rows
    assert {page.matching_customers for page in pages} == {11}


def test_exact_last_page(store: ScoreStore) -> None:
    """A list that ends with a full page offers no empty page after it."""
    store.publish(build_customers(4), published_at=PUBLISHED_AT, keep_runs=3)
    assert load_at_risk(store, limit=4).next_cursor is None


def test_cursor_keeps_the_run(store: ScoreStore) -> None:
    """A list begun on one run is finished on it, though another was published meanwhile."""
    store.publish(build_customers(4, model_version="v1"), published_at=PUBLISHED_AT, keep_runs=2)
    first = load_at_risk(store, limit=2)
    store.publish(build_customers(4, model_version="v2"), published_at=PUBLISHED_AT, keep_runs=2)

    second = load_at_risk(store, limit=2, cursor=first.next_cursor)

    assert second.run == first.run
    assert {row["model_version"] for row in second.rows} == {"v1"}


def test_cursor_of_a_pruned_run(store: ScoreStore) -> None:
    """When the run of a cursor is gone, the caller is told to start again."""
    store.publish(build_customers(4), published_at=PUBLISHED_AT, keep_runs=1)
    cursor = load_at_risk(store, limit=2).next_cursor
    store.publish(build_customers(4), published_at=PUBLISHED_AT, keep_runs=1)
    with pytest.raises(InputError, match="no longer stored"):
        load_at_risk(store, limit=2, cursor=cursor)


def test_cursor_of_other_filters(store: ScoreStore) -> None:
    """A cursor does not carry over to a list with other filters."""
    store.publish(build_customers(4), published_at=PUBLISHED_AT, keep_runs=1)
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
    store.publish(build_customers(5), published_at=PUBLISHED_AT, keep_runs=1)
    page = load_at_risk(store, limit=3)
    assert page.totals.customers == 3
    assert page.totals.value_at_risk == sum(row["value_at_risk"] for row in page.rows)
    assert page.totals.clv_12m == sum(row["clv_12m"] for row in page.rows)
    assert page.totals.historic_value == sum(row["historic_value"] for row in page.rows)


def test_nothing_published(store: ScoreStore) -> None:
    """Before the first publication the answer says which command to run."""
    with pytest.raises(ServingError, match="lifestage score"):
        load_at_risk(store, limit=3)


def test_csv(store: ScoreStore) -> None:
    """The list as CSV has the score columns, the stage in words and what to do, and no cell of it is a formula."""
    store.publish(
        build_frame(build_row("=1+1", value_at_risk=-2.5), build_row("plain")), published_at=PUBLISHED_AT, keep_runs=1
    )

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
    store.publish(build_customers(2), published_at=PUBLISHED_AT, keep_runs=1)
    page = load_at_risk(store, limit=9, filters=AtRiskFilters(stage="lost"))
    assert at_risk_csv(page, WORDING).splitlines() == [",".join(LIST_COLUMNS)]
