"""Calibration: bins by hand and a decomposition that adds up."""

import math

import numpy as np
import pytest
from hypothesis import given

from tests.training.metrics.cases import Rows, cases, split
from training import metrics

DECOMPOSITION = (
    metrics.brier_reliability,
    metrics.brier_resolution,
    metrics.brier_uncertainty,
    metrics.brier_within_bins,
)


def test_calibration_error() -> None:
    """Ten equal-width bins, upper end included: two bins off by .05 and .25, weighted by customers."""
    p, y = np.array([0.05, 0.05, 0.05, 1.0]), np.array([0, 0, 0, 1])
    assert metrics.expected_calibration_error(y, p) == pytest.approx(0.75 * 0.05)
    p, y = np.array([0.25, 0.25, 0.75, 0.75]), np.array([0, 1, 1, 1])
    assert metrics.expected_calibration_error(y, p) == pytest.approx(0.25)


@given(cases)
def test_brier_adds_up(rows: Rows) -> None:
    """Reliability − resolution + uncertainty + within bins is the Brier score, whatever the probabilities are."""
    y, tenths = split(rows)
    p = tenths / 11
    reliability, resolution, uncertainty, within = (part(y, p) for part in DECOMPOSITION)
    assert reliability - resolution + uncertainty + within == pytest.approx(metrics.brier(y, p), abs=1e-12)
    assert 0.0 <= resolution <= uncertainty + 1e-12
    assert reliability >= 0.0


def test_brier_by_hand() -> None:
    """Two bins of two: .05 off each and .5 apart; within the first bin the probabilities rank the wrong way."""
    y, p = np.array([1, 0, 1, 1]), np.array([0.42, 0.48, 0.95, 0.95])
    assert metrics.brier_reliability(y, p) == pytest.approx((0.05**2 + 0.05**2) / 2)
    assert metrics.brier_resolution(y, p) == pytest.approx(0.25**2)
    assert metrics.brier_uncertainty(y, p) == pytest.approx(0.75 * 0.25)
    assert metrics.brier_within_bins(y, p) == pytest.approx((0.03**2 + 2 * 0.03 * 0.5) / 2)


def test_no_terms_within_bins() -> None:
    """Where a bin holds one probability only, the three terms of Murphy are all."""
    y, p = np.array([0, 1, 1, 0, 1]), np.array([0.25, 0.25, 0.75, 0.75, 0.75])
    assert metrics.brier_within_bins(y, p) == pytest.approx(0.0, abs=1e-15)


def test_in_the_large() -> None:
    """Above 0 where the outcome is predicted more often than it comes."""
    assert metrics.calibration_in_the_large(np.array([0, 0, 1, 1]), np.full(4, 0.6)) == pytest.approx(0.1)


def test_nobody() -> None:
    """With no customers every figure is NaN, without a warning."""
    none = np.zeros(0)
    for metric in (*DECOMPOSITION, metrics.expected_calibration_error, metrics.calibration_in_the_large):
        assert math.isnan(metric(none, none))
