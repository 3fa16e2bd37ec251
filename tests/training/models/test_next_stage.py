"""Next stage: two branches, one vector."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.lifecycle.stages import STAGES
from features.records import EVENT_SCHEMA
from features.snapshot import Snapshot
from features.table import build_customer_table
from tests.histories import CUTOFF_DAY, SHOP_RULE, build_records, one_customer
from training.models.inputs import input_names
from training.models.lifecycle import LifecycleModel
from training.models.next_stage import NextStageModel, join_branches, sharpen

N = len(STAGES)
vectors = st.lists(st.floats(0.001, 1.0), min_size=N, max_size=N).map(lambda p: np.array(p) / sum(p))


@given(st.floats(0.0, 1.0), st.integers(0, N - 1), vectors)
def test_join(p_churn: float, silent: int, given_order: np.ndarray) -> None:
    """The joined vector sums to 1, and what is not the order branch is p_churn, at the silent stage alone."""
    joined = join_branches(np.array([p_churn]), np.array([silent]), given_order[None, :], np.zeros(1))[0]
    assert joined.sum() == pytest.approx(1.0, abs=1e-12)
    rest = joined - (1 - p_churn) * given_order
    assert rest == pytest.approx(p_churn * (np.arange(N) == silent), abs=1e-12)


@given(st.floats(0.0, 1.0), st.sampled_from(STAGES), st.floats(0.0, 1.0), vectors)
def test_join_recommending(p_churn: float, silent: str, p_recommends: float, given_order: np.ndarray) -> None:
    """Of the silent branch, a first recommendation makes an ambassador of whoever stays active, and of nobody else."""
    code = np.array([STAGES.index(silent)])
    p = NextStageModel(np.zeros((N, N)), p_recommends=p_recommends).p_recommends_if_silent(code)
    assert p.tolist() == [p_recommends if silent in {"first_time_buyer", "repeat", "loyal"} else 0.0]
    joined = join_branches(np.array([p_churn]), code, given_order[None, :], p)[0]
    assert joined.sum() == pytest.approx(1.0, abs=1e-12)
    expected = (1.0 - p[0]) * _by_stage(**{silent: 1.0}) + p[0] * _by_stage(ambassador=1.0)
    assert joined - (1 - p_churn) * given_order == pytest.approx(p_churn * expected, abs=1e-12)


@given(vectors, st.floats(0.3, 3.0))
def test_sharpen(p: np.ndarray, temperature: float) -> None:
    """Sharpening keeps the order and the sum; temperature 1 changes nothing."""
    sharpened = sharpen(p[None, :], temperature)[0]
    assert sharpened.sum() == pytest.approx(1.0)
    assert (np.diff(sharpened[np.argsort(p)]) >= -1e-12).all()
    assert sharpen(p[None, :], 1.0)[0] == pytest.approx(p)


def test_transitions() -> None:
    """Without trees the row of the present stage answers, shared among the stages that can be reached."""
    transitions = np.full((N, N), 1 / N)
    reachable = np.ones((2, N), dtype=np.bool_)
    reachable[1, :2] = False
    found = NextStageModel(transitions).p_given_order(np.zeros((2, 4)), np.array([3, 0]), reachable)
    assert found == pytest.approx(np.array([[1 / N] * N, [0] * 2 + [1 / (N - 2)] * (N - 2)]))


def test_recommended() -> None:
    """Whoever has recommended, and orders, is an ambassador in all that would make others repeat or loyal."""
    p = _by_stage(repeat=0.5, loyal=0.1, at_risk=0.3, won_back=0.06, ambassador=0.04)
    reachable = np.array([[stage not in {"first_time_buyer", "repeat", "loyal"} for stage in STAGES]])
    found = NextStageModel(np.tile(p, (N, 1))).p_given_order(np.zeros((1, 4)), np.array([3]), reachable)
    assert found[0] == pytest.approx(_by_stage(at_risk=0.3, won_back=0.06, ambassador=0.64))


@given(vectors, st.integers(0, 500), st.lists(st.booleans(), min_size=N - 4, max_size=N - 4))
def test_not_impossible(row: np.ndarray, n_moves: int, reached: list[bool]) -> None:
    """Each stage that can be reached has a chance, though nobody was seen to: of one observation in as many as seen."""
    row = np.where([*reached, True, True, True, True], row, 0.0)  # at_risk, lost, won_back, ambassador
    model = NextStageModel(np.tile(row / row.sum(), (N, 1)), n_moves=(n_moves,) * N)
    reachable = np.ones((1, N), dtype=np.bool_)
    reachable[0, 0] = False
    [p] = model.p_given_order(np.zeros((1, 4)), np.array([1]), reachable)
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    assert p[0] == 0.0
    assert p[1:].min() >= 0.999 / (n_moves + 2) / (N - 1)


@pytest.mark.parametrize(("excluded", "heir"), [("repeat", "loyal"), ("loyal", "ambassador"), ("won_back", "repeat")])
def test_never_seen(excluded: str, heir: str) -> None:
    """A stage that training saw nobody in is reached all the same by those whom the rule leaves no other."""
    kept = {"first_time_buyer": False, "repeat": heir == "repeat", "loyal": heir != "ambassador"}
    reachable = np.array([[kept.get(stage, stage != excluded) for stage in STAGES]])
    everybody = np.tile(_by_stage(repeat=0.75, at_risk=0.25), (N, 1))
    found = NextStageModel(everybody).p_given_order(np.zeros((1, 4)), np.array([0]), reachable)
    assert found[0] == pytest.approx(_by_stage(**{heir: 0.75, "at_risk": 0.25}))


def _by_stage(**p: float) -> np.ndarray:
    return np.array([p.get(stage, 0.0) for stage in STAGES])


def test_ambassadors_of_late(model: LifecycleModel) -> None:
    """Where recommending began after all that was learned from, whoever has recommended has a whole answer."""
    rule = replace(SHOP_RULE, at_risk_after_days=300, lost_after_days=400)
    no_trees = replace(model.next_stage, trees=None)
    referral = pl.DataFrame([("c", CUTOFF_DAY - 3, "referral", None, None)], EVENT_SCHEMA, orient="row")
    records = build_records({"orders": one_customer(CUTOFF_DAY - 20, CUTOFF_DAY - 5), "events": referral})
    table = build_customer_table(records, Snapshot(CUTOFF_DAY, model.horizon_days), rule=rule)
    assert table["stage"].to_list() == ["ambassador"]
    for next_stage in (model.next_stage, no_trees):
        [p] = replace(model, stage_rule=rule, next_stage=next_stage).answer(table).p_next_stage
        assert p.sum() == pytest.approx(1.0)
        assert p[STAGES.index("ambassador")] > 0.5


def test_not_observable(model: LifecycleModel, cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """Where recommending cannot be observed, nobody is expected to become an ambassador, not by a hair."""
    assert model.stage_rule.recommending_min_rating is None
    snapshot = Snapshot(end_day, model.horizon_days)
    table = build_customer_table(build_records(cdnow_orders), snapshot, rule=model.stage_rule)
    for next_stage in (model.next_stage, replace(model.next_stage, trees=None)):
        p = replace(model, next_stage=next_stage).answer(table).p_next_stage
        assert (p[:, STAGES.index("ambassador")] == 0.0).all()
        assert p.sum(axis=1) == pytest.approx(1.0)


def test_learned(model: LifecycleModel) -> None:
    """The trees' vector sums to 1 and gives nothing to a stage that cannot be reached."""
    assert model.next_stage.trees is not None
    reachable = np.tile([stage != "first_time_buyer" for stage in STAGES], (4, 1))
    inputs = np.full((4, len(input_names(model.features))), np.nan)
    p = model.next_stage.p_given_order(inputs, np.zeros(4, dtype=np.int64), reachable)
    assert p.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-12)
    assert (p[:, STAGES.index("first_time_buyer")] == 0).all()


def test_round_trip(model: LifecycleModel) -> None:
    """A next-stage model survives its own JSON values."""
    again = NextStageModel.from_dict(model.next_stage.to_dict(), model.next_stage.trees)
    assert again.to_dict() == model.next_stage.to_dict()
