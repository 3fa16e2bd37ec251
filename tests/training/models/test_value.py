"""Value of those who order: the process alone without trees, and a bounded correction of it with them."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.fitters.trees import fit_regression_trees, fit_trees
from training.models.trees import Trees
from training.models.value import ValueModel, value_inputs

Vector = npt.NDArray[np.float64]
money = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=20).map(np.array)
N = 400


@pytest.fixture(scope="module")
def trees() -> Trees:
    """Trees over one input and the process's value, which answer about twice for inputs above 0, and half below."""
    rng = np.random.default_rng(6)
    inputs, process_value = rng.normal(size=(N, 1)), rng.uniform(10.0, 20.0, N)
    target = np.log(2.0) * np.sign(inputs[:, 0])
    rows = value_inputs(inputs, process_value)
    return fit_regression_trees(rows, target, np.ones(N), names=("one", "process"), seed=1, min_leaf=20)


@given(money)
def test_without_trees(process_value: Vector) -> None:
    """Without trees the purchase process answers, unchanged."""
    inputs = np.zeros((process_value.size, 4))
    assert np.array_equal(ValueModel.of_process().value_if_ordered(inputs, process_value), process_value)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_blend(trees: Trees, weight: float) -> None:
    """The blend is the weighted mean of the process and of its correction by the trees, times the scale."""
    inputs, process_value = np.array([[1.0], [-1.0], [np.nan]]), np.array([10.0, 12.0, 14.0])
    ratio = np.exp(trees.predict(value_inputs(inputs, process_value)))
    expected = process_value * ((1.0 - weight) * 1.5 * ratio + weight)
    answer = ValueModel(trees, 1.5, weight, 1e6).value_if_ordered(inputs, process_value)
    assert answer == pytest.approx(expected)
    assert ratio[:2] == pytest.approx([2.0, 0.5], rel=0.05)


@given(process_value=money, weight=st.floats(0.0, 1.0))
def test_bounds(trees: Trees, process_value: Vector, weight: float) -> None:
    """What is learned never goes beyond the highest value that training saw, nor below 0."""
    inputs = np.ones((process_value.size, 1))
    answer = ValueModel(trees, 3.0, weight, 50.0).value_if_ordered(inputs, process_value)
    assert (answer > 0.0).all()
    assert (answer <= ((1.0 - weight) * 50.0 + weight * process_value) * (1.0 + 1e-12)).all()


def test_one_row(trees: Trees) -> None:
    """A customer asked alone is answered as in the batch."""
    inputs, process_value = np.linspace(-1.0, 1.0, 30)[:, None], np.linspace(5.0, 50.0, 30)
    value = ValueModel(trees, 1.2, 0.3, 40.0)
    alone = [value.value_if_ordered(inputs[i : i + 1], process_value[i : i + 1])[0] for i in range(30)]
    assert np.array_equal(value.value_if_ordered(inputs, process_value), alone)


def test_round_trip(trees: Trees) -> None:
    """A value model survives its own JSON values, with trees and without."""
    for value in (ValueModel(trees, 1.2, 0.3, 40.0), ValueModel.of_process()):
        assert ValueModel.from_dict(value.to_dict(), value.trees) == value


@pytest.mark.parametrize(
    "change", [{"scale": 0.0}, {"scale": np.nan}, {"process_weight": 1.1}, {"cap": -1.0}, {"cap": None}]
)
def test_refused(trees: Trees, change: dict[str, float | None]) -> None:
    """Parameters that would answer nonsense are refused."""
    sound = ValueModel(trees, 1.2, 0.3, 40.0)
    with pytest.raises(ValueError, match="of the value model"):
        ValueModel.from_dict(sound.to_dict() | change, trees)


def test_other_trees(trees: Trees) -> None:
    """Trees that answer a probability are no trees of value, and a value's trees need their cap."""
    rows = np.random.default_rng(7).normal(size=(N, 2))
    churn = fit_trees(rows, (rows[:, 0] > 0).astype(np.int64), names=("one", "two"), n_classes=2, seed=1)
    assert (churn.is_regression, trees.is_regression) == (False, True)
    with pytest.raises(ValueError, match="answer no numbers"):
        replace(ValueModel(trees, 1.0, 0.0, 1.0), trees=churn)
    with pytest.raises(ValueError, match="do not come together"):
        ValueModel(None, 1.0, 1.0, 1.0)
