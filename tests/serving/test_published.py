"""The published run: lists that are read page by page, and what changed between two runs."""

from collections import Counter
from datetime import UTC, datetime

import polars as pl
import pytest

from features.errors import InputError, ServingError
from features.lifecycle.stages import PROSPECT_STAGES, STAGES
from features.lifecycle.vocabularies import load_wording
from serving.batch import Publication
from serving.columns import PROSPECT_COLUMNS
from serving.lists import load_at_risk
from serving.published import (
    ChangePage,
    ProspectPage,
    change_frame,
    count_rfm_bins,
    load_changes,
    load_metric_sheet,
    load_prospects,
    load_segmentation,
    load_stage_map,
    prospect_frame,
    published_run,
)
from serving.store.score_store import RunInfo, ScoreStore
from tests.serving.score_rows import (
    WORDING,
    build_customers,
    build_frame,
    build_prospect,
    build_prospects,
    build_row,
    publish_rows,
)
from tests.serving.visited_shop import N_PROSPECTS, TWIN

Runs = tuple[Publication, Publication]
DAYS = ("1998-01-01", "1998-02-01", "1998-03-01", "1998-04-01")


def publish(
    store: ScoreStore, scores: pl.DataFrame, prospects: pl.DataFrame | None = None, *, keep_runs: int = 3
) -> RunInfo:
    """Publish with the time that does not matter here."""
    return publish_rows(store, scores, prospects, published_at=datetime(2026, 1, 2, tzinfo=UTC), keep_runs=keep_runs)


def follow_prospects(store: ScoreStore, limit: int, stage: str | None = None) -> list[ProspectPage]:
    """Follow the cursor to the end."""
    pages = [load_prospects(store, limit=limit, stage=stage)]
    while pages[-1].next_cursor:
        pages.append(load_prospects(store, limit=limit, stage=stage, cursor=pages[-1].next_cursor))
    return pages


def follow_changes(store: ScoreStore, limit: int, since_run: int | None = None) -> list[ChangePage]:
    """Follow the cursor to the end."""
    pages = [load_changes(store, limit=limit, since_run=since_run)]
    while pages[-1].next_cursor:
        pages.append(load_changes(store, limit=limit, cursor=pages[-1].next_cursor))
    return pages


def test_nothing_published(store: ScoreStore) -> None:
    """Before the first publication each answer says which command to run."""
    for load in (published_run, load_stage_map, load_segmentation, load_metric_sheet):
        with pytest.raises(ServingError, match="lifestage score"):
            load(store)
    with pytest.raises(ServingError, match="lifestage score"):
        load_prospects(store, limit=1)
    with pytest.raises(ServingError, match="lifestage score"):
        load_changes(store, limit=1)


def test_without_reports(store: ScoreStore) -> None:
    """A run that was published without a report is told so, not answered with an empty one."""
    store.publish(build_customers(1), published_at=datetime(2026, 1, 2, tzinfo=UTC), keep_runs=1)
    for load in (load_stage_map, load_segmentation, load_metric_sheet):
        with pytest.raises(ServingError, match="Run lifestage score again"):
            load(store)
    with pytest.raises(ServingError, match="no value spread"):
        load_at_risk(store, limit=1)


@pytest.mark.parametrize("limit", [1, 7, 13, N_PROSPECTS, 1000])
@pytest.mark.parametrize("stage", [None, *PROSPECT_STAGES])
def test_prospect_pages(visited_store: ScoreStore, publications: Runs, stage: str | None, limit: int) -> None:
    """Following the cursor gives each prospect once, the likeliest first, and as the run has them."""
    pages = follow_prospects(visited_store, limit, stage)
    rows = [row for page in pages for row in page.rows]
    expected = publications[1].prospects
    if stage is not None:
        expected = expected.filter(stage=stage)
    by_rank = expected.sort(-pl.col("p_first_purchase"), "person_id", "is_visitor")
    assert rows == by_rank.to_dicts()
    assert len(pages) == max(1, -(-expected.height // limit))
    assert all(len(page.rows) == limit for page in pages[:-1])


def test_twins(visited_store: ScoreStore) -> None:
    """A browser and a person who share an id are two prospects."""
    rows = load_prospects(visited_store, limit=1000).rows
    assert sorted((row["is_visitor"], row["stage"]) for row in rows if row["person_id"] == TWIN) == [
        (0, "prospect_cold"),
        (1, "new_visitor"),
    ]


def test_prospect_cursor_keeps_the_run(store: ScoreStore) -> None:
    """A list begun on one run is finished on it, though another was published meanwhile, until that run is gone."""
    people = build_prospects(*(build_prospect(f"p{i}") for i in range(4)))
    publish(store, build_customers(1), people, keep_runs=2)
    first = load_prospects(store, limit=2)
    publish(store, build_customers(1), people.head(1), keep_runs=2)
    second = load_prospects(store, limit=2, cursor=first.next_cursor)
    assert second.run == first.run
    assert [row["person_id"] for row in second.rows] == ["p2", "p3"]
    publish(store, build_customers(1), people, keep_runs=2)
    with pytest.raises(InputError, match="no longer stored"):
        load_prospects(store, limit=2, cursor=first.next_cursor)


def test_foreign_cursors(store: ScoreStore) -> None:
    """A cursor serves its own list alone: not another list, another stage, or other runs; and no torn one does."""
    people = build_prospects(*(build_prospect(f"p{i}") for i in range(3)))
    for as_of, stage in zip(DAYS, ("repeat", "lost", "won_back"), strict=False):
        publish(store, build_customers(3, stage=stage, as_of=as_of), people)
    of_prospects = load_prospects(store, limit=1).next_cursor
    of_changes = load_changes(store, limit=1).next_cursor
    of_customers = load_at_risk(store, limit=1).next_cursor
    assert of_prospects
    assert of_changes
    for cursor in (of_changes, of_customers, of_prospects[:-2], of_prospects[3:], "x"):
        with pytest.raises(InputError, match="not valid"):
            load_prospects(store, limit=1, cursor=cursor)
    for cursor in (of_prospects, of_customers, of_changes[:-2], of_changes[3:], "x"):
        with pytest.raises(InputError, match="not valid"):
            load_changes(store, limit=1, cursor=cursor)
    for cursor in (of_prospects, of_changes):
        with pytest.raises(InputError, match="not valid"):
            load_at_risk(store, limit=1, cursor=cursor)
    with pytest.raises(InputError, match="another stage"):
        load_prospects(store, limit=1, stage="prospect_hot", cursor=of_prospects)
    with pytest.raises(InputError, match="another run"):
        load_changes(store, limit=1, since_run=1, cursor=of_changes)
    assert load_changes(store, limit=1, since_run=2, cursor=of_changes).rows[0]["customer_id"] == "c1"


@pytest.mark.parametrize("limit", [1, 10, 1000])
def test_change_pages(visited_store: ScoreStore, publications: Runs, limit: int) -> None:
    """Following the cursor gives, once each, exactly the customers whose stage differs between the two runs' rows."""
    before = dict(publications[0].scores.select("customer_id", "stage").iter_rows())
    now = publications[1].scores.sort("customer_id").iter_rows(named=True)
    expected = [
        (row["customer_id"], before.get(row["customer_id"]), row["stage"], row["stage_since"])
        for row in now
        if before.get(row["customer_id"]) != row["stage"]
    ]
    pages = follow_changes(visited_store, limit)
    assert [tuple(row.values()) for page in pages for row in page.rows] == expected
    assert len(pages) == -(-len(expected) // limit)
    assert {page.n_changes for page in pages} == {len(expected)}
    for page in pages:
        assert (page.from_run.as_of, page.to_run.as_of) == ("2024-02-01", "2024-04-01")
        assert {stage: n for stage, n in page.entered.items() if n} == Counter(stage for _, _, stage, _ in expected)
        assert {stage: n for stage, n in page.left.items() if n} == Counter(s for _, s, _, _ in expected if s)
        assert tuple(page.entered) == tuple(page.left) == STAGES


def test_change_accounts(visited_store: ScoreStore, publications: Runs) -> None:
    """Who stood in a stage, less who left it, plus who entered it, stands in it now."""
    page = load_changes(visited_store, limit=1)
    then, now = (dict(run.scores["stage"].value_counts().iter_rows()) for run in publications)
    for stage in STAGES:
        assert then.get(stage, 0) - page.left[stage] + page.entered[stage] == now.get(stage, 0)
    n_new = publications[1].scores.height - publications[0].scores.height
    assert sum(page.entered.values()) - sum(page.left.values()) == n_new > 0


def test_no_changes(store: ScoreStore) -> None:
    """Between two runs that agree nothing changed: an empty page, and the last."""
    for as_of in DAYS[:2]:
        publish(store, build_customers(3, as_of=as_of))
    page = load_changes(store, limit=1)
    assert (page.rows, page.n_changes, page.next_cursor) == ((), 0, None)
    assert set(page.entered.values()) == set(page.left.values()) == {0}


def test_since_a_run(store: ScoreStore) -> None:
    """The older run may be named; a run that is gone is told with those that are kept, and no run has none before."""
    first = publish(store, build_frame(build_row("a", as_of=DAYS[0])))
    with pytest.raises(ServingError, match="No run of an earlier date than 1998-01-01 is kept"):
        load_changes(store, limit=9)
    publish(store, build_frame(build_row("a", as_of=DAYS[1], stage="at_risk")))
    publish(store, build_frame(build_row("a", as_of=DAYS[2], stage="lost")))
    assert [row["from_stage"] for row in load_changes(store, limit=9).rows] == ["at_risk"]
    assert [row["from_stage"] for row in load_changes(store, limit=9, since_run=first.run_id).rows] == ["repeat"]
    publish(store, build_frame(build_row("a", as_of=DAYS[3], stage="lost")))
    with pytest.raises(InputError, match="no longer stored") as refused:
        load_changes(store, limit=9, since_run=first.run_id)
    assert refused.value.remedy == "Runs that are kept: 4, 3, 2."


def test_changes_follow_the_dates(store: ScoreStore) -> None:
    """The run before is that of the latest earlier date, whenever it was published; one of no earlier date is none."""
    for as_of, stage in ((DAYS[1], "lost"), (DAYS[0], "repeat"), (DAYS[1], "at_risk"), (DAYS[2], "won_back")):
        publish(store, build_frame(build_row("a", as_of=as_of, stage=stage)), keep_runs=9)
    assert [row["from_stage"] for row in load_changes(store, limit=9).rows] == ["at_risk"]
    assert [row["from_stage"] for row in load_changes(store, limit=9, since_run=2).rows] == ["repeat"]
    again = publish(store, build_frame(build_row("a", as_of=DAYS[1], stage="lost")), keep_runs=9)
    assert [row["from_stage"] for row in load_changes(store, limit=9).rows] == ["repeat"]
    for run_id in (again.run_id, 1, 4):
        with pytest.raises(InputError, match="not before the published 1998-02-01"):
            load_changes(store, limit=9, since_run=run_id)


def test_changes_keep_their_runs(store: ScoreStore) -> None:
    """A list of changes begun between two runs is finished between them, until one of them is gone."""
    stages = ("repeat", "at_risk", "lost", "won_back")
    runs = [build_customers(3, stage=stage, as_of=as_of) for stage, as_of in zip(stages, DAYS, strict=True)]
    for scores in runs[:2]:
        publish(store, scores)
    first = load_changes(store, limit=1)
    publish(store, runs[2])
    second = load_changes(store, limit=9, cursor=first.next_cursor)
    assert (second.from_run, second.to_run) == (first.from_run, first.to_run)
    assert [(row["customer_id"], row["to_stage"]) for row in second.rows] == [("c1", "at_risk"), ("c2", "at_risk")]
    publish(store, runs[3])
    with pytest.raises(InputError, match="no longer stored"):
        load_changes(store, limit=9, cursor=first.next_cursor)


def test_frames(visited_store: ScoreStore) -> None:
    """As files, both lists carry their stages in words, and prospects what to do."""
    people = prospect_frame(load_prospects(visited_store, limit=1000), WORDING)
    names = [column.name for column in PROSPECT_COLUMNS]
    at = names.index("stage") + 1
    assert people.columns == [*names[:at], "stage_label", "is_label_borrowed", *names[at:], "plays"]
    words = load_wording(vocabulary="reach_to_loyalty", language="fr")
    for row in prospect_frame(load_prospects(visited_store, limit=1000), words).iter_rows(named=True):
        label = words.label(row["stage"])
        assert (row["stage_label"], row["is_label_borrowed"]) == (label.text, label.is_borrowed)
        assert row["plays"] == " · ".join(words.plays(row["stage"]))
    moved = change_frame(load_changes(visited_store, limit=1000), words)
    ends = [f"{end}_stage {end}_label is_{end}_label_borrowed".split() for end in ("from", "to")]
    assert moved.columns == ["customer_id", *ends[0], *ends[1], "since"]
    assert moved["from_stage"].has_nulls()
    for row in moved.iter_rows(named=True):
        for stage, text, is_borrowed in ends:
            end = words.label(row[stage]) if row[stage] else None
            assert (row[text], row[is_borrowed]) == ((end.text, end.is_borrowed) if end else (None, False))


def test_bins(visited_store: ScoreStore) -> None:
    """The number of RFM bins is that of the run."""
    assert count_rfm_bins(visited_store, published_run(visited_store)) == 5
