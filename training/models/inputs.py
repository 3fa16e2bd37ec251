"""What the learned models see of a customer: the features, the stage, and nothing else."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from features.lifecycle.stages import STAGES
from features.table import FEATURE_NAMES
from training.models.summary import YEAR_DAYS, PurchaseSummary

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


def mean_order_value(table: pl.DataFrame) -> float:
    """Return the mean value of all order days of a customer table, 0 where it is empty or nothing was paid."""
    n_order_days = float(table["frequency"].sum()) + table.height
    return max(float(table["historic_value"].sum()), 0.0) / max(n_order_days, 1.0)


def purchase_summary(table: pl.DataFrame) -> PurchaseSummary:
    """Return the sufficient statistics of the purchase models, one element per customer."""
    names = ("frequency", "recency_days", "T_days", "monetary_value")
    return PurchaseSummary(**{name: table[name].fill_null(0.0).to_numpy() for name in names}, year_day=_year_day(table))


def _year_day(table: pl.DataFrame) -> npt.NDArray[np.float64] | None:
    """Return the place of the cutoff in the year, (n,); None where the table does not tell the day."""
    if "last_day" not in table.columns:
        return None
    silence = table["T_days"].to_numpy() - table["recency_days"].fill_null(0.0).to_numpy()
    return np.asarray(np.mod(table["last_day"].to_numpy() + silence, YEAR_DAYS))
