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
    """Return the position of each stage in `STAGES`, shape (n,).

    Raises:
        ValueError: If there is another stage among them.
    """
    codes = np.full(len(stages), -1, dtype=np.int64)
    for code, stage in enumerate(STAGES if stages.null_count() == 0 else ()):
        codes[(stages == stage).to_numpy()] = code
    if codes.min(initial=0) < 0:
        raise ValueError("there are stages that are none")
    return codes


def read_stage_codes(inputs: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the stage codes that a model matrix holds, shape (n,)."""
    return inputs[:, -len(_STAGE_INPUTS)].astype(np.int64)


def model_inputs(table: pl.DataFrame, features: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the model matrix, shape (n, len(input_names(features))).

    NaN stands where a feature is null, and in the column of a feature that the table lacks.
    """
    inputs = np.full((table.height, len(features) + len(_STAGE_INPUTS)), np.nan)
    columns = set(table.columns)
    present = [i for i, name in enumerate(features) if name in columns]
    inputs[:, present] = table[[features[i] for i in present]].to_numpy()
    inputs[:, len(features)] = stage_codes(table["stage"])
    for place, name in enumerate(_STAGE_INPUTS[1:], start=len(features) + 1):
        inputs[:, place] = table[name].to_numpy()
    return inputs


def mean_order_value(table: pl.DataFrame) -> float:
    """Return the mean value of all order days of a customer table, 0 where it is empty or nothing was paid."""
    n_order_days = float(table["frequency"].sum()) + table.height
    return max(float(table["historic_value"].sum()), 0.0) / max(n_order_days, 1.0)


def purchase_summary(table: pl.DataFrame) -> PurchaseSummary:
    """Return the sufficient statistics of the purchase models, one element per customer."""
    names = ("frequency", "recency_days", "T_days", "monetary_value")
    frequency, recency, age, value = np.nan_to_num([table[name].to_numpy() for name in names])
    return PurchaseSummary(frequency, recency, age, value, year_day=_year_day(table, recency_days=recency))


def _year_day(table: pl.DataFrame, *, recency_days: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """Return the place of the cutoff in the year, (n,); None where the table does not tell the day."""
    if "last_day" not in table.columns:
        return None
    silence = table["T_days"].to_numpy() - recency_days
    return np.asarray(np.mod(table["last_day"].to_numpy() + silence, YEAR_DAYS))
