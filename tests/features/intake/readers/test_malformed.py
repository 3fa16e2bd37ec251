"""A corpus of files as shops export them: what becomes of each, that no row is lost, and that no value is told."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from features.errors import EmptySourceError, InputError, LifestageError, MissingColumnError, SettingsError
from features.intake.orders import read_orders
from tests.features.intake.conftest import orders_settings

HEADER = "customer_id,ordered_at,amount\n"
GOOD = "Zaphod,2024-01-01,4711.25\n"
# What the files tell of customers: in no message, note or quarantine may any of it occur.
SECRETS = ("Zaphod", "4711", "4.711", "4,711", "Heart of Gold", "betelgeuse")

NUMBER, DATE, SHAPE, DAMAGE = "not_a_number", "bad_date", "wrong_number_of_columns", "unreadable_row"


@dataclass(frozen=True)
class File:
    """One file, and what becomes of its rows."""

    content: bytes
    n_accepted: int
    by_reason: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    name: str = "orders.csv"


def row(line: str | bytes, reason: str = "") -> File:
    """Make a file of a good row, then one that is refused for a reason or accepted, then a good one."""
    content = (HEADER + GOOD).encode() + (line.encode() if isinstance(line, str) else line) + b"\nFord,2024-01-03,1\n"
    return File(content, 2, {reason: 1}) if reason else File(content, 3)


def amount(text: str, reason: str = "") -> File:
    """Make a file in which one amount is written so."""
    return row(f'Zaphod,2024-01-02,"{text}"', reason)


def date(text: str, reason: str = DATE) -> File:
    """Make a file in which one date is written so."""
    return row(f"Zaphod,{text},4711", reason)


def customer(text: str) -> File:
    """Make a file in which one customer is written so."""
    return row(f"{text},2024-01-02,4711")


def good(text: str, n_accepted: int = 1, **settings: object) -> File:
    """Make a file of which every row is accepted."""
    return File(text.encode(), n_accepted, settings=settings)


def zstd(content: bytes) -> bytes:
    """Pack bytes with zstd."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


PLAIN = HEADER + GOOD + "Ford,2024-01-02,1\n"
ACCENTS = HEADER + "Zaphod-é,2024-01-01,4711.25\nZoë,2024-01-02,1\n"
DECIMAL_COMMAS = "customer_id;ordered_at;amount\nZaphod;2024-01-01;4711,25\nFord;2024-01-02;7\n"
GROUPED = 'customer_id,ordered_at,amount\nZaphod,2024-01-01,"{}"\n'
CYRILLIC = {"encoding": "cp1251"}

AMOUNTS = {
    "thousands_comma": amount("4,711.25", NUMBER),
    "thousands_comma_unquoted": row("Zaphod,2024-01-02,4,711", SHAPE),
    "thousands_point": amount("4.711,25", NUMBER),
    "thousands_blank": amount("4 711.25", NUMBER),
    "thousands_hard_blank": amount("4\u00a0711.25", NUMBER),
    "thousands_apostrophe": amount("4'711.25", NUMBER),
    "thousands_underscore": amount("4_711", NUMBER),
    "decimal_comma_among_points": amount("4711,25", NUMBER),
    "dollar": amount("$4711", NUMBER),
    "euro": amount("4711 €", NUMBER),
    "currency_code": amount("USD 4711", NUMBER),
    "percent": amount("4711%", NUMBER),
    "parentheses": amount("(4711)", NUMBER),
    "unicode_minus": amount("\u22124711", NUMBER),
    "trailing_minus": amount("4711-", NUMBER),
    "two_signs": amount("--4711", NUMBER),
    "two_points": amount("4.7.11", NUMBER),
    "hexadecimal": amount("0x4711", NUMBER),
    "full_width_digits": amount("４７１１", NUMBER),
    "arabic_digits": amount("٤٧١١", NUMBER),
    "nan": amount("NaN", NUMBER),
    "infinite": amount("-inf", NUMBER),
    "null_word": amount("NULL", NUMBER),
    "excel_error": amount("#N/A", NUMBER),
    "formula": amount("=4711*2", NUMBER),
    "truth": amount("TRUE", NUMBER),
    "scientific": amount("4.711e3"),
    "tiny": amount("1e-9"),
    "negative_zero": amount("-0.00"),
    "plus_sign": amount("+4711"),
    "bare_point": amount(".5"),
    "blanks_around_amount": amount("  4711.25\t"),
    "hard_blank_after_amount": amount("4711.25\u00a0"),
    "refund": amount("-4711"),
    "huge": amount("47110000000000000000", "amount_out_of_range"),
    "huge_exponent": amount("1e400", "amount_out_of_range"),
    "hugely_negative": amount("-4711e300", "amount_out_of_range"),
    "no_amount": amount("", "missing_amount"),
    "blank_amount": amount(" \u00a0 ", "missing_amount"),
}

DATES = {
    "february_30": date("2024-02-30"),
    "february_29_of_2023": date("2023-02-29"),
    "hour_24": date("2024-01-02T24:00:00"),
    "hour_25": date("2024-01-02 25:61"),
    "leap_second": date("2024-01-02T23:59:60"),
    "month_13": date("2024-13-01"),
    "year_0": date("0000-00-00"),
    "year_1": date("0001-01-01"),
    "year_1900": date("1900-01-01"),
    "year_1969": date("1969-12-31"),
    "year_2100": date("2100-01-01"),
    "year_9999": date("9999-12-31"),
    "two_digit_year": date("24-01-02"),
    "one_digit_month": date("2024-1-2"),
    "slashes": date("02/01/2024"),
    "points": date("02.01.2024"),
    "month_name": date("2 Jan 2024"),
    "week": date("2024-W01-2"),
    "ordinal_day": date("2024-002"),
    "unix_seconds": date("1704153600"),
    "unix_milliseconds": date("1704153600000"),
    "excel_serial": date("45293"),
    "zone_name": date("2024-01-02 10:00 Europe/Paris"),
    "infinity": date("infinity"),
    "today": date("today"),
    "no_date": date("", "missing_ordered_at"),
    "eight_digits": date("20240102", ""),
    "eight_digits_of_no_day": date("20241302"),
    "with_zone": date("2024-01-02T23:30:00-05:30", ""),
    "nanoseconds": date("2024-01-02 10:00:00.123456789", ""),
    "blanks_around_date": date("  2024-01-02 ", ""),
    "excel_serials_stated": good(HEADER + "Zaphod,45293.5,4711\n", date_format="excel"),
    "unix_stated": good(HEADER + "Zaphod,1704153600,4711\n", date_format="unix"),
    "unix_ms_stated": good(HEADER + "Zaphod,1704153600000,4711\n", date_format="unix_ms"),
    "day_first_stated": good(HEADER + "Zaphod,31/12/24,4711\n", date_format="%d/%m/%y"),
    "month_first_stated": File(
        (HEADER + "Zaphod,12/31/2024,4711\nFord,31/12/2024,1\n").encode(), 1, {DATE: 1}, {"date_format": "%m/%d/%Y"}
    ),
}

CUSTOMERS = {
    "blanks_around_id": customer("  Zaphod  "),
    "hard_blank_in_id": customer("\u00a0Zaphod\u00a0B"),
    "zero_width_id": customer("Zaphod\u200b"),
    "right_to_left_id": customer("זפוד"),
    "emoji_id": customer("🚀👩‍🚀"),
    "formula_id": customer("=cmd|' /C calc'!A0"),
    "sql_id": customer("Zaphod'); DROP TABLE orders;--"),
    "json_id": customer('"{""name"": ""Zaphod"", ""ship"": [1, 2]}"'),
    "quote_within_id": customer('Za"phod'),
    "backslash_id": customer("Zaphod\\"),
    "control_character_id": customer("Za\x1fph\x02od"),
    "replacement_character_id": customer("Zaphod\ufffd"),
    "zero_id": customer("0"),
    "null_word_id": customer("NULL"),
    "long_id": customer("Zaphod" * 20_000),
    "guest": customer(""),
    "hard_blank_guest": customer("\u00a0"),
}

ROWS = {
    "short_row": row("Zaphod,2024-01-02", SHAPE),
    "one_value": row("Zaphod", SHAPE),
    "long_row": row("Zaphod,2024-01-02,1,2", SHAPE),
    "trailing_separator": row("Zaphod,2024-01-02,1,", SHAPE),
    "other_separator": row("Zaphod;2024-01-02;1", SHAPE),
    "open_quote": row('"Zaphod,2024-01-02,1', DAMAGE),
    "text_after_quote": row('"Za"phod,2024-01-02,1', DAMAGE),
    "nul_byte": row(b"Za\0phod,2024-01-02,1", DAMAGE),
    "not_utf8_among_utf8": row(b"Zapho\xff,2024-01-02,1\nZapho\xc3\xab,,", DAMAGE),
    "too_long_line": row("Zaphod" * 200_000 + ",2024-01-02,1", DAMAGE),
    "repeated_header": row(HEADER.strip(), DATE),
    "comment": row("# exported from Heart of Gold", SHAPE),
    "total_row": row(",,4711", "missing_ordered_at"),
    "empty_row": row(",,", "missing_customer_id"),
    "blanks_only_row": row(" , \t,\u00a0", "missing_customer_id"),
    "quoted_line_break": row('"Zaphod\nHeart of Gold",2024-01-02,1'),
    "quoted_blank_lines": row('"Zaphod\n\n\nHeart of Gold",2024-01-02,1'),
    "quoted_separator": row('"Zaphod, Heart of Gold",2024-01-02,1'),
    "all_quoted": row('"Zaphod","2024-01-02","4711"'),
    "empty_quotes": row('"",2024-01-02,4711'),
    "repeated_row": row(GOOD.strip()),
}
ROWS["not_utf8_among_utf8"] = File(ROWS["not_utf8_among_utf8"].content, 2, {DAMAGE: 1, "missing_ordered_at": 1})

FILES = {
    "windows_line_ends": good(PLAIN.replace("\n", "\r\n"), 2),
    "old_mac_line_ends": good(PLAIN.replace("\n", "\r"), 2),
    "mixed_line_ends": good(HEADER.strip() + "\r\n" + GOOD.strip() + "\rFord,2024-01-02,1\nTrillian,2024-01-03,1", 3),
    "doubled_returns": good(PLAIN.replace("\n", "\r\r\n"), 2),
    "no_last_line_end": good(PLAIN.strip(), 2),
    "blank_lines": good("\n \n" + PLAIN.replace("\n", "\n\n \t\n"), 2),
    "utf8_mark": File(PLAIN.encode("utf-8-sig"), 2),
    "utf16_little": File(b"\xff\xfe" + ACCENTS.encode("utf-16-le"), 2),
    "utf16_big": File(b"\xfe\xff" + ACCENTS.encode("utf-16-be"), 2),
    "utf16_stated": File(ACCENTS.encode("utf-16-be"), 2, settings={"encoding": "utf-16-be"}),
    "utf32": File(ACCENTS.encode("utf-32"), 2),
    "latin1": File(ACCENTS.encode("latin-1"), 2),
    "windows_1252": File(ACCENTS.replace("é", "€ “x”").encode("cp1252"), 2),
    "cyrillic_stated": File(
        ACCENTS.replace("é", "д").replace("ë", "ж").encode("cp1251"), 2, {}, {"encoding": "cp1251"}
    ),
    "gzip": File(gzip.compress(PLAIN.encode(), mtime=0), 2, name="orders.csv.gz"),
    "gzip_members": File(
        gzip.compress(HEADER.encode(), mtime=0) + gzip.compress(GOOD.encode(), mtime=0), 1, name="orders.csv.gz"
    ),
    "gzip_by_its_bytes": File(gzip.compress(PLAIN.encode(), mtime=0), 2),
    "zstd": File(zstd(PLAIN.encode()), 2, name="orders.csv.zst"),
    "zstd_frames": File(zstd(HEADER.encode()) + zstd(GOOD.encode()), 1, name="orders.csv.zst"),
    "tabs": good(PLAIN.replace(",", "\t"), 2),
    "bars": good(PLAIN.replace(",", "|"), 2),
    "semicolons": good(PLAIN.replace(",", ";"), 2),
    "carets": good(PLAIN.replace(",", "^"), 2),
    "tildes": good(PLAIN.replace(",", "~"), 2),
    "blanks": good(PLAIN.replace(",", "   ").replace("\n", " \r\n "), 2),
    "stated_separator": good(PLAIN.replace(",", ":"), 2, delimiter=":"),
    "separator_line": good("sep=;\n" + PLAIN.replace(",", ";"), 2),
    "quoted_header": good(PLAIN.replace(HEADER, '"customer_id","ordered_at","amount"\n'), 2),
    "trailing_separators": good(PLAIN.replace("\n", ",\n"), 2),
    "decimal_commas": good(DECIMAL_COMMAS, 2),
    "decimal_commas_and_a_point": File((DECIMAL_COMMAS + "Ford;2024-01-03;1.5\n").encode(), 2, {NUMBER: 1}),
    "decimal_commas_and_a_group": File((DECIMAL_COMMAS + "Ford;2024-01-03;4.711,5\n").encode(), 2, {NUMBER: 1}),
    "grouped_by_comma_stated": good(GROUPED.format("4,711.25"), number_format="1,234.50"),
    "grouped_by_point_stated": good(GROUPED.format("4.711,25"), number_format="1.234,50"),
    "grouped_by_blank_stated": good(GROUPED.format("4\u202f711,25"), number_format="1 234,50"),
    "grouped_by_apostrophe_stated": good(GROUPED.format("4’711.25"), number_format="1'234.50"),
    "duplicate_other_names": good("customer_id,ordered_at,amount,note,note\nZaphod,2024-01-01,4711,a,b\n"),
    "many_columns": good(
        HEADER.strip() + "".join(f",c{i}" for i in range(10_000)) + "\n" + GOOD.strip() + "," * 10_000 + "\n"
    ),
    "positions": good(GOOD, columns={"customer_id": "1", "ordered_at": "2", "amount": "3"}),
}

REFUSED: Mapping[str, tuple[File, type[LifestageError], str]] = {
    "nothing": (File(b"", 0), EmptySourceError, "is empty"),
    "blanks_alone": (File(b" \r\n\t\n\n", 0), EmptySourceError, "is empty"),
    "mark_alone": (File(b"\xef\xbb\xbf", 0), EmptySourceError, "is empty"),
    "packed_nothing": (File(gzip.compress(b"", mtime=0), 0, name="orders.csv.gz"), EmptySourceError, "is empty"),
    "header_alone": (good(HEADER + "\n"), EmptySourceError, "no rows"),
    "guests_alone": (good(HEADER + ",2024-01-01,4711\n,2024-01-02,1\n"), InputError, "customer"),
    "no_header": (good(GOOD), InputError, "holds values.*header line"),
    "no_header_but_currency": (good('Zaphod,"2 Jan 2024","$4711.25"\n'), InputError, "holds values"),
    "title_first": (good("Orders of the shop\n" + PLAIN), MissingColumnError, "no column recognised"),
    "duplicate_names": (
        good("customer_id,ordered_at,amount,amount\nZaphod,2024-01-01,1,2\n"),
        MissingColumnError,
        "2 columns",
    ),
    "position_out_of_range": (good(GOOD, columns={"customer_id": "9"}), MissingColumnError, "'9'"),
    "open_quote_in_header": (good('"customer_id,ordered_at,amount\n' + GOOD), InputError, "header line"),
    "nul_in_header": (File(b"customer_id,\0,amount\n" + GOOD.encode(), 0), InputError, "header line"),
    "long_header": (good("x" * (1 << 20) + PLAIN), InputError, "header line"),
    "json": (good('[{"customer_id": "Zaphod", "amount": 4711}]'), InputError, "is JSON"),
    "json_lines": (good('{"customer_id": "Zaphod", "amount": 4711}\n' * 2), InputError, "is JSON"),
    "html": (good("<table><tr><td>Zaphod</td></tr></table>"), InputError, "is HTML or XML"),
    "png": (File(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 0), InputError, "is no table"),
    "pdf": (File(b"%PDF-1.7\n", 0), InputError, "is no table"),
    "workbook": (File(b"PK\x03\x04\x14\0\6\0[Content_Types].xml", 0), InputError, "Excel workbook; save it as CSV"),
    "old_workbook": (File(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0), InputError, "Excel workbook"),
    "zip": (File(b"PK\x03\x04\x14\0orders.csv", 0), InputError, "is an archive"),
    "parquet_by_another_name": (File(b"PAR1\x15\4", 0), InputError, "is a Parquet file"),
    "database_file": (File(b"SQLite format 3\0", 0), InputError, "is a database"),
    "noise": (File(bytes(range(256)) * 20, 0), InputError, "is not a text file"),
    "utf16_without_mark": (File(PLAIN.encode("utf-16-le"), 0), InputError, 'encoding = "utf-16"'),
    "broken_gzip": (
        File(gzip.compress(PLAIN.encode(), mtime=0)[:-9], 0, name="orders.csv.gz"),
        InputError,
        "not a complete gzip",
    ),
    "no_gzip": (File(PLAIN.encode(), 0, name="orders.csv.gz"), InputError, "not a complete gzip"),
    "broken_zstd": (File(zstd(PLAIN.encode())[:-3], 0, name="orders.csv.zst"), InputError, "not a complete zstd"),
    "unknown_encoding": (good(PLAIN, encoding="utf-9"), SettingsError, "not a known encoding"),
    "bad_separator": (good(PLAIN, delimiter="::"), SettingsError, "cannot stand between values"),
}

READABLE = AMOUNTS | DATES | CUSTOMERS | ROWS | FILES


def settings_for(file: File) -> Mapping[str, object]:
    """Return the settings of a file, tolerant of its faults."""
    return {**file.settings, "tolerated_quarantine_share": 1.0}


def no_secrets(text: str) -> bool:
    """Tell whether a text repeats nothing of what the files tell of customers."""
    return not any(secret in text for secret in SECRETS)


@pytest.mark.parametrize("name", READABLE)
def test_readable(tmp_path: Path, connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Each row of a messy file is accepted or set aside for the right reason; none is lost, none is told."""
    file = READABLE[name]
    path = tmp_path / file.name
    path.write_bytes(file.content)
    intake = read_orders([path], orders_settings(**settings_for(file)), connection=connection)
    report = intake.report
    assert (report.n_accepted, report.by_reason) == (file.n_accepted, file.by_reason)
    assert report.n_accepted + report.n_quarantined == report.n_input
    quarantine = intake.quarantine.pl().drop("file")
    assert quarantine.height == report.n_quarantined == sum(file.by_reason.values())
    assert no_secrets(quarantine.write_csv() + " ".join(report.notes))


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """A file that holds no orders at all is refused in words that name it and its remedy, and none of its values."""
    file, error, message = REFUSED[name]
    path = tmp_path / file.name
    path.write_bytes(file.content)
    with pytest.raises(error, match=message) as raised:
        read_orders([path], orders_settings(**settings_for(file)), connection=connection)
    assert no_secrets(str(raised.value))
    assert isinstance(raised.value, SettingsError) or file.name in raised.value.problem
    assert raised.value.remedy.endswith(".")


def test_all_at_once(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Files of every kind make one set of records, and each row is counted in its own file."""
    files = {name: file for name, file in READABLE.items() if not file.settings}
    for name, file in files.items():
        (tmp_path / f"{name}-{file.name}").write_bytes(file.content)
    report = read_orders([tmp_path], orders_settings(tolerated_quarantine_share=1.0), connection=connection).report
    assert report.n_input == sum(source.n_input for source in report.by_source)
    assert {Path(source.file).name: (source.n_accepted, source.n_quarantined) for source in report.by_source} == {
        f"{name}-{file.name}": (file.n_accepted, sum(file.by_reason.values())) for name, file in files.items()
    }


def test_same_records(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """However the same orders are packed, encoded, ended and separated, the same records come out."""
    names = "windows_line_ends old_mac_line_ends doubled_returns no_last_line_end blank_lines utf8_mark gzip zstd tabs"
    names += " bars semicolons carets tildes blanks separator_line quoted_header gzip_by_its_bytes trailing_separators"
    digests = set()
    for name in names.split():
        path = tmp_path / FILES[name].name
        path.write_bytes(FILES[name].content)
        digests.add(read_orders([path], orders_settings(), connection=connection).report.digest)
    assert len(digests) == 1


def test_corpus_size() -> None:
    """The corpus stays broad."""
    assert len(READABLE) + len(REFUSED) >= 65
    assert len(AMOUNTS) + len(DATES) + len(CUSTOMERS) + len(ROWS) + len(FILES) == len(READABLE)
