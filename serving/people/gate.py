"""Who is withheld at this very moment: of one request, and of a run that is being published."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from features.errors import ServingError
from serving.people.identity import PeopleKey, load_key
from serving.store.people import PeopleStore
from serving.store.score_store import ScoreStore
from serving.store.tombstones import ErasedGuard

OBJECTED = "objected to scoring"
ERASED = "erased"


class Gate:
    """Tells, of the ids of one request, who is withheld at this very moment."""

    def __init__(self, home: Path, store: ScoreStore) -> None:
        self._home = home
        self._people = PeopleStore(store)
        self._key: PeopleKey | None = None

    def find(self, customer_ids: Iterable[str]) -> Mapping[str, str]:
        """Return those that are withheld: id → reason.

        Raises:
            ServingError: If erased people cannot be recognised, as the key of their hashes is not here.
        """
        asked = list(customer_ids)
        objecting, erased = self._people.ask(asked, lambda: self._known_key().hash_ids(asked))
        return {**dict.fromkeys(objecting, OBJECTED), **dict.fromkeys(erased, ERASED)}

    def _known_key(self) -> PeopleKey:
        """Return the key, once somebody was erased."""
        if self._key is None:
            self._key = _find_key(self._home, self._people)
        return self._key


def build_guard(home: Path, store: ScoreStore) -> ErasedGuard:
    """Build what keeps out of a publication whoever is erased while it is computed."""

    def load_hash() -> Callable[[str], str]:
        return _find_key(home, PeopleStore(store)).hash_id

    return ErasedGuard(load_hash)


def check_key(key: PeopleKey | None, erased: Iterable[str]) -> PeopleKey | None:
    """Return the key, if it is the one that made all of these hashes.

    Raises:
        ServingError: If it is not, or is missing where somebody was erased.
    """
    if all(key is not None and each.startswith(f"{key.mark}.") for each in erased):
        return key
    raise ServingError(
        "People were erased from this store under another key than this home folder's, so they cannot be recognised.",
        remedy="Restore people.key from a backup of the home folder, or set LIFESTAGE_PEOPLE_KEY to its content "
        "in every home that shares the store.",
    )


def _find_key(home: Path, people: PeopleStore) -> PeopleKey:
    """Return the key of a home from whose store somebody was erased."""
    key = check_key(load_key(home), people.sample_hashes())
    assert key is not None  # noqa: S101 - somebody was erased, and the key fits
    return key
