"""What the learned models see of a customer: the features, the stage, and nothing else."""

import numpy as np
import numpy.typing as npt
import polars as pl

from features.lifecycle.stages import STAGES
from features.table import FEATURE_NAMES
from training.models.summary import PurchaseSummary

INPUT_NAMES: tuple[str, ...] = (*FEATURE_NAMES, "stage_code", "at_risk_after_days", "lost_after_days")


def stage_codes(stages: pl.Series) -> npt.NDArray[np.int64]:
    """Return the position of each stage in `STAGES`, shape (n,)."""
    return stages.replace_strict(STAGES, range(len(STAGES)), return_dtype=pl.Int64).to_numpy()


def model_inputs(table: pl.DataFrame) -> npt.NDArray[np.float64]:
    """Return the model matrix, shape (n, len(INPUT_NAMES)), NaN where a feature is null."""
    codes = pl.Series("stage_code", stage_codes(table["stage"]))
    return table.with_columns(codes).select(pl.col(INPUT_NAMES).cast(pl.Float64)).to_numpy()


def purchase_summary(table: pl.DataFrame) -> PurchaseSummary:
    """Return the sufficient statistics of the purchase models, one element per customer."""
    columns = ("frequency", "recency_days", "T_days", "monetary_value")
    return PurchaseSummary(*(table[name].fill_null(0.0).to_numpy() for name in columns))
