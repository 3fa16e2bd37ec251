"""RFM scores and customer sizes: quantile bins and value shares, learned once and frozen."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from features.settings import SegmentSettings

SIZES = ("small", "medium", "large")
_LEAST_VALUE = 1e-6  # one micro: whoever brought nothing is small


@dataclass(frozen=True, slots=True)
class Segments:
    """Bin edges of recency, frequency and value, and the values from which a customer is medium or large.

    Args:
        silence_edges_days: Ascending edges of `days_since_last_order`; fewer days score higher.
        frequency_edges: Ascending edges of `frequency`.
        value_edges: Ascending edges of `historic_value`.
        medium_min_value: Least historic value of a medium customer.
        large_min_value: Least historic value of a large customer.
    """

    silence_edges_days: tuple[float, ...]
    frequency_edges: tuple[float, ...]
    value_edges: tuple[float, ...]
    medium_min_value: float
    large_min_value: float

    def rfm(self, table: pl.DataFrame) -> list[str]:
        """Return the RFM code of each customer, such as `"543"`; the highest digit is best.

        A value on an edge belongs to the bin below it, so customers who tie share a score.
        """
        best = len(self.silence_edges_days) + 1
        recency = best - np.searchsorted(self.silence_edges_days, table["days_since_last_order"].to_numpy(), "left")
        frequency = 1 + np.searchsorted(self.frequency_edges, table["frequency"].to_numpy(), "left")
        value = 1 + np.searchsorted(self.value_edges, table["historic_value"].to_numpy(), "left")
        return [f"{r}{f}{m}" for r, f, m in zip(recency, frequency, value, strict=True)]

    def size(self, table: pl.DataFrame) -> list[str]:
        """Return `small`, `medium` or `large` for each customer, by historic value."""
        thresholds = (self.medium_min_value, self.large_min_value)
        return [SIZES[i] for i in np.searchsorted(thresholds, table["historic_value"].to_numpy(), "right")]

    def to_dict(self) -> dict[str, Any]:
        """Return the thresholds as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild segments from `to_dict`."""
        thawed: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**thawed)


def learn_segments(table: pl.DataFrame, settings: SegmentSettings) -> Segments:
    """Learn bins and sizes from a customer table."""
    shares = np.arange(1, settings.rfm_bins) / settings.rfm_bins
    value = np.sort(table["historic_value"].to_numpy())[::-1]
    large, medium = (
        _value_at_share(value, share)
        for share in (settings.large_value_share, settings.large_value_share + settings.medium_value_share)
    )
    return Segments(
        silence_edges_days=_edges(table["days_since_last_order"], shares),
        frequency_edges=_edges(table["frequency"], shares),
        value_edges=_edges(table["historic_value"], shares),
        medium_min_value=medium,
        large_min_value=large,
    )


def _edges(column: pl.Series, shares: np.ndarray) -> tuple[float, ...]:
    return tuple(float(edge) for edge in np.quantile(column.to_numpy(), shares, method="inverted_cdf"))


def _value_at_share(descending: np.ndarray, share: float) -> float:
    """Return the value of the customer with whom the cumulative value reaches `share` of the whole, above 0 always."""
    cumulative = np.cumsum(descending)
    position = int(np.searchsorted(cumulative, share * cumulative[-1]))
    return max(float(descending[min(position, descending.size - 1)]), _LEAST_VALUE)
