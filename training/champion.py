"""Which bundle serves: a small file beside the bundles, changed whole, with its history.

The registry in MLflow carries the same word as an alias; serving reads this file, so that it never needs MLflow.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from features.errors import ModelError

_FILE = "champion.json"


@dataclass(frozen=True, slots=True)
class Promotion:
    """One change of champion.

    Args:
        version: The bundle that serves from then on.
        at: ISO 8601 time.
        reason: In words.
    """

    version: str
    at: str
    reason: str


def bundles_folder(home: Path) -> Path:
    """Return the folder that holds one folder per bundle version."""
    return home / "bundles"


def read_champion(home: Path) -> Path:
    """Return the folder of the bundle that serves.

    Raises:
        ModelError: If none was promoted, or its folder is gone.
    """
    history = read_history(home)
    if not history:
        raise ModelError("No model serves yet.", remedy="Run lifestage train, then lifestage promote.")
    folder = bundles_folder(home) / Path(history[-1].version).name
    if not folder.is_dir():
        raise ModelError(f"The champion's bundle {folder.name} is gone.", remedy="Promote another version.")
    return folder


def read_history(home: Path) -> tuple[Promotion, ...]:
    """Return all changes of champion, oldest first; empty where none was promoted.

    Raises:
        ModelError: If the file is damaged.
    """
    try:
        entries = json.loads((home / _FILE).read_text(encoding="utf-8"))
        return tuple(Promotion(**entry) for entry in entries)
    except FileNotFoundError:
        return ()
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{_FILE} is damaged: {error}.", remedy="Restore it, or delete it and promote again."
        ) from None


def append_promotion(home: Path, promotion: Promotion) -> None:
    """Let another bundle serve; readers see the old file or the new one."""
    entries = [asdict(entry) for entry in (*read_history(home), promotion)]
    draft = home / f".{_FILE}.{os.getpid()}"
    draft.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    draft.replace(home / _FILE)
