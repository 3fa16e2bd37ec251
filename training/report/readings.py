"""Figures of a backtest, looked up by what they are about."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from training.evaluation.findings import Key
from training.evaluation.slices import ALL
from training.evaluation.verdicts import OURS


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure: a mean over cutoffs, or of one cutoff.

    Args:
        value: Finite.
        low: Lower end of its 90 % interval; None where none was drawn.
        high: Upper end.
        n_customers: Judged, in all.
        n_cutoffs: At which it could be measured.
        seed_sd: Standard deviation over seeds; None where there is none.
    """

    value: float
    low: float | None
    high: float | None
    n_customers: int
    n_cutoffs: int
    seed_sd: float | None

    @property
    def side(self) -> int:
        """1 where the interval is above 0, −1 where it is below, 0 where it holds 0 or none was drawn."""
        return 0 if self.low is None or self.high is None else (self.low > 0) - (self.high < 0)


@dataclass(frozen=True, slots=True)
class Readings:
    """All figures of one frame.

    Args:
        by_key: Each by what it is about, in the order of the frame; None where it is undefined.
    """

    by_key: Mapping[Key, Reading | None]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Readings":
        """Read a summary, or the rows of one cutoff."""
        return cls({_key(row): _read(row) for row in frame.iter_rows(named=True)})

    def get(self, task: str, metric: str, model: str = OURS, *, within: str = ALL, against: str = "") -> Reading | None:
        """Return a figure of a model within a slice; None where there is none."""
        return self.by_key.get(Key(task, within, model, metric, against))

    def rivals(self, task: str, metric: str) -> Mapping[str, Reading | None]:
        """Return ours minus each rival on a metric, over everyone: rival → difference."""
        wanted = (task, ALL, OURS, metric)
        return {key.against: reading for key, reading in self.by_key.items() if key.against and key[:4] == wanted}

    def tasks(self) -> tuple[str, ...]:
        """Return the tasks that were judged."""
        return _distinct(key.task for key in self.by_key)

    def models(self, task: str) -> tuple[str, ...]:
        """Return who was judged on a task, in the order of the ladder."""
        return _distinct(key.model for key in self.by_key if key.task == task)

    def metrics(self, task: str) -> tuple[str, ...]:
        """Return by what a task was judged."""
        return _distinct(key.metric for key in self.by_key if key.task == task)


def _key(row: Mapping[str, Any]) -> Key:
    return Key(row["task"], row["slice"], row["model"], row["metric"], row["against"])


def _read(row: Mapping[str, Any]) -> Reading | None:
    value = _finite(row["value"])
    if value is None:
        return None
    bounds, n_cutoffs = (_finite(row["low"]), _finite(row["high"])), row.get("n_cutoffs", 1)
    return Reading(value, *bounds, row["n_customers"], n_cutoffs, _finite(row["seed_sd"]))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
