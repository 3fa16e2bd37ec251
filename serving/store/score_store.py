"""The score store: published runs, on SQLAlchemy Core.

A publication is one transaction: the rows of a new run, the pointer that names it, and the end of runs too old to
keep. Readers therefore see the old run or the new one, never a mixture, and a publisher that dies leaves nothing
behind. Rows are never changed after they were published; a person's may be erased.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self

import polars as pl
from sqlalchemy import Connection, Engine, Row, Select, select

from features.errors import ServingError
from serving.store import queries, totals
from serving.store.checking import check_scores
from serving.store.lookup import Lookup
from serving.store.migrating import migrate
from serving.store.opening import build_engine, failing_clearly, reading_engine, sqlite_url, writing_engine
from serving.store.publishing import as_texts, forget_runs, sweep, write_run
from serving.store.rows import AtRiskFilters, Rank, RunInfo, ScoreRow, is_storable, prospect_row, score_row
from serving.store.tables import PUBLISHED, REPORTS, RUNS
from serving.store.tombstones import ErasedGuard

__all__ = ["AtRiskFilters", "Rank", "RunInfo", "ScoreRow", "ScoreStore", "sqlite_url"]

_REMEMBERED_CHANGES = 16
_logger = logging.getLogger("bentoml.lifestage")


class ScoreStore:
    """Published scores in a database; `open` is the way in.

    Args:
        engine: Of the database, whose tables are up to date.
        connection: In a transaction, through which alone a store of one moment reads; None for a store of now.
    """

    def __init__(self, engine: Engine, connection: Connection | None = None) -> None:
        self._engine = engine
        self._readers = reading_engine(engine)
        self._writers = writing_engine(engine)
        self._connection = connection
        self._lookup = Lookup(engine)
        self._changes: dict[tuple[tuple[int, int], ...], Counter[tuple[str | None, str]]] = {}

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the store at a database URL, and make its tables or bring them up to date.

        Raises:
            SettingsError: If the URL is none, or names another kind of database.
            ServingError: If the database cannot be used, or its tables are not this version's to change.
        """
        engine = build_engine(url)
        try:
            with failing_clearly(engine):
                migrate(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        """Close all connections."""
        self._lookup.close()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def kind(self) -> str:
        """The kind of database: sqlite or postgresql."""
        return self._engine.dialect.name

    @property
    def engine(self) -> Engine:
        """The engine of the database."""
        return self._engine

    @contextmanager
    def at_one_moment(self) -> Iterator[Self]:
        """Hold the store as it is now: whatever a block reads is of one moment, though others publish meanwhile."""
        if self._connection is not None:
            yield self
            return
        with self.reading() as connection:
            connection.execute(select(PUBLISHED.c.slot)).first()  # a moment is that of its first question
            held = type(self).__new__(type(self))
            held.__dict__.update(self.__dict__, _connection=connection)
            yield held

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give the connection of the moment that is held, or one of a moment of its own; it cannot write.

        Raises:
            ServingError: If the database fails.
        """
        if self._connection is not None:
            yield self._connection
            return
        with failing_clearly(self._engine), self._readers.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection that writes, in one transaction; in SQLite, writers queue from here on.

        Raises:
            ServingError: If the database fails.
        """
        with failing_clearly(self._engine), self._writers.begin() as connection:
            yield connection

    def publish(
        self,
        scores: pl.DataFrame,
        *,
        published_at: datetime,
        keep_runs: int,
        prospects: pl.DataFrame | None = None,
        reports: Mapping[str, Any] | None = None,
        guard: ErasedGuard | None = None,
    ) -> RunInfo:
        """Publish a frame of scores as the current run, and drop all but the newest runs.

        Args:
            scores: One row per customer, with the score columns.
            published_at: When, for the record; aware, kept in UTC to the second.
            keep_runs: How many runs to keep, this one included.
            prospects: One row per prospect, with the prospect columns; None for none.
            reports: What else belongs to the run: name → JSON values.
            guard: Who keeps people out of the run at the last moment; None for nobody.

        Raises:
            ServingError: If the frame is empty, holds a customer twice, mixes runs, or lacks a value; or if the
                database fails.
        """
        rows = check_scores(scores)
        texts = as_texts({**(reports or {}), totals.REPORT: totals.add_up(rows)})
        with self.writing() as connection:
            run = write_run(
                connection, rows, published_at=published_at, prospects=prospects, reports=texts, guard=guard
            )
            forget_runs(connection, keep_runs)
        try:
            sweep(self.writing)
        except ServingError as error:  # the run is published; the next publication sweeps again
            _logger.warning("Rows of runs that are no longer kept remain for now: %s", error)
        return run

    def get_current(self, customer_id: str) -> tuple[RunInfo, ScoreRow | None] | None:
        """Return the published run and a customer's score in it, asked at once; None before the first publication.

        The score is None where the run has none of this customer, or the customer objected.
        """
        if self._connection is not None or not is_storable(customer_id):
            run = self.current_run()
            return None if run is None else (run, self.get(customer_id, run))
        with failing_clearly(self._engine):
            found = self._lookup.find(customer_id)
        if found is None:
            return None
        run, values = queries.split_current(found)
        return run, None if values is None else score_row(values, run)

    def current_run(self) -> RunInfo | None:
        """Return the published run, or None before the first publication."""
        return self._run(select(RUNS).join(PUBLISHED, PUBLISHED.c.run_id == RUNS.c.run_id))

    def run(self, run_id: int) -> RunInfo | None:
        """Return a run by its id, or None when it was pruned or never was."""
        return self._run(select(RUNS).where(RUNS.c.run_id == run_id))

    def runs(self) -> tuple[RunInfo, ...]:
        """Return the runs that are kept, newest first."""
        return tuple(RunInfo(**row._mapping) for row in self._all(select(RUNS).order_by(RUNS.c.run_id.desc())))

    def get(self, customer_id: str, run: RunInfo) -> ScoreRow | None:
        """Return one customer's score in a run, or None."""
        rows = self._all(queries.one_score(run, customer_id)) if is_storable(customer_id) else []
        return score_row(rows[0], run) if rows else None

    def list_at_risk(
        self, run: RunInfo, *, filters: AtRiskFilters, limit: int, after: Rank | None = None
    ) -> list[ScoreRow]:
        """List scores by value at risk, highest first; ties by customer id."""
        return [score_row(row, run) for row in self._all(queries.ranked_scores(run, filters, limit=limit, after=after))]

    def count(self, run: RunInfo, *, filters: AtRiskFilters) -> int:
        """Count the scores of a run that pass the filters."""
        [(count,)] = self._all(queries.matching_count(run, filters))
        return int(count)

    def totals(self, run: RunInfo) -> pl.DataFrame:
        """Add up a run by `stage` and `rfm`: `customers`, `historic_value` and `clv_12m`, sorted."""
        with self.at_one_moment() as held:
            now, sums = held.run(run.run_id), held.report(run, totals.REPORT)
            if now is None or sums is None or totals.count(sums) != now.n_customers:  # somebody was erased
                sums = [tuple(row) for row in held._all(queries.run_totals(run))]
            return totals.build_totals(sums, [tuple(row) for row in held._all(queries.objecting_values(run))])

    def report(self, run: RunInfo, name: str) -> Any:
        """Return a report of a run as JSON values, or None where it was published without."""
        bodies = self._all(select(REPORTS.c.body).where(REPORTS.c.run_id == run.run_id, REPORTS.c.name == name))
        return json.loads(bodies[0][0]) if bodies else None

    def get_prospect(self, person_id: str, run: RunInfo) -> ScoreRow | None:
        """Return the score of a customer id without an order, or None."""
        rows = self._all(queries.one_prospect(run, person_id)) if is_storable(person_id) else []
        return prospect_row(rows[0], run) if rows else None

    def list_prospects(
        self, run: RunInfo, *, stage: str | None, limit: int, after: tuple[float, str, int] | None = None
    ) -> list[ScoreRow]:
        """List prospects by their probability of a first purchase, highest first; ties by id.

        Args:
            run: The run.
            stage: Only these; None for all.
            limit: At most so many.
            after: Only those that follow this probability, id and kind.
        """
        return [
            prospect_row(row, run) for row in self._all(queries.ranked_prospects(run, stage, limit=limit, after=after))
        ]

    def list_changes(self, old: RunInfo, new: RunInfo, *, limit: int, after: str | None = None) -> list[ScoreRow]:
        """List the customers whose stage differs between two runs, by id.

        Returns:
            Rows of `customer_id, from_stage` (None for who is new) `, to_stage` and `since` (the entry date of the
            latter).
        """
        return [dict(row._mapping) for row in self._all(queries.stage_changes(old, new, limit=limit, after=after))]

    def count_changes(self, old: RunInfo, new: RunInfo) -> list[ScoreRow]:
        """Count the customers of two runs by stage in the old one (None for who is new) and in the new one."""
        with self.at_one_moment() as held:
            counts = held._count_all_changes(old, new)
            counts.subtract(tuple(row) for row in held._all(queries.objecting_changes(old, new)))
        return [
            {"from_stage": before, "to_stage": now, "customers": customers}
            for (before, now), customers in counts.items()
            if customers
        ]

    def _count_all_changes(self, old: RunInfo, new: RunInfo) -> Counter[tuple[str | None, str]]:
        """Count whoever objects, too: that changes only when somebody is erased, and takes a while to count."""
        key = tuple((run.run_id, run.n_customers) for run in map(self.run, (old.run_id, new.run_id)) if run)
        known = self._changes.get(key)
        if known is None:
            rows: list[tuple[Any, ...]] = [tuple(row) for row in self._all(queries.change_counts(old, new))]
            known = Counter({(before, now): customers for before, now, customers in rows})
            if len(self._changes) >= _REMEMBERED_CHANGES:
                self._changes.clear()
            self._changes[key] = known
        return known.copy()

    def _run(self, query: Select[Any]) -> RunInfo | None:
        rows = self._all(query)
        return RunInfo(**rows[0]._mapping) if rows else None

    def _all(self, query: Select[Any]) -> list[Row[Any]]:
        with self.reading() as connection:
            return list(connection.execute(query))
