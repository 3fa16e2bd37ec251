"""Rolling cutoffs: every test lies one whole horizon after the youngest cutoff that training saw."""

import math
from dataclasses import dataclass

from features.errors import InsufficientHistoryError
from features.settings import TrainingSettings
from features.snapshot import to_date

_FEWEST_TO_WEIGH = 3  # cutoffs: two to hold out in turn, and one older than both


@dataclass(frozen=True, slots=True)
class Fold:
    """One cutoff to answer at, and the older cutoffs whose outcomes were known by then.

    Args:
        cutoff_day: Day number at which the model must answer.
        train_cutoff_days: Cutoffs to learn from, youngest first; each lies at least one horizon before `cutoff_day`.
    """

    cutoff_day: int
    train_cutoff_days: tuple[int, ...]


def build_fold(cutoff_day: int, *, first_day: int, settings: TrainingSettings) -> Fold:
    """Choose the training cutoffs for one answer.

    Args:
        cutoff_day: Day number at which the model must answer.
        first_day: Day number of the shop's first order.
        settings: Horizon, spacing and least history.

    Raises:
        InsufficientHistoryError: If no training cutoff has enough history and a known outcome.
    """
    horizon, earliest = settings.horizon_days, first_day + settings.min_history_days
    youngest = cutoff_day - horizon
    candidates = range(youngest, earliest - 1, -_step_days(youngest - earliest, settings))
    if not candidates:
        needed = settings.min_history_days + horizon
        raise InsufficientHistoryError(
            f"To answer on {to_date(cutoff_day)} over {horizon} days takes {needed} days of orders before it, "
            f"and there are {max(cutoff_day - first_day, 0)}.",
            remedy="Give a longer history, a later as-of date or a shorter --horizon-days.",
        )
    return Fold(cutoff_day=cutoff_day, train_cutoff_days=tuple(candidates[: settings.max_train_cutoffs]))


def _step_days(span_days: int, settings: TrainingSettings) -> int:
    """Return the days between training cutoffs: as set, or more where the horizon is long and the history allows.

    To weigh what was learned takes a cutoff to hold out, and others whose outcomes were known by then. With a span of
    one horizon and a half there are two such cutoffs.
    """
    if settings.max_train_cutoffs < _FEWEST_TO_WEIGH or span_days < 1.5 * settings.horizon_days:
        return settings.train_step_days
    needed = math.ceil(1.5 * settings.horizon_days / (settings.max_train_cutoffs - 1))
    return max(settings.train_step_days, needed)


def rolling_folds(*, first_day: int, end_day: int, settings: TrainingSettings) -> tuple[Fold, ...]:
    """Choose the test cutoffs, youngest first, one horizon apart, so that no outcome is judged twice.

    Args:
        first_day: Day number of the shop's first order.
        end_day: First day number whose orders are not known.
        settings: Number of cutoffs, horizon, spacing and least history.

    Returns:
        Up to `settings.test_cutoffs` folds; fewer where the history is short, and at least one.

    Raises:
        InsufficientHistoryError: If not even the youngest test cutoff can be trained for.
    """
    horizon = settings.horizon_days
    needed = settings.min_history_days + 2 * horizon
    if end_day - first_day < needed:
        raise InsufficientHistoryError(
            f"Training and one test over {horizon} days take {needed} days of orders, "
            f"and there are {end_day - first_day}.",
            remedy="Give a longer history, a later as-of date or a shorter --horizon-days.",
        )
    folds = [build_fold(end_day - horizon, first_day=first_day, settings=settings)]
    for step in range(2, settings.test_cutoffs + 1):
        try:
            folds.append(build_fold(end_day - step * horizon, first_day=first_day, settings=settings))
        except InsufficientHistoryError:
            break
    return tuple(folds)
