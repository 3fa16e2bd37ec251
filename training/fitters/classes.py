"""Classes to learn from: how many customers tell of the rarest, and whether both outcomes came at all."""

import numpy as np
import numpy.typing as npt
import polars as pl

Target = npt.NDArray[np.int64] | npt.NDArray[np.bool_]


def count_rarest(target: Target, customer_ids: pl.Series, *, n_classes: int) -> int:
    """Count the customers of the rarest class; one customer's rows at many cutoffs count once.

    Args:
        target: Class of each row, shape (n,).
        customer_ids: Length n.
        n_classes: How many classes there should be.

    Returns:
        0 where some class has nobody.
    """
    rows = pl.DataFrame({"target": target, "customer_id": customer_ids})
    counts = rows.group_by("target").agg(pl.col("customer_id").n_unique())["customer_id"].to_list()
    return min(counts, default=0) if len(counts) == n_classes else 0


def has_both(*targets: npt.NDArray[np.int64]) -> bool:
    """Tell whether outcomes of 0 and 1, of shape (n,) each, hold both."""
    return 0 < sum(int(target.sum()) for target in targets) < sum(target.size for target in targets)
