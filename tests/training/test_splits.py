"""Splits: no outcome that training saw ends after the instant at which the model must answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InsufficientHistoryError
from features.settings import TrainingSettings, load_settings
from training.splits import build_fold, rolling_folds

DEFAULTS = load_settings().training


def _settings(**changes: int) -> TrainingSettings:
    return DEFAULTS.model_copy(update=changes)


@given(st.integers(0, 20_000), st.integers(150, 2000), st.integers(1, 90), st.integers(1, 60), st.integers(1, 5))
def test_no_overlap(first_day: int, length: int, horizon_days: int, step: int, test_cutoffs: int) -> None:
    """Every training outcome ends by the cutoff it serves; each test outcome is known and judged once."""
    settings = _settings(horizon_days=horizon_days, train_step_days=step, test_cutoffs=test_cutoffs)
    if length < settings.min_history_days + 2 * horizon_days:
        return
    folds = rolling_folds(first_day=first_day, end_day=first_day + length, settings=settings)
    assert 1 <= len(folds) <= test_cutoffs
    ends = [first_day + length, *(fold.cutoff_day for fold in folds)]
    for fold, known_until in zip(folds, ends, strict=False):
        assert fold.cutoff_day + horizon_days == known_until
        assert all(cutoff + horizon_days <= fold.cutoff_day for cutoff in fold.train_cutoff_days)
        assert all(cutoff >= first_day + settings.min_history_days for cutoff in fold.train_cutoff_days)
        assert 1 <= len(fold.train_cutoff_days) <= settings.max_train_cutoffs


def test_by_hand() -> None:
    """Training cutoffs start one horizon back, a month apart, and stop where history is too short."""
    fold = build_fold(300, first_day=0, settings=_settings(max_train_cutoffs=9))
    assert fold.train_cutoff_days == (210, 180, 150, 120, 90, 60)
    assert build_fold(300, first_day=0, settings=_settings(max_train_cutoffs=2)).train_cutoff_days == (210, 180)


def test_long_horizon() -> None:
    """For a long horizon cutoffs lie further apart, so that two can be held out; without room they do not."""
    half_year = _settings(horizon_days=180)
    assert build_fold(700, first_day=0, settings=half_year).train_cutoff_days == (520, 466, 412, 358, 304, 250)
    assert build_fold(500, first_day=0, settings=half_year).train_cutoff_days == (320, 290, 260, 230, 200, 170)
    days = build_fold(700, first_day=0, settings=half_year).train_cutoff_days
    assert [sum(older + 180 <= held_out for older in days) for held_out in days[:3]] == [2, 1, 0]


def test_just_enough() -> None:
    """One day less than least history plus horizon is refused, and the message names the days that it takes."""
    assert build_fold(150, first_day=0, settings=DEFAULTS).train_cutoff_days == (60,)
    with pytest.raises(InsufficientHistoryError, match=r"takes 150 days of orders before it, and there are 149"):
        build_fold(149, first_day=0, settings=DEFAULTS)


def test_rolling_refused() -> None:
    """A log that leaves no test cutoff is refused; one that leaves a single one is judged on it."""
    with pytest.raises(InsufficientHistoryError, match="240 days"):
        rolling_folds(first_day=0, end_day=239, settings=DEFAULTS)
    assert [fold.cutoff_day for fold in rolling_folds(first_day=0, end_day=240, settings=DEFAULTS)] == [150]
