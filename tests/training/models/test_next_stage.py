"""Next stage: two branches, one vector."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.lifecycle.stages import STAGES
from training.models.inputs import input_names
from training.models.lifecycle import LifecycleModel
from training.models.next_stage import NextStageModel, join_branches, sharpen

N = len(STAGES)
vectors = st.lists(st.floats(0.001, 1.0), min_size=N, max_size=N).map(lambda p: np.array(p) / sum(p))


@given(st.floats(0.0, 1.0), st.integers(0, N - 1), vectors)
def test_join(p_churn: float, silent: int, given_order: np.ndarray) -> None:
    """The joined vector sums to 1, and what is not the order branch is p_churn, at the silent stage alone."""
    joined = join_branches(np.array([p_churn]), np.array([silent]), given_order[None, :])[0]
    assert joined.sum() == pytest.approx(1.0, abs=1e-12)
    rest = joined - (1 - p_churn) * given_order
    assert rest == pytest.approx(p_churn * (np.arange(N) == silent), abs=1e-12)


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
    reachable[1, :3] = False
    found = NextStageModel(transitions).p_given_order(np.zeros((2, 4)), np.array([3, 0]), reachable)
    assert found == pytest.approx(np.array([[1 / 6] * 6, [0, 0, 0, 1 / 3, 1 / 3, 1 / 3]]))


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
