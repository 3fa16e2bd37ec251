"""The score store: published runs, on SQLAlchemy Core.

A publication is one transaction: the rows of a new run, the pointer that names it, and the removal
of runs too old to keep. Readers therefore see the old run or the new one, never a mixture, and a
publisher that dies leaves nothing behind. Rows are never changed after they were published.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import polars as pl
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Table,
    and_,
    create_engine,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError

from features.errors import ServingError
from serving.columns import COLUMNS, PROSPECT_COLUMNS, SCORE_COLUMNS, SCORE_SCHEMA, Kind
from serving.tables import (
    METADATA,
    PER_RUN,
    PROSPECTS,
    PUBLISHED,
    REPORTS,
    RUNS,
    SCORES,
    check_columns,
    prepare_sqlite,
)

ScoreRow = dict[str, Any]

_ROWS_PER_INSERT = 10_000
_LISTS = tuple(column.name for column in COLUMNS if column.kind is Kind.NUMBERS)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One published run of scores."""

    run_id: int
    as_of: str
    horizon_days: int
    model_version: str
    n_customers: int
    published_at: str


@dataclass(frozen=True, slots=True)
class AtRiskFilters:
    """Which scores belong on a list; None leaves a question open."""

    stage: str | None = None
    size: str | None = None
    min_p_churn: float | None = None
    max_p_churn: float | None = None


@dataclass(frozen=True, slots=True)
class Rank:
    """A place in the ranked list: after this value, and within it after this customer."""

    value_at_risk: float
    customer_id: str


class ScoreStore:
    """Published scores in a database; `open` is the way in."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the store at a database URL and create its tables where they are missing.

        Raises:
            ServingError: If the database cannot be used, or its tables were written by a version with other columns.
        """
        engine = create_engine(url)
        if engine.dialect.name == "sqlite":
            prepare_sqlite(engine)
        try:
            with engine.begin() as connection:
                METADATA.create_all(connection)
                check_columns(connection)
        except DatabaseError as error:  # its text may hold values
            engine.dispose()
            name = engine.url.database or engine.dialect.name
            raise ServingError(
                f"The score store {Path(name).name} cannot be used ({type(error.orig).__name__}).",
                remedy="Restore it, or remove it and score again.",
            ) from None
        return cls(engine)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(
        self,
        scores: pl.DataFrame,
        *,
        published_at: datetime,
        keep_runs: int,
        prospects: pl.DataFrame | None = None,
        reports: Mapping[str, Any] | None = None,
    ) -> RunInfo:
        """Publish a frame of scores as the current run, and drop all but the newest runs.

        Args:
            scores: One row per customer, with the score columns.
            published_at: When, for the record; aware, kept in UTC to the second.
            keep_runs: How many runs to keep, this one included.
            prospects: One row per prospect, with the prospect columns; None for none.
            reports: What else belongs to the run: name → JSON values.

        Raises:
            ServingError: If the frame is empty, holds a customer twice, mixes runs, or lacks a value.
        """
        rows = _checked(scores)
        shared = {column.name: rows[column.name][0] for column in PER_RUN}
        values = {
            **shared,
            "n_customers": rows.height,
            "published_at": published_at.astimezone(UTC).isoformat(timespec="seconds"),
        }
        with self._writing() as connection:
            (run_id,) = connection.execute(insert(RUNS).values(values)).inserted_primary_key or (0,)
            _insert(connection, SCORES, rows, run_id)
            if prospects is not None:
                _insert(connection, PROSPECTS, prospects, run_id)
            for name, body in (reports or {}).items():
                text = json.dumps(body, allow_nan=False)
                connection.execute(insert(REPORTS).values(run_id=run_id, name=name, body=text))
            connection.execute(delete(PUBLISHED))
            connection.execute(insert(PUBLISHED).values(slot=1, run_id=run_id))
            _prune(connection, keep_runs)
        return RunInfo(run_id=run_id, **values)

    def current_run(self) -> RunInfo | None:
        """Return the published run, or None before the first publication."""
        return self._run(select(RUNS).join(PUBLISHED, PUBLISHED.c.run_id == RUNS.c.run_id))

    def run(self, run_id: int) -> RunInfo | None:
        """Return a run by its id, or None when it was pruned or never was."""
        return self._run(select(RUNS).where(RUNS.c.run_id == run_id))

    def get(self, customer_id: str, run: RunInfo) -> ScoreRow | None:
        """Return one customer's score in a run, or None."""
        query = select(SCORES).where(SCORES.c.run_id == run.run_id, SCORES.c.customer_id == customer_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _score_row(row, run)

    def list_at_risk(
        self, run: RunInfo, *, filters: AtRiskFilters, limit: int, after: Rank | None = None
    ) -> list[ScoreRow]:
        """List scores by value at risk, highest first; ties by customer id."""
        query = (
            select(SCORES)
            .where(*_conditions(run, filters), *([] if after is None else [_follows(after)]))
            .order_by(SCORES.c.value_at_risk.desc(), SCORES.c.customer_id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [_score_row(row, run) for row in connection.execute(query)]

    def count(self, run: RunInfo, *, filters: AtRiskFilters) -> int:
        """Count the scores of a run that pass the filters."""
        query = select(func.count()).select_from(SCORES).where(*_conditions(run, filters))
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def totals(self, run: RunInfo) -> pl.DataFrame:
        """Add up a run by `stage` and `rfm`: `customers`, `historic_value` and `clv_12m`, sorted."""
        keys, sums = (SCORES.c.stage, SCORES.c.rfm), (SCORES.c.historic_value, SCORES.c.clv_12m)
        query = (
            select(*keys, func.count().label("customers"), *(func.sum(column).label(column.name) for column in sums))
            .where(SCORES.c.run_id == run.run_id)
            .group_by(*keys)
            .order_by(*keys)
        )
        kinds = {"stage": pl.String, "rfm": pl.String, "customers": pl.Int64}
        schema = {**kinds, "historic_value": pl.Float64, "clv_12m": pl.Float64}
        with self._engine.connect() as connection:
            return pl.DataFrame([tuple(row) for row in connection.execute(query)], schema, orient="row")

    def report(self, run: RunInfo, name: str) -> Any:
        """Return a report of a run as JSON values, or None where it was published without."""
        query = select(REPORTS.c.body).where(REPORTS.c.run_id == run.run_id, REPORTS.c.name == name)
        with self._engine.connect() as connection:
            body = connection.execute(query).scalar_one_or_none()
        return None if body is None else json.loads(body)

    def runs(self) -> tuple[RunInfo, ...]:
        """Return the runs that are kept, newest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(RUNS).order_by(RUNS.c.run_id.desc()))
            return tuple(RunInfo(**row._mapping) for row in rows)

    def get_prospect(self, person_id: str, run: RunInfo) -> ScoreRow | None:
        """Return the score of a customer id without an order, or None."""
        is_it = (PROSPECTS.c.person_id == person_id) & (PROSPECTS.c.is_visitor == 0)
        query = select(PROSPECTS).where(PROSPECTS.c.run_id == run.run_id, is_it)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _prospect_row(row, run)

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
        columns = PROSPECTS.c
        conditions = [columns.run_id == run.run_id, *([] if stage is None else [columns.stage == stage])]
        if after is not None:
            p, person_id, is_visitor = after
            later = tuple_(columns.person_id, columns.is_visitor) > tuple_(literal(person_id), literal(is_visitor))
            conditions.append(or_(columns.p_first_purchase < p, and_(columns.p_first_purchase == p, later)))
        ranked = (columns.p_first_purchase.desc(), columns.person_id, columns.is_visitor)
        query = select(PROSPECTS).where(*conditions).order_by(*ranked).limit(limit)
        with self._engine.connect() as connection:
            return [_prospect_row(row, run) for row in connection.execute(query)]

    def list_changes(self, old: RunInfo, new: RunInfo, *, limit: int, after: str | None = None) -> list[ScoreRow]:
        """List the customers whose stage differs between two runs, by id.

        Returns:
            Rows of `customer_id, from_stage` (None for who is new) `, to_stage` and `since` (the entry date of the
            latter).
        """
        before, now = SCORES.alias("before"), SCORES.alias("now")
        is_same = (before.c.run_id == old.run_id) & (before.c.customer_id == now.c.customer_id)
        has_moved = or_(before.c.stage.is_(None), before.c.stage != now.c.stage)
        query = (
            select(
                now.c.customer_id,
                before.c.stage.label("from_stage"),
                now.c.stage.label("to_stage"),
                now.c.stage_since.label("since"),
            )
            .select_from(now.outerjoin(before, is_same))
            .where(now.c.run_id == new.run_id, has_moved, *([] if after is None else [now.c.customer_id > after]))
            .order_by(now.c.customer_id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def count_changes(self, old: RunInfo, new: RunInfo) -> list[ScoreRow]:
        """Count the customers of two runs by stage in the old one (None for who is new) and in the new one."""
        before, now = SCORES.alias("before"), SCORES.alias("now")
        is_same = (before.c.run_id == old.run_id) & (before.c.customer_id == now.c.customer_id)
        ends = (before.c.stage.label("from_stage"), now.c.stage.label("to_stage"))
        query = (
            select(*ends, func.count().label("customers"))
            .select_from(now.outerjoin(before, is_same))
            .where(now.c.run_id == new.run_id)
            .group_by(*ends)
        )
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def _run(self, query: Any) -> RunInfo | None:
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else RunInfo(**row._mapping)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """Hold the write lock from the first statement on, so that two publishers queue."""
        writer = self._engine.execution_options(lifestage_begin="BEGIN IMMEDIATE")
        with writer.begin() as connection:
            yield connection


def sqlite_url(path: Path) -> str:
    """Build the database URL of a SQLite file."""
    return str(make_url("sqlite://").set(database=str(path)))


def _checked(scores: pl.DataFrame) -> pl.DataFrame:
    """Return the rows in the order of the primary key, or refuse them."""
    if scores.is_empty():
        raise ServingError("There are no scores to publish.", remedy="Score orders that lie before the as-of date.")
    absent = [name for name in SCORE_COLUMNS if name not in scores.columns]
    if absent:
        raise _refused(f"lack the columns {', '.join(absent)}")
    rows = scores.select(SCORE_COLUMNS).cast(SCORE_SCHEMA).sort("customer_id")
    if rows["customer_id"].n_unique() != rows.height:
        raise _refused("hold a customer more than once")
    mixed = [column.name for column in PER_RUN if rows[column.name].n_unique() != 1]
    if mixed:
        raise _refused(f"mix several values of {', '.join(mixed)}")
    incomplete = [column.name for column in COLUMNS if not column.nullable and not _complete(rows[column.name])]
    if incomplete:
        raise _refused(f"lack finite values of {', '.join(incomplete)}")
    return rows


def _complete(values: pl.Series) -> bool:
    flat = values.explode() if values.dtype == pl.List else values
    if flat.null_count():
        return False
    return bool(flat.is_finite().all()) if flat.dtype.is_float() else True


def _refused(reason: str) -> ServingError:
    return ServingError(f"The scores {reason}.", remedy="Publish the frame that one scoring run returned, unchanged.")


def _insert(connection: Connection, table: Table, rows: pl.DataFrame, run_id: int) -> None:
    names = [
        name
        for name in table.columns.keys()  # noqa: SIM118  # a collection of columns, not a dict
        if name != "run_id"
    ]
    for part in rows.select(names).iter_slices(_ROWS_PER_INSERT):
        connection.execute(insert(table), [_flat(row, run_id) for row in part.iter_rows(named=True)])


def _flat(row: Mapping[str, Any], run_id: int) -> dict[str, Any]:
    return {**row, **{name: json.dumps(row[name]) for name in _LISTS if name in row}, "run_id": run_id}


def _prune(connection: Connection, keep_runs: int) -> None:
    newest = select(RUNS.c.run_id).order_by(RUNS.c.run_id.desc()).limit(keep_runs)
    kept = list(connection.execute(newest).scalars())
    for table in (SCORES, PROSPECTS, REPORTS, RUNS):
        connection.execute(delete(table).where(table.c.run_id < min(kept)))


def _score_row(row: Row[Any], run: RunInfo) -> ScoreRow:
    values = {**row._mapping, **{column.name: getattr(run, column.name) for column in PER_RUN}}
    values.update({name: json.loads(values[name]) for name in _LISTS})
    return {name: values[name] for name in SCORE_COLUMNS}


def _prospect_row(row: Row[Any], run: RunInfo) -> ScoreRow:
    shared = {column.name: getattr(run, column.name) for column in PER_RUN}
    values = {**row._mapping, **shared}
    return {column.name: values[column.name] for column in PROSPECT_COLUMNS}


def _conditions(run: RunInfo, filters: AtRiskFilters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [SCORES.c.run_id == run.run_id]
    if filters.stage is not None:
        conditions.append(SCORES.c.stage == filters.stage)
    if filters.size is not None:
        conditions.append(SCORES.c.size == filters.size)
    if filters.min_p_churn is not None:
        conditions.append(SCORES.c.p_churn >= filters.min_p_churn)
    if filters.max_p_churn is not None:
        conditions.append(SCORES.c.p_churn <= filters.max_p_churn)
    return conditions


def _follows(rank: Rank) -> ColumnElement[bool]:
    value = SCORES.c.value_at_risk
    return or_(
        value < rank.value_at_risk,
        and_(value == rank.value_at_risk, SCORES.c.customer_id > rank.customer_id),
    )
