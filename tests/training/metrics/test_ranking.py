"""Ranking: against scikit-learn, by hand, and whatever the order of rows."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.training.metrics.cases import Rows, cases, split
from training import metrics


@given(cases)
def test_auc(rows: Rows) -> None:
    """AUC equals scikit-learn's, ties included, and is NaN where only one class is present."""
    y, score = split(rows)
    if len(set(y.tolist())) == 1:
        assert math.isnan(metrics.auc(y, score))
    else:
        assert metrics.auc(y, score) == pytest.approx(roc_auc_score(y, score), abs=1e-12)


@given(cases)
def test_pr_auc(rows: Rows) -> None:
    """PR-AUC equals scikit-learn's average precision, ties included, and is NaN without a positive."""
    y, score = split(rows)
    if y.any():
        assert metrics.pr_auc(y, score) == pytest.approx(average_precision_score(y, score), abs=1e-12)
    else:
        assert math.isnan(metrics.pr_auc(y, score))


@given(cases)
def test_pr_auc_floor(rows: Rows) -> None:
    """A score that is the same for everyone reaches the base rate, and no more."""
    y, _ = split(rows)
    floor = metrics.base_rate(y, y)
    assert floor == y.mean()
    assert metrics.pr_auc(y, np.zeros(len(y))) == pytest.approx(floor if y.any() else math.nan, nan_ok=True)


def test_recall_and_precision() -> None:
    """By hand: of 10 customers and 4 churners, 3 at the top hold 2; a tie at the edge counts by its share."""
    y, score = np.array([1, 1, 0, 0, 1, 1, 0, 0, 0, 0]), np.arange(10)[::-1]
    assert metrics.recall_at(y, score, share=0.3) == pytest.approx(2 / 4)
    assert metrics.precision_at(y, score, share=0.3) == pytest.approx(2 / 3)
    tied = np.array([3, 2, 2, 2, 2, 1, 1, 1, 1, 1])
    assert metrics.recall_at(y, tied, share=0.3) == pytest.approx((1 + 2 * 2 / 4) / 4)
    assert metrics.precision_at(y, tied, share=0.3) == pytest.approx((1 + 2 * 2 / 4) / 3)
    assert metrics.precision_at(np.zeros(10), score, share=0.3) == 0.0
    assert math.isnan(metrics.recall_at(np.zeros(10), score, share=0.3))


@given(cases, st.floats(0.01, 1.0), st.randoms())
def test_order_of_rows(rows: Rows, share: float, random: Random) -> None:
    """The order of rows changes nothing, nor does stretching the scores; everyone is all of recall."""
    (y, score), (again, scored) = split(rows), split(random.sample(rows, len(rows)))
    for metric in (metrics.recall_at, metrics.precision_at):
        plain = metric(y, score, share=share)
        assert metric(again, np.exp(scored), share=share) == pytest.approx(plain, abs=1e-12, nan_ok=True)
    if y.any():
        assert metrics.recall_at(y, score, share=1.0) == pytest.approx(1.0)
        assert metrics.precision_at(y, score, share=1.0) == pytest.approx(y.mean())


def test_top_decile() -> None:
    """The top tenth's share by hand; ties share evenly, so a constant score has a lift of exactly 1."""
    value, score = np.arange(20.0), np.arange(20)
    assert metrics.top_decile_share(value, score) == pytest.approx((19 + 18) / 190)
    assert metrics.top_decile_lift(value, score) == pytest.approx(10 * 37 / 190)
    assert metrics.top_decile_lift(value, np.ones(20)) == pytest.approx(1.0)
    assert math.isnan(metrics.top_decile_share(np.zeros(20), score))


def test_gain_curve_ends() -> None:
    """A gain curve starts at nothing and ends at everything."""
    customers, caught = metrics.gain_curve(np.array([0, 1, 1]), np.array([0.1, 0.9, 0.5]))
    assert customers.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert caught.tolist() == pytest.approx([0, 0.5, 1, 1])


@given(cases)
def test_normalised_gini_of_yes_or_no(rows: Rows) -> None:
    """For an outcome of 0 and 1 the normalised Gini is 2 · AUC − 1, ties included, and NaN where the AUC is."""
    y, score = split(rows)
    expected = 2.0 * metrics.auc(y, score) - 1.0
    assert metrics.normalised_gini(y, score) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_normalised_gini() -> None:
    """The Gini by its covariance with ranks (Lerman and Yitzhaki 1984): 1 in the right order, −1 reversed, 0 tied."""
    rng = np.random.default_rng(3)
    value, score = rng.lognormal(2.0, 1.5, 200), rng.random(200)
    covariances = [np.cov(value, rankdata(order), bias=True)[0, 1] for order in (score, value)]
    assert metrics.normalised_gini(value, score) == pytest.approx(covariances[0] / covariances[1])
    assert metrics.normalised_gini(value, value**3) == pytest.approx(1.0)
    assert metrics.normalised_gini(value, -value) == pytest.approx(-1.0)
    assert metrics.normalised_gini(value, np.ones(200)) == pytest.approx(0.0)
    assert math.isnan(metrics.normalised_gini(np.zeros(3), np.arange(3)))
    assert math.isnan(metrics.normalised_gini(np.full(3, 5.0), np.arange(3)))


def test_nobody() -> None:
    """With no customers every figure is NaN, without a warning."""
    none = np.zeros(0)
    for metric in (metrics.auc, metrics.pr_auc, metrics.base_rate, metrics.normalised_gini, metrics.top_decile_lift):
        assert math.isnan(metric(none, none))
    assert math.isnan(metrics.precision_at(none, none, share=0.1))
