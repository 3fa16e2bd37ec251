"""Boosted trees, learned the same way twice: fixed seed, fixed order of sums."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

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


@dataclass(frozen=True, slots=True)
class TreeShape:
    """How churn trees are grown.

    Splits are drawn at random, and the best of those drawn are kept (Geurts, Ernst and Wehenkel 2006, Extremely
    randomized trees): on real shops this was as good as any other shape or better, and never far off.

    Args:
        rounds: Number of trees.
        learning_rate: Share of each tree that is added.
        num_leaves: Of a tree, at most.
        feature_fraction: Share of the inputs that a tree may see.
        lambda_l2: Pull of each leaf towards 0.
        min_leaf_share: Of the rows that a leaf holds, at least; never fewer than 20 rows.
        extra_trees: Whether splits are drawn at random.
    """

    rounds: int = 150
    learning_rate: float = 0.05
    num_leaves: int = 7
    feature_fraction: float = 0.5
    lambda_l2: float = 10.0
    min_leaf_share: float = _MIN_LEAF_SHARE
    extra_trees: bool = True

    @classmethod
    def of_record(cls, record: Mapping[str, Any] | None) -> Self:
        """Take a shape from among other values of a record; the usual one from none."""
        return cls(**{field.name: record[field.name] for field in fields(cls)}) if record else cls()


def fit_churn_trees(
    inputs: npt.NDArray[np.float64],
    target: npt.NDArray[np.int64],
    *,
    names: tuple[str, ...],
    seed: int,
    shape: TreeShape,
) -> Trees:
    """Learn binary trees of a shape.

    Args:
        inputs: Shape (n, len(names)).
        target: 0 or 1, shape (n,).
        names: Of the inputs' columns.
        seed: Of column, row and split sampling.
        shape: How they are grown.
    """
    grown = asdict(shape)
    rounds, min_leaf_share = grown.pop("rounds"), grown.pop("min_leaf_share")
    min_leaf = max(_MIN_LEAF_ROWS, int(min_leaf_share * target.size))
    parameters = {
        **_PARAMETERS,
        **grown,
        "objective": "binary",
        "seed": seed,
        "min_data_in_leaf": min_leaf,
        "force_row_wise": False,
        "force_col_wise": True,  # the same trees a third sooner, where splits are drawn and not searched
    }
    dataset = lightgbm.Dataset(inputs, target, feature_name=list(names))
    return Trees.from_booster(lightgbm.train(parameters, dataset, num_boost_round=rounds))


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
