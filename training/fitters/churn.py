"""Learn churn: trees, how far they are trusted beside the purchase process, and how sure the two may be together.

The trust and the sureness are found on time that the trees did not see: a training cutoff is held out, and trees
learned from the cutoffs whose outcomes were known by then answer for it. What moves from season to season, the level,
is not learned from it: a Christmas that came would be expected every month.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.optimize import minimize

from features.settings import TrainingSettings
from training.fitters.classes import count_rarest, has_both
from training.fitters.tree_search import Trial, search_shape
from training.fitters.trees import TreeShape, fit_churn_trees
from training.metrics import log_losses_binary
from training.models.churn import PROCESS_INPUTS, ChurnModel, ProbabilityCalibrator, logit, pool, tree_inputs
from training.models.trees import Trees

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

MAX_HELD_OUT = 3  # youngest cutoffs
PROCESS_WEIGHTS = (0.25, 0.75)  # beside the plain average
MAX_SLOPE = 2.0


@dataclass(frozen=True, slots=True)
class ChurnExamples:
    """Customers at one training cutoff. One row per customer.

    Args:
        cutoff_day: Day number.
        inputs: Model matrix (see `model_inputs`), shape (n, n_inputs).
        process: What a purchase process fitted at this cutoff says (see `process_view`), shape (n, 3); NaN where it
            had no fit.
        target: 1 where no order came within the horizon, shape (n,).
        customer_ids: Length n.
    """

    cutoff_day: int
    inputs: Matrix
    process: Matrix
    target: npt.NDArray[np.int64]
    customer_ids: pl.Series

    @property
    def is_fitted(self) -> bool:
        """Whether the purchase process had a fit."""
        return not bool(np.isnan(self.process).any())


@dataclass(frozen=True, slots=True)
class LearnedChurn:
    """A churn model, and what the search for its trees tried."""

    model: ChurnModel
    shape: TreeShape
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Opinions:
    """What trees and process said of a cutoff that the trees had not seen. Arrays of shape (n,)."""

    learned: Vector
    p_no_order: Vector
    target: npt.NDArray[np.int64]


def fit_churn(
    cutoffs: Sequence[ChurnExamples],
    *,
    names: tuple[str, ...],
    present: tuple[Matrix, Matrix],
    horizon_days: int,
    settings: TrainingSettings,
) -> LearnedChurn:
    """Learn from training cutoffs.

    Args:
        cutoffs: Youngest first.
        names: Of the inputs' columns.
        present: Inputs and process view of the customers at the cutoff at which the model must answer.
        horizon_days: Of the target.
        settings: How many customers are few, how much is searched, the seed.

    Returns:
        The process alone where the rarer outcome has fewer than `min_class_customers` customers.
    """
    rarer = _count_rarer(cutoffs)
    if rarer < settings.min_class_customers:
        return LearnedChurn(ChurnModel(trees=None, process_weight=1.0), TreeShape(), ())
    reads_process = settings.process_inputs
    seen, columns = _as_seen(cutoffs, names, reads_process=reads_process)
    splits = tuple(split_later(seen, horizon_days=horizon_days))
    shape, trials = search_shape(seen, splits, names=columns, settings=settings)
    trees = learn_trees(seen, names=columns, shape=shape, seed=settings.seed)
    weight, slope = _fit_pool(seen, splits, names=columns, shape=shape, settings=settings)
    trust = rarer / (rarer + settings.prior_customers)
    model = ChurnModel(
        trees=trees,
        process_weight=1.0 - (1.0 - weight) * trust,
        reads_process=reads_process,
    )
    return LearnedChurn(_sharpen(model, 1.0 + (slope - 1.0) * trust, present), shape, trials)


def learn_trees(cutoffs: Sequence[ChurnExamples], *, names: tuple[str, ...], shape: TreeShape, seed: int) -> Trees:
    """Learn trees from cutoffs, whose inputs are all that they see."""
    inputs, target = np.concatenate([c.inputs for c in cutoffs]), np.concatenate([c.target for c in cutoffs])
    return fit_churn_trees(inputs, target, names=names, seed=seed, shape=shape)


def regrow_churn(
    model: ChurnModel, cutoffs: Sequence[ChurnExamples], *, names: tuple[str, ...], shape: TreeShape, seed: int
) -> ChurnModel:
    """Learn the trees of a model again with another seed, and nothing else."""
    if model.trees is None:
        return model
    seen, columns = _as_seen(cutoffs, names, reads_process=model.reads_process)
    return replace(model, trees=learn_trees(seen, names=columns, shape=shape, seed=seed))


def split_later(cutoffs: Sequence[ChurnExamples], *, horizon_days: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield a cutoff to hold out, and those whose outcomes were known by then, the youngest first."""
    for held_out, later in enumerate(cutoffs[:MAX_HELD_OUT]):
        older = tuple(i for i, c in enumerate(cutoffs) if c.cutoff_day + horizon_days <= later.cutoff_day)
        if older and all(has_both(*(cutoffs[i].target for i in group)) for group in ((held_out,), older)):
            yield held_out, older


def _count_rarer(cutoffs: Sequence[ChurnExamples]) -> int:
    target, ids = np.concatenate([c.target for c in cutoffs]), pl.concat([c.customer_ids for c in cutoffs])
    return count_rarest(target, ids, n_classes=2)


def _as_seen(
    cutoffs: Sequence[ChurnExamples], names: tuple[str, ...], *, reads_process: bool
) -> tuple[tuple[ChurnExamples, ...], tuple[str, ...]]:
    """Return the cutoffs with all that trees see as their inputs, and the names of those columns."""
    seen = (replace(c, inputs=tree_inputs(c.inputs, c.process, reads_process=reads_process)) for c in cutoffs)
    return tuple(seen), (*names, *PROCESS_INPUTS) if reads_process else names


def _fit_pool(
    seen: Sequence[ChurnExamples],
    splits: Sequence[tuple[int, tuple[int, ...]]],
    *,
    names: tuple[str, ...],
    shape: TreeShape,
    settings: TrainingSettings,
) -> tuple[float, float]:
    """Return the process's weight, and the slope of the pool's log-odds; the plain average, and 1, without evidence."""
    opinions = [
        Opinions(trees.predict(later.inputs), later.process[:, 0], later.target)
        for later, trees in (
            (seen[held_out], learn_trees([seen[i] for i in older], names=names, shape=shape, seed=settings.seed))
            for held_out, older in splits
            if seen[held_out].is_fitted
        )
    ]
    weight = choose_weight(opinions, settings.process_weight)
    pools = [(logit(pool(o.learned, o.p_no_order, weight)), o.target) for o in opinions]
    return weight, fit_slope(pools)


def choose_weight(opinions: Sequence[Opinions], usual: float) -> float:
    """Choose the process's weight: the usual one, unless another is better at every cutoff held out.

    A weight that is best in one season is seldom best in the next, so one cutoff's word is not enough.
    """

    def losses(weight: float) -> Vector:
        return np.array([log_losses_binary(o.target, pool(o.learned, o.p_no_order, weight)).mean() for o in opinions])

    if len(opinions) < 2:
        return usual
    standard = losses(usual)
    gains = {usual: 0.0}
    for weight in PROCESS_WEIGHTS:
        gain = standard - losses(weight)
        if (gain > 0.0).all():
            gains[weight] = float(gain.mean())
    return max(gains, key=lambda weight: gains[weight])


def fit_slope(pools: Sequence[tuple[Vector, npt.NDArray[np.int64]]]) -> float:
    """Fit one slope of log-odds to several cutoffs, each of which has a level of its own (Cox 1958, recalibration).

    Args:
        pools: Of each cutoff: log-odds and outcome, both (n,).

    Returns:
        Between 0 and `MAX_SLOPE`; 1 where there is no cutoff.
    """
    if not pools:
        return 1.0
    centred = [(z - z.mean(), y) for z, y in pools]

    def loss(parameters: Vector) -> tuple[float, Vector]:
        value, gradient = 0.0, np.zeros_like(parameters)
        for k, (x, y) in enumerate(centred, start=1):
            z = parameters[k] + parameters[0] * x
            residual = (1.0 / (1.0 + np.exp(-z)) - y) / y.size
            value += float((np.logaddexp(0.0, z) - y * z).mean())
            gradient[0] += residual @ x
            gradient[k] = residual.sum()
        return value, gradient

    start = np.array([1.0, *(z.mean() for z, _ in pools)])
    bounds = [(0.0, MAX_SLOPE), *((None, None) for _ in pools)]
    return float(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x[0])


def _sharpen(model: ChurnModel, slope: float, present: tuple[Matrix, Matrix]) -> ChurnModel:
    """Turn the pool's log-odds about their mean at present, so that the level stays."""
    pivot = float(logit(model.p_churn(*present)).mean())
    return replace(model, calibrator=ProbabilityCalibrator(slope, pivot * (1.0 - slope)))
