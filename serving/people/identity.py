"""Who a person is, once nothing may say so: a keyed hash of an id.

A plain hash of an id hides nothing: ids are few and guessable, and all of them are hashed within a second. The hash
here takes a random secret, which is made in the home folder at first use and never leaves it. Where several homes
share one store, the environment variable `LIFESTAGE_PEOPLE_KEY` gives all of them the same secret, and wins over the
file. A hash begins with a mark of its key, so that a home with another one is noticed, and not taken for a home
that nobody was erased from.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from features.errors import InputError, ServingError, SettingsError
from features.files import PRIVATE, write_once
from features.intake.values.texts import BLANKS
from serving.store.rows import is_storable

KEY_VARIABLE = "LIFESTAGE_PEOPLE_KEY"

_KEY_BYTES = 32
_LEAST_CHARACTERS = 32
_MARK_CHARACTERS = 8
_AS_IN_FILES = "Give the id as it stands in the order file."


@dataclass(frozen=True, slots=True)
class PeopleKey:
    """The secret that turns an id into a hash.

    Attributes:
        secret: At least 32 bytes.
        mark: Tells this key from others, and nothing else.
    """

    secret: bytes = field(repr=False)
    mark: str

    def hash_id(self, customer_id: str) -> str:
        """Return the keyed hash of an id: HMAC-SHA256 (RFC 2104) in hexadecimal, after the mark of the key."""
        digest = hmac.digest(self.secret, customer_id.encode("utf-8", errors="surrogatepass"), "sha256")
        return f"{self.mark}.{digest.hex()}"

    def hash_ids(self, customer_ids: Iterable[str]) -> dict[str, str]:
        """Return hash → id."""
        return {self.hash_id(customer_id): customer_id for customer_id in customer_ids}


def normalise_id(customer_id: str) -> str:
    """Return an id as intake writes it.

    Raises:
        InputError: If nothing is left of it, or no order file could hold it.
    """
    stripped = customer_id.strip(BLANKS)
    if not stripped:
        raise InputError("The customer id is empty.", remedy=_AS_IN_FILES, field="customer_id")
    if not is_storable(stripped):
        raise InputError(
            "The customer id holds a NUL, or half of a character.", remedy=_AS_IN_FILES, field="customer_id"
        )
    return stripped


def make_key(home: Path, environment: Mapping[str, str] | None = None) -> PeopleKey:
    """Load the key, and make its file where there is none; of several who make it at once, all get the same.

    Raises:
        SettingsError: If the environment variable is too short for a secret.
        ServingError: If the file is damaged.
    """
    found = load_key(home, environment)
    if found is not None:
        return found
    home.mkdir(parents=True, exist_ok=True)
    write_once(key_path(home), secrets.token_hex(_KEY_BYTES) + "\n", mode=PRIVATE)
    made = load_key(home, environment)
    assert made is not None  # noqa: S101 - it was written above, by us or by another
    return made


def load_key(home: Path, environment: Mapping[str, str] | None = None) -> PeopleKey | None:
    """Load the key; None where none was made yet.

    Raises:
        SettingsError: If the environment variable is too short for a secret.
        ServingError: If the file is damaged.
    """
    given = (os.environ if environment is None else environment).get(KEY_VARIABLE, "").strip()
    if given:
        if len(given) < _LEAST_CHARACTERS:
            raise SettingsError(
                f"{KEY_VARIABLE} has {len(given)} characters, too few for a secret.",
                remedy=f"Give at least {_LEAST_CHARACTERS} random ones; the people.key of a home folder will do.",
            )
        return _build_key(given)
    try:
        written = key_path(home).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except ValueError:
        written = ""
    if len(written) < _LEAST_CHARACTERS:
        raise ServingError(
            "The file people.key in the home folder is damaged.",
            remedy="Restore it from a backup: without it, erased people cannot be recognised.",
        )
    return _build_key(written)


def key_path(home: Path) -> Path:
    """Return where the key of a home folder is."""
    return home / "people.key"


def _build_key(text: str) -> PeopleKey:
    secret = text.encode("utf-8")
    mark = hmac.new(secret, b"lifestage people key", hashlib.sha256).hexdigest()[:_MARK_CHARACTERS]
    return PeopleKey(secret, mark)
