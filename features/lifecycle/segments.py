"""RFM scores and customer sizes: quantile bins and value shares, learned once and frozen."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise, product
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from features.errors import InsufficientHistoryError
from features.settings import SegmentSettings

SIZES = ("small", "medium", "large")
_LEAST_VALUE = 1e-6  # one micro: whoever brought nothing is small

Vector = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Segments:
    """Bin edges of recency, frequency and value, and the values from which a customer is medium or large.

    Args:
        silence_edges_days: Ascending edges of `days_since_last_order`; fewer days score higher.
        frequency_edges: Ascending edges of `frequency`.
        value_edges: Ascending edges of `historic_value`.
        medium_min_value: Least historic value of a medium customer.
        large_min_value: Least historic value of a large customer.

    Raises:
        ValueError: The edges are not 1 to 8 finite ascending numbers, as many for each, or medium begins above large.
    """

    silence_edges_days: tuple[float, ...]
    frequency_edges: tuple[float, ...]
    value_edges: tuple[float, ...]
    medium_min_value: float
    large_min_value: float

    def __post_init__(self) -> None:
        edges = (self.silence_edges_days, self.frequency_edges, self.value_edges)
        if len({len(ascending) for ascending in edges}) != 1 or not 2 <= self.bins <= 9:
            raise ValueError("each of recency, frequency and value takes the same number of edges, 1 to 8")
        for ascending in (*edges, (_LEAST_VALUE, self.medium_min_value, self.large_min_value)):
            if not all(map(math.isfinite, ascending)) or any(low > high for low, high in pairwise(ascending)):
                raise ValueError("edges and least values must be finite and ascend, and least values lie above 0")

    @property
    def bins(self) -> int:
        """Return the number of scores, which is also the best one."""
        return len(self.silence_edges_days) + 1

    def scores(self, table: pl.DataFrame, *, silent_days: int = 0) -> IntArray:
        """Return the scores of recency, frequency and value, shape (n, 3), from 1 to `bins`.

        A value on an edge belongs to the bin below it, so customers who tie share a score.

        Args:
            table: Customer table.
            silent_days: Score as of this many days later, should no order come until then.
        """
        recency = self.recency_scores(table["days_since_last_order"].to_numpy() + silent_days)
        frequency = 1 + np.searchsorted(self.frequency_edges, table["frequency"].to_numpy(), "left")
        value = 1 + np.searchsorted(self.value_edges, table["historic_value"].to_numpy(), "left")
        return np.column_stack([recency, frequency, value]).astype(np.int64, copy=False)

    def recency_scores(self, silence_days: Vector) -> IntArray:
        """Return the scores of these silences, shape (n,)."""
        return self.bins - np.searchsorted(self.silence_edges_days, silence_days, "left").astype(np.int64, copy=False)

    def code_numbers(self, table: pl.DataFrame, *, silent_days: int = 0) -> IntArray:
        """Return the position of each customer's code in `rfm_codes(bins)`, shape (n,); arguments as `scores`."""
        return np.asarray((self.scores(table, silent_days=silent_days) - 1) @ [self.bins**2, self.bins, 1])

    def rfm(self, table: pl.DataFrame) -> list[str]:
        """Return the RFM code of each customer, such as `"543"`; the highest digit is best."""
        codes = rfm_codes(self.bins)
        return [codes[number] for number in self.code_numbers(table)]

    def size_numbers(self, table: pl.DataFrame) -> IntArray:
        """Return the position of each customer's size in `SIZES`, shape (n,)."""
        thresholds = (self.medium_min_value, self.large_min_value)
        return np.searchsorted(thresholds, table["historic_value"].to_numpy(), "right").astype(np.int64, copy=False)

    def size(self, table: pl.DataFrame) -> list[str]:
        """Return `small`, `medium` or `large` for each customer, by historic value."""
        return [SIZES[number] for number in self.size_numbers(table)]

    def thresholds(self) -> dict[str, list[dict[str, Any]]]:
        """Return what every score and size stands for, in numbers and in words, as JSON values.

        Returns:
            `recency`, `frequency` and `value`: one entry per score, best first, with `score`, `above` and `up_to` (null
            where open; equal where ties leave the score to nobody), and `words`. `size`: largest first, with `size`,
            `from`, `below` and `words`.
        """
        best_first = range(self.bins, 0, -1)
        recency = _bands(self.silence_edges_days, "days since the last order")
        frequency = _bands(self.frequency_edges, "order days after the first")[::-1]
        value = _bands(self.value_edges, "of historic value")[::-1]
        scored = {"recency": recency, "frequency": frequency, "value": value}
        named = {
            name: [{"score": s, **b} for s, b in zip(best_first, bands, strict=True)] for name, bands in scored.items()
        }
        return {**named, "size": _size_bands(self.medium_min_value, self.large_min_value)}

    def to_dict(self) -> dict[str, Any]:
        """Return the thresholds as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild segments from `to_dict`.

        Raises:
            ValueError: If the values are not thresholds.
        """
        thawed: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**thawed)


@lru_cache(maxsize=8)
def rfm_codes(bins: int) -> tuple[str, ...]:
    """Return all RFM codes in ascending order, `bins`³ of them: for 5 bins `"111"`, `"112"` … `"555"`."""
    return tuple(f"{r}{f}{m}" for r, f, m in product(range(1, bins + 1), repeat=3))


def learn_segments(table: pl.DataFrame, settings: SegmentSettings) -> Segments:
    """Learn bins and sizes from a customer table.

    Raises:
        InsufficientHistoryError: If there are no customers.
    """
    if table.is_empty():
        raise InsufficientHistoryError(
            "There are no customers to learn RFM scores and sizes from.",
            remedy="Give orders before the as-of date, or a later as-of date.",
        )
    shares = np.arange(1, settings.rfm_bins) / settings.rfm_bins
    # Whoever gave back more than they bought makes no value; their debt must not change whose value comes first.
    value = np.maximum(np.sort(table["historic_value"].to_numpy())[::-1], 0.0)
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


def _edges(column: pl.Series, shares: Vector) -> tuple[float, ...]:
    """Return the quantiles at these shares, all below the greatest value where there is a lesser one.

    The inverted distribution function (Hyndman and Fan 1996, Sample quantiles in statistical packages, definition 1)
    returns observed values only. Without the ceiling, many customers who tie at the greatest value would fall into a
    bin in the middle, and the last bins would hold nobody.
    """
    values = column.to_numpy()
    below = values[values < values.max()]
    ceiling = below.max() if below.size else values.max()
    quantiles = np.quantile(values, shares, method="inverted_cdf")
    return tuple(float(edge) for edge in np.minimum(quantiles, ceiling))


def _value_at_share(descending: Vector, share: float) -> float:
    """Return the value of the customer with whom the cumulative value reaches `share` of the whole, above 0 always."""
    cumulative = np.cumsum(descending)
    position = int(np.searchsorted(cumulative, share * cumulative[-1]))
    return max(float(descending[min(position, descending.size - 1)]), _LEAST_VALUE)


def _bands(edges: Sequence[float], unit: str) -> list[dict[str, Any]]:
    """Describe the bins between edges, lowest first."""
    return [
        {"above": above, "up_to": up_to, "words": _in_words(above, up_to, unit)}
        for above, up_to in pairwise((None, *edges, None))
    ]


def _in_words(above: float | None, up_to: float | None, unit: str) -> str:
    if above == up_to:
        return "nobody: too many customers tie"
    limits = (("more than", above), ("up to", up_to))
    return ", ".join(f"{word} {_number(limit)}" for word, limit in limits if limit is not None) + f" {unit}"


def _size_bands(medium: float, large: float) -> list[dict[str, Any]]:
    rows = (("large", large, None), ("medium", medium, large), ("small", None, medium))
    return [{"size": size, "from": low, "below": high, "words": _size_in_words(low, high)} for size, low, high in rows]


def _size_in_words(low: float | None, high: float | None) -> str:
    if low == high:
        return "nobody: too many customers tie"
    limits = (("from", low), ("below", high))
    return ", ".join(f"{word} {_number(limit)}" for word, limit in limits if limit is not None) + " of historic value"


def _number(value: float) -> str:
    """Write a number with as many decimals as it needs, six at most."""
    return f"{value:,.6f}".rstrip("0").rstrip(".")
