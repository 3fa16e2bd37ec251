"""The score store on either database, beside the bare driver: publication, one score, pages of the list."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.lifecycle.segments import SIZES
from features.lifecycle.stages import STAGES
from serving.columns import COLUMNS, SCORE_COLUMNS, SCORE_SCHEMA, Kind
from serving.store.score_store import AtRiskFilters, Rank, RunInfo, ScoreStore, sqlite_url
from tests.bench.orders import SEED
from tests.bench.table import Row, race, say, timed
from tests.bench.workspace import NOW, Workspace
from tests.postgres import make_database, running_postgres

_ROUNDS = 2
_READS = 2_000
_PAGES = 20
_PAGE_ROWS = 101  # a page of a hundred, and one more to see whether another follows
_OWN = tuple(column.name for column in COLUMNS if not column.per_run)
_TYPES = {Kind.TEXT: "TEXT", Kind.INTEGER: "INTEGER", Kind.NUMBER: "DOUBLE PRECISION", Kind.NUMBERS: "TEXT"}
_MICRO, _MILLI = 1e6, 1e3


@dataclass(frozen=True)
class Bare:
    """A database through its driver alone.

    Args:
        name: For the table.
        url: Of the store in the same database.
        connect: Opens a connection.
        mark: How its statements mark a parameter.
        load: Loads rows into the table `bare` in one transaction.
    """

    name: str
    url: str
    connect: Callable[[], Any]
    mark: str
    load: Callable[[Any, pl.DataFrame], None]


def run(workspace: Workspace) -> list[Row]:
    """Measure both databases."""
    scores = draw_scores(workspace.n_customers)
    rows = _measure(_sqlite(workspace.folder), scores)
    with running_postgres(is_durable=True) as server_url:
        return [*rows, *_measure(_postgresql(server_url), scores)]


def draw_scores(count: int) -> pl.DataFrame:
    """Draw scores that no model made, as varied as those of one. One row per customer."""
    rng = np.random.default_rng(SEED)
    drawn = {column.name: _draw(column.name, column.kind, count, rng) for column in COLUMNS}
    return pl.DataFrame(drawn).select(SCORE_COLUMNS).cast(SCORE_SCHEMA)


def _draw(name: str, kind: Kind, count: int, rng: np.random.Generator) -> Any:
    shared = {"as_of": "2023-01-01", "horizon_days": 90, "model_version": "v1", "catalogue_hash": "c1"}
    words = {"stage": STAGES, "size": SIZES, "flags": ("", "one_order"), "rfm": tuple(map(str, range(111, 556, 7)))}
    if name in shared:
        return [shared[name]] * count
    if name == "customer_id":
        return [f"c{i:08}" for i in range(count)]
    if kind is Kind.TEXT:
        return np.array(words.get(name, ("2022-10-01", "2022-12-01")))[
            rng.integers(0, len(words.get(name, "ab")), count)
        ]
    return rng.random(count) if kind is Kind.NUMBER else list(rng.lognormal(1, 1, (count, 12)))


def _measure(bare: Bare, scores: pl.DataFrame) -> list[Row]:
    say(f"  {bare.name}: publishing {scores.height:,} customers")
    connection = bare.connect()
    with ScoreStore.open(bare.url) as store:
        publishing = partial(_publish, store, scores, keep_runs=_ROUNDS)
        ours, theirs = race(timed(publishing), timed(lambda: bare.load(connection, scores)), rounds=_ROUNDS)
        rows = [Row(f"publish {scores.height:,}, {bare.name}", ours, "bare load, no index", theirs, "s")]
        say(f"  {bare.name}: publishing again, and sweeping the oldest out")
        sweeping = timed(partial(_publish, store, scores, keep_runs=1))()
        rows.append(Row("  and two older runs swept out", sweeping, "bare load, no index", theirs, "s"))
        run = store.current_run()
        assert run is not None
        rows += [
            _read_by_id(bare, store, connection, scores.height),
            *_read_pages(bare, store, connection, run, scores),
        ]
    connection.close()
    return rows


def _publish(store: ScoreStore, scores: pl.DataFrame, *, keep_runs: int) -> None:
    store.publish(scores, published_at=datetime.fromisoformat(NOW), keep_runs=keep_runs)


def _read_by_id(bare: Bare, store: ScoreStore, connection: Any, count: int) -> Row:
    ids = [f"c{random.Random(i).randrange(count):08}" for i in range(_READS)]  # noqa: S311  # no secret
    statement = f"SELECT * FROM bare WHERE run_id = 1 AND customer_id = {bare.mark}"

    def read_bare() -> None:
        for each in ids:
            connection.execute(statement, (each,)).fetchone()

    def read_ours() -> None:
        for each in ids:
            store.get_current(each)

    ours, theirs = (seconds * _MICRO / _READS for seconds in race(timed(read_ours), timed(read_bare)))
    return Row(f"  one score of {count:,}, with its run", ours, "SELECT by key", theirs, "µs")


def _read_pages(bare: Bare, store: ScoreStore, connection: Any, run: RunInfo, scores: pl.DataFrame) -> Iterator[Row]:
    middle = Rank(float(scores["value_at_risk"].median()), "")  # type: ignore[arg-type]  # numbers have a number
    filtered = AtRiskFilters(stage=STAGES[-1], min_p_churn=0.99)
    keys = [f"c{i:08}" for i in range(_PAGE_ROWS)]
    marks = ", ".join([bare.mark] * _PAGE_ROWS)
    statement = f"SELECT * FROM bare WHERE run_id = 1 AND customer_id IN ({marks})"
    theirs_once = timed(lambda: [connection.execute(statement, keys).fetchall() for _ in range(_PAGES)])
    pages: dict[str, Callable[[], object]] = {
        "first page of the list": partial(_page, store, run, AtRiskFilters(), None),
        "page from the middle": partial(_page, store, run, AtRiskFilters(), middle),
        "page of a rare filter": partial(_page, store, run, filtered, None),
        "count of a rare filter": partial(store.count, run, filters=filtered),
        "totals by stage and code": partial(store.totals, run),
    }
    for name, page in pages.items():
        ours_once = timed(lambda page=page: [page() for _ in range(_PAGES)])  # type: ignore[misc]  # a default binds it
        ours, theirs = (seconds * _MILLI / _PAGES for seconds in race(ours_once, theirs_once))
        yield Row(f"  {name}", ours, f"SELECT {_PAGE_ROWS} by key", theirs, "ms")


def _page(store: ScoreStore, run: RunInfo, filters: AtRiskFilters, after: Rank | None) -> object:
    return store.list_at_risk(run, filters=filters, limit=_PAGE_ROWS, after=after)


def _sqlite(folder: Path) -> Bare:
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def load(connection: sqlite3.Connection, scores: pl.DataFrame) -> None:
        flat = _flat(scores)
        marks = ", ".join("?" * flat.width)
        connection.execute("DROP TABLE IF EXISTS bare")
        connection.execute(f"{_table()} WITHOUT ROWID")
        connection.execute("BEGIN")
        connection.executemany(f"INSERT INTO bare VALUES ({marks})", flat.iter_rows())
        connection.execute("COMMIT")

    return Bare("SQLite", sqlite_url(folder / "store.db"), connect, "?", load)


def _postgresql(server_url: str) -> Bare:
    import psycopg

    url = make_database(server_url)

    def load(connection: "psycopg.Connection[Any]", scores: pl.DataFrame) -> None:
        connection.execute("DROP TABLE IF EXISTS bare")
        connection.execute(_table().encode())
        with connection.transaction(), connection.cursor() as cursor, cursor.copy("COPY bare FROM STDIN CSV") as copy:
            for part in _flat(scores).iter_slices(20_000):
                copy.write(part.write_csv(include_header=False))

    return Bare("PostgreSQL", url, lambda: psycopg.connect(url, autocommit=True), "%s", load)


def _table() -> str:
    types = {column.name: _TYPES[column.kind] for column in COLUMNS}
    columns = ", ".join(f"{name} {types[name]}" for name in _OWN)
    return f"CREATE TABLE bare (run_id INTEGER, {columns}, PRIMARY KEY (run_id, customer_id))"


def _flat(scores: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with lists as JSON text, as a first attempt would store them."""
    lists = [column.name for column in COLUMNS if column.kind is Kind.NUMBERS]
    texts = [pl.format("[{}]", pl.col(name).cast(pl.List(pl.String)).list.join(",")).alias(name) for name in lists]
    return scores.with_columns(texts).select(pl.lit(1).alias("run_id"), *_OWN)
