"""Measure on earlier windows how far outcomes lay from what the purchase process had expected of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq

from features.errors import ConvergenceError
from features.settings import Settings
from training.fitters.btyd import fit_process
from training.models.habits import NO_HABITS, Habits
from training.models.purchase_process import PurchaseProcess
from training.models.spread import UNMEASURED_ERROR, Spread
from training.models.summary import FloatArray, PurchaseSummary

COVERAGE = 0.80
MIN_ORDERERS = 50
DISPERSIONS = (0.2, 5.0)
MAX_COMMON_ERROR = 1.0
PRIOR_WINDOWS = 2  # with the error of what was not measured: one good window is no proof


@dataclass(frozen=True, slots=True)
class Window:
    """Customers at an earlier cutoff and the value that came within the horizon.

    Attributes:
        summary: What was known of n customers at the cutoff.
        value: (n,) what they brought, in currency units.
        habits: Of the shop, by what was known at the cutoff.
    """

    summary: PurchaseSummary
    value: FloatArray
    habits: Habits = NO_HABITS

    def orderers(self) -> Window:
        """Select those who brought something."""
        return Window(self.summary.take(self.value > 0), self.value[self.value > 0])


def fit_spread(
    process: PurchaseProcess, windows: Sequence[Window], *, history_days: float, settings: Settings
) -> Spread:
    """Measure the spread of values about expectations.

    Args:
        process: Fitted to the present; what it says of one customer's variation is measured against what came.
        windows: One per training cutoff. For the common error the process is fitted anew to what each knew.
        history_days: Of the shop, at the present.
        settings: Horizon, and how the process is fitted.
    """
    horizon_days = float(settings.training.horizon_days)
    errors = [_relative_error(window, settings) for window in windows]
    known = np.array([error for error in errors if error is not None])
    square = (float(np.sum(np.square(known))) + PRIOR_WINDOWS * UNMEASURED_ERROR**2) / (known.size + PRIOR_WINDOWS)
    return Spread(
        dispersion=_dispersion(process, windows, horizon_days),
        window_days=horizon_days,
        common_error=min(float(np.sqrt(square)), MAX_COMMON_ERROR),
        history_days=history_days,
    )


def _relative_error(window: Window, settings: Settings) -> float | None:
    """Return observed ÷ expected total − 1, the expectation from what was known then; None where nothing fits."""
    try:
        process, _ = fit_process(window.summary, settings, habits=window.habits)
    except ConvergenceError:
        return None
    if process.is_fallback:  # its error would be the prior's
        return None
    tied = process.tie(window.summary, horizon_days=float(settings.training.horizon_days))
    expected = float(process.expected_value(tied).sum())
    return float(window.value.sum()) / expected - 1.0 if expected > 0 else None


def _dispersion(process: PurchaseProcess, windows: Sequence[Window], horizon_days: float) -> float:
    """Find the factor with which the central 80 % of those who ordered hold 80 % of what they brought."""
    parts = [window.orderers() for window in windows]
    if sum(len(part.value) for part in parts) < MIN_ORDERERS:
        return 1.0
    tail = 0.5 * (1.0 - COVERAGE)
    ties = [process.tie(part.summary, horizon_days=horizon_days) for part in parts]
    means = [process.expected_value(tied) for tied in ties]

    def excess(dispersion: float) -> float:
        wider, held = replace(process, spread=Spread(dispersion=dispersion, window_days=horizon_days)), []
        for part, tied, mean in zip(parts, ties, means, strict=True):
            _, at = wider.value_distribution(tied, mean, end=-1).if_ordered.pit(part.value)
            held.append((at >= tail) & (at <= 1.0 - tail))
        return float(np.concatenate(held).mean()) - COVERAGE

    low, high = DISPERSIONS
    if excess(low) > 0:
        return low
    return high if excess(high) < 0 else float(brentq(excess, low, high, xtol=0.01))
