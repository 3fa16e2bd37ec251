"""Every error a user of Lifestage can meet, in one tree.

    LifestageError                       exit code 1
    ├── SettingsError (ValueError)                  2   lifestage.toml, a flag, or LIFESTAGE_HOME is wrong
    ├── InputError (ValueError)                     3   the order file cannot be used
    │   ├── SourceNotFoundError (FileNotFoundError)
    │   ├── EmptySourceError
    │   ├── MissingColumnError (LookupError)
    │   └── QuarantineShareError                    1   readable, but too many rows are bad
    ├── InsufficientHistoryError (ValueError)       4   too few customers or too little time to learn or test
    │   ├── CutoffError                                 the as-of date lies outside the data
    │   └── ConvergenceError (ArithmeticError)          a model has no finite best fit on this data
    ├── ModelError (LookupError)                    5   no champion, or no such version
    │   └── BundleError (ValueError)                    a bundle is corrupt, foreign or altered
    ├── PromotionRefusedError                       6   the gate said no; its reasons follow
    └── ServingError (RuntimeError)                 7   no scores published, no keys, server did not start
        ├── StoreError                                  the score store fails, or is too busy
        ├── UntriedError                                nobody knows yet whether a champion may serve
        └── UnpublishedError                            what was asked for has not been published
            └── NoEarlierRunError                       nor is a run of an earlier date kept, to compare with

Each message says what was wrong, what was got, and what to do about it.
"""

from typing import Literal

ConvergenceReason = Literal["too_few", "ridge", "infinite_mean", "no_spread", "implausible"]


class LifestageError(Exception):
    """Base of all errors that Lifestage raises on purpose.

    Args:
        problem: What is wrong, with what was got, as one sentence.
        remedy: What the user can do about it, as one sentence.
    """

    exit_code = 1

    def __init__(self, problem: str, *, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy


class SettingsError(LifestageError, ValueError):
    """A setting, flag or environment variable is unknown or out of range."""

    exit_code = 2


class InputError(LifestageError, ValueError):
    """An order source or a request cannot be used as it is.

    Args:
        problem: As for every error.
        remedy: As for every error.
        field: Which field or parameter of a request is wrong, as its sender would write it; empty where none is.
    """

    exit_code = 3

    def __init__(self, problem: str, *, remedy: str, field: str = "") -> None:
        super().__init__(problem, remedy=remedy)
        self.field = field


class SourceNotFoundError(InputError, FileNotFoundError):
    """No file stands at the given path."""


class EmptySourceError(InputError):
    """The source holds no order rows."""


class MissingColumnError(InputError, LookupError):
    """A required column is absent or ambiguous."""


class QuarantineShareError(InputError):
    """More rows were quarantined than the settings tolerate."""

    exit_code = 1


class InsufficientHistoryError(LifestageError, ValueError):
    """There is too little time or too few customers for what was asked."""

    exit_code = 4


class CutoffError(InsufficientHistoryError):
    """The as-of date lies before the first order or leaves no outcome to learn from."""


class ConvergenceError(InsufficientHistoryError, ArithmeticError):
    """A model has no finite best fit on this data.

    Args:
        problem: As for every error.
        remedy: As for every error.
        reason: `too_few` customers that say anything; `ridge`: parameters ran off where the likelihood hardly changes;
            `infinite_mean`: the best fit has no finite mean; `no_spread`: all values are the same; `implausible`: the
            best fit is far from the orders it was fitted to.
    """

    def __init__(self, problem: str, *, remedy: str, reason: ConvergenceReason) -> None:
        super().__init__(problem, remedy=remedy)
        self.reason = reason


class ModelError(LifestageError, LookupError):
    """The model asked for is not there."""

    exit_code = 5


class BundleError(ModelError, ValueError):
    """A bundle is corrupt, foreign or altered, and was refused."""


class PromotionRefusedError(LifestageError):
    """The gate refused the challenger."""

    exit_code = 6


class ServingError(LifestageError, RuntimeError):
    """The service or its store cannot answer."""

    exit_code = 7


class StoreError(ServingError):
    """The score store fails, or is too busy."""


class UntriedError(ServingError):
    """A champion could not be tried, which says nothing of it: it is tried again."""


class UnpublishedError(ServingError):
    """What was asked for has not been published, which waiting alone does not change."""


class NoEarlierRunError(UnpublishedError):
    """No run of an earlier date is kept, so there is nothing to compare with."""
