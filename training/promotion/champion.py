"""Which bundle serves: a small file beside the bundles, changed whole, with its history.

The registry in MLflow carries the same word as an alias; serving reads this file, so that it never needs MLflow.
"""

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from features.errors import ModelError, UntriedError
from features.files import MEGABYTE, PASSING, read_plain_file, write_whole

_FILE = "champion.json"
_MOST_BYTES = 20 * MEGABYTE
_RESTORE = "Restore it, or delete it and promote again."
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}")  # the name of one folder, and of none above it


@dataclass(frozen=True, slots=True)
class Promotion:
    """One change of champion.

    Args:
        version: The bundle that serves from then on.
        at: ISO 8601 time.
        reason: In words.
        is_rollback: Whether it led back to a version that had served before.
        is_forced: Whether the gate had objected to the version, and was overruled.
        force_reason: Why it was overruled.
        objections: What it had objected.
    """

    version: str
    at: str
    reason: str
    is_rollback: bool = False
    is_forced: bool = False
    force_reason: str = ""
    objections: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        texts = (self.version, self.at, self.reason, self.force_reason, *self.objections)
        marks = (self.is_rollback, self.is_forced)
        if not all(isinstance(text, str) for text in texts) or not all(isinstance(mark, bool) for mark in marks):
            raise TypeError("an entry has a field of another type")


def bundles_folder(home: Path) -> Path:
    """Return the folder that holds one folder per bundle version."""
    return home / "bundles"


def champion_path(home: Path) -> Path:
    """Return the file that says which bundle serves."""
    return home / _FILE


def is_version(text: str) -> bool:
    """Tell whether a text could be a version: the name of a folder among the bundles, and of none elsewhere."""
    return _VERSION.fullmatch(text) is not None


def read_champion(home: Path) -> Path:
    """Return the folder of the bundle that serves.

    Raises:
        ModelError: If none was promoted, or its folder is gone.
    """
    history = read_history(home)
    if not history:
        raise ModelError("No model serves yet.", remedy="Run lifestage train, then lifestage promote.")
    if not is_version(history[-1].version):
        raise ModelError(f"The last entry of {_FILE} names no version.", remedy=_RESTORE)
    folder = bundles_folder(home) / history[-1].version
    if not folder.is_dir():
        raise ModelError(f"The champion's bundle {folder.name} is gone.", remedy="Promote another version.")
    return folder


def read_history(home: Path) -> tuple[Promotion, ...]:
    """Return all changes of champion, oldest first; empty where none was promoted.

    Raises:
        ModelError: If the file is damaged.
        UntriedError: If the machine cannot read it now.
    """
    try:
        raw = read_plain_file(champion_path(home), most_bytes=_MOST_BYTES, follow_links=True)
        entries = json.loads(raw.decode("utf-8"))
        return tuple(_read_entry(entry) for entry in _as_list(entries))
    except FileNotFoundError:
        return ()
    except (TypeError, ValueError) as error:
        raise ModelError(f"{_FILE} is damaged: {error}.", remedy=_RESTORE) from None
    except (OSError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno in PASSING:
            remedy = "Try again once the machine has files, memory and its disk to spare."
            raise UntriedError(f"{_FILE} cannot be read now: {error.strerror}.", remedy=remedy) from None
        reason = error.strerror if isinstance(error, OSError) else "it is nested too deeply"
        raise ModelError(f"{_FILE} is damaged: {reason}.", remedy=_RESTORE) from None


def _as_list(entries: Any) -> list[Any]:
    if not isinstance(entries, list):
        raise TypeError("it is no list")
    return entries


def _read_entry(entry: Any) -> Promotion:
    promotion = Promotion(**entry)
    return replace(promotion, objections=tuple(_as_list(entry.get("objections", []))))


def read_promotion(home: Path, version: str) -> Promotion | None:
    """Return the last change of champion if it led to a version, or None.

    Raises:
        ModelError: If the file is damaged.
    """
    history = read_history(home)
    return history[-1] if history and history[-1].version == version else None


def find_predecessor(history: tuple[Promotion, ...]) -> str | None:
    """Return the version that a rollback leads to, or None: each rollback goes one version further back."""
    served: list[str] = []
    for entry in history:
        if entry.is_rollback and entry.version in served:
            del served[served.index(entry.version) + 1 :]
        elif not served or served[-1] != entry.version:
            served.append(entry.version)
    return served[-2] if len(served) > 1 else None


def append_promotion(home: Path, promotion: Promotion) -> None:
    """Let another bundle serve; readers see the old file or the new one."""
    entries = [asdict(entry) for entry in (*read_history(home), promotion)]
    write_whole(champion_path(home), json.dumps(entries, indent=1) + "\n")
