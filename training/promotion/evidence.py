"""What a backtest says for and against a challenger, read from the evaluation that travels in a bundle."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from training.evaluation.slices import ALL
from training.evaluation.verdicts import DECIDING


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing the gate looked at.

    Args:
        holds: Whether it speaks for the challenger.
        text: In words, with the figures.
    """

    holds: bool
    text: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, over the cutoffs where it could be measured.

    Args:
        value: Its mean over them, or None where it could be measured at none.
        low: Lower bound of its 90 % interval, or None where none was drawn.
        high: Upper bound.
        n_cutoffs: At how many it was measured.
        n_customers: Over how many customers, each counted once per cutoff; None where that is not told.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n_cutoffs: int = 0
    n_customers: int | None = None

    @property
    def at_least(self) -> float:
        """How far the figure lies from 0 beyond doubt: the nearer end of its interval; its size, without one."""
        if self.low is None or self.high is None:
            return abs(self.value or 0.0)
        return max(self.low, -self.high, 0.0)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was measured of all customers.

    Args:
        figures: (task, model, metric) → figure.
        differences: (task, rival, metric) → ours minus the rival's, paired by customer.
    """

    figures: Mapping[tuple[str, str, str], Figure]
    differences: Mapping[tuple[str, str, str], Figure]

    @classmethod
    def read(cls, evaluation: Mapping[str, Any]) -> Self:
        """Read an evaluation as `training.promotion.gate.summarise` returns it."""
        means = [{**row, "value": row["mean"]} for row in evaluation["ladder"]]
        pooled = {_about(row): _figure(row) for row in evaluation.get("summary_differences", ()) if row["slice"] == ALL}
        by_cutoff = dict(_pool(evaluation.get("differences", ())))
        # Without an interval of the mean, those of the cutoffs are pooled.
        sure = {about: figure for about, figure in pooled.items() if figure.low is not None or about not in by_cutoff}
        return cls({(row["task"], row["model"], row["metric"]): _figure(row) for row in means}, {**by_cutoff, **sure})

    def value(self, task: str, model: str, metric: str) -> float | None:
        """Return a mean, or None where it was not, or could not be, measured."""
        figure = self.figures.get((task, model, metric))
        return None if figure is None else figure.value

    def of_metric(self, task: str, metric: str) -> dict[str, Figure]:
        """Return model → figure, of those that have one."""
        found = {model: f for (t, model, m), f in self.figures.items() if (t, m) == (task, metric)}
        return {model: figure for model, figure in found.items() if figure.value is not None}


def cutoffs_in_words(n_cutoffs: int) -> str:
    """Return a number of cutoffs in words."""
    return "1 cutoff" if n_cutoffs == 1 else f"{n_cutoffs} cutoffs"


def _about(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["task"], row["against"], row["metric"]


def _figure(row: Mapping[str, Any]) -> Figure:
    return Figure(row["value"], row.get("low"), row.get("high"), row.get("n_cutoffs", 0), row.get("n_customers"))


def _pool(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[tuple[str, str, str], Figure]]:
    """Pool what was measured at single cutoffs: the mean; half widths add up as independent errors do, in squares."""
    listed = [{"metric": DECIDING[row["task"]], **row} for row in rows]
    if not listed:
        return
    frame = pl.DataFrame(listed, infer_schema_length=None)
    for (task, against, metric), of_one in frame.group_by("task", "against", "metric", maintain_order=True):
        yield (str(task), str(against), str(metric)), _mean_of(of_one.filter(pl.col("value").is_not_null()))


def _mean_of(measured: pl.DataFrame) -> Figure:
    if measured.is_empty():
        return Figure(None)
    mean = float(measured["value"].to_numpy().mean())
    half = measured.select(((pl.col("high") - pl.col("low")) / 2).fill_null(0.0)).to_series().to_numpy()
    spread = float(np.sqrt(np.square(half).sum())) / measured.height
    return Figure(mean, mean - spread, mean + spread, measured.height)
