"""Drawing people whole: the same people at every cutoff, in every slice, for every model."""

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import metrics
from training.evaluation.draws import PANEL, People, Roster, draw, draw_weights, weighted_aucs
from training.evaluation.slices import slice_all

SEED = 7


def ids(*numbers: int) -> pl.Series:
    """Name people."""
    return pl.Series([f"c{number}" for number in numbers], dtype=pl.String)


def test_roster() -> None:
    """Whom an older cutoff adds stands behind those who were there, and everyone is found once."""
    roster = Roster().enlist(ids(3, 1, 2)).enlist(ids(1, 5, 3, 4))
    assert roster.sizes == (3, 2)
    assert roster.find(ids(5, 3, 4, 2)).tolist() == [3, 0, 4, 2]
    assert roster.enlist(ids(2, 4)) is roster


def test_roster_of_nobody() -> None:
    """A cutoff without anyone adds no block, at the beginning or later."""
    assert Roster().enlist(ids()).sizes == ()
    assert Roster().enlist(ids(1)).enlist(ids()).sizes == (1,)


def test_block_sizes() -> None:
    """As many are drawn of each block as it holds, and what comes later changes nobody's weight before it."""
    young = list(draw_weights((50,), n_draws=4, seed=SEED))
    both = list(draw_weights((50, 9), n_draws=4, seed=SEED))
    assert [(w[:50].sum(), w[50:].sum()) for w in both] == [(50, 9)] * 4
    assert all(np.array_equal(whole[:50], first) for whole, first in zip(both, young, strict=True))
    assert not np.array_equal(young[0], young[1])


def test_means_by_hand() -> None:
    """The mean of a column over a slice is that of those drawn, each as often as drawn, on every draw."""
    rng = np.random.default_rng(3)
    columns, repeat = rng.normal(size=(40, 2)), rng.random(40) < 0.4
    slices = {**slice_all(40), "one_time": ~repeat, "repeat": repeat, "large": rng.random(40) < 0.5}
    roster = Roster().enlist(ids(*range(60))).enlist(ids(*range(60, 70)))
    people = People.among(roster, ids(*range(30, 70)), slices)
    drawn = draw(list(columns.T), people, n_draws=5, seed=SEED)
    assert drawn.means.shape == (5, 4, 2)
    for number, weights in enumerate(draw_weights((60, 10), n_draws=5, seed=SEED)):
        mine = weights[30:]
        assert drawn.weights[:, number].tolist() == mine[drawn.panel].tolist()
        for place, inside in enumerate(slices.values()):
            by_hand = np.average(columns[inside], axis=0, weights=mine[inside])
            assert drawn.means[number, place] == pytest.approx(by_hand)


def test_slices_add_up() -> None:
    """What was drawn of two parts is what was drawn of the whole: their weighted means make its mean."""
    losses, repeat = np.random.default_rng(4).normal(size=200), np.arange(200) % 3 == 0
    people = People.alone(200, {**slice_all(200), "one_time": ~repeat, "repeat": repeat})
    drawn = draw([losses, repeat.astype(np.float64)], people, n_draws=6, seed=SEED)
    share = drawn.means[:, 0, 1]
    parts = (1.0 - share) * drawn.means[:, 1, 0] + share * drawn.means[:, 2, 0]
    assert parts == pytest.approx(drawn.means[:, 0, 0])


def test_panel() -> None:
    """Of more people than the panel holds, about as many are kept, chosen once; of fewer, everyone."""
    n = 2 * PANEL
    many, few = (draw([np.zeros(size)], People.alone(size, slice_all(size)), n_draws=1, seed=SEED) for size in (n, 9))
    assert many.panel.size == pytest.approx(PANEL, rel=0.02)
    assert many.weights.shape == (many.panel.size, 1)
    assert sorted(few.panel) == list(range(9))


@st.composite
def weighted_scores(
    draw_one: st.DrawFn,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Outcomes, scores with ties, and how often each person was drawn on each of two draws."""
    n = draw_one(st.integers(2, 12))
    outcomes = draw_one(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    scores = draw_one(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    weights = draw_one(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=n, max_size=n))
    return np.array(outcomes), np.array(scores, dtype=np.float64), np.array(weights)


@given(weighted_scores())
def test_weighted_auc(case: tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]) -> None:
    """Under weights the AUC is that of everyone repeated as often as drawn, undefined where that has one class."""
    y, score, weights = case
    found = weighted_aucs(y, score, weights.astype(np.float64))
    by_hand = [metrics.auc(np.repeat(y, times), np.repeat(score, times)) for times in weights.T]
    assert found == pytest.approx(by_hand, nan_ok=True)
