"""What the learned models see of a customer: the features, the stage, and nothing else."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from features.lifecycle.stages import STAGES
from features.table import FEATURE_NAMES
from training.models.summary import PurchaseSummary

_STAGE_INPUTS = ("stage_code", "at_risk_after_days", "lost_after_days")


def features_of(table: pl.DataFrame) -> tuple[str, ...]:
    """Return the features that a customer table has, in the order of the catalogue."""
    return tuple(name for name in FEATURE_NAMES if name in table.columns)


def input_names(features: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of the model matrix of a model that was trained on these features."""
    return (*features, *_STAGE_INPUTS)


def stage_codes(stages: pl.Series) -> npt.NDArray[np.int64]:
    """Return the position of each stage in `STAGES`, shape (n,)."""
    return stages.replace_strict(STAGES, range(len(STAGES)), return_dtype=pl.Int64).to_numpy()


def model_inputs(table: pl.DataFrame, features: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the model matrix, shape (n, len(input_names(features))).

    NaN stands where a feature is null, and in the column of a feature that the table lacks.
    """
    codes = pl.Series("stage_code", stage_codes(table["stage"]))
    lacking = [pl.lit(None, pl.Float64).alias(name) for name in features if name not in table.columns]
    whole = table.with_columns(codes, *lacking)
    return whole.select(pl.col(input_names(features)).cast(pl.Float64)).to_numpy()


def purchase_summary(table: pl.DataFrame) -> PurchaseSummary:
    """Return the sufficient statistics of the purchase models, one element per customer."""
    columns = ("frequency", "recency_days", "T_days", "monetary_value")
    return PurchaseSummary(*(table[name].fill_null(0.0).to_numpy() for name in columns))
