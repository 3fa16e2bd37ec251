"""Who is not to be scored or listed, in the store: objections by id, erased people by a keyed hash alone.

Whatever is asked here is asked of the database each time: several workers, on several machines, hold to an
objection from the moment at which it is recorded.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, func, or_, select, text, union, update

from serving.store.inserting import insert_if_absent
from serving.store.opening import failing_clearly, raw_connection, without_time_limit
from serving.store.rows import is_storable
from serving.store.score_store import ScoreStore
from serving.store.scrubbing import scrub
from serving.store.tables import OBJECTIONS, PROSPECTS, RUNS, SCORES, TOMBSTONES, WRITES
from serving.store.tombstones import ErasedGuard

# A request asks on the driver itself: through SQLAlchemy the same question costs thirty times as much.
_OBJECTING = {
    "sqlite": """
        SELECT customer_id FROM objections WHERE customer_id IN (SELECT value FROM json_each(?))
        UNION ALL SELECT NULL WHERE EXISTS (SELECT 1 FROM tombstones)""",
    "postgresql": """
        SELECT customer_id FROM objections WHERE customer_id = ANY(%s)
        UNION ALL SELECT NULL WHERE EXISTS (SELECT 1 FROM tombstones)""",
}
_ERASED = {
    "sqlite": "SELECT id_hash FROM tombstones WHERE id_hash IN (SELECT value FROM json_each(?))",
    "postgresql": "SELECT id_hash FROM tombstones WHERE id_hash = ANY(%s)",
}

_LOCKS = 7_303_016  # of all advisory locks on a server, those of one person each


@dataclass(frozen=True, slots=True)
class Objection:
    """One person's objection."""

    customer_id: str
    objected_at: str


@dataclass(frozen=True, slots=True)
class ErasedRows:
    """What one erasure took out of the store.

    Attributes:
        scores: Rows of scores, at most one per kept run.
        prospects: Rows of prospects, likewise.
        objections: 1 where an objection was on record.
        writes: Kept answers to earlier requests that named the person.
        is_repeated: Whether the person had been erased before.
    """

    scores: int
    prospects: int
    objections: int
    writes: int
    is_repeated: bool


class PeopleStore:
    """Objections and tombstones in the database of a score store."""

    def __init__(self, store: ScoreStore) -> None:
        self._store = store

    def record_objection(self, customer_id: str, *, id_hash: str, at: datetime) -> Objection | None:
        """Record that a person objects, or return what was recorded before; None where the person was erased.

        Whoever is erased at this moment is erased before or after: the id is not kept in either case.
        """
        values = {"customer_id": customer_id, "objected_at": _moment(at)}
        with self._store.writing() as connection:
            _take_turns(connection, id_hash)
            if connection.execute(select(TOMBSTONES).where(TOMBSTONES.c.id_hash == id_hash)).first() is not None:
                return None
            insert_if_absent(connection, OBJECTIONS, values)
            return _find_objection(connection, customer_id)

    def withdraw_objection(self, customer_id: str) -> bool:
        """Remove an objection; tell whether there was one."""
        with self._store.writing() as connection:
            return bool(connection.execute(_delete_objection(customer_id)).rowcount)

    def find_objection(self, customer_id: str) -> Objection | None:
        """Return a person's objection, or None."""
        if not is_storable(customer_id):
            return None
        with self._store.reading() as connection:
            return _find_objection(connection, customer_id)

    def list_objections(self, *, limit: int, after: str | None = None) -> list[Objection]:
        """List objections by id."""
        query = select(OBJECTIONS).order_by(OBJECTIONS.c.customer_id).limit(limit)
        if after is not None:
            query = query.where(OBJECTIONS.c.customer_id > after)
        with self._store.reading() as connection:
            return [Objection(**row._mapping) for row in connection.execute(query)]

    def count_objections(self) -> int:
        """Count the objections on record."""
        with self._store.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(OBJECTIONS)).scalar_one())

    def erase(self, customer_id: str, *, id_hash: str, at: datetime) -> ErasedRows:
        """Remove a person from all kept runs and set the tombstone, in one transaction.

        A kept run then counts one customer less, so that its sums agree with its rows. Prospects go by their id
        whether it names a person or a browser.
        """
        with self._store.writing() as connection:
            is_new = set_tombstone(connection, id_hash, at=_moment(at))
            is_score = _of_any_run(connection, SCORES) & (SCORES.c.customer_id == customer_id)
            runs = list(connection.execute(select(SCORES.c.run_id).where(is_score)).scalars())
            fewer = update(RUNS).where(RUNS.c.run_id.in_(runs)).values(n_customers=RUNS.c.n_customers - 1)
            connection.execute(fewer)
            is_prospect = _of_any_run(connection, PROSPECTS) & (PROSPECTS.c.person_id == customer_id)
            return ErasedRows(
                scores=connection.execute(delete(SCORES).where(is_score)).rowcount,
                prospects=connection.execute(delete(PROSPECTS).where(is_prospect)).rowcount,
                objections=connection.execute(_delete_objection(customer_id)).rowcount,
                writes=connection.execute(_delete_answers(customer_id)).rowcount,
                is_repeated=not is_new,
            )

    def scrub(self, customer_id: str) -> bool | None:
        """Make sure that the database's own files hold nothing any more of what was deleted; see `scrub`."""
        return scrub(self._store.engine, customer_id)

    def ask(
        self, customer_ids: Collection[str], hash_ids: Callable[[], Mapping[str, str]]
    ) -> tuple[set[str], set[str]]:
        """Return which of some ids object, and which were erased, at this moment.

        Args:
            customer_ids: The ids.
            hash_ids: Gives their hashes, hash → id; called only if anybody at all was erased.

        Raises:
            ServingError: If the database fails.
        """
        engine = self._store.engine
        with failing_clearly(engine), raw_connection(engine) as driver:
            objecting = self._rows(driver, _OBJECTING, filter(is_storable, customer_ids))
            if None not in objecting:
                return objecting, set()
            hashes = hash_ids()
            erased = {hashes[each] for each in self._rows(driver, _ERASED, hashes)}
            return objecting - {None}, erased

    def load_withheld(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the ids of all who object, and the hashes of all who were erased."""
        with self._store.reading() as connection:
            objecting = frozenset(connection.execute(select(OBJECTIONS.c.customer_id)).scalars())
            return objecting, frozenset(connection.execute(select(TOMBSTONES.c.id_hash)).scalars())

    def load_tombstones(self) -> frozenset[str]:
        """Return the hashes of all who were erased."""
        with self._store.reading() as connection:
            return frozenset(connection.execute(select(TOMBSTONES.c.id_hash)).scalars())

    def restore_tombstones(self, erased: Mapping[str, str]) -> None:
        """Set tombstones again that a store has lost: hash → when."""
        for id_hash, at in erased.items():
            with self._store.writing() as connection:  # a server holds no more than some thousand locks at a time
                set_tombstone(connection, id_hash, at=at)

    def load_ids(self) -> list[str]:
        """Return every id that the store holds."""
        held = union(select(SCORES.c.customer_id), select(PROSPECTS.c.person_id), select(OBJECTIONS.c.customer_id))
        with self._store.reading() as connection:
            without_time_limit(connection)
            return list(connection.execute(held).scalars())

    def sample_hashes(self) -> list[str]:
        """Return the hash of somebody who was erased, if there is anybody."""
        with self._store.reading() as connection:
            return list(connection.execute(select(TOMBSTONES.c.id_hash).limit(1)).scalars())

    def find_erased(self, guard: ErasedGuard, ids: Iterable[str]) -> frozenset[str]:
        """Return which of some ids were erased since a computation."""
        with self._store.reading() as connection:
            return guard.find(connection, ids)

    def _rows(self, driver: Any, queries: Mapping[str, str], values: Iterable[str]) -> set[Any]:
        kind = self._store.kind
        given = json.dumps(list(values)) if kind == "sqlite" else list(values)
        return {row[0] for row in driver.execute(queries[kind], (given,)).fetchall()}


def set_tombstone(connection: Connection, id_hash: str, *, at: str) -> bool:
    """Set a tombstone, and tell whether it is new.

    On a server this waits until nobody publishes, and from here on nobody brings the person back.
    """
    without_time_limit(connection)
    _take_turns(connection, id_hash)
    return insert_if_absent(connection, TOMBSTONES, {"id_hash": id_hash, "erased_at": at})


def _take_turns(connection: Connection, id_hash: str) -> None:
    """Let those who write of one person take turns; SQLite has one writer as it is."""
    if connection.dialect.name == "postgresql":
        lock = {"one_of": _LOCKS, "person": int(id_hash[-8:], 16) - 2**31}
        connection.execute(text("SELECT pg_advisory_xact_lock(:one_of, :person)"), lock)


def _of_any_run(connection: Connection, table: Table) -> Any:
    """Match the rows of every run, of those too that are forgotten and not swept out yet, by the key's first column."""
    runs: list[int] = []
    while True:
        after = select(func.min(table.c.run_id)).where(table.c.run_id > (runs[-1] if runs else -1))
        run_id = connection.execute(after).scalar_one()
        if run_id is None:
            return table.c.run_id.in_(runs)
        runs.append(run_id)


def _find_objection(connection: Connection, customer_id: str) -> Objection | None:
    row = connection.execute(select(OBJECTIONS).where(OBJECTIONS.c.customer_id == customer_id)).first()
    return None if row is None else Objection(**row._mapping)


def _delete_objection(customer_id: str) -> Any:
    return delete(OBJECTIONS).where(OBJECTIONS.c.customer_id == customer_id)


def _delete_answers(customer_id: str) -> Any:
    """Forget answers that quote an id, as either way of writing JSON quotes it."""
    quoted = {json.dumps(customer_id), json.dumps(customer_id, ensure_ascii=False)}
    return delete(WRITES).where(or_(*(WRITES.c.answer.contains(each, autoescape=True) for each in sorted(quoted))))


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
