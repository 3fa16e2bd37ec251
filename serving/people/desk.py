"""Where people's rights are exercised: one desk for the command line and the service, which records every act."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from features.errors import InputError
from serving.access.audit import AuditLog, audit_path
from serving.cursors import decode_cursor, encode_cursor
from serving.people.erasure import erase
from serving.people.gate import Gate, check_key
from serving.people.identity import make_key, normalise_id
from serving.people.ledger import recall, remember
from serving.people.schemas import ObjectionRecorded, Objections, ObjectionTold, Receipt
from serving.store.people import PeopleStore
from serving.store.score_store import ScoreStore

_CURSOR = {"id": str}


@dataclass(frozen=True, slots=True)
class PeopleDesk:
    """The desk of one home folder; `open_desk` is the way in.

    Args:
        home: The folder.
        store: Its store.
        people: Objections and tombstones in it.
        gate: Tells who is withheld.
    """

    home: Path
    store: ScoreStore
    people: PeopleStore
    gate: Gate

    def erase(self, customer_id: str, *, actor: str, at: datetime) -> Receipt:
        """Erase a person; see `serving.people.erasure.erase`."""
        return erase(self.home, self.store, customer_id, actor=actor, at=at)

    def record_objection(self, customer_id: str, *, actor: str, at: datetime) -> ObjectionRecorded:
        """Record that a person objects to being scored and listed; it holds from the next read on.

        Raises:
            InputError: If the id is empty, or the person was erased, so that the id must not be kept.
            ServingError: If others were erased from the store under another key.
        """
        whose = normalise_id(customer_id)
        key = make_key(self.home)
        check_key(key, self.people.sample_hashes())
        objection = self.people.record_objection(whose, id_hash=key.hash_id(whose), at=at)
        if objection is None:
            raise InputError(
                "This person was erased, and is withheld already.",
                remedy="Nothing needs to be done: an objection would keep the id again.",
            )
        remember(self.home, "objected", key.hash_id(whose), at=at)
        self._note("objection", whose, actor=actor, at=at)
        return ObjectionRecorded(objected_at=objection.objected_at)

    def withdraw_objection(self, customer_id: str, *, actor: str, at: datetime) -> bool:
        """Withdraw an objection; tell whether there was one. Lists hold the person again from the next read on.

        Raises:
            InputError: If the id is empty.
        """
        whose = normalise_id(customer_id)
        was_objecting = self.people.withdraw_objection(whose)
        if was_objecting:
            remember(self.home, "withdrawn", make_key(self.home).hash_id(whose), at=at)
            self._note("objection_withdrawn", whose, actor=actor, at=at)
        return was_objecting

    def list_objections(self, *, limit: int, cursor: str | None = None) -> Objections:
        """Return one page of the objections, by id.

        Raises:
            InputError: If the cursor is not one of ours.
        """
        after = None if cursor is None else decode_cursor(cursor, _CURSOR)["id"]
        found = self.people.list_objections(limit=limit + 1, after=after)
        page = found[:limit]
        return Objections(
            n_objections=self.people.count_objections(),
            objections=[ObjectionTold(customer_id=each.customer_id, objected_at=each.objected_at) for each in page],
            next_cursor=encode_cursor({"id": page[-1].customer_id}) if len(found) > limit else None,
        )

    def is_objecting(self, customer_id: str) -> bool:
        """Tell whether an objection is on record."""
        return self.people.find_objection(customer_id) is not None

    def withheld(self, customer_ids: Iterable[str]) -> Mapping[str, str]:
        """Return who of a request is withheld at this moment: id → reason."""
        return self.gate.find(customer_ids)

    def _note(self, act: str, customer_id: str, *, actor: str, at: datetime) -> None:
        detail = {"subject": make_key(self.home).hash_id(customer_id)}
        AuditLog(audit_path(self.home)).append(actor=actor, act=act, detail=detail, at=at)


def open_desk(home: Path, store: ScoreStore) -> PeopleDesk:
    """Open the desk of a home folder over its store, which knows from then on who was erased here.

    Raises:
        ServingError: If the store has forgotten that, and the key of the hashes is not here.
    """
    recall(home, store)
    return PeopleDesk(home, store, PeopleStore(store), Gate(home, store))
