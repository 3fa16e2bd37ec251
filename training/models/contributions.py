"""Contributions: what each input of the model adds to a customer's probability of churn.

The trees' log-odds are shared out among their inputs by Shapley values (Lundberg & Lee 2017, A unified approach to
interpreting model predictions, eq. 8), computed exactly from the trees (Lundberg et al. 2020, From local explanations
to global understanding with explainable AI for trees, TreeSHAP), and turned into points of probability. What an input
adds for the active customers on average is taken off, so that the base is their mean probability of churn.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from training.models.churn import ChurnModel, pool
from training.models.lifecycle import LifecycleModel, Seen
from training.models.reference import Reference
from training.models.themes import THEMES, themes_of

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

_MAX_DRAWN = 20_000
_NO_STEP = 1e-6  # so short a step that its ratio is taken at its limit


@dataclass(frozen=True, slots=True)
class Contributions:
    """What each input adds to the probability of churn, in probability: `base` + the sum of a row is `p_churn`.

    Attributes:
        values: Shape (n, n_inputs + 1), columns as `input_names`; the last is the purchase process, in the pool and as
            the trees read it.
        base: The probability that they start from, one for all customers: the mean of the active at training.
        p_churn: Shape (n,).
    """

    values: Matrix
    base: float
    p_churn: Vector


def churn_contributions(model: LifecycleModel, table: pl.DataFrame, reference: Reference) -> Contributions:
    """Share out the probability of churn among the inputs of the model and its purchase process.

    The trees' step from their base b to the customer's log-odds a moves their opinion from σ(b) to σ(a): each input has
    its Shapley value φ times (σ(a) − σ(b)) ÷ (a − b) of it. The pool weighs that, and the process's distance from its
    mean; and what the pool's calibration makes of the whole distance, it makes of each part. Of each, the mean part of
    the active customers is taken off.
    """
    return share_out(model, model.see(table), reference)


def drivers_by_theme(model: LifecycleModel, table: pl.DataFrame, reference: Reference) -> dict[str, float]:
    """Return how far each theme moves the probability of churn on average, in probability, greatest first.

    Args:
        model: Which.
        table: A customer table; of a large one, customers drawn at random stand for all.
        reference: Of the model.
    """
    effects = merge_by_theme(churn_contributions(model, draw(table), reference), model)
    merged = np.abs(effects).mean(axis=0)
    known = zip(THEMES, merged.tolist(), strict=True)
    return {theme: round(mean, 6) for theme, mean in sorted(known, key=lambda pair: -pair[1]) if mean > 0.0}


def merge_by_theme(contributions: Contributions, model: LifecycleModel) -> Matrix:
    """Add up contributions by theme, shape (n, n_themes), columns as `THEMES`."""
    values = contributions.values
    merged = np.zeros((values.shape[0], len(THEMES)))
    for column, theme in enumerate(themes_of(model.inputs)):  # one order of sums for one row and many
        merged[:, THEMES.index(theme)] += values[:, column]
    return merged


def share_out(model: LifecycleModel, seen: Seen, reference: Reference) -> Contributions:
    """Share out what a model says of what it sees; see `churn_contributions`."""
    parts = share_out_from(reference.p_no_order, model.churn, seen)
    means = reference.means(model.inputs)
    return Contributions(parts.values - means, parts.base + float(means.sum()), parts.p_churn)


def share_out_from(p_no_order: float, churn: ChurnModel, seen: Seen) -> Contributions:
    """Share out what a churn model says of what it sees, from what the trees and this P(no order) say on average."""
    inputs, process, p_churn = seen.inputs, seen.process, seen.p_churn
    values = np.zeros((inputs.shape[0], inputs.shape[1] + 1))
    distance = process[:, 0] - p_no_order
    if churn.trees is None:
        values[:, -1] = distance
        return Contributions(values, p_no_order, p_churn)
    shares, weight = churn.trees.contributions(churn.tree_inputs(inputs, process)), churn.process_weight
    steps, start = np.cumsum(shares[:, :-1], axis=1)[:, -1], shares[0, -1:]
    learned, base = _sigmoid(start + steps), _sigmoid(start)
    parts = (1.0 - weight) * _ratio(learned - base, steps, limit=base * (1.0 - base))[:, None] * shares[:, :-1]
    pooled = pool(base, np.array([p_no_order]), weight)
    moved = (1.0 - weight) * (learned - base) + weight * distance
    calibrated = churn.calibrator.calibrate(pooled)
    slope = churn.calibrator.slope / np.maximum(pooled * (1.0 - pooled), _NO_STEP)
    scale = _ratio(
        churn.calibrator.calibrate(pooled + moved) - calibrated, moved, limit=slope * calibrated * (1 - calibrated)
    )
    n_inputs = inputs.shape[1]
    values[:, :-1] = scale[:, None] * parts[:, :n_inputs]
    values[:, -1] = scale * weight * distance
    for column in range(n_inputs, parts.shape[1]):  # what the trees make of the process is the process's part
        values[:, -1] += scale * parts[:, column]
    return Contributions(values, float(calibrated[0]), p_churn)


def _ratio(moved: Vector, step: Vector, *, limit: Vector) -> Vector:
    """Return moved ÷ step, and its limit where there is hardly a step."""
    is_step = np.abs(step) > _NO_STEP
    return np.where(is_step, moved / np.where(is_step, step, 1.0), limit)


def draw(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table that is not large, or customers of it, drawn at random, the same ones each time."""
    if table.height <= _MAX_DRAWN:
        return table
    return table[np.sort(np.random.default_rng(0).choice(table.height, size=_MAX_DRAWN, replace=False))]


def _sigmoid(log_odds: Vector) -> Vector:
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))
