"""A run into the store, in one transaction; and the runs too old to keep out of it."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, delete, func, insert, select, text

from serving.store.bulk import load_rows, with_much_cache
from serving.store.opening import without_time_limit
from serving.store.rows import RunInfo
from serving.store.tables import PER_RUN, PROSPECTS, PUBLISHED, REPORTS, RUNS, SCORES
from serving.store.tombstones import ErasedGuard

_LOCK = 7_303_015  # of all advisory locks on a server, the one of those who publish

Writing = Callable[[], AbstractContextManager[Connection]]


def describe_run(rows: pl.DataFrame, published_at: datetime) -> dict[str, Any]:
    """Return what is recorded of a run besides its id."""
    return {
        **{column.name: rows[column.name][0] for column in PER_RUN},
        "n_customers": rows.height,
        "published_at": published_at.astimezone(UTC).isoformat(timespec="seconds"),
    }


def write_run(
    connection: Connection,
    rows: pl.DataFrame,
    *,
    published_at: datetime,
    prospects: pl.DataFrame | None,
    reports: Mapping[str, str],
    guard: ErasedGuard | None,
) -> RunInfo:
    """Write a run and point to it, within a transaction.

    Args:
        connection: In a transaction that writes.
        rows: Scores that were checked.
        published_at: When.
        prospects: Prospects, or None for none.
        reports: Name → JSON text.
        guard: Who drops people that were erased meanwhile, or None.
    """
    without_time_limit(connection)
    _queue(connection)
    kept, known = rows, prospects
    if guard is not None:
        kept = guard.drop(connection, rows, "customer_id")
        known = None if prospects is None else guard.drop(connection, prospects, "person_id")
    values = {**describe_run(rows, published_at), "n_customers": kept.height}
    (run_id,) = connection.execute(insert(RUNS).values(values)).inserted_primary_key or (0,)
    load_rows(connection, SCORES, kept, run_id)
    if known is not None:
        load_rows(connection, PROSPECTS, known, run_id)
    for name, body in reports.items():
        connection.execute(insert(REPORTS).values(run_id=run_id, name=name, body=body))
    connection.execute(delete(PUBLISHED))
    connection.execute(insert(PUBLISHED).values(slot=1, run_id=run_id))
    _analyse(connection)
    return RunInfo(run_id=run_id, **values)


def as_texts(reports: Mapping[str, Any]) -> dict[str, str]:
    """Write reports as JSON.

    Raises:
        ValueError: If JSON cannot hold one.
    """
    return {name: json.dumps(body, allow_nan=False) for name, body in reports.items()}


def forget_runs(connection: Connection, keep_runs: int) -> None:
    """Forget all but the newest runs, within the transaction that publishes; their rows are swept out later."""
    newest = select(RUNS.c.run_id).order_by(RUNS.c.run_id.desc()).limit(keep_runs)
    oldest = min(connection.execute(newest).scalars())
    for table in (REPORTS, RUNS):
        connection.execute(delete(table).where(table.c.run_id < oldest))


def sweep(writing: Writing) -> None:
    """Delete the rows of forgotten runs, each run in a transaction of its own."""
    for table in (SCORES, PROSPECTS):
        while True:
            with writing() as connection, with_much_cache(connection):
                without_time_limit(connection)
                oldest = connection.execute(select(func.min(table.c.run_id))).scalar_one()
                kept = connection.execute(select(func.min(RUNS.c.run_id))).scalar_one()
                if oldest is None or kept is None or oldest >= kept:
                    break
                connection.execute(delete(table).where(table.c.run_id == oldest))


def _queue(connection: Connection) -> None:
    """Let publishers take turns, and let nobody be erased meanwhile; SQLite has one writer as it is."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        connection.execute(text("LOCK TABLE tombstones IN SHARE MODE"))


def _analyse(connection: Connection) -> None:
    """Tell PostgreSQL how many rows the new run has, or it takes it for empty and plans accordingly."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("ANALYZE runs, published, scores, prospects, objections"))
