"""Queries to a real PostgreSQL and a real SQLite: exact cells, nothing written, nothing told that is secret."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, make_url

from features.errors import InputError, SettingsError, SourceNotFoundError
from features.intake.readers.columns import ORDER_COLUMNS
from features.intake.readers.databases import QueryResult, load_query, shown_url
from features.intake.readers.sources import QuerySource, RawRows, find_sources, open_source
from features.settings import Reading, SourceSettings

READING = Reading(columns={}, timezone="UTC", date_format="", number_format="", encoding="", delimiter="")
HOSTILE = [
    "'; DROP TABLE shop; --",
    "%s %(x)s %",
    ":x ::text",
    'a"b',
    "back\\slash",
    "two\nlines",
    "żółć 🛒",
    "NULL",
    "",
]


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file with a table named shop."""
    file = tmp_path / "the shop's.db"
    with closing(sqlite3.connect(file)) as database:
        database.executescript("CREATE TABLE shop (id INTEGER, name TEXT); INSERT INTO shop VALUES (1, 'kept')")
    return f"sqlite:///{file}"


@pytest.fixture
def shop_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database of either kind with a table named shop, of one row."""
    url = str(request.getfixturevalue(request.param))
    if request.param == "postgres_url":
        execute(url, "DROP TABLE IF EXISTS shop", "CREATE TABLE shop AS SELECT 1 AS id, 'kept'::text AS name")
    return url


BOTH = pytest.mark.parametrize("shop_url", ["postgres_url", "sqlite_url"], indirect=True)


def execute(url: str, *statements: str, values: list[tuple[Any, ...]] | None = None) -> None:
    """Change a database, as its owner."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg" if "postgresql" in url else "sqlite"))
    with engine.begin() as database:
        for statement in statements:
            _execute_one(database, statement, values)
    engine.dispose()


def _execute_one(database: Connection, statement: str, values: list[tuple[Any, ...]] | None) -> None:
    database.exec_driver_sql(statement, values) if values else database.exec_driver_sql(statement)


def cells(connection: duckdb.DuckDBPyConnection, result: QueryResult) -> list[tuple[Any, ...]]:
    """List the cells of a result, by line."""
    columns = ", ".join(column.sql for column in result.columns)
    return connection.execute(f"SELECT {columns} FROM {result.table} ORDER BY line").fetchall()


def test_postgresql_types(postgres_url: str, connection: duckdb.DuckDBPyConnection) -> None:
    """Every type of single values becomes the text that names it exactly, in whatever style the server writes."""
    cases = {
        "NULL::int": None,
        "9223372036854775807": "9223372036854775807",
        "1234567890123456789012.123456789": "1234567890123456789012.123456789",
        "1e-7::numeric": "0.0000001",
        "17.50::numeric(9, 2)": "17.50",
        "'NaN'::numeric": "NaN",
        "0.1::float8": "0.1",
        "1e-7::float8": "1e-07",
        "42::float8": "42",
        "'-Infinity'::float8": "-inf",
        "true": "true",
        "date '2024-02-29'": "2024-02-29",
        "timestamp '2024-03-31 02:30:00.123456'": "2024-03-31 02:30:00.123456",
        "timestamptz '2024-03-31 12:00:00+05:45'": "2024-03-31 08:15:00+02",
        "timestamp 'infinity'": "infinity",
        "date '0044-03-15 BC'": "0044-03-15 BC",
        "time '12:30'": "12:30:00",
        "'{\"a\": [1]}'::jsonb": '{"a": [1]}',
        "'6f1c1f0e-1111-4222-8333-444455556666'::uuid": "6f1c1f0e-1111-4222-8333-444455556666",
        "'x  '::char(5)": "x    ",
        "repeat('é', 3)": "ééé",
    }
    url = f"{postgres_url}&options=-c%20datestyle=german%20-c%20timezone=Europe/Paris"
    result = load_query(url, f"SELECT {', '.join(cases)}", connection, name="n")
    assert dict(zip(cases, cells(connection, result)[0], strict=True)) == cases


def test_sqlite_types(sqlite_url: str, connection: duckdb.DuckDBPyConnection) -> None:
    """SQLite's values become the text that names them exactly, whatever the column was declared as."""
    query = "SELECT NULL AS a, 9223372036854775807 AS b, 0.1 AS c, 42.0 AS d, 1e300 AS e, '017' AS f, 1.0e-7 AS g"
    result = load_query(sqlite_url, f"{query} UNION ALL SELECT 1, 2, 'x', 4, 5, 6, 7", connection, name="n")
    assert cells(connection, result) == [
        (None, "9223372036854775807", "0.1", "42", "1e+300", "017", "1e-07"),
        ("1", "2", "x", "4", "5", "6", "7"),
    ]


@BOTH
def test_many_rows(shop_url: str, connection: duckdb.DuckDBPyConnection) -> None:
    """Fifty thousand rows arrive each once, in the sequence of the query, numbered from 1."""
    query = """
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
        SELECT i AS customer, 50001 - i AS amount FROM n ORDER BY i"""
    result = load_query(shop_url, query, connection, name="n")
    found = connection.execute(f"""
        SELECT count(*), min(line), max(line), count(DISTINCT line), bool_and(c0::INT = line AND c1::INT = 50001 - line)
        FROM {result.table}""").fetchall()
    assert found == [(50_000, 1, 50_000, 50_000, True)]


@BOTH
@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM shop",
        "INSERT INTO shop VALUES (2, 'new') RETURNING id",
        "UPDATE shop SET name = 'new' RETURNING id",
        "WITH gone AS (DELETE FROM shop RETURNING id) SELECT * FROM gone",
        "DROP TABLE shop",
        "SELECT 1; DELETE FROM shop",
        "SELECT 1; COMMIT; DELETE FROM shop",
        "COMMIT",
        "CREATE TABLE other (id INTEGER)",
    ],
)
def test_read_only(shop_url: str, query: str, connection: duckdb.DuckDBPyConnection) -> None:
    """A statement that writes, or more than one, is refused, and the database stays as it was."""
    with pytest.raises(InputError, match="rows") as refused:
        load_query(shop_url, query, connection, name="a")
    assert "kept" not in str(refused.value)
    result = load_query(shop_url, "SELECT id, name FROM shop", connection, name="b")
    assert cells(connection, result) == [("1", "kept")]


def test_writing_function(postgres_url: str, connection: duckdb.DuckDBPyConnection) -> None:
    """A SELECT that calls a function that writes is refused by the server."""
    execute(postgres_url, "CREATE SEQUENCE IF NOT EXISTS counter")
    with pytest.raises(InputError, match=r"cannot execute nextval\(\) in a read-only transaction"):
        load_query(postgres_url, "SELECT nextval('counter')", connection, name="n")


@BOTH
def test_values_are_no_code(shop_url: str, connection: duckdb.DuckDBPyConnection) -> None:
    """Values and names that look like SQL or placeholders arrive as they are, and the query runs as it stands."""
    mark = "%s" if "postgresql" in shop_url else "?"
    execute(shop_url, f"INSERT INTO shop VALUES (2, {mark})", values=[(text,) for text in HOSTILE])
    query = (
        """SELECT name AS "x"" FROM y; --", '%s :y' AS "%(z)s" FROM shop WHERE name <> 'kept%' AND id = 2; -- done"""
    )
    result = load_query(shop_url, query, connection, name="n")
    assert [column.name for column in result.columns] == ['x" FROM y; --', "%(z)s"]
    assert sorted(cells(connection, result)) == sorted((text, "%s :y") for text in HOSTILE)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1))
def test_any_text(texts: list[str], tmp_path: Path) -> None:
    """Any text comes back as it was stored."""
    with closing(sqlite3.connect(tmp_path / "any.db")) as database, duckdb.connect() as connection:
        database.execute("CREATE TABLE IF NOT EXISTS t (x TEXT)")
        database.execute("DELETE FROM t")
        database.executemany("INSERT INTO t VALUES (?)", [(text,) for text in texts])
        database.commit()
        result = load_query(f"sqlite:///{tmp_path}/any.db", "SELECT x FROM t ORDER BY rowid", connection, name="n")
        assert [text for (text,) in cells(connection, result)] == texts


@BOTH
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM absent", "absent"),
        ("SELECT absent FROM shop", "absent"),
        ("", "rows"),
    ],
)
def test_wrong_query(shop_url: str, query: str, message: str, connection: duckdb.DuckDBPyConnection) -> None:
    """A wrong query is refused in the words of the database, with what to do."""
    with pytest.raises(InputError, match=message) as refused:
        load_query(shop_url, query, connection, name="n")
    assert "\n" not in str(refused.value)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("fixture", "query"),
    [
        ("postgres_url", "SELECT 'Jane Doe'::int"),
        ("postgres_url", "SELECT name::int FROM (VALUES ('Jane Doe')) AS t(name)"),
        ("postgres_url", "SELECT to_date(name, 'YYYY') FROM (VALUES ('Jane Doe')) AS t(name)"),
        ("sqlite_url", "SELECT cast(x'4a616e6520446f65ff' AS TEXT)"),
        ("sqlite_url", "SELECT json('Jane Doe')"),
    ],
)
def test_data_stays_out(
    fixture: str, query: str, request: pytest.FixtureRequest, connection: duckdb.DuckDBPyConnection
) -> None:
    """An error that may quote a row is told by its kind alone."""
    with pytest.raises(InputError, match="gave no rows") as refused:
        load_query(str(request.getfixturevalue(fixture)), query, connection, name="n")
    assert "Jane" not in str(refused.value)


@pytest.mark.parametrize(
    ("fixture", "value", "kind"),
    [
        ("postgres_url", "'\\x4a616e65'::bytea", "bytes"),
        ("postgres_url", "ARRAY['Jane']", "list"),
        ("postgres_url", "interval '1 day'", "timedelta"),
        ("sqlite_url", "x'4a616e65'", "bytes"),
    ],
)
def test_no_single_value(
    fixture: str, value: str, kind: str, request: pytest.FixtureRequest, connection: duckdb.DuckDBPyConnection
) -> None:
    """Bytes, arrays and the like are refused by the name of their column, not by their value."""
    url = str(request.getfixturevalue(fixture))
    with pytest.raises(InputError, match=rf"Column 'photo' of .* \({kind}\)\. Leave it out") as refused:
        load_query(url, f"SELECT 1 AS id, {value} AS photo", connection, name="n")
    assert "Jane" not in str(refused.value)
    assert "4a616e65" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        (
            "postgresql://bob:hush@127.0.0.1:1/shop",
            InputError,
            r"bob:\*\*\*@127\.0\.0\.1:1/shop gave no rows: .*refused",
        ),
        ("postgres://bob:hush@127.0.0.1:1/shop?sslpassword=hush", InputError, "refused.*Check that it runs"),
        ("postgresql://bob:p@hush@127.0.0.1:1/shop", SettingsError, "cannot be read.*%40"),
        ("postgresql//bob:hush@host/shop", SettingsError, "cannot be read"),
        ("mysql://bob:hush@host/shop", InputError, "neither PostgreSQL nor SQLite"),
        ("sqlite:///absent-hush.db", SourceNotFoundError, "There is no database file"),
        ("sqlite://", SourceNotFoundError, "There is no database file"),
        ("env:LIFESTAGE_TEST_ABSENT", SettingsError, "environment variable LIFESTAGE_TEST_ABSENT, which is not set"),
    ],
)
def test_unusable_url(url: str, error: type[Exception], message: str, connection: duckdb.DuckDBPyConnection) -> None:
    """A URL that leads nowhere is refused with what to do, without its password."""
    with pytest.raises(error, match=message) as refused:
        load_query(url, "SELECT 1", connection, name="n")
    assert "hush" not in str(refused.value).replace("absent-hush.db", "")


def test_unknown_user(postgres_url: str, connection: duckdb.DuckDBPyConnection) -> None:
    """A server that knows no such user says so, without the password."""
    url = make_url(postgres_url).set(username="bob", password="hush")  # noqa: S106 - the secret of this test
    with pytest.raises(InputError, match=r'bob:\*\*\*@.* role "bob" does not exist') as refused:
        load_query(url.render_as_string(hide_password=False), "SELECT 1", connection, name="n")
    assert "hush" not in str(refused.value)


def test_not_sqlite(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """A file that is no database is refused, and none is made where there is none."""
    (tmp_path / "shop.db").write_text("customer_id,ordered_at,amount\n" * 50, encoding="utf-8")
    with pytest.raises(InputError, match="file is not a database"):
        load_query(f"sqlite:///{tmp_path}/shop.db", "SELECT * FROM shop", connection, name="n")
    assert [file.name for file in tmp_path.iterdir()] == ["shop.db"]


def test_missing_driver(monkeypatch: pytest.MonkeyPatch, connection: duckdb.DuckDBPyConnection) -> None:
    """Without its driver, PostgreSQL is refused with how to install it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r"pip install 'lifestage\[postgres\]'"):
        load_query("postgresql://host/shop", "SELECT 1", connection, name="n")


def test_environment(sqlite_url: str, monkeypatch: pytest.MonkeyPatch, connection: duckdb.DuckDBPyConnection) -> None:
    """A URL can stand in the environment, so that no file holds its password."""
    monkeypatch.setenv("LIFESTAGE_TEST_URL", sqlite_url)
    assert cells(connection, load_query("env:LIFESTAGE_TEST_URL", "SELECT name FROM shop", connection, name="n")) == [
        ("kept",)
    ]
    monkeypatch.setenv("LIFESTAGE_TEST_URL", "postgresql://bob:hush@host/shop?password=hush")
    assert shown_url("env:LIFESTAGE_TEST_URL") == "postgresql://bob:***@host/shop"
    assert "hush" not in repr(QuerySource("postgresql://bob:hush@host/shop", "SELECT 1", READING))


def opened(url: str, query: str, connection: duckdb.DuckDBPyConnection, **changes: Any) -> RawRows:
    """Open a query as a source of orders."""
    stated = SourceSettings(url=url, query=query)
    (source,) = find_sources([], [stated], inherited=READING.model_copy(update=changes))
    return open_source(source, connection, names=ORDER_COLUMNS, name="n")


def test_postgresql_source(postgres_url: str, connection: duckdb.DuckDBPyConnection) -> None:
    """Native times and numbers of a database are read as they are, whatever formats its texts have."""
    query = "SELECT 'a' AS client, timestamptz '2024-01-01 00:00Z' AS date, 12.5 AS total, 'web' AS channel"
    raw = opened(postgres_url, query, connection, date_format="%d/%m/%Y", number_format="1.234,50")
    assert raw.types == dict.fromkeys(("customer_id", "ordered_at", "amount", "channel"), "VARCHAR")
    assert (raw.reading.date_format, raw.reading.number_format) == ("", "1234.50")
    found = connection.execute(f"SELECT line, fault, customer_id, amount, channel FROM ({raw.sql})").fetchall()
    assert found == [(1, None, "a", "12.5", "web")]
    assert "postgresql://" in raw.file


def test_sqlite_source(sqlite_url: str, connection: duckdb.DuckDBPyConnection) -> None:
    """Texts of a database are read as those of a file; rows hash alike exactly if every column is alike."""
    query = "SELECT 'a' AS client, '31/01/2024' AS date, column1 AS total, column2 AS x FROM (VALUES {})"
    values = "('12,5', 1), ('12,5', NULL), ('12,5', 1), (NULL, 1)"
    raw = opened(sqlite_url, query.format(values), connection, date_format="%d/%m/%Y")
    assert (raw.reading.date_format, raw.reading.number_format) == ("%d/%m/%Y", "1234,50")
    first, second, third, fourth = connection.execute(f"SELECT row_hash FROM ({raw.sql}) ORDER BY line").fetchall()
    assert first == third
    assert len({first, second, fourth}) == 3


def test_same_query_twice(sqlite_url: str) -> None:
    """A query that is named twice is refused, like a file."""
    stated = SourceSettings(url=sqlite_url, query="SELECT 1")
    with pytest.raises(InputError, match="was given twice"):
        find_sources([], [stated, stated], inherited=READING)
