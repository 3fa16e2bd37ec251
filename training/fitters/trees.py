"""Boosted trees, learned the same way twice: fixed seed, fixed order of sums."""

from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import polars as pl

from training.models.trees import Trees

N_FOLDS = 3
_ROUNDS = {"binary": 80, "multiclass": 50, "regression": 150}
_PARAMETERS: dict[str, Any] = {
    "learning_rate": 0.07,
    "num_leaves": 15,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
_REGRESSION: dict[str, Any] = {
    "objective": "regression",
    "learning_rate": 0.05,
    "num_leaves": 7,
    "feature_fraction": 0.8,
}
_MIN_LEAF_SHARE = 0.001
_MIN_LEAF_ROWS = 20


def fit_trees(
    inputs: npt.NDArray[np.float64],
    target: npt.NDArray[np.int64],
    *,
    names: tuple[str, ...],
    n_classes: int,
    seed: int,
) -> Trees:
    """Learn trees.

    Args:
        inputs: Model matrix (see `model_inputs`), shape (n, len(names)).
        target: Class positions 0 … n_classes − 1, shape (n,).
        names: Of the inputs' columns.
        n_classes: 2 for a binary model.
        seed: Of column and row sampling.
    """
    objective = "binary" if n_classes == 2 else "multiclass"
    parameters = {
        **_PARAMETERS,
        "objective": objective,
        "seed": seed,
        "min_data_in_leaf": _min_leaf(target.size),
        **({} if n_classes == 2 else {"num_class": n_classes}),
    }
    dataset = lightgbm.Dataset(inputs, target, feature_name=list(names))
    return Trees.from_booster(lightgbm.train(parameters, dataset, num_boost_round=_ROUNDS[objective]))


def fit_regression_trees(
    inputs: npt.NDArray[np.float64],
    target: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
    *,
    names: tuple[str, ...],
    seed: int,
    min_leaf: int,
) -> Trees:
    """Learn trees that answer a number, by least squares.

    Args:
        inputs: Shape (n, len(names)).
        target: Shape (n,).
        weight: Of each row, with a mean of about 1, shape (n,).
        names: Of the inputs' columns.
        seed: Of column and row sampling.
        min_leaf: Fewest rows of a leaf; a larger leaf is asked of many rows.
    """
    parameters = {**_PARAMETERS, **_REGRESSION, "seed": seed, "min_data_in_leaf": max(_min_leaf(target.size), min_leaf)}
    dataset = lightgbm.Dataset(inputs, target, weight=weight, feature_name=list(names))
    return Trees.from_booster(lightgbm.train(parameters, dataset, num_boost_round=_ROUNDS["regression"]))


def out_of_fold(
    inputs: npt.NDArray[np.float64],
    target: npt.NDArray[np.int64],
    customer_ids: pl.Series,
    *,
    names: tuple[str, ...],
    n_classes: int,
    seed: int,
) -> npt.NDArray[np.float64]:
    """Predict every row by trees that saw none of its customer's rows.

    Returns:
        Shape (n,) for a binary model, (n, n_classes) otherwise.
    """
    group = customer_folds(customer_ids, seed=seed)
    shape = (target.size,) if n_classes == 2 else (target.size, n_classes)
    predicted = np.empty(shape)
    for fold in range(N_FOLDS):
        held_out = group == fold
        trees = fit_trees(inputs[~held_out], target[~held_out], names=names, n_classes=n_classes, seed=seed)
        predicted[held_out] = trees.predict(inputs[held_out])
    return predicted


def customer_folds(customer_ids: pl.Series, *, seed: int) -> npt.NDArray[np.int64]:
    """Assign each row a fold by its customer, so that a customer is never split between folds."""
    ranks = customer_ids.rank("dense").to_numpy().astype(np.int64) - 1
    order = np.random.default_rng(seed).permutation(int(np.max(ranks)) + 1)
    return np.asarray(order[ranks] % N_FOLDS)


def _min_leaf(n_rows: int) -> int:
    return max(_MIN_LEAF_ROWS, int(_MIN_LEAF_SHARE * n_rows))
