"""Writes that carried an Idempotency-Key, and what was answered to them; hashes alone, no key and no request."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, delete, select, update

from serving.store.inserting import insert_if_absent
from serving.store.score_store import ScoreStore
from serving.store.tables import WRITES

_MOST_TRIES = 5


@dataclass(frozen=True, slots=True)
class WriteMark:
    """One attempt at a write.

    Attributes:
        caller: The name of the key that asked.
        key_hash: Of its Idempotency-Key.
        request_hash: Of what it asked.
        received_at: When; tells a later attempt from one that was given up.
    """

    caller: str
    key_hash: str
    request_hash: str
    received_at: datetime

    @property
    def moment(self) -> str:
        """When, as it is stored: in UTC, to the microsecond, so that texts sort like times."""
        return _moment(self.received_at)


@dataclass(frozen=True, slots=True)
class EarlierWrite:
    """A write that was received before with the same key; status and answer are None while it runs."""

    request_hash: str
    status: int | None
    answer: str | None


class WriteStore:
    """The writes that are remembered."""

    def __init__(self, store: ScoreStore) -> None:
        self._store = store

    def begin(self, mark: WriteMark, *, forget_before: datetime, given_up_before: datetime) -> EarlierWrite | None:
        """Note a write as running; or return the earlier one with its key, of two at once to one of them.

        Args:
            mark: The write.
            forget_before: Writes received before are forgotten.
            given_up_before: Of these, too, if they never ended: whoever ran them has died.
        """
        is_old = WRITES.c.received_at < _moment(forget_before)
        is_given_up = WRITES.c.status.is_(None) & (WRITES.c.received_at < _moment(given_up_before))
        values = {**_key(mark), "request_hash": mark.request_hash, "received_at": mark.moment}
        with self._store.writing() as connection:
            connection.execute(delete(WRITES).where(is_old | is_given_up))
            for _ in range(_MOST_TRIES):
                if insert_if_absent(connection, WRITES, values):
                    return None
                columns = (WRITES.c.request_hash, WRITES.c.status, WRITES.c.answer)
                found = connection.execute(select(*columns).where(_has_key(mark))).first()
                if found is not None:  # it was released between the two questions otherwise
                    return EarlierWrite(*found)
        return EarlierWrite(mark.request_hash, None, None)  # others try it all the while

    def finish(self, mark: WriteMark, *, status: int, answer: str) -> None:
        """Keep what was answered."""
        with self._store.writing() as connection:
            connection.execute(update(WRITES).where(_is(mark)).values(status=status, answer=answer))

    def release(self, mark: WriteMark) -> None:
        """Forget a write that did nothing, so that it can be tried again."""
        with self._store.writing() as connection:
            connection.execute(delete(WRITES).where(_is(mark)))


def _key(mark: WriteMark) -> dict[str, str]:
    return {"caller": mark.caller, "key_hash": mark.key_hash}


def _has_key(mark: WriteMark) -> Any:
    return and_(*(WRITES.c[name] == value for name, value in _key(mark).items()))


def _is(mark: WriteMark) -> Any:
    return and_(_has_key(mark), WRITES.c.received_at == mark.moment, WRITES.c.status.is_(None))


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
