"""How stamps are written: what each format reads as which instant."""

# ruff: noqa: DTZ001 - wall clocks are the subject of these tests

from datetime import UTC, datetime, timedelta

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import SettingsError
from features.intake.values.dates import COUNTED, local_sql, refuse_bad_date_format, stamp_text_sql, utc_sql

EPOCH = datetime(1970, 1, 1)


def read(
    value: object, date_format: str, connection: duckdb.DuckDBPyConnection, *, kind: str = "VARCHAR"
) -> tuple[datetime | None, datetime | None]:
    """Read one stamp as its instant (UTC) and its wall clock; one of them at most."""
    us = connection.execute(
        f"""SELECT {utc_sql(kind, date_format)} AS utc, {local_sql(kind, date_format)} AS local
        FROM (SELECT {stamp_text_sql(kind)} AS stamp FROM (SELECT ?::{kind} AS ordered_at))""",
        [value],
    ).fetchall()[0]
    utc, local = (None if micros is None else EPOCH + timedelta(microseconds=micros) for micros in us)
    return utc, local


@pytest.mark.parametrize(
    ("text", "utc", "local"),
    [
        ("2024-03-31", None, datetime(2024, 3, 31)),
        (" 2024-03-31T14:05 ", None, datetime(2024, 3, 31, 14, 5)),
        ("20240331", None, datetime(2024, 3, 31)),
        ("2024-03-31 14:05:00.25Z", datetime(2024, 3, 31, 14, 5, 0, 250_000), None),
        ("2024-03-31T14:05:00 -05:30", datetime(2024, 3, 31, 19, 35), None),
        *[(text, None, None) for text in ("2024-02-30", "20240230", "2024-03-31 24:00", "31/03/2024", "45382", "")],
        *[(text, None, None) for text in ("2024-3-31", "240331", "1711843200", "2024-03-31T14", "infinity", "now")],
    ],
)
def test_iso(connection: duckdb.DuckDBPyConnection, text: str, utc: datetime | None, local: datetime | None) -> None:
    """ISO 8601 is read without being told, extended or as eight digits; nothing else is."""
    assert read(text, "", connection) == (utc, local)


@pytest.mark.parametrize(
    ("text", "date_format", "utc", "local"),
    [
        ("31/03/2024", "%d/%m/%Y", None, datetime(2024, 3, 31)),
        ("31/03/24", "%d/%m/%y", None, datetime(2024, 3, 31)),
        ("31.03.2024 12:00 +0200", "%d.%m.%Y %H:%M %z", datetime(2024, 3, 31, 10), None),
        ("2024-03-31", "%d/%m/%Y", None, None),
        ("31/02/2024", "%d/%m/%Y", None, None),
        ("45382", "excel", None, datetime(2024, 3, 31)),
        ("45382.5833333333", "excel", None, datetime(2024, 3, 31, 14)),
        ("25569.000011574074", "excel", None, datetime(1970, 1, 1, 0, 0, 1)),
        ("-1", "excel", None, None),
        ("2024-03-31", "excel", None, None),
        ("1711893900", "unix", datetime(2024, 3, 31, 14, 5), None),
        ("1711893900.000001", "unix", datetime(2024, 3, 31, 14, 5, 0, 1), None),
        ("-1", "unix", datetime(1969, 12, 31, 23, 59, 59), None),
        ("1711893900123", "unix_ms", datetime(2024, 3, 31, 14, 5, 0, 123_000), None),
        ("1e9", "unix", None, None),
        ("9" * 30, "unix_ms", None, None),
    ],
)
def test_stated_formats(
    connection: duckdb.DuckDBPyConnection, text: str, date_format: str, utc: datetime | None, local: datetime | None
) -> None:
    """A stated format replaces ISO 8601; days of Excel are wall clocks, counts of Unix are instants."""
    assert read(text, date_format, connection) == (utc, local)


def test_native_kinds(connection: duckdb.DuckDBPyConnection) -> None:
    """Dates and stamps of typed sources need no format; counts may be numbers of any type."""
    wall = datetime(2024, 3, 31, 12)
    assert read("2024-03-31", "excel", connection, kind="DATE") == (None, datetime(2024, 3, 31))
    assert read(wall, "", connection, kind="TIMESTAMP") == (None, wall)
    assert read(wall.replace(tzinfo=UTC), "", connection, kind="TIMESTAMP WITH TIME ZONE") == (wall, None)
    assert read(45382.5, "excel", connection, kind="DOUBLE") == (None, wall)
    assert read(45382.0, "excel", connection, kind="DOUBLE") == (None, datetime(2024, 3, 31))
    assert read(20240331, "", connection, kind="BIGINT") == (None, datetime(2024, 3, 31))
    assert read(1711886400.5, "unix", connection, kind="DOUBLE") == (wall + timedelta(seconds=0.5), None)
    assert read("infinity", "", connection, kind="TIMESTAMP") == (None, None)


def test_bad_formats(connection: duckdb.DuckDBPyConnection) -> None:
    """A format that can read no date is refused before any file is."""
    for good in ("", "%Y%m%d", *COUNTED):
        refuse_bad_date_format(good, connection)
    for bad in ("%Q", "DD/MM/YYYY", "Excel"):
        with pytest.raises(SettingsError, match=rf"date_format is '{bad}'.*%d/%m/%Y.*unix_ms"):
            refuse_bad_date_format(bad, connection)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(wall=st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31)))
def test_counts_agree(connection: duckdb.DuckDBPyConnection, wall: datetime) -> None:
    """Any instant is the same, written as ISO 8601, as Unix seconds and milliseconds, and as days of Excel."""
    wall = wall.replace(microsecond=wall.microsecond // 1000 * 1000)
    micros = (wall - EPOCH) // timedelta(microseconds=1)
    assert read(f"{wall.isoformat()}Z", "", connection) == (wall, None)
    assert read(f"{micros // 10**6}.{micros % 10**6:06}", "unix", connection) == (wall, None)
    assert read(str(micros // 1000), "unix_ms", connection) == (wall, None)
    assert read(repr(25569 + micros / 86_400_000_000), "excel", connection) == (None, wall)
