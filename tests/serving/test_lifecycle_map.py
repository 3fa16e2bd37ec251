"""The lifecycle map: nobody is counted twice or not at all, and what is expected is what the scores say."""

import json
from dataclasses import asdict

import polars as pl
import pytest

from features.intake.shop import Shop
from features.lifecycle.stages import PROSPECT_STAGES, SCALE, STAGES
from features.snapshot import Snapshot, to_day
from features.table import build_stage_tables
from serving.batch import Publication
from serving.lifecycle_map import EVIDENCE, LifecycleMap, build_lifecycle_map
from serving.reports import LIFECYCLE_MAP
from tests.histories import SHOP_RULE
from tests.serving import visited_shop as made
from tests.serving.score_rows import build_frame, build_prospect, build_prospects, build_row
from tests.whole_shop import AS_OF
from training.bundle import Bundle

Totals = dict[str | None, float]


@pytest.fixture(scope="module")
def newer(publications: tuple[Publication, Publication]) -> Publication:
    """The newer of two runs of a shop that records everything."""
    return publications[1]


@pytest.fixture(scope="module")
def whole_map(newer: Publication) -> LifecycleMap:
    """Its map."""
    return LifecycleMap.from_dict(newer.reports[LIFECYCLE_MAP])


def arriving(lifecycle_map: LifecycleMap, flows: str) -> Totals:
    """Add up the flows into each stage."""
    return _add_up([(flow.to_stage, flow.customers) for flow in getattr(lifecycle_map, flows)])


def leaving(lifecycle_map: LifecycleMap, flows: str) -> Totals:
    """Add up the flows out of each stage."""
    return _add_up([(flow.from_stage, flow.customers) for flow in getattr(lifecycle_map, flows)])


def _add_up(flows: list[tuple[str | None, float]]) -> Totals:
    return {stage: sum(n for end, n in flows if end == stage) for stage in dict.fromkeys(end for end, _ in flows)}


def test_counts(whole_map: LifecycleMap, newer: Publication) -> None:
    """Each customer stands in one stage, and shares and values sum to those of the base."""
    scores, entries = newer.scores, whole_map.stages
    assert tuple(entry.stage for entry in entries) == STAGES
    assert sum(entry.customers for entry in entries) == scores.height
    assert sum(entry.share for entry in entries) == pytest.approx(1.0)
    assert sum(entry.historic_value for entry in entries) == pytest.approx(scores["historic_value"].sum())
    assert sum(entry.clv_12m for entry in entries) == pytest.approx(scores["clv_12m"].sum())
    for entry in entries:
        there = scores.filter(stage=entry.stage)
        assert entry.customers == there.height
        assert entry.share == entry.customers / scores.height
        assert entry.mean_p_churn == (pytest.approx(there["p_churn"].mean()) if there.height else None)


def test_observed_flows(
    whole_map: LifecycleMap, newer: Publication, visited_shop: Shop, visited_bundle: Bundle
) -> None:
    """What flowed into a stage since the snapshot before is who stands there, and out of it who stood there then."""
    now = arriving(whole_map, "observed")
    assert now == {entry.stage: entry.customers for entry in whole_map.stages if entry.customers}
    model = visited_bundle.model
    before = Snapshot(to_day(AS_OF) - model.horizon_days)
    [then] = build_stage_tables(visited_shop.records, [before], rule=model.stage_rule)
    known = dict(then["stage"].value_counts().iter_rows())
    left = leaving(whole_map, "observed")
    assert left.pop(None) == newer.scores.height - then.height > 0
    assert left == known
    assert whole_map.observed_from == "2024-01-02"


def test_expected_flows(whole_map: LifecycleMap, newer: Publication) -> None:
    """What is expected to flow out of a stage is who stands there, and each flow the sum of their chances."""
    assert leaving(whole_map, "expected") == pytest.approx(
        {entry.stage: entry.customers for entry in whole_map.stages if entry.customers}
    )
    for flow in whole_map.expected:
        there = newer.scores.filter(stage=flow.from_stage)
        assert flow.customers == pytest.approx(there[f"p_next_{flow.to_stage}"].sum())
        assert flow.customers > 0.0
    into = arriving(whole_map, "expected")
    for entry in whole_map.stages:
        assert entry.expected_customers == pytest.approx(newer.scores[f"p_next_{entry.stage}"].sum())
        assert entry.expected_customers == pytest.approx(into.get(entry.stage, 0.0))


def test_prospects(whole_map: LifecycleMap, newer: Publication) -> None:
    """With visitors and registrations on record, who has not ordered is counted by stage; only strangers are unseen."""
    people = {entry.stage: entry.people for entry in whole_map.prospects}
    assert people == dict(
        zip(
            PROSPECT_STAGES,
            (made.N_REACHED, made.N_NEW, made.N_RETURNING, made.N_COLD, made.N_HOT),
            strict=True,
        )
    )
    assert sum(people.values()) == newer.prospects.height == made.N_PROSPECTS
    for entry in whole_map.prospects:
        there = newer.prospects.filter(stage=entry.stage)
        assert entry.mean_p_first_purchase == pytest.approx(there["p_first_purchase"].mean())
        assert (entry.mean_p_registration is None) == entry.stage.startswith("prospect")
    assert [unseen.stage for unseen in whole_map.not_observable] == ["unaware"]


def test_json(whole_map: LifecycleMap) -> None:
    """A map survives the way through JSON."""
    assert LifecycleMap.from_dict(json.loads(json.dumps(asdict(whole_map)))) == whole_map


def test_evidence() -> None:
    """Of every stage that some data cannot show, the map can say what it would take."""
    always = SHOP_RULE.observable[:-1]
    assert set(EVIDENCE) == set(SCALE) - set(always)


def build_map(scores: pl.DataFrame, prospects: pl.DataFrame | None = None, *seen: str) -> LifecycleMap:
    """Build the map of a base of which nobody was known before."""
    return build_lifecycle_map(
        scores,
        build_prospects() if prospects is None else prospects,
        rule=SHOP_RULE,
        stages_before=scores.select("customer_id", "stage").clear(),
        observed_from="1997-10-03",
        prospect_stages=seen,
    )


def test_empty_stages() -> None:
    """A stage of nobody is on the map, with no mean rather than one of 0; all of those who are there are new."""
    found = build_map(build_frame(build_row("a", stage="lost", p_churn=0.8), build_row("b", stage="lost", p_churn=0.6)))
    entries = {entry.stage: entry for entry in found.stages}
    assert tuple(entries) == STAGES
    assert (entries["lost"].customers, entries["lost"].share) == (2, 1.0)
    assert entries["lost"].mean_p_churn == pytest.approx(0.7)
    assert (entries["loyal"].customers, entries["loyal"].share, entries["loyal"].mean_p_churn) == (0, 0.0, None)
    assert [(flow.from_stage, flow.to_stage, flow.customers) for flow in found.observed] == [(None, "lost", 2.0)]
    assert [(flow.from_stage, flow.to_stage, flow.customers) for flow in found.expected] == [("lost", "repeat", 2.0)]


def test_empty_prospect_stage() -> None:
    """A stage before the first order is on the map if it could be seen, though it hold nobody; otherwise it is not."""
    found = build_map(
        build_frame(build_row("a")), build_prospects(build_prospect("b")), "prospect_cold", "prospect_hot"
    )
    assert [(entry.stage, entry.people, entry.mean_p_first_purchase) for entry in found.prospects] == [
        ("prospect_cold", 1, 0.25),
        ("prospect_hot", 0, None),
    ]
    unseen = [entry.stage for entry in found.not_observable]
    assert unseen == ["unaware", "reached", "new_visitor", "returning_visitor"]
    told = [entry.stage for entry in found.prospects] + [entry.stage for entry in found.stages]
    assert sorted(told + unseen) == sorted(SCALE)


def test_orders_alone(bundle: Bundle, cdnow_orders: pl.DataFrame) -> None:
    """With orders alone, the six stages that they show are on the map, and the rest of the scale is not observable."""
    scores = build_frame(build_row("a", p_next_ambassador=None))
    found = build_lifecycle_map(
        scores,
        build_prospects(),
        rule=bundle.model.stage_rule,
        stages_before=scores.select("customer_id", "stage"),
        observed_from="1997-10-03",
        prospect_stages=(),
    )
    assert tuple(entry.stage for entry in found.stages) == STAGES[:-1]
    assert [unseen.stage for unseen in found.not_observable] == ["unaware", *PROSPECT_STAGES, "ambassador"]
    assert all(unseen.needs for unseen in found.not_observable)
    assert {flow.to_stage for flow in (*found.observed, *found.expected)} == {"repeat"}
    assert found.prospects == ()
