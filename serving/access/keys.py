"""API keys: shown once, stored as hashes, checked in constant time.

A key is 256 random bits, so one SHA-256 is enough: there is nothing to guess and no need for a slow hash.

A name has one key, or two while its user moves from the older to the newer. A key opens what its scopes name; `admin`
opens everything.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from features.errors import ServingError, SettingsError
from features.files import PRIVATE, held_alone, write_whole

KEY_BYTES = 32
SCOPES = {
    "score": "score customers from the orders in a request",
    "read": "read stored scores, stages, segments, metrics and the model card",
    "lists": "read lists of customers: at risk, prospects, changes",
    "admin": "everything, with reloading, erasing and objections",
}
ADMIN = "admin"
DEFAULT_SCOPES = tuple(scope for scope in SCOPES if scope != ADMIN)  # also of keys stored before there were scopes
MAX_ACTIVE_KEYS = 2
MAX_NAME_LENGTH = 64
LOCAL_CALLER = "local"
COMMAND_LINE = "command line"

_FINGERPRINT_LENGTH = 8
_RESERVED_NAMES = frozenset({LOCAL_CALLER, COMMAND_LINE})  # the audit log would not tell them apart


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is kept of a key: enough to recognise it, too little to use it."""

    name: str
    sha256: str
    created_at: str
    scopes: tuple[str, ...] = DEFAULT_SCOPES

    @property
    def fingerprint(self) -> str:
        """The beginning of the hash, by which people tell two keys apart."""
        return self.sha256[:_FINGERPRINT_LENGTH]

    def opens(self, scope: str) -> bool:
        """Tell whether the key opens what needs a scope."""
        return scope in self.scopes or ADMIN in self.scopes


def keys_path(home: Path) -> Path:
    """Return where the keys of a home folder are."""
    return home / "keys.json"


def require_keys(home: Path) -> None:
    """Refuse to go on without a key.

    Raises:
        ServingError: If no key was created yet.
    """
    if not load_keys(keys_path(home)):
        raise ServingError(
            "The service has no API key, so nobody could use it.",
            remedy="Create one with lifestage keys NAME, or use --insecure-local on your own machine.",
        )


def create_key(path: Path, *, name: str, created_at: datetime, scopes: Collection[str] = DEFAULT_SCOPES) -> str:
    """Create the first key of a name, store its hash, and return the key for the only time.

    Raises:
        SettingsError: If the name is unfit or taken, or a scope unknown.
        ServingError: If the key file is damaged.
    """
    _check_name(name)
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise SettingsError(
            f"There is no scope {', '.join(unknown)}." if unknown else "A key without a scope opens nothing.",
            remedy=f"Scopes: {', '.join(SCOPES)}.",
        )
    with _alone(path):
        stored = load_keys(path)
        if any(key.name == name for key in stored):
            raise SettingsError(
                f"A key named {name} exists already.",
                remedy="Choose another name; or make its successor with --rotate, or --remove it first.",
            )
        return _add(path, stored, name=name, created_at=created_at, scopes=tuple(s for s in SCOPES if s in scopes))


def rotate_key(path: Path, *, name: str, created_at: datetime) -> str:
    """Create a second key of a name, with the scopes of the first, which works on until it is retired.

    Raises:
        SettingsError: If no key has that name, or two have.
        ServingError: If the key file is damaged.
    """
    with _alone(path):
        stored = load_keys(path)
        own = _own(stored, name)
        if len(own) >= MAX_ACTIVE_KEYS:
            raise SettingsError(
                f"{name} has {len(own)} active keys already.",
                remedy=f"Retire the older one first, with lifestage keys {name} --retire.",
            )
        return _add(path, stored, name=name, created_at=created_at, scopes=own[-1].scopes)


def retire_key(path: Path, *, name: str) -> StoredKey:
    """Remove the older of the two keys of a name, and return what was kept of it.

    Raises:
        SettingsError: If no key has that name, or only one has.
        ServingError: If the key file is damaged.
    """
    with _alone(path):
        stored = load_keys(path)
        own = _own(stored, name)
        if len(own) == 1:
            raise SettingsError(
                f"{name} has one key only, and would be left without.",
                remedy=f"Make its successor first: lifestage keys {name} --rotate; or --remove the name.",
            )
        _write_keys(path, tuple(key for key in stored if key is not own[0]))
        return own[0]


def remove_key(path: Path, *, name: str) -> tuple[StoredKey, ...]:
    """Remove all keys of a name, so that they stop opening the service, and return what was kept of them.

    Raises:
        SettingsError: If no key has that name.
        ServingError: If the key file is damaged.
    """
    with _alone(path):
        stored = load_keys(path)
        own = _own(stored, name)
        _write_keys(path, tuple(key for key in stored if key not in own))
        return own


def load_keys(path: Path) -> tuple[StoredKey, ...]:
    """Load the stored keys, the older of two with one name first; none when the file does not exist.

    Raises:
        ServingError: If the file is damaged.
    """
    try:
        return tuple(_read_key(entry) for entry in json.loads(path.read_bytes())["keys"])
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError):
        raise ServingError(f"The key file {path} is damaged.", remedy="Delete it and create the keys anew.") from None


def fingerprint(key: str) -> str:
    """Return the beginning of a key's hash, by which people tell two keys apart."""
    return _sha256(key)[:_FINGERPRINT_LENGTH]


@contextmanager
def undone_on_failure(path: Path) -> Iterator[None]:
    """Put the keys back as they were if a block fails: an act that cannot be put on record must not take effect."""
    before = load_keys(path)
    try:
        yield
    except BaseException:
        with _alone(path):
            _write_keys(path, before)
        raise


class KeyFile:
    """The key file as the service sees it: read again whenever it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[StoredKey, ...] = ()

    def recognise(self, key: str) -> StoredKey | None:
        """Return what is stored of a key, or None; the time it takes does not depend on which key it is.

        Raises:
            ServingError: If the file is damaged.
        """
        presented = _sha256(key)
        found = None
        for stored in self._current():
            if hmac.compare_digest(presented, stored.sha256):
                found = stored
        return found

    def check(self) -> None:
        """Read the file if it has changed.

        Raises:
            ServingError: If it is damaged.
        """
        self._current()

    def _current(self) -> tuple[StoredKey, ...]:
        signature = _signature(self._path)
        if signature != self._seen:
            self._keys = load_keys(self._path)
            self._seen = signature
        return self._keys


def _check_name(name: str) -> None:
    if not name.strip():
        raise SettingsError("A key needs a name.", remedy="Name it after the system that will use it.")
    if not name.isprintable() or len(name) > MAX_NAME_LENGTH or name in _RESERVED_NAMES:
        raise SettingsError(
            "This is no name for a key: it is too long, unprintable, or means another caller.",
            remedy=f"Choose at most {MAX_NAME_LENGTH} printable characters, such as crm.",
        )


def _own(stored: tuple[StoredKey, ...], name: str) -> tuple[StoredKey, ...]:
    own = tuple(key for key in stored if key.name == name)
    if not own:
        raise SettingsError(f"No key is named {name}.", remedy="lifestage keys lists the names that exist.")
    return own


def _add(path: Path, stored: tuple[StoredKey, ...], *, name: str, created_at: datetime, scopes: tuple[str, ...]) -> str:
    key = secrets.token_urlsafe(KEY_BYTES)
    _write_keys(path, (*stored, StoredKey(name, _sha256(key), created_at.isoformat(), scopes)))
    return key


def _read_key(entry: dict[str, Any]) -> StoredKey:
    key = StoredKey(**{**entry, "scopes": tuple(entry.get("scopes", DEFAULT_SCOPES))})
    if not set(key.scopes) <= set(SCOPES) or not all(isinstance(text, str) for text in (key.name, key.sha256)):
        raise ValueError
    key.sha256.encode("ascii")  # or comparing it would fail later
    return key


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", errors="replace")).hexdigest()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from changing the keys for a block, so that two commands at once do not undo each other's work."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with held_alone(path.with_name(f".{path.name}.lock")):
        yield


def _write_keys(path: Path, keys: tuple[StoredKey, ...]) -> None:
    text = json.dumps({"keys": [asdict(key) for key in keys]}, indent=2) + "\n"
    write_whole(path, text, mode=PRIVATE)
