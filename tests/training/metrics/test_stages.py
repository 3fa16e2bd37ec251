"""The ranked probability score: by hand, its two-class case, and where it is undefined."""

import math

import numpy as np
import pytest
from hypothesis import given

from tests.training.metrics.cases import Rows, cases, split
from training import metrics


def test_by_hand() -> None:
    """Three classes: certain and right is 0, certain and as wrong as can be is 1, one class off is half of that."""
    p = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.2, 0.5, 0.3]])
    scores = metrics.ranked_probability_scores(np.array([1, 0, 0, 2]), p)
    assert scores.tolist() == pytest.approx([0.0, 1.0, 0.5, (0.2**2 + 0.7**2) / 2])
    assert metrics.ranked_probability_score(np.array([1, 0, 0, 2]), p) == pytest.approx(scores.mean())


@given(cases)
def test_two_classes(rows: Rows) -> None:
    """Of two classes it is the Brier score."""
    y, tenths = split(rows)
    p = np.column_stack([1 - tenths / 10, tenths / 10])
    assert metrics.ranked_probability_score(y, p) == pytest.approx(metrics.brier(y, tenths / 10), abs=1e-12)


def test_reversed() -> None:
    """Counting the classes from the other end changes nothing; putting them in another order does."""
    rng = np.random.default_rng(2)
    y, p = rng.integers(0, 4, 50), rng.dirichlet(np.ones(4), 50)
    score = metrics.ranked_probability_score(y, p)
    assert metrics.ranked_probability_score(3 - y, p[:, ::-1]) == pytest.approx(score)
    other = np.array([2, 0, 3, 1])
    assert metrics.ranked_probability_score(np.argsort(other)[y], p[:, other]) != pytest.approx(score)


def test_undefined() -> None:
    """Of one class there is nothing to rank, and of nobody no mean."""
    assert math.isnan(metrics.ranked_probability_score(np.zeros(3), np.ones((3, 1))))
    assert math.isnan(metrics.ranked_probability_score(np.zeros(0), np.ones((0, 3))))
