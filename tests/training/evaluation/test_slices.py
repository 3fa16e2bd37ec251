"""The slices of the customer base: who is in which."""

import polars as pl
import pytest

from features.lifecycle.segments import Segments
from training.evaluation.slices import ALL, MIN_CUSTOMERS, SLICES, slice_customers

SEGMENTS = Segments((10.0,), (0.5,), (5.0,), medium_min_value=50.0, large_min_value=100.0)
HORIZON_DAYS = 90


def table(*, n: int = 240) -> pl.DataFrame:
    """Customers of every kind, in equal parts."""
    number = pl.int_range(n, eager=True)
    value, age = pl.Series([20.0, 50.0, 99.0, 100.0]), pl.Series([90, 91, 400])
    return pl.DataFrame(
        {
            "frequency": number % 2,
            "historic_value": value.gather(number % 4),
            "T_days": age.gather(number % 3),
        }
    )


def test_parts() -> None:
    """One-time and repeat customers are everyone, each once; so are the three sizes."""
    found = slice_customers(table(), segments=SEGMENTS, horizon_days=HORIZON_DAYS)
    assert tuple(found) == tuple(SLICES)
    assert found[ALL].all()
    assert (found["one_time"] ^ found["repeat"]).all()
    assert (found["small"].astype(int) + found["medium"] + found["large"] == 1).all()


def test_bounds() -> None:
    """A first order on the day of the last cutoff is new, and a value on a limit belongs to the size above."""
    customers = table()
    found = slice_customers(customers, segments=SEGMENTS, horizon_days=HORIZON_DAYS)
    assert customers.filter(found["new"])["T_days"].unique().to_list() == [90]
    assert customers.filter(found["medium"])["historic_value"].unique().sort().to_list() == [50.0, 99.0]
    assert customers.filter(found["large"])["historic_value"].unique().to_list() == [100.0]


@pytest.mark.parametrize(("n", "is_told"), [(2 * MIN_CUSTOMERS, True), (2 * MIN_CUSTOMERS - 1, False)])
def test_small_slices(n: int, is_told: bool) -> None:
    """A slice is told from thirty customers on; everyone always is."""
    found = slice_customers(table(n=n), segments=SEGMENTS, horizon_days=HORIZON_DAYS)
    assert ("repeat" in found) == is_told
    assert slice_customers(table(n=1), segments=SEGMENTS, horizon_days=HORIZON_DAYS).keys() == {ALL}
