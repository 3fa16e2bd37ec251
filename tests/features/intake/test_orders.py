"""Reading order files: what is accepted, what is refused, and that nothing is lost."""

# ruff: noqa: DTZ001 - naive stamps are the subject of these tests

from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.engine import connect
from features.errors import InputError, QuarantineShareError, SettingsError
from features.intake.orders import Intake, read_orders, refuse_above_tolerated_share
from features.intake.quarantine import REASONS, VALUE_CLASSES
from tests.features.intake.conftest import ReadText, orders_settings

HEADER = "customer_id,ordered_at,amount\n"


def rows(intake: Intake) -> list[tuple[str, datetime, int, int]]:
    """List the orders, sorted."""
    return sorted(intake.orders.fetchall())


def refused(intake: Intake) -> list[tuple[int, str, str, str]]:
    """List line, column, class and reason of the refused rows."""
    return intake.report.quarantine.select("line", "column", "value_class", "reason").rows()


def test_plain_file(read_text: ReadText) -> None:
    """A clean file gives one order per line, exact in money and time, with ids as text."""
    intake = read_text(HEADER + "007,2024-03-31,19.99\n 8 ,2024-03-31T14:05:00,0\n")
    assert rows(intake) == [
        ("007", datetime(2024, 3, 31), 19813, 19_990_000),
        ("8", datetime(2024, 3, 31, 14, 5), 19813, 0),
    ]
    assert [str(kind) for kind in intake.orders.types] == ["VARCHAR", "TIMESTAMP", "BIGINT", "BIGINT"]
    assert (intake.report.first_day, intake.report.last_day) == (date(2024, 3, 31), date(2024, 3, 31))


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        *[("11.77", 11_770_000), (" 12.00 ", 12_000_000), ("1e3", 10**9), (".5", 500_000), ("+3.", 3_000_000)],
        *[("0.0000005", 1), ("0.00000049999", 0), ("-0", 0), ("1000000000", 10**15), ("999999999.999999", 10**15 - 1)],
    ],
)
def test_amount_text(read_text: ReadText, text: str, micros: int) -> None:
    """Plain decimal amounts become exact micros."""
    assert rows(read_text(HEADER + f"a,2024-01-01,{text}\n"))[0][3] == micros


@pytest.mark.parametrize(
    ("line", "column", "value_class", "reason"),
    [
        (",2024-01-01,1", "customer_id", "empty", "missing_customer_id"),
        ("  ,,", "customer_id", "empty", "missing_customer_id"),
        ("a,,1", "ordered_at", "empty", "missing_ordered_at"),
        ("a,31/03/2024,1", "ordered_at", "text", "bad_date"),
        ("a,2024-02-30,1", "ordered_at", "text", "bad_date"),
        ("a,20240131,1", "ordered_at", "number", "bad_date"),
        ("a,1969-12-31,1", "ordered_at", "date", "bad_date"),
        ("a,infinity,1", "ordered_at", "text", "bad_date"),
        ("a,2024-01-01,", "amount", "empty", "missing_amount"),
        ('a,2024-01-01,"12,50"', "amount", "number with comma", "not_a_number"),
        ('a,2024-01-01,"1,234.00"', "amount", "number with comma", "not_a_number"),
        ("a,2024-01-01,$3", "amount", "number with text", "not_a_number"),
        ("a,2024-01-01,1_000", "amount", "number with text", "not_a_number"),
        ("a,2024-01-01,free", "amount", "text", "not_a_number"),
        ("a,2024-01-01,NaN", "amount", "not finite", "not_a_number"),
        ("a,2024-01-01,-inf", "amount", "not finite", "not_a_number"),
        ("a,2024-01-01,-0.01", "amount", "negative", "negative_amount"),
        ("a,2024-01-01,-1e30", "amount", "negative", "negative_amount"),
        ("a,2024-01-01,1000000000.000001", "amount", "huge", "amount_out_of_range"),
        ("a,2024-01-01,1e400", "amount", "huge", "amount_out_of_range"),
        ("a,2024-01-01", "", "too few values", "wrong_number_of_columns"),
        ("a,2024-01-01,1,", "", "too many values", "wrong_number_of_columns"),
        ('"a,2024-01-01,1', "", "unmatched quote", "unreadable_row"),
        ('"a"b,2024-01-01,1', "", "unmatched quote", "unreadable_row"),
    ],
)
def test_reasons(read_text: ReadText, line: str, column: str, value_class: str, reason: str) -> None:
    """Each bad row is refused with its line, column, class and the first reason that applies."""
    intake = read_text(HEADER + f"good,2024-01-01,1\n{line}\ngood,2024-01-02,2\n")
    assert refused(intake) == [(3, column, value_class, reason)]
    assert intake.report.by_reason == {reason: 1}
    assert (intake.report.n_input, intake.report.n_accepted, intake.report.n_orders) == (3, 2, 2)


def test_reason_vocabulary() -> None:
    """Reasons have unique codes and speak to people."""
    assert len({reason.code for reason in REASONS}) == len(REASONS)
    assert all(reason.meaning and reason.remedy.endswith(".") for reason in REASONS)
    assert len(set(VALUE_CLASSES)) == len(VALUE_CLASSES)


def test_values_stay_out(read_text: ReadText) -> None:
    """The quarantine table never repeats what stood in the file."""
    intake = read_text(HEADER + "Jane Doe,never,1\nJane Doe,2024-01-01,lots\n")
    table = intake.report.quarantine
    assert table.columns == ["file", "line", "column", "value_class", "reason", "remedy"]
    assert not any(word in table.write_csv() for word in ("Jane", "never", "lots"))


def test_not_utf8(read_text: ReadText) -> None:
    """A line that is not UTF-8 is refused alone, and the lines after it keep their numbers."""
    body = b"\xff,2024-01-01,1\n\n\xfe,2024-01-01,1\r\nb,2024-01-01,x\n\xff\nc,2024-01-01,3\n,,\n"
    intake = read_text(HEADER.encode() + body)
    assert [(line, reason) for line, _, _, reason in refused(intake)] == [
        (2, "unreadable_row"),
        (4, "unreadable_row"),
        (5, "not_a_number"),
        (6, "unreadable_row"),
        (8, "missing_customer_id"),
    ]
    assert intake.report.n_accepted == 1


def test_line_breaks_in_quotes(read_text: ReadText) -> None:
    """A quoted value may span lines; one stray quote costs one row, not the rest of the file."""
    text = "customer_id,ordered_at,amount,note\n"
    text += 'a,2024-01-01,1,"two\nlines, ""quoted"""\n"stray,2024-01-01,2,\nb,2024-01-02,3,"and\n\nthree"\nc,,4,\n'
    intake = read_text(text)
    assert [row[0] for row in rows(intake)] == ["a", "b"]
    assert [(line, reason) for line, _, _, reason in refused(intake)] == [
        (4, "unreadable_row"),
        (8, "missing_ordered_at"),
    ]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_dialects(read_text: ReadText, separator: str, ends: str) -> None:
    """Separators, line ends, a byte order mark and blank lines make no difference, even on one row."""
    text = "\ufeffcustomer_id,ordered_at,amount\n\na,2024-01-01,x\n"
    intake = read_text(text.replace(",", separator).replace("\n", ends))
    assert refused(intake) == [(3, "amount", "text", "not_a_number")]


def test_mixed_line_ends(read_text: ReadText) -> None:
    """Lines keep their true numbers where both kinds of line end occur."""
    assert refused(read_text(HEADER + "a,2024-01-01,1\r\n\r\nb,2024-01-01,2\n\r\nc,2024-01-01,x"))[0][0] == 6


_CELLS = st.sampled_from(
    ["a", "2024-01-01", "3.5", "", "-1", '"q"', '"x,y"', '"', 'x"y', '"a""b"', " ", "é", "#", "\\"]
)
_LINES = st.lists(_CELLS, min_size=0, max_size=5).map(",".join)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines=st.lists(_LINES | st.just("good,2024-01-01,1"), min_size=1, max_size=12))
def test_conservation(tmp_path: Path, lines: list[str]) -> None:
    """Accepted and refused rows make up the input exactly, however ragged; each line is told once."""
    filled = [line for line in lines if line.strip()]
    file = tmp_path / "messy.csv"
    file.write_text(HEADER + "good,2024-01-01,1\n" + "\n".join(lines), encoding="utf-8")
    with connect() as connection:
        report = read_orders([file], orders_settings(), connection=connection).report
    told = report.quarantine["line"].to_list()
    assert len(set(told)) == len(told) == report.n_quarantined
    assert report.n_accepted + report.n_quarantined == report.n_input
    assert sum(report.by_reason.values()) == report.n_quarantined
    assert report.n_input <= 1 + len(filled)
    if not any(line.count('"') % 2 for line in lines):
        assert report.n_input == 1 + len(filled)
        assert all(lines[line - 3].strip() for line in told)


def test_order_lines(read_text: ReadText) -> None:
    """Lines of one customer's order become one order: the first time and the sum; lines without an id stay single."""
    intake = read_text(
        "Invoice No,CustomerID,InvoiceDate,Revenue\n"
        "1,a,2024-01-01T10:05:00,1.10\n1,a,2024-01-01T10:00:00,2.20\n1,b,2024-01-01,4\n1,a,2024-01-01,x\n"
        ",a,2024-01-02,1\n,a,2024-01-02,1\n"
    )
    assert rows(intake) == [
        ("a", datetime(2024, 1, 1, 10), 19723, 3_300_000),
        ("a", datetime(2024, 1, 2), 19724, 1_000_000),
        ("a", datetime(2024, 1, 2), 19724, 1_000_000),
        ("b", datetime(2024, 1, 1), 19723, 4_000_000),
    ]
    assert (intake.report.n_accepted, intake.report.n_orders) == (5, 4)


@pytest.mark.parametrize(
    ("stamp", "utc", "day"),
    [
        ("2024-03-31", datetime(2024, 3, 30, 23), date(2024, 3, 31)),
        ("2024-03-31 02:30", datetime(2024, 3, 31, 1, 30), date(2024, 3, 31)),  # skipped: moves forward
        ("2024-10-27T02:30:00", datetime(2024, 10, 27, 0, 30), date(2024, 10, 27)),  # repeated: the first
        ("2024-07-01T22:30:00Z", datetime(2024, 7, 1, 22, 30), date(2024, 7, 2)),
        ("2024-07-01 22:30:00 UTC", datetime(2024, 7, 1, 22, 30), date(2024, 7, 2)),
        ("2024-07-01 22:30:00 +0200", datetime(2024, 7, 1, 20, 30), date(2024, 7, 1)),
        ("2024-07-01T22:30:00.123456789-05:30", datetime(2024, 7, 2, 4, 0, 0, 123456), date(2024, 7, 2)),
        ("1990-01-01T10:00+01", datetime(1990, 1, 1, 9), date(1990, 1, 1)),
    ],
)
def test_time_zone(read_text: ReadText, stamp: str, utc: datetime, day: date) -> None:
    """Stamps without an offset are the shop's wall clock, others are converted; days begin at its midnight."""
    intake = read_text(HEADER + f"a,{stamp},1\n", timezone="Europe/Paris")
    assert rows(intake)[0][1:3] == (utc, (day - date(1970, 1, 1)).days)


def test_date_format(read_text: ReadText) -> None:
    """A date format replaces ISO 8601, with or without an offset in it."""
    assert rows(read_text(HEADER + "a,31/03/2024,1\n", date_format="%d/%m/%Y"))[0][1] == datetime(2024, 3, 31)
    aware = read_text(HEADER + "a,31/03/2024 12:00 +0200,1\n", date_format="%d/%m/%Y %H:%M %z")
    assert rows(aware)[0][1] == datetime(2024, 3, 31, 10)
    with pytest.raises(SettingsError, match="date_format is '%Q'"):
        read_text(HEADER + "a,31/03/2024,1\n", date_format="%Q")


def test_csv_equals_parquet(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """The same orders give the same rows and digest from CSV and from native Parquet types, in any sequence."""
    stamps = [datetime(2024, 1, 1, 12, minute) for minute in range(40)]
    frame = pl.DataFrame(
        {"customer_id": [float(i % 7) for i in range(40)], "ordered_at": stamps, "amount": [i * 0.1 for i in range(40)]}
    )
    parquet, csv = tmp_path / "o.parquet", tmp_path / "o.csv"
    frame.write_parquet(parquet)
    lines = frame.with_columns(pl.col("customer_id").cast(pl.Int64), pl.col("ordered_at").dt.to_string("iso")).rows()
    lines = lines[::3] + lines[1::3] + lines[2::3]
    csv.write_text(HEADER + "".join(",".join(map(str, line)) + "\n" for line in lines), encoding="utf-8")
    zone = orders_settings(timezone="America/New_York")
    one, other = (read_orders([file], zone, connection=connection) for file in (parquet, csv))
    assert rows(one) == rows(other)
    assert one.report.digest == other.report.digest
    changed = read_orders([csv], orders_settings(timezone="UTC"), connection=connection)
    assert changed.report.digest != one.report.digest


def test_parquet_kinds(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Dates, aware stamps, decimals and missing values of Parquet are understood, refused rows numbered from 1."""
    frame = pl.DataFrame(
        {
            "customer_id": [1, None, 3],
            "ordered_at": [datetime(2024, 1, 1, 23, 30, tzinfo=UTC)] * 3,
            "amount": [1.005, 2.0, float("nan")],
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    frame.select("customer_id", pl.col("ordered_at").dt.date(), pl.lit(2).alias("amount")).head(1).write_parquet(
        tmp_path / "b.parquet"
    )
    pattern = tmp_path / "*.parquet"
    intake = read_orders([pattern], orders_settings(timezone="Europe/Paris"), connection=connection)
    assert rows(intake) == [
        ("1", datetime(2023, 12, 31, 23), 19723, 2_000_000),
        ("1", datetime(2024, 1, 1, 23, 30), 19724, 1_005_000),
    ]
    assert refused(intake) == [
        (2, "customer_id", "empty", "missing_customer_id"),
        (3, "amount", "not finite", "not_a_number"),
    ]


def test_tolerated_share(read_text: ReadText) -> None:
    """Too many refused rows stop the work with the most frequent reason and its remedy; tolerated ones do not."""
    report = read_text(HEADER + "a,2024-01-01,1\nb,2024-01-01,-1\n").report
    refuse_above_tolerated_share(report, orders_settings(tolerated_quarantine_share=0.5))
    with pytest.raises(QuarantineShareError, match=r"1 of 2 rows \(50.0%\).*below zero.*refunds"):
        refuse_above_tolerated_share(report, orders_settings())


def test_nothing_left_behind(read_text: ReadText, connection: duckdb.DuckDBPyConnection) -> None:
    """Only the orders stay in the database; several intakes live side by side."""
    messy = HEADER.encode() + b'\xff"\n"\na,2024-01-01,%d\n'
    one, other = (read_text(messy % amount) for amount in (1, 2))
    assert [rows(one)[0][3], rows(other)[0][3]] == [1_000_000, 2_000_000]
    assert len(connection.sql("SELECT * FROM duckdb_tables()").fetchall()) == 2


def test_all_refused(read_text: ReadText) -> None:
    """A file without one good row gives no orders and no days, but a full report."""
    report = read_text(HEADER + "a,b,c\n").report
    assert (report.n_orders, report.first_day, report.last_day, report.n_quarantined) == (0, None, None, 1)


def test_two_currencies(tmp_path: Path) -> None:
    """Orders in two currencies are refused, because their amounts do not add up; one currency is fine."""
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("customer_id,ordered_at,amount,currency\na,2026-01-01,1,EUR\nb,2026-01-01,1,eur\nc,2026-01-02,1,\n")
    two.write_text("customer_id,ordered_at,amount,currency\na,2026-01-01,1,USD\n")
    with closing(connect()) as connection:
        assert read_orders([one], orders_settings(), connection=connection).report.n_accepted == 3
        with pytest.raises(InputError, match="EUR, USD"):
            read_orders([one, two], orders_settings(), connection=connection)


def test_future_date(tmp_path: Path) -> None:
    """An order more than a day ahead of today is quarantined: a mistyped year must not move the end of the data."""
    path = tmp_path / "orders.csv"
    path.write_text(HEADER + "a,2026-01-02,1\nb,2026-01-03,1\nc,2062-01-01,1\n")
    with closing(connect()) as connection:
        intake = read_orders([path], orders_settings(), connection=connection, today=date(2026, 1, 1))
        assert refused(intake) == [(3, "ordered_at", "date", "future_date"), (4, "ordered_at", "date", "future_date")]
