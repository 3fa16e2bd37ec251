"""Reports, end to end: what is published beside the scores of a shop that records everything."""

import json
from pathlib import Path

import duckdb
import pytest

from features.intake.shop import Shop
from features.lifecycle.metric_sheet import METRICS, SHEET_SCHEMA
from features.lifecycle.segments import SIZES
from features.lifecycle.stages import PROSPECT_STAGES
from features.snapshot import to_day
from serving.batch import Publication, score_base
from serving.lifecycle_map import LifecycleMap
from serving.published import load_metric_sheet, load_segmentation, load_stage_map
from serving.reports import FLAGS, LIFECYCLE_MAP, METRIC_SHEET, RFM, SEGMENTS, VALUE_SPREAD
from serving.rfm_grid import RfmGrid
from serving.scoring import score_prospects
from serving.store.score_store import ScoreStore
from tests.histories import exact_bytes
from tests.serving.visited_shop import EARLIER, visited_settings
from tests.whole_shop import AS_OF, FIRST_DAY, WholeShop
from training.bundle import Bundle

Runs = tuple[Publication, Publication]


@pytest.fixture(scope="module")
def newer(publications: Runs) -> Publication:
    """The newer run."""
    return publications[1]


@pytest.fixture(scope="module")
def grid(newer: Publication) -> RfmGrid:
    """Its grid."""
    return RfmGrid.from_dict(newer.reports[SEGMENTS])


def test_stored(visited_store: ScoreStore, visited_bundle: Bundle, publications: Runs) -> None:
    """What is read from the store is what was built, after a way through JSON."""
    reports = publications[1].reports
    assert set(reports) == {LIFECYCLE_MAP, RFM, VALUE_SPREAD, FLAGS, SEGMENTS, METRIC_SHEET}
    assert reports[RFM] == {"bins": 5}
    spread = visited_bundle.model.process.spread
    assert reports[VALUE_SPREAD] == {"common_error": spread.common_error, "interval_coverage": 0.8}
    read = json.loads(json.dumps(reports, allow_nan=False))
    assert load_stage_map(visited_store).lifecycle_map == LifecycleMap.from_dict(read[LIFECYCLE_MAP])
    assert load_segmentation(visited_store).grid == RfmGrid.from_dict(read[SEGMENTS])
    sheet = load_metric_sheet(visited_store)
    assert sheet.rows.schema == SHEET_SCHEMA
    assert sheet.rows.to_dicts() == reports[METRIC_SHEET]
    assert sheet.run.as_of == AS_OF.isoformat()


@pytest.mark.parametrize("at", [0, 1])
def test_future_changes_nothing(
    at: int,
    visited_rows: WholeShop,
    visited_bundle: Bundle,
    publications: Runs,
    engine: duckdb.DuckDBPyConnection,
    tmp_path: Path,
) -> None:
    """Whatever came at or after the as-of date changes no score, no prospect and no report."""
    as_of, known = (EARLIER, AS_OF)[at], publications[at]
    shop = visited_rows.before(as_of).read(tmp_path, connection=engine)
    again = score_base(shop, visited_bundle, as_of=as_of, settings=visited_settings())
    assert exact_bytes(again.scores) == exact_bytes(known.scores)
    assert exact_bytes(again.prospects) == exact_bytes(known.prospects)
    assert again.reports == known.reports


def test_grid(grid: RfmGrid, newer: Publication) -> None:
    """Each customer stands in one cell, with value and chances; what is expected is that many people again."""
    scores = newer.scores
    assert [cell.size for cell in grid.cells[: len(SIZES)]] == list(SIZES)
    assert sum(cell.customers for cell in grid.cells) == scores.height
    assert sum(cell.expected_customers for cell in grid.cells) == pytest.approx(scores.height)
    assert sum(cell.historic_value for cell in grid.cells) == pytest.approx(scores["historic_value"].sum())
    assert sum(cell.clv_12m for cell in grid.cells) == pytest.approx(scores["clv_12m"].sum())
    comes, goes = (sum(getattr(cell, f"expected_value_{way}") for cell in grid.cells) for way in ("in", "out"))
    assert comes == pytest.approx(goes)
    assert goes > 0.0
    for cell in grid.cells:
        there = scores.filter(rfm_group=cell.group, size=cell.size)
        assert cell.customers == there.height
        assert cell.p_leave == (pytest.approx(there["p_leave_cell"].mean()) if there.height else None)
    group_of = {code: group for group, codes in grid.rfm_of_group.items() for code in codes}
    assert len(group_of) == 125
    assert all(group_of[rfm] == group for rfm, group in scores.select("rfm", "rfm_group").iter_rows())


def test_metrics(newer: Publication) -> None:
    """The sheet covers the period of the settings; costs, visits and followers on record make every metric known."""
    rows = newer.reports[METRIC_SHEET]
    assert {row["metric"] for row in rows} == {metric.name for metric in METRICS}
    whole = {row["metric"]: row for row in rows if row["slice_kind"] == "all"}
    since_the_first_order = {"second_purchase_rate"}
    for name, row in whole.items():
        first_day = FIRST_DAY.isoformat() if name in since_the_first_order else "2023-10-02"
        assert (row["period_from"], row["period_to"]) == (first_day, AS_OF.isoformat())
    assert max(row["period_to"] for row in rows) == AS_OF.isoformat()
    assert {name for name, row in whole.items() if row["status"] != "measured"} == set()
    for row in rows:
        assert (row["value"] is None) == (row["status"] != "measured")
        assert bool(row["needs"]) == (row["status"] == "not observable")
    cost = whole["cost_per_acquisition"]
    assert cost["value"] == pytest.approx(cost["numerator"] / cost["denominator"])
    by_stage = {row["slice"] for row in rows if row["slice_kind"] == "stage"}
    assert set(newer.scores["stage"]) <= by_stage


def test_without_contacts(visited_shop: Shop, visited_bundle: Bundle) -> None:
    """A base without events has no prospects, although the model knows of some; they are then not observable."""
    shop = Shop(orders=visited_shop.orders, events=None)
    made = score_base(shop, visited_bundle, as_of=AS_OF, settings=visited_settings())
    assert made.prospects.is_empty()
    lifecycle_map = LifecycleMap.from_dict(made.reports[LIFECYCLE_MAP])
    assert lifecycle_map.prospects == ()
    assert {unseen.stage for unseen in lifecycle_map.not_observable} == {"unaware", *PROSPECT_STAGES}
    assert sum(entry.customers for entry in lifecycle_map.stages) == made.scores.height


def test_unseen_in_training(visited_shop: Shop, whole_bundle: Bundle) -> None:
    """Stages before the first order that training could not observe are not guessed at: neither listed nor mapped."""
    assert whole_bundle.model.prospects is not None
    seen = whole_bundle.model.prospects.rule.observable
    assert seen == ("prospect_cold", "prospect_hot")
    people = score_prospects(whole_bundle, visited_shop.records, cutoff_day=to_day(AS_OF))
    assert set(people["stage"]) == set(seen)
    made = score_base(visited_shop, whole_bundle, as_of=AS_OF, settings=visited_settings())
    lifecycle_map = LifecycleMap.from_dict(made.reports[LIFECYCLE_MAP])
    assert {entry.stage: entry.people for entry in lifecycle_map.prospects} == dict(
        people["stage"].value_counts().iter_rows()
    )


def test_worth_of_prospects(newer: Publication, visited_bundle: Bundle) -> None:
    """A prospect is worth the chance of a first purchase times what a new customer is worth, a first order and more."""
    model = visited_bundle.model
    assert model.new_customer_value > model.process.gamma_gamma.population_mean
    expected = newer.prospects["p_first_purchase"] * model.new_customer_value
    assert newer.prospects["expected_value"].to_list() == expected.to_list()
