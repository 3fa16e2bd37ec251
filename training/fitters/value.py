"""Learn what those who order are worth, and keep it only where customers it has not seen say that it is better.

A customer's rows at many cutoffs resemble each other, so customers are held out whole: trees that saw none of a
customer's rows say what they would be worth, and that decides on the scale, and on the blend. Then the youngest cutoff
is held out, and the process gets at least the weight that is best there.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from features.settings import Settings, TrainingSettings
from training.fitters.trees import N_FOLDS, customer_folds, fit_regression_trees
from training.metrics import tweedie_deviances
from training.models.trees import Trees
from training.models.value import ValueModel, value_inputs

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

PROCESS_WEIGHTS = (0.0, 0.25, 0.5, 0.75)  # and 1, the process alone, which must be beaten
BEYOND_NOISE = 1.645  # standard errors: the one-sided 95 % point of a normal distribution
MAX_LOG_RATIO = 2.5  # either way of the median: twelve times, so that no one order moves the whole shop
MIN_VALUE_SHARE = 0.01  # of the mean: a free order has no logarithm
MIN_LEAF_ROWS_PER_CUTOFF = 10


@dataclass(frozen=True, slots=True)
class _Orderers:
    """Examples that ordered within the horizon. One element per customer and training cutoff.

    Args:
        inputs: What the trees see (see `value_inputs`), shape (n, n_names).
        value: What they brought within the horizon, in currency units, shape (n,).
        process_value: What the purchase process had expected of them, shape (n,).
        customer_ids: Length n.
        cutoffs: Number of the training cutoff, shape (n,).
    """

    inputs: Matrix
    value: Vector
    process_value: Vector
    customer_ids: pl.Series
    cutoffs: npt.NDArray[np.int64]

    def take(self, rows: Mask) -> "_Orderers":
        return _Orderers(
            self.inputs[rows],
            self.value[rows],
            self.process_value[rows],
            self.customer_ids.filter(pl.Series(rows)),
            self.cutoffs[rows],
        )

    def count_customers(self) -> int:
        return self.customer_ids.n_unique()

    def expect(self, trees: Trees) -> Vector:
        """Return what trees make of what the process had expected, without scale."""
        return self.process_value * np.exp(trees.predict(self.inputs))

    def losses(self, learned: Vector, process_weight: float) -> Vector:
        """Return the deviance of each blend of what was learned and the process."""
        blend = (1.0 - process_weight) * learned + process_weight * self.process_value
        return tweedie_deviances(self.value, blend)

    def bound(self) -> "_Orderers":
        """Bring each value within `MAX_LOG_RATIO` of what is usual among them, given what was expected of it."""
        lowest = MIN_VALUE_SHARE * self.value.mean()
        ratio = np.log(np.maximum(self.value, lowest) / self.process_value)
        middle = np.median(ratio)
        kept = np.clip(ratio, middle - MAX_LOG_RATIO, middle + MAX_LOG_RATIO)
        return replace(self, value=self.process_value * np.exp(kept))


def fit_value(
    inputs: Matrix,
    names: tuple[str, ...],
    customer_ids: pl.Series,
    labels: pl.DataFrame,
    process_value: Vector,
    *,
    settings: Settings,
    cutoffs: npt.NDArray[np.int64],
) -> ValueModel:
    """Learn from those who ordered after the training cutoffs.

    The result does not depend on the unit of money: what is learned is a ratio of values, and what decides is a gain
    against its own spread.

    Args:
        inputs: Model matrix (see `model_inputs`), shape (n, len(names)).
        names: Of its columns.
        customer_ids: One per row; a customer has a row at each training cutoff.
        labels: `is_churned` and `value`, row for row.
        process_value: The purchase process's expected value within the horizon given at least one order, shape (n,).
        settings: Seed, and how many customers are few.
        cutoffs: Number of each row's training cutoff, shape (n,).

    Returns:
        The process alone where fewer than `min_class_customers` ordered, or where it was not beaten beyond noise.

    Raises:
        ValueError: If a process value is not finite and above 0.
    """
    orderers = _orderers(inputs, customer_ids, labels, process_value, cutoffs)
    fewest = max(settings.training.min_class_customers, N_FOLDS)
    if orderers.count_customers() < fewest or not orderers.value.sum() > 0.0:
        return ValueModel.of_process()
    return _fit(orderers, names=(*names, "process_value"), settings=settings.training)


def regrow_value(
    model: ValueModel,
    inputs: Matrix,
    *,
    names: tuple[str, ...],
    customer_ids: pl.Series,
    labels: pl.DataFrame,
    process_value: Vector,
    seed: int,
    cutoffs: npt.NDArray[np.int64],
) -> ValueModel:
    """Learn the trees of a model again with another seed, and nothing else; arguments as `fit_value`."""
    if model.trees is None:
        return model
    bounded = _orderers(inputs, customer_ids, labels, process_value, cutoffs).bound()
    return replace(model, trees=_fit_trees(bounded, names=(*names, "process_value"), seed=seed))


def _orderers(
    inputs: Matrix,
    customer_ids: pl.Series,
    labels: pl.DataFrame,
    process_value: Vector,
    cutoffs: npt.NDArray[np.int64],
) -> _Orderers:
    if not bool((np.isfinite(process_value) & (process_value > 0.0)).all()):
        raise ValueError("process_value must be finite and above 0 for every row.")
    everyone = _Orderers(
        value_inputs(inputs, process_value), labels["value"].to_numpy(), process_value, customer_ids, cutoffs
    )
    return everyone.take(~labels["is_churned"].to_numpy())


def _fit(orderers: _Orderers, *, names: tuple[str, ...], settings: TrainingSettings) -> ValueModel:
    prior, n, cap = settings.prior_customers, orderers.count_customers(), float(orderers.value.max())
    bounded = orderers.bound()
    held_out = _predict_held_out(bounded, names=names, seed=settings.seed)
    scale = _fit_scale(bounded, held_out, prior_customers=prior)
    weight = _choose_weight(bounded, np.minimum(cap, scale * held_out))
    if weight < 1.0:
        weight = max(weight, _weigh_later(bounded, names=names, cap=cap, settings=settings))
    if weight == 1.0:
        return ValueModel.of_process()
    return ValueModel(
        trees=_fit_trees(bounded, names=names, seed=settings.seed),
        scale=scale,
        process_weight=1.0 - (1.0 - weight) * n / (n + prior),
        cap=cap,
    )


def _predict_held_out(orderers: _Orderers, *, names: tuple[str, ...], seed: int) -> Vector:
    """Predict every row, without scale, by trees that saw none of its customer's rows."""
    fold, predicted = customer_folds(orderers.customer_ids, seed=seed), np.empty(orderers.value.size)
    for number in range(N_FOLDS):
        held_out = fold == number
        trees = _fit_trees(orderers.take(~held_out), names=names, seed=seed)
        predicted[held_out] = orderers.take(held_out).expect(trees)
    return predicted


def _fit_trees(orderers: _Orderers, *, names: tuple[str, ...], seed: int) -> Trees:
    """Learn log ratios, weighted by the root of what was expected, because money counts.

    A leaf takes more rows where there are more cutoffs: one customer at many of them is still one.
    """
    return fit_regression_trees(
        orderers.inputs,
        np.log(orderers.value / orderers.process_value),
        np.sqrt(orderers.process_value / orderers.process_value.mean()),
        names=names,
        seed=seed,
        min_leaf=MIN_LEAF_ROWS_PER_CUTOFF * np.unique(orderers.cutoffs).size,
    )


def _fit_scale(orderers: _Orderers, predicted: Vector, *, prior_customers: int) -> float:
    """Make totals agree; where few ordered, with what the process expected of them rather than with what came."""
    n = orderers.count_customers()
    total = (n * orderers.value.sum() + prior_customers * orderers.process_value.sum()) / (n + prior_customers)
    return float(total / predicted.sum())


def _weigh_later(orderers: _Orderers, *, names: tuple[str, ...], cap: float, settings: TrainingSettings) -> float:
    """Choose the blend that is best at the youngest cutoff, learned from the others; a half where there are none.

    Customers held out share their season with those that were learned from, and what a season does looks like skill.
    """
    is_youngest = orderers.cutoffs == orderers.cutoffs.min()
    if is_youngest.all() or not orderers.value[is_youngest].sum() > 0.0:
        return 0.5
    before, later = orderers.take(~is_youngest), orderers.take(is_youngest)
    trees = _fit_trees(before, names=names, seed=settings.seed)
    scale = _fit_scale(before, before.expect(trees), prior_customers=settings.prior_customers)
    learned = np.minimum(cap, scale * later.expect(trees))
    losses = {weight: float(later.losses(learned, weight).mean()) for weight in (*PROCESS_WEIGHTS, 1.0)}
    return min(losses, key=lambda weight: losses[weight])


def _choose_weight(orderers: _Orderers, learned: Vector) -> float:
    """Choose the blend that gains most on the process, of those whose gain is no chance; 1 where there is none.

    Losses are Tweedie deviances of power 1.5, proper for the mean (Jørgensen 1987, Exponential dispersion models);
    a gain is summed over each customer's rows, and judged by its spread over customers.
    """
    _, customer = np.unique(orderers.customer_ids.to_numpy(), return_inverse=True)
    of_process, gains = orderers.losses(learned, 1.0), {1.0: 0.0}
    for weight in PROCESS_WEIGHTS:
        gain = np.bincount(customer, weights=of_process - orderers.losses(learned, weight))
        if gain.sum() > BEYOND_NOISE * gain.std() * np.sqrt(gain.size):
            gains[weight] = float(gain.sum())
    return max(gains, key=lambda weight: gains[weight])
