"""What the home folder itself remembers of people's rights, so that a store which is lost does not take it along.

A store can be deleted, restored from an old backup, or replaced by another. The ledger is a file of lines, each an act
and a keyed hash: whoever was erased is erased anew from a store that does not know of it, before anything is read from
the files of orders. An objection needs the id itself, which the home folder does not keep: there a new store is refused
until the objection is in it.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from features.errors import ServingError
from serving.people.gate import check_key
from serving.people.identity import PeopleKey, key_path, load_key
from serving.store.people import PeopleStore
from serving.store.score_store import ScoreStore

Act = Literal["erased", "objected", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is remembered.

    Attributes:
        erased: Hash → when.
        objecting: Hashes of those who objected here, and neither withdrew that here nor were erased.
    """

    erased: Mapping[str, str] = field(default_factory=dict)
    objecting: frozenset[str] = frozenset()


def remember(home: Path, act: Act, id_hash: str, *, at: datetime) -> None:
    """Put an act into the ledger, on the disk when this returns, unless it is there already."""
    ledger = load_ledger(home)
    if id_hash in ledger.erased or (act == "objected" and id_hash in ledger.objecting):
        return
    line = json.dumps({"act": act, "id_hash": id_hash, "at": at.astimezone(UTC).isoformat(timespec="seconds")})
    home.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(ledger_path(home), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"\n{line}\n")  # whatever a crash left unfinished before it is a line of its own
        file.flush()
        os.fsync(file.fileno())


def load_ledger(home: Path) -> Ledger:
    """Load what is remembered; unfinished lines are left out."""
    erased: dict[str, str] = {}
    objecting: set[str] = set()
    try:
        lines = ledger_path(home).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return Ledger()
    for act, id_hash, at in filter(None, map(_parse, lines)):
        if act == "objected":
            objecting.add(id_hash)
            continue
        objecting.discard(id_hash)
        if act == "erased":
            erased[id_hash] = at
    return Ledger(erased, frozenset(objecting) - erased.keys())


def has_memory(home: Path) -> bool:
    """Tell whether anybody was ever erased here, or objected."""
    return ledger_path(home).exists() or key_path(home).exists()


def recall(home: Path, store: ScoreStore) -> None:
    """Erase anew whoever was erased here, and is not known to be in the store: it was made anew, or is an old backup.

    Raises:
        ServingError: If that is so, and the key of the hashes is not here.
    """
    people, erased = PeopleStore(store), load_ledger(home).erased
    known = people.load_tombstones() if erased else frozenset()
    lost = {id_hash: at for id_hash, at in erased.items() if id_hash not in known}
    if not lost:
        return
    key = check_key(load_key(home), lost)
    held = key.hash_ids(people.load_ids()) if key is not None else {}
    for id_hash in held.keys() & lost.keys():
        people.erase(held[id_hash], id_hash=id_hash, at=datetime.fromisoformat(lost[id_hash]))
    people.restore_tombstones(lost)


def require_objections(home: Path, store: ScoreStore, key: PeopleKey | None) -> None:
    """Refuse a store without any run that lacks an objection which was recorded here.

    Raises:
        ServingError: If one is lacking.
    """
    objecting = load_ledger(home).objecting
    if not objecting or store.runs():
        return
    known, erased = PeopleStore(store).load_withheld()
    n_lost = len(objecting - erased - (key.hash_ids(known).keys() if key is not None else set()))
    if n_lost:
        raise ServingError(
            f"The score store is new, and lacks {n_lost} of the objections that were recorded in this home folder.",
            remedy="Restore the store from a backup, or record them again with lifestage object. If they were "
            f"withdrawn elsewhere, take their lines out of {ledger_path(home).name} in the home folder.",
        )


def ledger_path(home: Path) -> Path:
    """Return where the ledger of a home folder is."""
    return home / "withheld.jsonl"


def _parse(line: str) -> tuple[str, str, str] | None:
    try:
        values = json.loads(line)
        found = (str(values["act"]), str(values["id_hash"]), str(values["at"]))
        datetime.fromisoformat(found[2])
    except (ValueError, TypeError, KeyError):
        return None
    return found
