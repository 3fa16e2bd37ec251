"""The purchase summary: what it refuses, and how it groups equal customers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.models.summary import PurchaseSummary, find_cells


def _build(**changed: list[float]) -> PurchaseSummary:
    columns = {
        "frequency": [0.0, 2.0],
        "recency_days": [0.0, 30.0],
        "T_days": [5.0, 60.0],
        "monetary_value": [0.0, 9.5],
    } | changed
    return PurchaseSummary(**{name: np.array(values) for name, values in columns.items()})


def test_length() -> None:
    """A summary is as long as its customers, and selecting rows keeps their statistics together."""
    summary = _build()
    assert len(summary) == 2
    assert summary.take(np.array([1])).monetary_value.tolist() == [9.5]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"frequency": [0.0, -1.0]}, "whole numbers"),
        ({"frequency": [0.0, 1.5]}, "whole numbers"),
        ({"frequency": [0.0, np.nan]}, "not finite"),
        ({"recency_days": [0.0, 61.0]}, "below recency_days"),
        ({"recency_days": [1.0, 30.0]}, "must be 0 where frequency is 0"),
        ({"recency_days": [0.0, 0.0]}, "must be 0 where frequency is 0"),
        ({"monetary_value": [3.0, 9.5]}, "monetary_value must be 0"),
        ({"T_days": [5.0]}, "shape"),
    ],
)
def test_refusals(changed: dict[str, list[float]], message: str) -> None:
    """Statistics that no order log can give are refused by name."""
    with pytest.raises(ValueError, match=message):
        _build(**changed)


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, 7.0]), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 10**12)),
        min_size=0,
        max_size=40,
    )
)
def test_cells(rows: list[tuple[float, float, int]]) -> None:
    """Cells are the distinct rows, each stands for its members, and their counts add up."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    cells = find_cells(*table.T)
    assert len(cells.first) == len(set(rows))
    assert np.array_equal(table[cells.first][cells.inverse], table)
    assert cells.counts.sum() == len(rows)
