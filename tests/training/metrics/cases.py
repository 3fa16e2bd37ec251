"""Outcomes and scores to draw: few distinct scores, so that ties are common."""

import numpy as np
from hypothesis import strategies as st

from training.metrics import Array

Rows = list[tuple[bool, int]]
cases = st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=1, max_size=60)


def split(rows: Rows) -> tuple[Array, Array]:
    """Return outcomes (n,) of 0 and 1, and scores (n,) from 0 to 10."""
    return np.array([int(outcome) for outcome, _ in rows]), np.array([score for _, score in rows])
