"""A hundred cohorts from each model's own story: the fits are right on average, and as sure as they should be."""

import numpy as np
import pytest

from tests.training.models.simulate import Simulated
from tests.training.models.test_recovery import BG, MBG, PARETO, VALUE, Recovery, recover, recover_value

N_COHORTS = 100


@pytest.mark.parametrize("truth", [BG, MBG, PARETO], ids=lambda truth: truth.name)
def test_year_of_orders(truth: Simulated) -> None:
    """The orders of a new customer's year are 3 % off at most on average, to neither side; the errors are as told."""
    recovery = recover(truth, n_cohorts=N_COHORTS)
    assert np.abs(recovery.relative_error).mean() < 0.03
    assert abs(recovery.relative_error.mean()) < 0.01
    _assert_standard(recovery)


def test_order_value() -> None:
    """The mean value of an order is 2 % off at most on average, to neither side; the errors are as told."""
    recovery = recover_value(VALUE, n_cohorts=N_COHORTS)
    assert np.abs(recovery.relative_error).mean() < 0.02
    assert abs(recovery.relative_error.mean()) < 0.005
    _assert_standard(recovery)


def _assert_standard(recovery: Recovery) -> None:
    """Errors in standard errors have mean 0 and deviation 1, as far as 100 of them and their bias tell."""
    assert (np.abs(recovery.z.mean(axis=0)) < 0.5).all()
    spread = recovery.z.std(axis=0, ddof=1)
    assert ((spread > 0.7) & (spread < 1.4)).all()
