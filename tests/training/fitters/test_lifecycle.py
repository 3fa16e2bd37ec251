"""Learning the one answer: refusals, fallbacks, and nobody judged by trees that saw them."""

import numpy as np
import polars as pl
import pytest

from features.errors import InsufficientHistoryError
from features.lifecycle.stages import STAGES
from features.records import Records
from features.settings import Settings, load_settings
from tests.histories import one_customer
from tests.tiny_model import train_model
from training.fitters.lifecycle import _count_recommending, count_transitions
from training.fitters.trees import N_FOLDS, customer_folds, fit_trees, out_of_fold

N = len(STAGES)
NAMES = ("first", "second", "third", "fourth")


def _settings(**training: int) -> Settings:
    return load_settings(overrides={"training": {"max_train_cutoffs": 1, **training}})


def _shop(n_customers: int, *, every_days: int, until_day: int = 400) -> Records:
    shoppers = [
        one_customer(*range(i % 60, until_day, every_days + i % 7), customer_id=f"c{i}") for i in range(n_customers)
    ]
    return Records.wrap(pl.concat(shoppers))


def test_too_few_customers() -> None:
    """Fewer customers than the setting asks are refused, with both numbers."""
    with pytest.raises(InsufficientHistoryError, match=r"9 customers .* fewer than the 10"):
        train_model(_shop(9, every_days=30), cutoff_day=400, settings=_settings())


def test_one_time_shop() -> None:
    """A shop where nobody ever came back is answered for by a stated prior, and the model says so."""
    model = train_model(_shop(80, every_days=1000), cutoff_day=400, settings=_settings())
    assert (model.process.is_small, model.process.is_fallback) == (True, True)
    assert "10 made-up ones of a plain shop, because only 0 of 80 customers ordered again" in model.notes[0]


def test_too_few_churners(cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """Where churners or returners are fewer than the setting asks, no trees are grown, and the model says so."""
    model = train_model(
        Records.wrap(cdnow_orders), cutoff_day=end_day, settings=_settings(min_class_customers=1_000_000)
    )
    assert (model.churn.trees, model.churn.process_weight, model.next_stage.trees) == (None, 1.0, None)


def test_no_leakage(cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """Orders at or after the cutoff do not enter a training."""
    known = cdnow_orders.filter(pl.col("day") < end_day - 100)
    settings = _settings(min_class_customers=1_000_000)
    models = [
        train_model(Records.wrap(orders), cutoff_day=end_day - 100, settings=settings)
        for orders in (known, cdnow_orders)
    ]
    assert models[0].to_dict() == models[1].to_dict()


def test_transitions() -> None:
    """Moves are counted among those who ordered, and nobody becomes a first-time buyer by ordering."""
    stages = ["first_time_buyer", "first_time_buyer", "first_time_buyer", "repeat", "lost"]
    after = ["repeat", "at_risk", "at_risk", "loyal", "lost"]
    labels = pl.DataFrame({"is_churned": [False, False, True, False, True], "next_stage": after})
    moves = count_transitions(pl.DataFrame({"stage": stages}), labels)
    overall = np.array([0.0, 2.0, 1.0, 1.0, 0.0, 0.0, 0.0]) / 4
    expected = np.tile(overall, (N, 1))
    expected[0] = (overall + np.array([0, 1, 0, 1, 0, 0, 0])) / 3
    expected[1] = (overall + np.array([0, 0, 1, 0, 0, 0, 0])) / 2
    assert moves == pytest.approx(expected)


def test_transitions_of_nobody() -> None:
    """Where nobody ordered, every row is still a probability."""
    labels = pl.DataFrame({"is_churned": [True], "next_stage": ["lost"]})
    assert count_transitions(pl.DataFrame({"stage": ["lost"]}), labels).sum(axis=1) == pytest.approx(np.ones(N))


def test_recommending() -> None:
    """Of those who stayed active in silence, the share is counted whom a recommendation made ambassadors."""
    silent = ["repeat", "first_time_buyer", "loyal", "repeat", "ambassador", "at_risk", "repeat"]
    after = ["ambassador", "first_time_buyer", "loyal", "repeat", "ambassador", "at_risk", "ambassador"]
    labels = pl.DataFrame({"is_churned": [True] * 6 + [False], "next_stage": after})
    assert _count_recommending(pl.DataFrame({"stage_if_silent": silent}), labels) == pytest.approx(1.5 / 5)
    assert _count_recommending(pl.DataFrame({"stage_if_silent": silent[5:6]}), labels[5:6]) == 0.0


def test_folds() -> None:
    """A customer's rows share a fold, whatever their order, and the folds are of like size."""
    ids = pl.Series([f"c{i % 90}" for i in range(270)])
    folds = customer_folds(ids, seed=1)
    assert np.array_equal(folds[:90], folds[90:180])
    assert np.bincount(folds).tolist() == [90] * N_FOLDS
    assert np.array_equal(customer_folds(ids.reverse(), seed=1), folds[::-1])
    assert not np.array_equal(customer_folds(ids, seed=2), folds)


def test_out_of_fold() -> None:
    """What a customer did never enters the prediction of any of their own rows."""
    rng = np.random.default_rng(3)
    inputs, target = rng.normal(size=(600, len(NAMES))), rng.integers(0, 2, 600)
    ids = pl.Series([f"c{i % 200:03}" for i in range(600)])
    flipped = np.where((ids == "c007").to_numpy(), 1 - target, target)
    first, second = (
        out_of_fold(inputs, outcome, ids, names=NAMES, n_classes=2, seed=5) for outcome in (target, flipped)
    )
    own = (ids == "c007").to_numpy()
    assert np.array_equal(first[own], second[own])
    assert not np.array_equal(first, second)


def test_same_trees() -> None:
    """The same rows and seed give the same text; another seed gives another."""
    rng = np.random.default_rng(4)
    inputs, target = rng.normal(size=(400, len(NAMES))), rng.integers(0, 3, 400)
    texts = [fit_trees(inputs, target, names=NAMES, n_classes=3, seed=seed).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
