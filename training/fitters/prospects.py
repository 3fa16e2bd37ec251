"""Count how often prospects ordered and registered, and draw rare cells towards what is common."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from features.lifecycle.prospects import ProspectRule
from features.lifecycle.stages import PROSPECT_STAGES
from training.models.prospects import N_BANDS, VISITOR_STAGES, ProspectModel, prospect_cells

Vector = npt.NDArray[np.float64]

PRIOR_PROSPECTS = 20.0


def fit_prospects(examples: Sequence[pl.DataFrame], *, rule: ProspectRule) -> ProspectModel | None:
    """Learn from prospects at the training cutoffs.

    Each cell's rate is drawn to its stage's by `PRIOR_PROSPECTS` observations of it, and the stage's likewise to the
    overall rate (empirical Bayes with a fixed prior, as in a beta-binomial model).

    Args:
        examples: One table per training cutoff, as `build_prospect_examples` returns them.
        rule: The rule behind them.

    Returns:
        None where there was no prospect at any training cutoff.
    """
    table = pl.concat(examples) if examples else pl.DataFrame()
    if table.is_empty():
        return None
    visitors = table.filter(pl.col("stage").is_in(VISITOR_STAGES))
    return ProspectModel(
        rule=rule,
        p_first_purchase=_rates(table, "is_first_purchase"),
        p_registration=_rates(visitors, "is_registration"),
        n_learned_from=table.height,
    )


def _rates(table: pl.DataFrame, outcome: str) -> Vector:
    shape = (len(PROSPECT_STAGES), N_BANDS)
    cell, y = prospect_cells(table), table[outcome].to_numpy().astype(np.float64)
    n, came = (
        np.asarray(np.bincount(cell, weights=weights, minlength=shape[0] * shape[1]), dtype=np.float64).reshape(shape)
        for weights in (np.ones_like(y), y)
    )
    overall = (came.sum() + 0.5) / (n.sum() + 1.0)  # Jeffreys (1946): half an observation of each outcome
    by_stage = _drawn(came.sum(axis=1), n.sum(axis=1), np.full(shape[0], overall))
    return _drawn(came, n, np.repeat(by_stage[:, None], shape[1], axis=1))


def _drawn(came: Vector, n: Vector, towards: Vector) -> Vector:
    return np.asarray((came + PRIOR_PROSPECTS * towards) / (n + PRIOR_PROSPECTS))
