"""What became of an attempt to let another champion serve."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from features.errors import LifestageError, ModelError, UntriedError
from training.promotion.champion import is_version, read_history

_REMEDY = "It is tried again by itself; give the machine memory, processes and a disk that can be read."


@dataclass(frozen=True, slots=True)
class Refusal:
    """A champion that was promoted and does not serve.

    Args:
        version: Which one; None where the champion file names none.
        reason: What is wrong with it, in words.
        remedy: What to do about it.
        at: When it was refused, ISO 8601.
    """

    version: str | None
    reason: str
    remedy: str
    at: str


@dataclass(frozen=True, slots=True)
class Untried:
    """A champion that was promoted, and of which nobody knows yet whether it may serve. It is tried again.

    Args:
        version: Which one; None where the champion file names none.
        reason: What kept it from being tried, in words.
        remedy: What to do about it.
        at: When that was, ISO 8601.
    """

    version: str | None
    reason: str
    remedy: str
    at: str


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload led to.

    Args:
        model_version: The version that serves from now on.
        previous_version: The one that served before; None where none did.
        catalogue_hash: Hash of the features that it reads.
        was_changed: Whether the two differ.
    """

    model_version: str
    previous_version: str | None
    catalogue_hash: str
    was_changed: bool


class Reloader(Protocol):
    """What can let another champion serve."""

    def reload(self, *, actor: str) -> Reloaded:
        """Load the champion anew and let it serve.

        Raises:
            ModelError: If it is refused; what served before serves on.
            UntriedError: If it could not be tried; what served before serves on, and it is tried again.
            ServingError: If another reload is under way.
        """


def refuse(home: Path, error: ModelError, *, at: datetime) -> Refusal | None:
    """Describe the refusal of a home's champion; None where none was promoted yet, so that none was refused."""
    try:
        history = read_history(home)
    except LifestageError:
        return Refusal(None, error.problem, error.remedy, _written(at))
    if not history:
        return None
    return Refusal(_named(history[-1].version), error.problem, error.remedy, _written(at))


def postpone(home: Path, error: Exception, *, at: datetime) -> Untried:
    """Describe why a home's champion could not be tried; of an error that is not ours, nothing but its type."""
    try:
        history = read_history(home)
    except (LifestageError, MemoryError):
        history = ()
    version = _named(history[-1].version) if history else None
    if isinstance(error, UntriedError):
        return Untried(version, error.problem, error.remedy, _written(at))
    return Untried(version, f"The champion could not be loaded: {type(error).__name__}.", _REMEDY, _written(at))


def _named(version: str) -> str | None:
    return version if is_version(version) else None


def _written(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
