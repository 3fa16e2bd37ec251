"""Slices: the parts of the customer base that are judged on their own, so that no mean hides whom a model fails."""

import numpy as np
import numpy.typing as npt
import polars as pl

from features.lifecycle.segments import SIZES, Segments

BoolArray = npt.NDArray[np.bool_]

ALL = "all"
SLICES = {
    ALL: "everyone",
    "one_time": "customers with one order day",
    "repeat": "customers with several order days",
    "new": "customers whose first order came within one horizon before the cutoff",
    **{size: f"customers of {size} historic value" for size in SIZES},
}
MIN_CUSTOMERS = 30  # of a slice, below which its figures would be noise


def slice_customers(table: pl.DataFrame, *, segments: Segments, horizon_days: int) -> dict[str, BoolArray]:
    """Tell who is in each of `SLICES`: name → (n,), in the order of the table.

    A slice of fewer than `MIN_CUSTOMERS` is left out; everyone is always in.

    Args:
        table: Customer table at the cutoff.
        segments: Sizes, as the model learned them.
        horizon_days: First orders since the cutoff that lies one horizon back are new.
    """
    has_returned = table["frequency"].to_numpy() > 0
    size = segments.size_numbers(table)
    found = {
        "one_time": ~has_returned,
        "repeat": has_returned,
        "new": table["T_days"].to_numpy() <= horizon_days,
        **{name: size == number for number, name in enumerate(SIZES)},
    }
    large_enough = {name: inside for name, inside in found.items() if inside.sum() >= MIN_CUSTOMERS}
    return {**slice_all(table.height), **large_enough}


def slice_all(n: int) -> dict[str, BoolArray]:
    """Return the slice of everyone."""
    return {ALL: np.ones(n, dtype=np.bool_)}
