"""Findings: one figure of one model on one slice of people, with how far chance could move it; as tidy frames."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from training.metrics import FloatArray, percentile_interval

_ABOUT = {"task": pl.String(), "slice": pl.String(), "model": pl.String(), "metric": pl.String()}
_FIGURES = {"value": pl.Float64(), "low": pl.Float64(), "high": pl.Float64(), "against": pl.String()}
# One row per cutoff, task, slice, model, metric and rival.
SCHEMA = pl.Schema({"cutoff": pl.String(), **_ABOUT, **_FIGURES, "n_customers": pl.Int64(), "seed_sd": pl.Float64()})
# One row per task, slice, model, metric and rival.
SUMMARY_SCHEMA = pl.Schema(
    {**_ABOUT, **_FIGURES, "n_cutoffs": pl.Int64(), "n_customers": pl.Int64(), "seed_sd": pl.Float64()}
)


class Key(NamedTuple):
    """What a figure is about; with `against` it is the model's figure minus that rival's, paired."""

    task: str
    slice: str
    model: str
    metric: str
    against: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure.

    Args:
        key: What it is about.
        value: NaN where it could not be measured.
        n_customers: Whom it was measured on.
        draws: The figure on each draw of whole customers, (n_draws,); None where none was drawn.
        seeds: The figure of the same model learned with each seed, (n_seeds,); None where it was learned once.
    """

    key: Key
    value: float
    n_customers: int
    draws: FloatArray | None = None
    seeds: FloatArray | None = None


def tabulate(findings: Iterable[Finding], *, cutoff: str) -> pl.DataFrame:
    """Lay out what was found at one cutoff; rows as `SCHEMA`, with 90 % intervals."""
    rows = [(cutoff, *_about(found), found.n_customers, _seed_sd(found)) for found in findings]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def pool(cutoffs: Iterable[Iterable[Finding]]) -> pl.DataFrame:
    """Average each figure over the cutoffs at which it could be measured; rows as `SUMMARY_SCHEMA`.

    The draws of a figure are averaged draw by draw, so that the interval is that of the mean where the same draw takes
    the same customers at every cutoff; and so are the seeds.
    """
    by_key: dict[Key, list[Finding]] = {}
    for findings in cutoffs:
        for found in findings:
            by_key.setdefault(found.key, []).append(found)
    rows = [(*_about(mean), n_cutoffs, mean.n_customers, _seed_sd(mean)) for mean, n_cutoffs in _means(by_key)]
    return pl.DataFrame(rows, schema=SUMMARY_SCHEMA, orient="row")


def _means(by_key: dict[Key, list[Finding]]) -> Iterator[tuple[Finding, int]]:
    for key, each in by_key.items():
        measured = [found for found in each if not np.isnan(found.value)]
        yield _mean(key, measured or each), len(measured)


def _mean(key: Key, each: Sequence[Finding]) -> Finding:
    return Finding(
        key,
        float(np.mean([found.value for found in each])),
        sum(found.n_customers for found in each),
        _mean_of([found.draws for found in each]),
        _mean_of([found.seeds for found in each]),
    )


def _mean_of(each: Sequence[FloatArray | None]) -> FloatArray | None:
    known = [values for values in each if values is not None]
    return np.asarray(np.mean(known, axis=0)) if len(known) == len(each) else None


def _about(found: Finding) -> tuple[Any, ...]:
    """Return the columns from task to against."""
    interval = (None, None) if found.draws is None else percentile_interval(found.draws)
    return (*found.key[:4], found.value, *interval, found.key.against)


def _seed_sd(found: Finding) -> float | None:
    """Return the standard deviation over the seeds; None where there is one seed, or one that has no figure."""
    deviation = np.nan if found.seeds is None else float(np.std(found.seeds, ddof=1))
    return None if np.isnan(deviation) else deviation
