"""Classes to learn from: customers count once, and an outcome that never came is missed."""

import numpy as np
import polars as pl
import pytest

from training.fitters.classes import count_rarest, has_both

IDS = pl.Series(["a", "b", "c", "a", "d"])


@pytest.mark.parametrize(
    ("target", "n_classes", "rarest"),
    [([1, 1, 0, 1, 0], 2, 2), ([1, 1, 1, 1, 0], 2, 1), ([0, 1, 2, 0, 1], 3, 1), ([1, 1, 1, 1, 1], 2, 0)],
)
def test_count_rarest(target: list[int], n_classes: int, rarest: int) -> None:
    """Customers count once, however many rows they have; a class that nobody has makes it 0."""
    assert count_rarest(np.array(target), IDS, n_classes=n_classes) == rarest


def test_count_rarest_of_truths() -> None:
    """Outcomes may be true and false; of nobody there is no class."""
    assert count_rarest(np.array([True, False, True, True, True]), IDS, n_classes=2) == 1
    assert count_rarest(np.zeros(0, dtype=np.bool_), IDS.clear(), n_classes=2) == 0


def test_has_both() -> None:
    """Both outcomes may come from different cutoffs."""
    zeros, ones = np.zeros(3, dtype=np.int64), np.ones(2, dtype=np.int64)
    assert has_both(zeros, ones)
    assert not has_both(zeros, zeros)
    assert not has_both(ones)
    assert not has_both()
