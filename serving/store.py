"""The score store: published runs, on SQLAlchemy Core.

A publication is one transaction: the rows of a new run, the pointer that names it, and the removal
of runs too old to keep. Readers therefore see the old run or the new one, never a mixture, and a
publisher that dies leaves nothing behind. Rows are never changed after they were published.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import polars as pl
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    and_,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    or_,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError
from sqlalchemy.types import TypeEngine

from features.errors import ServingError
from features.lifecycle.stages import STAGES
from serving.columns import COLUMNS, SCORE_COLUMNS, SCORE_SCHEMA, Kind

ScoreRow = dict[str, Any]

_SQL_TYPES: dict[Kind, type[TypeEngine[Any]]] = {
    Kind.TEXT: Text,
    Kind.INTEGER: Integer,
    Kind.NUMBER: Float,
    Kind.NUMBERS: Text,
}
_ROWS_PER_INSERT = 10_000
_PER_RUN = tuple(column for column in COLUMNS if column.per_run)
_PER_CUSTOMER = tuple(column for column in COLUMNS if not column.per_run)
_LISTS = tuple(column.name for column in COLUMNS if column.kind is Kind.NUMBERS)

_metadata = MetaData()
_runs = Table(
    "runs",
    _metadata,
    Column("run_id", Integer, primary_key=True),
    *(Column(column.name, _SQL_TYPES[column.kind], nullable=False) for column in _PER_RUN),
    Column("n_customers", Integer, nullable=False),
    Column("published_at", Text, nullable=False),
    sqlite_autoincrement=True,
)
_scores = Table(
    "scores",
    _metadata,
    Column("run_id", Integer, ForeignKey("runs.run_id"), primary_key=True),
    *(
        Column(
            column.name,
            _SQL_TYPES[column.kind],
            nullable=column.nullable,
            primary_key=column.name == "customer_id",
        )
        for column in _PER_CUSTOMER
    ),
    sqlite_with_rowid=False,
)
Index("scores_ranked", _scores.c.run_id, _scores.c.value_at_risk.desc(), _scores.c.customer_id)
_published = Table(
    "published",
    _metadata,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Integer, ForeignKey("runs.run_id"), nullable=False),
)


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


@dataclass(frozen=True, slots=True)
class StageSummary:
    """All customers of one stage, added up."""

    stage: str
    customers: int
    share: float
    historic_value: float
    mean_p_churn: float | None
    clv_12m: float


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
            _prepare_sqlite(engine)
        try:
            with engine.begin() as connection:
                _metadata.create_all(connection)
                _check_columns(connection)
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

    def publish(self, scores: pl.DataFrame, *, published_at: datetime, keep_runs: int) -> RunInfo:
        """Publish a frame of scores as the current run, and drop all but the newest runs.

        Args:
            scores: One row per customer, with the score columns.
            published_at: When, for the record; aware, kept in UTC to the second.
            keep_runs: How many runs to keep, this one included.

        Raises:
            ServingError: If the frame is empty, holds a customer twice, mixes runs, or lacks a value.
        """
        rows = _checked(scores)
        shared = {column.name: rows[column.name][0] for column in _PER_RUN}
        values = {
            **shared,
            "n_customers": rows.height,
            "published_at": published_at.astimezone(UTC).isoformat(timespec="seconds"),
        }
        with self._writing() as connection:
            (run_id,) = connection.execute(insert(_runs).values(values)).inserted_primary_key or (0,)
            _insert_rows(connection, rows, run_id)
            connection.execute(delete(_published))
            connection.execute(insert(_published).values(slot=1, run_id=run_id))
            _prune(connection, keep_runs)
        return RunInfo(run_id=run_id, **values)

    def current_run(self) -> RunInfo | None:
        """Return the published run, or None before the first publication."""
        return self._run(select(_runs).join(_published, _published.c.run_id == _runs.c.run_id))

    def run(self, run_id: int) -> RunInfo | None:
        """Return a run by its id, or None when it was pruned or never was."""
        return self._run(select(_runs).where(_runs.c.run_id == run_id))

    def get(self, customer_id: str, run: RunInfo) -> ScoreRow | None:
        """Return one customer's score in a run, or None."""
        query = select(_scores).where(_scores.c.run_id == run.run_id, _scores.c.customer_id == customer_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _score_row(row, run)

    def list_at_risk(
        self, run: RunInfo, *, filters: AtRiskFilters, limit: int, after: Rank | None = None
    ) -> list[ScoreRow]:
        """List scores by value at risk, highest first; ties by customer id."""
        query = (
            select(_scores)
            .where(*_conditions(run, filters), *([] if after is None else [_follows(after)]))
            .order_by(_scores.c.value_at_risk.desc(), _scores.c.customer_id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [_score_row(row, run) for row in connection.execute(query)]

    def count(self, run: RunInfo, *, filters: AtRiskFilters) -> int:
        """Count the scores of a run that pass the filters."""
        query = select(func.count()).select_from(_scores).where(*_conditions(run, filters))
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def stage_summary(self, run: RunInfo) -> tuple[StageSummary, ...]:
        """Add up the run by stage: one entry per stage in canonical order, empty stages included."""
        query = (
            select(
                _scores.c.stage,
                func.count(),
                func.sum(_scores.c.historic_value),
                func.avg(_scores.c.p_churn),
                func.sum(_scores.c.clv_12m),
            )
            .where(_scores.c.run_id == run.run_id)
            .group_by(_scores.c.stage)
        )
        with self._engine.connect() as connection:
            found = {row[0]: row for row in connection.execute(query)}
        return tuple(_stage_summary(stage, found.get(stage), run.n_customers) for stage in STAGES)

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


def _prepare_sqlite(engine: Engine) -> None:
    """Let readers and one writer work side by side, in transactions that begin when we say so."""

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "busy_timeout = 30000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("lifestage_begin", "BEGIN"))


def _check_columns(connection: Connection) -> None:
    for table in _metadata.sorted_tables:
        found = {column["name"] for column in inspect(connection).get_columns(table.name)}
        if found != set(table.columns.keys()):
            raise ServingError(
                f"The score store's table {table.name} was written by another version of Lifestage.",
                remedy="Delete the store (scores.db in the home folder) and run lifestage score again.",
            )


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
    mixed = [column.name for column in _PER_RUN if rows[column.name].n_unique() != 1]
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


def _insert_rows(connection: Connection, rows: pl.DataFrame, run_id: int) -> None:
    names = [column.name for column in _PER_CUSTOMER]
    for part in rows.select(names).iter_slices(_ROWS_PER_INSERT):
        connection.execute(insert(_scores), [_flat(row, run_id) for row in part.iter_rows(named=True)])


def _flat(row: Mapping[str, Any], run_id: int) -> dict[str, Any]:
    return {**row, **{name: json.dumps(row[name]) for name in _LISTS}, "run_id": run_id}


def _prune(connection: Connection, keep_runs: int) -> None:
    newest = select(_runs.c.run_id).order_by(_runs.c.run_id.desc()).limit(keep_runs)
    kept = list(connection.execute(newest).scalars())
    connection.execute(delete(_scores).where(_scores.c.run_id < min(kept)))
    connection.execute(delete(_runs).where(_runs.c.run_id < min(kept)))


def _score_row(row: Row[Any], run: RunInfo) -> ScoreRow:
    values = {**row._mapping, **{column.name: getattr(run, column.name) for column in _PER_RUN}}
    values.update({name: json.loads(values[name]) for name in _LISTS})
    return {name: values[name] for name in SCORE_COLUMNS}


def _conditions(run: RunInfo, filters: AtRiskFilters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [_scores.c.run_id == run.run_id]
    if filters.stage is not None:
        conditions.append(_scores.c.stage == filters.stage)
    if filters.size is not None:
        conditions.append(_scores.c.size == filters.size)
    if filters.min_p_churn is not None:
        conditions.append(_scores.c.p_churn >= filters.min_p_churn)
    if filters.max_p_churn is not None:
        conditions.append(_scores.c.p_churn <= filters.max_p_churn)
    return conditions


def _follows(rank: Rank) -> ColumnElement[bool]:
    value = _scores.c.value_at_risk
    return or_(
        value < rank.value_at_risk,
        and_(value == rank.value_at_risk, _scores.c.customer_id > rank.customer_id),
    )


def _stage_summary(stage: str, row: Sequence[Any] | None, n_customers: int) -> StageSummary:
    if row is None:
        return StageSummary(stage, 0, 0.0, 0.0, None, 0.0)
    customers, historic_value, mean_p_churn, clv_12m = row[1:]
    return StageSummary(stage, customers, customers / n_customers, historic_value, mean_p_churn, clv_12m)
