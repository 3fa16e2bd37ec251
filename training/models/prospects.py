"""Prospects: will they order for the first time, will they register; shrunken rates by stage and last sight."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from features.lifecycle.prospects import ProspectRule
from features.lifecycle.stages import PROSPECT_STAGES

Vector = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

SEEN_EDGES_DAYS = (7, 30, 90, 365)
N_BANDS = len(SEEN_EDGES_DAYS) + 1
VISITOR_STAGES = ("reached", "new_visitor", "returning_visitor")


@dataclass(frozen=True, slots=True)
class ProspectModel:
    """P(first purchase) and P(registration) within the horizon.

    Args:
        rule: Frozen rule of the stages.
        p_first_purchase: Shape (n_prospect_stages, n_bands): rows as `PROSPECT_STAGES`, columns the bands of days since
            last seen that `SEEN_EDGES_DAYS` part, an edge belonging to the band below it.
        p_registration: The same; read for visitors alone, everybody else is registered or known.
        n_learned_from: Prospects, at all training cutoffs, that the rates were counted over.
    """

    rule: ProspectRule
    p_first_purchase: Vector
    p_registration: Vector
    n_learned_from: int

    def predict(self, prospects: pl.DataFrame) -> pl.DataFrame:
        """Add `p_first_purchase` and `p_registration` (null where registered or known) to a table of prospects."""
        cell = prospect_cells(prospects)
        is_open = prospects["stage"].is_in(VISITOR_STAGES)
        registration = pl.Series("p_registration", self.p_registration.ravel()[cell])
        return prospects.with_columns(
            p_first_purchase=pl.Series(self.p_first_purchase.ravel()[cell], dtype=pl.Float64),
            p_registration=registration.set(~is_open, None),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as JSON values."""
        return {
            "rule": self.rule.to_dict(),
            "p_first_purchase": self.p_first_purchase.tolist(),
            "p_registration": self.p_registration.tolist(),
            "n_learned_from": self.n_learned_from,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild a model from `to_dict`.

        Raises:
            ValueError: If a table has another shape, or holds what is no probability.
        """
        return cls(
            rule=ProspectRule.from_dict(values["rule"]),
            p_first_purchase=_probabilities(values["p_first_purchase"]),
            p_registration=_probabilities(values["p_registration"]),
            n_learned_from=int(values["n_learned_from"]),
        )


def prospect_cells(prospects: pl.DataFrame) -> Codes:
    """Return the cell of each prospect, stage by stage and within it band by band, shape (n,)."""
    stage = prospects["stage"].replace_strict(PROSPECT_STAGES, range(len(PROSPECT_STAGES)), return_dtype=pl.Int64)
    band = np.searchsorted(SEEN_EDGES_DAYS, prospects["days_since_last_seen"].to_numpy(), "left")
    return np.asarray(stage.to_numpy() * N_BANDS + band)


def _probabilities(rows: list[list[float]]) -> Vector:
    table = np.array(rows, dtype=np.float64)
    if table.shape != (len(PROSPECT_STAGES), N_BANDS) or not ((table >= 0) & (table <= 1)).all():
        raise ValueError("the rates of prospects are no table of probabilities")
    return table
