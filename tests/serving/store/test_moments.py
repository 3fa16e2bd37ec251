from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.settings import load_settings
from serving.lists import load_at_risk
from serving.published import load_changes, load_prospects, load_stage_map
from serving.store.score_store import AtRiskFilters, ScoreStore
from tests.serving.score_rows import (
    build_customers,
    build_frame,
    build_prospect,
    build_prospects,
    build_row,
    publish_rows,
)
from tests.serving.store.databases import change, count_rows
from tests.serving.store.test_store import PUBLISHED_AT, publish

AWKWARD = [
    "",
    " ",
    "a,b",
    'say "no"',
    "it's",
    "two\nlines",
    "\\N",
    "\\.",
    "\n\\.\n",
    "NULL",
    "%s %(x)s :x ?",
    "ünïcode 🛒",
    "\u00e9",
    "e\u0301",
    "Z",
    "a",
    "\t",
    "0",
    "00",
]
OBJECTED = "INSERT INTO objections VALUES ('{}', '2026-01-01T00:00:00+00:00')"


def test_held_moment(store: ScoreStore, store_url: str) -> None:
    """Who holds a moment sees nothing of what is published or pruned meanwhile, not even if nothing was read yet."""
    old = publish(store, build_customers(5, model_version="old"), keep_runs=1)
    with ScoreStore.open(store_url) as publisher, store.at_one_moment() as held:
        new = publish(publisher, build_customers(3, model_version="new"), keep_runs=1)
        assert held.current_run() == old
        assert held.count(old, filters=AtRiskFilters()) == 5
        assert held.get("c4", old) is not None
        assert held.get_current("c4") == (old, held.get("c4", old))
        with held.at_one_moment() as again:
            assert again.current_run() == old
        assert store.current_run() == new
    assert store.run(old.run_id) is None


def test_readers_do_not_wait(store: ScoreStore, store_url: str) -> None:
    """While somebody publishes and prunes, others read the old run."""
    old = publish(store, build_customers(5))
    with ScoreStore.open(store_url) as publisher, publisher.writing() as connection:
        connection.exec_driver_sql("DELETE FROM scores")
        assert store.count(old, filters=AtRiskFilters()) == 5
        assert store.get_current("c1") is not None


def test_current_score(store: ScoreStore) -> None:
    """The score asked with its run, at once, is that of the two questions one after the other."""
    assert store.get_current("c1") is None
    publish(store, build_customers(3))
    run = publish(store, build_customers(2, model_version="v2"))
    for customer_id in ("c0", "c1"):
        assert store.get_current(customer_id) == (run, store.get(customer_id, run))
    assert store.get_current("c2") == (run, None)
    assert store.get_current("' OR 1=1 --") == (run, None)


def test_awkward_texts(store: ScoreStore) -> None:
    """Any text is stored as it is, found again, and sorted by its bytes in every database."""
    rows = [build_row(text, flags=text, rfm_group=text, value_at_risk=1.0) for text in AWKWARD]
    run = publish(store, build_frame(*rows))
    listed = store.list_at_risk(run, filters=AtRiskFilters(), limit=100)
    assert [row["customer_id"] for row in listed] == sorted(AWKWARD, key=str.encode)
    assert {row["customer_id"]: row for row in listed} == {row["customer_id"]: row for row in rows}
    assert [store.get(text, run) for text in AWKWARD] == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    number=st.floats(allow_nan=False, allow_infinity=False),
    numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=13),
    text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
)
def test_exact_cells(store: ScoreStore, number: float, numbers: list[float], text: str) -> None:
    """Numbers come back to the last bit, lists of any length whole, and texts by the letter; nothing stays nothing."""
    rows = [
        build_row("a", p_churn=number, p_reactivation=number, clv_by_month=numbers, reasons=text, flags=text),
        build_row("b", p_churn=-number, p_reactivation=None, clv_by_month=[], reasons=None),
    ]
    run = publish(store, build_frame(*rows), keep_runs=1)
    assert [store.get(name, run) for name in "ab"] == rows


def test_unknown_number(store: ScoreStore) -> None:
    """What is no number, where there may be none, is stored as nothing in every database."""
    run = publish(store, build_frame(build_row("a", residual_value=float("nan"))))
    read = store.get("a", run)
    assert read is not None
    assert read["residual_value"] is None


def test_objections(store: ScoreStore, store_url: str) -> None:
    """Who objects is at once left out of scores, lists, counts, totals and changes; and is back when they withdraw."""
    old = publish(store, build_customers(4))
    run = publish(store, build_customers(4, stage="loyal"))
    before = (store.totals(run).rows(), store.count_changes(old, run))
    change(store_url, OBJECTED.format("c1"), OBJECTED.format("nobody"))

    assert store.get("c1", run) is None
    assert store.get_current("c1") == (run, None)
    assert store.get_current("c2") == (run, store.get("c2", run))
    listed = [row["customer_id"] for row in store.list_at_risk(run, filters=AtRiskFilters(), limit=9)]
    assert listed == ["c0", "c2", "c3"]
    assert store.count(run, filters=AtRiskFilters()) == 3
    assert store.count(run, filters=AtRiskFilters(stage="loyal", max_p_churn=0.9)) == 3
    assert store.count(run, filters=AtRiskFilters(stage="lost")) == 0
    assert store.totals(run)["customers"].sum() == 3
    assert [row["customer_id"] for row in store.list_changes(old, run, limit=9)] == ["c0", "c2", "c3"]
    assert sum(row["customers"] for row in store.count_changes(old, run)) == 3

    change(store_url, "DELETE FROM objections")
    assert (store.totals(run).rows(), store.count_changes(old, run)) == before
    assert store.get("c1", run) is not None


def test_counts_after_an_erasure(store: ScoreStore, store_url: str) -> None:
    """Sums and counts that are remembered are not told any more once somebody's rows are gone."""
    old, run = publish(store, build_customers(4)), publish(store, build_customers(4, stage="loyal"))
    assert sum(row["customers"] for row in store.count_changes(old, run)) == 4
    change(
        store_url,
        "DELETE FROM scores WHERE customer_id = 'c3'",
        "UPDATE runs SET n_customers = n_customers - 1",
    )
    assert sum(row["customers"] for row in store.count_changes(old, run)) == 3
    assert store.totals(run)["customers"].sum() == 3
    assert store.totals(run)["historic_value"].sum() == 300.0
    assert store.count(run, filters=AtRiskFilters()) == 3


def test_objecting_prospects(store: ScoreStore, store_url: str) -> None:
    """Who objects is left out of the prospects; a browser that happens to have the same id is another."""
    rows = build_prospects(build_prospect("a"), build_prospect("a", is_visitor=1), build_prospect("b"))
    run = store.publish(build_customers(1), published_at=PUBLISHED_AT, keep_runs=1, prospects=rows)
    change(store_url, OBJECTED.format("a"))
    assert store.get_prospect("a", run) is None
    listed = store.list_prospects(run, stage=None, limit=9)
    assert sorted((row["person_id"], row["is_visitor"]) for row in listed) == [("a", 1), ("b", 0)]


def test_lists_of_both(store: ScoreStore) -> None:
    """Lists, maps, prospects and changes are read in one moment each, and follow their cursors, in every database."""
    prospects = build_prospects(*(build_prospect(name) for name in "abc"))
    for day in ("1998-01-01", "1998-02-01"):
        stage = "repeat" if day == "1998-01-01" else "loyal"
        scores = build_customers(5, as_of=day, stage=stage)
        people = prospects if day == "1998-01-01" else build_prospects(*(build_prospect(n, as_of=day) for n in "abc"))
        publish_rows(store, scores, people, published_at=PUBLISHED_AT, keep_runs=load_settings().serving.keep_runs)
    first = load_at_risk(store, limit=3)
    rest = load_at_risk(store, limit=3, cursor=first.next_cursor)
    assert [row["customer_id"] for row in (*first.rows, *rest.rows)] == ["c0", "c1", "c2", "c3", "c4"]
    assert (first.matching_customers, rest.next_cursor) == (5, None)
    assert load_stage_map(store).run == first.run
    people_page = load_prospects(store, limit=2)
    assert len(load_prospects(store, limit=2, cursor=people_page.next_cursor).rows) == 1
    changes = load_changes(store, limit=4)
    assert changes.n_changes == 5
    assert len(load_changes(store, limit=4, cursor=changes.next_cursor).rows) == 1


def test_swept(store: ScoreStore, store_url: str) -> None:
    """The rows of all forgotten runs go, and none of those that are kept."""
    twins = build_prospects(*(build_prospect(name, is_visitor=kind) for name in "abcde" for kind in (0, 1)))
    for _ in range(3):
        store.publish(build_customers(10), published_at=PUBLISHED_AT, keep_runs=9, prospects=twins)
    run = publish(store, build_customers(4), keep_runs=1)
    assert (count_rows(store_url, "scores"), count_rows(store_url, "prospects")) == (4, 0)
    assert store.runs() == (run,)
