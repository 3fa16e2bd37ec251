"""Reading order files: what is accepted, what is refused, and that nothing is lost."""

# ruff: noqa: DTZ001 - naive stamps are the subject of these tests

from contextlib import closing
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.engine import connect
from features.errors import InputError, QuarantineShareError, SettingsError
from features.intake.orders import Intake, read_orders, refuse_above_tolerated_share
from features.intake.quarantine import REASONS, VALUE_CLASSES, write_quarantine
from tests.features.intake.conftest import ReadText, orders_settings

HEADER = "customer_id,ordered_at,amount\n"


def rows(intake: Intake) -> list[tuple[str, datetime, int, int]]:
    """List the orders, sorted."""
    return sorted(intake.orders.fetchall())


def refused(intake: Intake) -> list[tuple[int, str, str, str]]:
    """List line, column, class and reason of the refused rows."""
    return sorted(intake.quarantine.select("line", '"column"', "value_class", "reason").fetchall())


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
        ("  ,,", "customer_id", "empty", "missing_customer_id"),
        ("a,,1", "ordered_at", "empty", "missing_ordered_at"),
        ("a,31/03/2024,1", "ordered_at", "text", "bad_date"),
        ("a,2024-02-30,1", "ordered_at", "text", "bad_date"),
        (",,1", "ordered_at", "empty", "missing_ordered_at"),
        (",never,1", "ordered_at", "text", "bad_date"),
        ("a,20240231,1", "ordered_at", "number", "bad_date"),
        ("a,1969-12-31,1", "ordered_at", "date", "bad_date"),
        ("a,infinity,1", "ordered_at", "text", "bad_date"),
        ("a,2024-01-01,", "amount", "empty", "missing_amount"),
        ('a,2024-01-01,"1,234.00"', "amount", "number with comma", "not_a_number"),
        ("a,2024-01-01,1.234.567", "amount", "number with points", "not_a_number"),
        ("a,2024-01-01,$3", "amount", "number with text", "not_a_number"),
        ("a,2024-01-01,1_000", "amount", "number with text", "not_a_number"),
        ("a,2024-01-01,free", "amount", "text", "not_a_number"),
        ("a,2024-01-01,NaN", "amount", "not finite", "not_a_number"),
        ("a,2024-01-01,-inf", "amount", "not finite", "not_a_number"),
        ("a,2024-01-01,-1e30", "amount", "huge", "amount_out_of_range"),
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
    table = intake.quarantine.pl()
    assert (
        table.columns
        == intake.report.quarantine_examples.columns
        == ["file", "line", "column", "value_class", "reason", "remedy"]
    )
    assert not any(word in table.write_csv() for word in ("Jane", "never", "lots"))


def test_not_utf8(read_text: ReadText) -> None:
    """A line that is not UTF-8 is refused alone, and the lines after it keep their numbers."""
    body = b"\xff,2024-01-01,1\n\n\xfe,2024-01-01,1\r\nb,2024-01-01,x\n\xff\nc,2024-01-01,3\n,,\n"
    intake = read_text(HEADER.encode() + body, encoding="utf-8")
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
    assert refused(intake) == [(3, "amount", "not finite", "not_a_number")]
    assert intake.report.n_guests == 1


def test_tolerated_share(read_text: ReadText) -> None:
    """Too many refused rows stop the work with the most frequent reason and its remedy; tolerated ones do not."""
    report = read_text(HEADER + "a,2024-01-01,1\nb,2024-01-01,free\n").report
    refuse_above_tolerated_share(report, orders_settings(tolerated_quarantine_share=0.5))
    with pytest.raises(QuarantineShareError, match=r"1 of 2 rows \(50.0%\).*plain number.*number_format"):
        refuse_above_tolerated_share(report, orders_settings())


def test_nothing_left_behind(read_text: ReadText, connection: duckdb.DuckDBPyConnection) -> None:
    """Only what came out stays in the database, and nothing of what failed; several intakes live side by side."""
    messy = HEADER.encode() + b'\xff"\n"\na,2024-01-01,%d\n'
    one, other = (read_text(messy % amount) for amount in (1, 2))
    with pytest.raises(InputError, match="names a customer"):
        read_text(HEADER + ",2024-01-01,1\n")
    assert [rows(one)[0][3], rows(other)[0][3]] == [1_000_000, 2_000_000]
    tables = connection.sql("SELECT table_name FROM duckdb_tables()").fetchall()
    assert sorted(name.split("_")[-1] for (name,) in tables) == ["entries", "entries", "quarantine", "quarantine"]


def test_all_refused(read_text: ReadText) -> None:
    """A file without one good row gives no orders and no days, but a full report."""
    report = read_text(HEADER + "a,b,c\n").report
    assert (report.n_orders, report.first_day, report.last_day, report.n_quarantined) == (0, None, None, 1)


CURRENCIES = "customer_id,ordered_at,amount,currency\na,2026-01-01,1,EUR\nb,2026-01-02,2,eur\nc,2026-01-03,3,\n"


def test_one_currency(read_text: ReadText) -> None:
    """Orders in one currency need none to be stated, and an empty one is the same; a stated one must agree."""
    assert len(rows(read_text(CURRENCIES))) == len(rows(read_text(CURRENCIES, currency="EUR"))) == 3
    with pytest.raises(InputError, match=r"in EUR, but orders.currency is USD.*orders\.rates"):
        read_text(CURRENCIES, currency="USD")


def test_two_currencies(read_text: ReadText, tmp_path: Path) -> None:
    """Amounts in several currencies never add up: they are refused, or converted at the rate of their day."""
    text = CURRENCIES + "d,2026-01-05,10,USD\ne,2026-01-05,-4,USD\nf,2025-12-31,1,USD\ng,2026-01-05,1,secret\n"
    with pytest.raises(InputError, match=r"EUR, USD, …"):
        read_text(text)
    rates = tmp_path / "rates.csv"
    rates.write_text("date,currency,rate\n2026-01-01,USD,0.5\n")
    intake = read_text(text, currency="EUR", rates=str(rates))
    assert [(row[0], row[3]) for row in rows(intake)] == [("a", 1_000_000), ("b", 2_000_000), ("d", 5_000_000)]
    assert intake.report.refunds.amount_micros == 2_000_000
    assert refused(intake) == [
        (4, "currency", "empty", "missing_currency"),
        (7, "currency", "currency code", "missing_rate"),
        (8, "currency", "currency code", "missing_rate"),
    ]


def test_one_foreign_currency(read_text: ReadText, tmp_path: Path) -> None:
    """Where all orders are in one foreign currency, one without a code is in it too; costs are converted with them."""
    rates = tmp_path / "rates.csv"
    rates.write_text("date,currency,rate\n2026-01-01,EUR,2\n")
    text = "customer_id,ordered_at,amount,currency,cost\na,2026-01-01,1,EUR,0.5\nb,2026-01-02,2,,\n"
    intake = read_text(text, currency="USD", rates=str(rates))
    assert [row[3:] for row in sorted(intake.orders.fetchall())] == [(2_000_000, 1_000_000), (4_000_000, None)]


def test_guests(read_text: ReadText) -> None:
    """A valid row without a customer is accepted, counted apart, and in no relation."""
    report = read_text(HEADER + "a,2024-01-01,1\n,2024-01-01,1\n,2024-01-01,1\n").report
    assert (report.n_accepted, report.n_guests, report.n_orders, report.n_repeats) == (3, 2, 1, 0)
    assert report.by_source[0].n_guests == 2


def test_event_types(read_text: ReadText) -> None:
    """Of a log of all that happens, purchases and refunds are read by type and sign; other rows are counted only."""
    text = "customer_id,ordered_at,amount,event_type\na,2024-01-01,5,Purchase-Line\na,2024-01-02,2,refund\n"
    text += "a,2024-01-03,-1,\na,2024-01-01,,campaign sent\n,,x,visit\na,2024-01-04,0,Return\nb,x,1,order\n"
    intake = read_text(text)
    assert [row[3] for row in rows(intake)] == [5_000_000]
    assert (intake.report.n_accepted, intake.report.n_other_events) == (6, 3)
    assert (intake.report.refunds.n_rows, intake.report.refunds.taken_micros) == (2, 3_000_000)
    assert refused(intake) == [(8, "ordered_at", "text", "bad_date")]


def test_optional_columns(read_text: ReadText) -> None:
    """Orders have a channel and a cost where the file has; a bad optional value is left out and counted."""
    text = "customer_id,ordered_at,amount,channel,cost,quantity,category\na,2024-01-01,5,web,2.5,3,tea\n"
    intake = read_text(text + "a,2024-01-01,5,,much,many,tea\na,2024-01-01,-5,,,1,tea\n")
    assert intake.orders.columns[4:] == ["channel", "cost_micros"]
    assert {row[4:] for row in intake.orders.fetchall()} == {("web", 2_500_000), (None, None)}
    assert intake.records.items is not None
    assert intake.records.items.to_native().fetchall() == [("a", 19723, "tea", 1, 3_000_000)]
    assert [note.split()[0] for note in intake.report.notes] == ["quantity", "cost"]
    assert all("(rows: 1)" in note for note in intake.report.notes)


def test_spellings(read_text: ReadText) -> None:
    """Ids that differ only by case or blanks are told, but never merged."""
    report = read_text(HEADER + "Ann Lee,2024-01-01,1\nannlee,2024-01-02,1\nbob,2024-01-03,1\n").report
    assert (report.n_customers, report.n_spellings) == (3, 2)
    assert report.notes == ("2 customer ids differ from another one only by case or blanks; they are kept apart.",)


def test_months(read_text: ReadText) -> None:
    """Orders are counted by month, quiet months too."""
    report = read_text(HEADER + "a,2023-12-31,1\na,2024-02-01,1\nb,2024-02-29,1\n").report
    assert report.orders_by_month == (("2023-12", 1), ("2024-01", 0), ("2024-02", 2))


def test_two_time_zones(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Each source is read in its own time zone, and the midnights of the shop part the days of all."""
    (tmp_path / "a.csv").write_text(HEADER + "a,2024-01-01T23:30,1\n")
    (tmp_path / "b.csv").write_text(HEADER + "b,2024-01-01T23:30,1\n")
    source = {"path": str(tmp_path / "b.csv"), "timezone": "America/New_York"}
    intake = read_orders(
        [tmp_path / "a.csv"], orders_settings(timezone="Europe/Paris", sources=[source]), connection=connection
    )
    assert [row[1:3] for row in rows(intake)] == [
        (datetime(2024, 1, 1, 22, 30), 19723),
        (datetime(2024, 1, 2, 4, 30), 19724),
    ]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(-1e9, 1e9) | st.decimals(-(10**6), 10**6, places=7).map(float), min_size=1, max_size=50))
def test_floats_are_shortest_decimals(tmp_path: Path, engine: duckdb.DuckDBPyConnection, amounts: list[float]) -> None:
    """A float of Parquet gives the micros of the shortest decimal that names it, as its text would."""
    file = tmp_path / "floats.parquet"
    pl.DataFrame(
        {"customer_id": "a", "ordered_at": datetime(2024, 1, 1), "amount": amounts, "row": range(len(amounts))}
    ).write_parquet(file)
    exact = [int((Decimal(repr(x)) * 10**6).quantize(Decimal(1), rounding=ROUND_HALF_UP)) for x in amounts]
    intake = read_orders([file], orders_settings(), connection=engine)
    assert sorted(row[3] for row in rows(intake)) == sorted(micros for micros in exact if micros >= 0)
    refunds = intake.records.refunds
    given_back = [] if refunds is None else refunds.to_native().select("amount_micros").fetchall()
    assert sorted(micros for (micros,) in given_back) == sorted(-micros for micros in exact if micros < 0)


def test_write_quarantine(read_text: ReadText, tmp_path: Path) -> None:
    """The whole quarantine is written in the sequence of the files; the report keeps a few examples of each reason."""
    intake = read_text(HEADER + "a,2024-01-01,1\n" + "a,x,1\n" * 7 + "a,2024-01-01,free\n")
    write_quarantine(intake, tmp_path / "out" / "q.csv")
    write_quarantine(intake, tmp_path / "out" / "q.parquet")
    written = pl.read_parquet(tmp_path / "out" / "q.parquet")
    assert written["line"].to_list() == list(range(3, 11))
    assert pl.read_csv(tmp_path / "out" / "q.csv").equals(written)
    assert sorted(intake.report.quarantine_examples["line"]) == [3, 4, 5, 6, 7, 10]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["q.csv", "q.parquet"]
    with pytest.raises(InputError, match="cannot be written"):
        write_quarantine(intake, tmp_path / "out" / "q.csv" / "q.csv")


def test_future_date(tmp_path: Path) -> None:
    """An order more than a day ahead of today is quarantined: a mistyped year must not move the end of the data."""
    path = tmp_path / "orders.csv"
    path.write_text(HEADER + "a,2026-01-02,1\nb,2026-01-03,1\nc,2062-01-01,1\n")
    with closing(connect()) as connection:
        intake = read_orders([path], orders_settings(), connection=connection, today=date(2026, 1, 1))
        assert refused(intake) == [(3, "ordered_at", "date", "future_date"), (4, "ordered_at", "date", "future_date")]


def test_points_that_may_part_thousands(read_text: ReadText) -> None:
    """Where every point could part thousands, it is refused until number_format says what it is."""
    text = "customer_id,ordered_at,amount\na,2024-01-01,1.234\na,2024-01-02,950\n"
    assert (read_text(text).report.n_orders, read_text(text).report.by_reason) == (1, {"not_a_number": 1})
    assert "number_format" in read_text(text).report.notes[0]
    stated = read_text(text, number_format="1234.50").orders.fetchall()
    assert sorted(row[3] for row in stated) == [1_234_000, 950_000_000]
    assert read_text(text + "a,2024-01-03,12.5\n").report.n_orders == 3


def test_what_is_read(read_text: ReadText) -> None:
    """The report says which columns are read as which of ours, and which are not read."""
    report = read_text("Client;Date;amount;Währung\na;2024-01-01;5;EUR\n").report
    assert (
        report.by_source[0].reads == "Read: customer_id from Client, ordered_at from Date, amount. Not read: Währung."
    )


def test_silent_currency(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """A source that says no currency is not added to one that does, unless the shop's own is stated."""
    (tmp_path / "a.csv").write_text("customer_id,ordered_at,amount\nx,2024-01-01,5\n")
    (tmp_path / "b.csv").write_text("customer_id,ordered_at,amount,currency\nx,2024-01-02,7,JPY\n")
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    with pytest.raises(InputError, match="JPY"):
        read_orders(files, orders_settings(), connection=connection)
    assert read_orders(files, orders_settings(currency="JPY"), connection=connection).report.n_orders == 2
