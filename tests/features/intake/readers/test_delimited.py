"""Delimited text: the header, what separates values, quotes, and the hash by which a repeated row is known."""

import csv
import io
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InputError, SettingsError
from features.intake.readers.delimited import field_sql, register_records
from features.intake.readers.text import TextFile, prepare_text
from features.settings import Reading

READING = Reading(columns={}, timezone="UTC", date_format="", number_format="", encoding="", delimiter="")


def prepare(folder: Path, text: str | bytes, **reading: object) -> TextFile:
    """Write a file and prepare it."""
    path = folder / "a.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return prepare_text(path, READING.model_copy(update=reading), folder / "spill")


def read(file: TextFile) -> list[tuple[int, str | None, int, tuple[str | None, ...]]]:
    """List line, fault, hash and values of the records of a file."""
    fields = ", ".join(field_sql(index) for index in range(len(file.columns)))
    with duckdb.connect() as connection:
        sql = register_records(file, connection, name="t")
        rows = connection.sql(f"SELECT line, fault, row_hash, {fields} FROM ({sql}) ORDER BY line").fetchall()
    return [(line, fault, row_hash, tuple(values)) for line, fault, row_hash, *values in rows]


def values(file: TextFile) -> list[tuple[str | None, ...]]:
    """List the values of the sound records."""
    return [values for _, fault, _, values in read(file) if fault is None]


def faults(file: TextFile) -> list[tuple[int, str]]:
    """List line and fault of the records that have one."""
    return [(line, fault) for line, fault, _, _ in read(file) if fault is not None]


def cdnow(name: str) -> Path:
    """Return a file that the lifetimes package carries."""
    spec = find_spec("lifetimes")
    assert spec is not None
    return Path(next(iter(spec.submodule_search_locations or ()))) / "datasets" / name


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "^", "~", " ", "   "])
def test_separators(tmp_path: Path, separator: str) -> None:
    """Each common separator is found from the header, quoted values or not; other ones are said in a note."""
    file = prepare(tmp_path, 'id,amount\n1,2\n"3","x ""y"" z"\n4\n5,6,7\n8,"9\n'.replace(",", separator))
    assert file.columns == ("id", "amount")
    assert values(file) == [("1", "2"), ("3", 'x "y" z')]
    assert faults(file) == [(4, "too few values"), (5, "too many values"), (6, "unmatched quote")]
    assert bool(file.notes) == (separator not in {",", "\t"})


@pytest.mark.parametrize(
    ("text", "delimiter"), [("id;a,b\n1;2,5\n", ";"), ("id:a,b\n1:2,5\n", ":"), ("sep=;\nid;a,b\n1;2,5\n", "")]
)
def test_stated_separator(tmp_path: Path, text: str, delimiter: str) -> None:
    """A stated separator decides, whether the settings state it or the first line, as Excel writes it."""
    file = prepare(tmp_path, text, delimiter=delimiter)
    assert (file.columns, values(file)) == (("id", "a,b"), [("1", "2,5")])


@pytest.mark.parametrize("delimiter", ["::", "a", "1", '"', "\n"])
def test_bad_separator(tmp_path: Path, delimiter: str) -> None:
    """What cannot stand between values is refused."""
    with pytest.raises(SettingsError, match=r"delimiter is .* cannot stand between values"):
        prepare(tmp_path, "id,amount\n", delimiter=delimiter)


def test_blank_runs(tmp_path: Path) -> None:
    """Runs of blanks separate values and mean nothing at the ends of a line."""
    file = prepare(tmp_path, '  id   name amount \n\n 1  "van  Dyck"  2 \n3\t\t4 5\n')
    assert file.columns == ("id", "name", "amount")
    assert values(file) == [("1", "van  Dyck", "2"), ("3", "4", "5")]


def test_cdnow_files(tmp_path: Path) -> None:
    """The text files of the lifetimes package are read as they are, every line; the sample by position."""
    master = prepare_text(cdnow("CDNOW_master.txt"), READING, tmp_path)
    assert master.columns == ("customer_id", "date", "number_of_cds", "dollar_value")
    assert (len(values(master)), faults(master)) == (69_659, [])
    assert values(master)[0] == ("00001", "19970101", "1", "11.77")
    by_position = READING.model_copy(update={"columns": {"customer_id": "1", "ordered_at": "3", "amount": "5"}})
    sample = prepare_text(cdnow("CDNOW_sample.txt"), by_position, tmp_path)
    assert sample.columns == ("1", "2", "3", "4", "5")
    assert (len(values(sample)), faults(sample)) == (6_919, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7,2024-01-01,12.50\n", "holds values, not column names.*--column customer_id=1"),
        ("id,a@example.com\n", "holds values"),
        ("id,$12.50\n", "holds values"),
        ("id,€ 12,50\n", "holds values"),
        ('"id,amount\n', "header line of .* cannot be read"),
        ('{"id": 7}\n', "is JSON, not a table"),
        ("<!DOCTYPE html>\n", "is HTML or XML, not a table"),
    ],
)
def test_no_header(tmp_path: Path, text: str, message: str) -> None:
    """A first line that is no header is refused, and not repeated."""
    with pytest.raises(InputError, match=message) as raised:
        prepare(tmp_path, text)
    said = str(raised.value).replace(str(tmp_path), "")
    assert not any(value in said for value in ("12", "example", "7}"))


def test_quotes_around_faults(tmp_path: Path) -> None:
    """A value that spans a line that is no text is not patched together."""
    file = prepare(tmp_path, b'id,note\n1,"one\ntwo"\n2,"one\n\0\ntwo"\n3,x\n')
    assert [row[0] for row in values(file)] == ["1", "3"]
    assert faults(file) == [(4, "unmatched quote"), (5, "NUL byte"), (6, "too few values")]


def test_row_hash(tmp_path: Path) -> None:
    """Rows have one hash if and only if they hold the same values, however the file writes them."""
    rows = [("1", "a"), ("1", "b"), ("1a", ""), ("", "1a"), ("1", 'a"'), ("1", "a"), ("1", "a,b")]
    plain = "id\tname\n" + "".join(f"{first}\t{second}\n" for first, second in rows)
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows([("id", "name"), *rows])
    some = io.StringIO()
    csv.writer(some).writerows([("id", "name"), *rows])
    hashes = [
        [row_hash for _, _, row_hash, _ in read(prepare(tmp_path, text))]
        for text in (
            plain.replace('a"', '"a"""'),
            written.getvalue(),
            some.getvalue(),
            written.getvalue().encode("utf-16"),
        )
    ]
    assert hashes[0] == hashes[1] == hashes[2] == hashes[3]
    assert len(set(hashes[0])) == len(set(rows))


def test_ends_that_could_begin(tmp_path: Path) -> None:
    """Neighbouring values that span lines are told apart, also where the end of one could begin the next."""
    rows = '"","","\n,"\n"","",",\n"\n'
    assert values(prepare(tmp_path, "a,b,c\n" + rows * 2)) == [("", "", "\n,"), ("", "", ",\n")] * 2


_CELL = st.text(st.sampled_from("ab1é ,;'\"\n\r\t"), max_size=6)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(_CELL, _CELL, _CELL), min_size=1, max_size=6), separator=st.sampled_from(",;\t|"))
def test_written_by_csv(rows: list[tuple[str, str, str]], separator: str) -> None:
    """Whatever Python's csv module writes with all quotes is read back, value for value."""
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL, delimiter=separator).writerows([("a", "b", "c"), *rows])
    with TemporaryDirectory() as folder:
        file = prepare(Path(folder), written.getvalue())
        found = [row for row in read(file) if row[1] is None]
    line_ends = str.maketrans({"\r": "\n"})
    expected = [tuple(cell.replace("\r\n", "\n").translate(line_ends) for cell in row) for row in rows]
    assert [row for *_, row in found] == expected


_LINE = st.lists(st.sampled_from(["a", "", '"q"', '"x,y"', '"', 'x"y', '"a""b"', " ", "é", "\0", "\udcff"]), max_size=4)


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(_LINE.map(",".join), min_size=1, max_size=12), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_no_line_lost(lines: list[str], end: str) -> None:
    """Every line that is not blank is a record, or within one that spans lines; none is told twice."""
    content = end.join(["a,b", *lines]).encode("utf-8", "surrogateescape")
    with TemporaryDirectory() as folder:
        found = read(prepare(Path(folder), content))
    told = [line for line, *_ in found]
    spans = {line: sum((text or "").count("\n") for text in texts) for line, fault, _, texts in found if fault is None}
    covered = [number for line in told for number in range(line, line + spans.get(line, 0) + 1)]
    assert len(covered) == len(set(covered))
    assert {number for number, line in enumerate(lines, start=2) if line.strip()} <= set(covered)
