"""API keys: shown once, stored as hashes, checked in constant time.

A key is 256 random bits, so one SHA-256 is enough: there is nothing to guess and no need for a slow hash.
"""

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from features.errors import ServingError, SettingsError

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is kept of a key: enough to recognise it, too little to use it."""

    name: str
    sha256: str
    created_at: str


def create_key(path: Path, *, name: str, created_at: datetime) -> str:
    """Create a key, store its hash under a name, and return the key for the only time.

    Raises:
        SettingsError: If the name is empty or taken.
        ServingError: If the key file is damaged.
    """
    stored = load_keys(path)
    if not name.strip():
        raise SettingsError("A key needs a name.", remedy="Name it after the system that will use it.")
    if any(key.name == name for key in stored):
        raise SettingsError(f"A key named {name} exists already.", remedy="Choose another name, or remove that key.")
    key = secrets.token_urlsafe(KEY_BYTES)
    _write_keys(path, (*stored, StoredKey(name, _sha256(key), created_at.isoformat())))
    return key


def remove_key(path: Path, *, name: str) -> None:
    """Remove a key, so that it stops opening the service.

    Raises:
        SettingsError: If no key has that name.
        ServingError: If the key file is damaged.
    """
    stored = load_keys(path)
    kept = tuple(key for key in stored if key.name != name)
    if len(kept) == len(stored):
        raise SettingsError(f"No key is named {name}.", remedy="The key file lists the names that exist.")
    _write_keys(path, kept)


def load_keys(path: Path) -> tuple[StoredKey, ...]:
    """Load the stored keys; none when the file does not exist.

    Raises:
        ServingError: If the file is damaged.
    """
    try:
        return tuple(StoredKey(**entry) for entry in json.loads(path.read_bytes())["keys"])
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError):
        raise ServingError(f"The key file {path} is damaged.", remedy="Delete it and create the keys anew.") from None


class KeyFile:
    """The key file as the service sees it: read again whenever it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._hashes: tuple[str, ...] = ()

    def accepts(self, key: str) -> bool:
        """Tell whether a key is one of the stored ones, in a time that does not depend on which."""
        presented = _sha256(key)
        matches = [hmac.compare_digest(presented, stored) for stored in self._current_hashes()]
        return any(matches)

    def _current_hashes(self) -> tuple[str, ...]:
        signature = _signature(self._path)
        if signature != self._seen:
            self._hashes = tuple(key.sha256 for key in load_keys(self._path))
            self._seen = signature
        return self._hashes


def _signature(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", errors="replace")).hexdigest()


def _write_keys(path: Path, keys: tuple[StoredKey, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"keys": [asdict(key) for key in keys]}, indent=2) + "\n"
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
