"""A bounded search for the shape of the churn trees, inside the training cutoffs: nothing of the test is seen.

Every shape answers for what it has not learned from: the youngest cutoff, where the outcomes of older ones were known
by then, and otherwise customers held out whole. The usual shape stays unless another is better beyond noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import norm
from sklearn.model_selection import ParameterSampler

from features.settings import TrainingSettings
from training.fitters.classes import has_both
from training.fitters.trees import TreeShape, customer_folds, fit_churn_trees
from training.metrics import log_losses_binary

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

# Rounds and learning rate come together: either alone only trades time for the other.
SPACE: dict[str, list[Any]] = {
    "pace": [(60, 0.10), (150, 0.05), (300, 0.025)],
    "num_leaves": [3, 7, 15, 31],
    "feature_fraction": [0.3, 0.5, 0.8],
    "lambda_l2": [1.0, 10.0, 100.0],
    "min_leaf_share": [0.001, 0.005, 0.02],
    "extra_trees": [True, False],
}
MAX_ROWS = 20_000  # to learn from, and to judge on
ERROR_RATE = 0.05  # chance that any shape is taken where none is better: shared among the trials (Dunn 1961)


class Cutoff(Protocol):
    """What the search needs of a training cutoff."""

    @property
    def inputs(self) -> Matrix:
        """All that the trees see, shape (n, n_columns)."""

    @property
    def target(self) -> npt.NDArray[np.int64]:
        """0 or 1, shape (n,)."""

    @property
    def customer_ids(self) -> pl.Series:
        """Length n."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One shape that was tried.

    Args:
        shape: Which.
        log_loss: Its mean on what it had not learned from.
        gain: How much less than that of the usual shape.
        gain_error: Standard error of the gain, paired by row.
        is_chosen: Whether it was taken.
    """

    shape: TreeShape
    log_loss: float
    gain: float
    gain_error: float
    is_chosen: bool = False

    def to_record(self) -> dict[str, Any]:
        """Return the trial as flat JSON values."""
        return {
            **asdict(self.shape),
            "log_loss": self.log_loss,
            "gain": self.gain,
            "gain_error": self.gain_error,
            "is_chosen": self.is_chosen,
        }


@dataclass(frozen=True, slots=True)
class _Rows:
    inputs: Matrix
    target: npt.NDArray[np.int64]

    def draw(self, rng: np.random.Generator) -> _Rows:
        if self.target.size <= MAX_ROWS:
            return self
        rows = np.sort(rng.choice(self.target.size, size=MAX_ROWS, replace=False))
        return _Rows(self.inputs[rows], self.target[rows])


def search_shape(
    cutoffs: Sequence[Cutoff],
    splits: Sequence[tuple[int, tuple[int, ...]]],
    *,
    names: tuple[str, ...],
    settings: TrainingSettings,
) -> tuple[TreeShape, tuple[Trial, ...]]:
    """Choose a shape.

    Args:
        cutoffs: Training cutoffs, the youngest first.
        splits: A cutoff to hold out and the older ones to learn from; the first is used.
        names: Of the inputs' columns.
        settings: `search_trials`, how many shapes are tried beside the usual one; the seed.

    Returns:
        The shape, and all trials, the usual shape first; none where nothing was to be tried.
    """
    usual = TreeShape()
    if settings.search_trials == 0:
        return usual, ()
    learn, judge = _part(cutoffs, splits, seed=settings.seed)
    if not (has_both(learn.target) and has_both(judge.target)):
        return usual, ()
    shapes = (usual, *_draw_shapes(settings.search_trials, seed=settings.seed))
    losses = [_lose(shape, learn, judge, names=names, seed=settings.seed) for shape in shapes]
    trials = [_try(shape, loss, losses[0]) for shape, loss in zip(shapes, losses, strict=True)]
    best = max(range(len(trials)), key=lambda i: trials[i].gain)
    beyond_noise = float(norm.isf(ERROR_RATE / settings.search_trials)) * trials[best].gain_error
    chosen = best if trials[best].gain > beyond_noise else 0
    marked = (Trial(t.shape, t.log_loss, t.gain, t.gain_error, i == chosen) for i, t in enumerate(trials))
    return trials[chosen].shape, tuple(marked)


def _part(
    cutoffs: Sequence[Cutoff], splits: Sequence[tuple[int, tuple[int, ...]]], *, seed: int
) -> tuple[_Rows, _Rows]:
    """Part the rows into those to learn from and those to judge on."""
    rng = np.random.default_rng(seed)
    if splits:
        held_out, older = splits[0]
        return _join([cutoffs[i] for i in older]).draw(rng), _join([cutoffs[held_out]]).draw(rng)
    whole = _join(cutoffs)
    is_held_out = customer_folds(pl.concat([c.customer_ids for c in cutoffs]), seed=seed) == 0
    parts = (_Rows(whole.inputs[rows], whole.target[rows]) for rows in (~is_held_out, is_held_out))
    learn, judge = (part.draw(rng) for part in parts)
    return learn, judge


def _join(cutoffs: Sequence[Cutoff]) -> _Rows:
    return _Rows(np.concatenate([c.inputs for c in cutoffs]), np.concatenate([c.target for c in cutoffs]))


def _draw_shapes(n: int, *, seed: int) -> list[TreeShape]:
    drawn = ParameterSampler(SPACE, n_iter=n, random_state=seed)
    shapes = []
    for values in drawn:
        (rounds, learning_rate), rest = values["pace"], {k: v for k, v in values.items() if k != "pace"}
        shapes.append(TreeShape(rounds=rounds, learning_rate=learning_rate, **rest))
    return shapes


def _lose(shape: TreeShape, learn: _Rows, judge: _Rows, *, names: tuple[str, ...], seed: int) -> Vector:
    trees = fit_churn_trees(learn.inputs, learn.target, names=names, seed=seed, shape=shape)
    return log_losses_binary(judge.target, trees.predict(judge.inputs))


def _try(shape: TreeShape, losses: Vector, usual: Vector) -> Trial:
    gains = usual - losses
    return Trial(shape, float(losses.mean()), float(gains.mean()), float(gains.std() / np.sqrt(gains.size)))
