from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from serving.store.score_store import ScoreStore
from serving.store.writes import EarlierWrite, WriteMark, WriteStore

AT = datetime(2026, 1, 2, tzinfo=UTC)
MARK = WriteMark("crm", "k", "r", AT)


def begin(store: ScoreStore, mark: WriteMark) -> EarlierWrite | None:
    """Begin a write: forgotten after a day, given up after a minute."""
    forget, give_up = mark.received_at - timedelta(days=1), mark.received_at - timedelta(minutes=1)
    return WriteStore(store).begin(mark, forget_before=forget, given_up_before=give_up)


def test_one_of_many(store: ScoreStore) -> None:
    """Of many writes with one key at the same time, exactly one is begun."""
    marks = [replace(MARK, received_at=AT + timedelta(microseconds=n)) for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        earlier = list(pool.map(lambda mark: begin(store, mark), marks))
    assert earlier.count(None) == 1
    assert earlier.count(EarlierWrite("r", None, None)) == 15


def test_answer_is_kept(store: ScoreStore) -> None:
    """A finished write is told with its answer, to its caller alone, until it is forgotten."""
    assert begin(store, MARK) is None
    WriteStore(store).finish(MARK, status=200, answer="{}")
    later = replace(MARK, request_hash="other", received_at=AT + timedelta(hours=23))
    assert begin(store, later) == EarlierWrite("r", 200, "{}")
    assert begin(store, replace(later, caller="shop")) is None
    assert begin(store, replace(later, received_at=AT + timedelta(hours=25))) is None


def test_released(store: ScoreStore) -> None:
    """A released write may be begun again; one that was finished is not released."""
    begin(store, MARK)
    WriteStore(store).release(MARK)
    assert begin(store, MARK) is None
    WriteStore(store).finish(MARK, status=200, answer="{}")
    WriteStore(store).release(MARK)
    assert begin(store, MARK) == EarlierWrite("r", 200, "{}")


def test_released_meanwhile(store: ScoreStore) -> None:
    """A write that is released between two looks at it is begun; on SQLite nothing comes between."""
    if store.kind == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    begin(store, MARK)
    with ThreadPoolExecutor(1) as other:

        @event.listens_for(store.engine, "after_cursor_execute")
        def _release(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("INSERT INTO writes"):
                other.submit(WriteStore(store).release, MARK).result()

        assert begin(store, replace(MARK, received_at=AT + timedelta(seconds=1))) is None


def test_given_up(store: ScoreStore) -> None:
    """A write that never ended is taken over after a while; its late end does not disturb who took it over."""
    begin(store, MARK)
    later = replace(MARK, received_at=AT + timedelta(minutes=2))
    assert begin(store, replace(later, received_at=AT + timedelta(seconds=59))) == EarlierWrite("r", None, None)
    assert begin(store, later) is None
    WriteStore(store).finish(MARK, status=200, answer="late")
    WriteStore(store).release(MARK)
    assert begin(store, later) == EarlierWrite("r", None, None)
