"""Finding and opening sources: what is read, how it is found to be written, and refusals that say what to do."""

import gzip
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import EmptySourceError, InputError, MissingColumnError, SettingsError, SourceNotFoundError
from features.intake.readers.columns import EVENT_COLUMNS, ORDER_COLUMNS, ColumnNames
from features.intake.readers.sources import RawRows, find_sources, open_source, unite_sources
from features.settings import Reading, SourceSettings

HEADER = "customer_id,ordered_at,amount\n"
GOOD = HEADER + "a,2024-01-01,1\n"
READING = Reading(columns={}, timezone="UTC", date_format="", number_format="", encoding="", delimiter="")


def reading(**changes: Any) -> Reading:
    """Build how values are written, with changes."""
    return READING.model_copy(update=changes)


def write(path: Path, content: str | bytes | pl.DataFrame) -> Path:
    """Write a text or Parquet file, and the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pl.DataFrame):
        content.write_parquet(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def open_one(
    connection: duckdb.DuckDBPyConnection, path: Path, names: ColumnNames = ORDER_COLUMNS, **changes: Any
) -> RawRows:
    """Open the only source that a path names."""
    (source,) = find_sources([path], inherited=reading(**changes))
    return open_source(source, connection, names=names, name="only")


def orders(amounts: list[object], **more: object) -> pl.DataFrame:
    """Build a table of orders with given amounts."""
    n = len(amounts)
    columns = {"customer_id": ["a"] * n, "ordered_at": [date(2024, 1, 1)] * n, "amount": amounts}
    return pl.DataFrame(columns | more)


def select(connection: duckdb.DuckDBPyConnection, raw: RawRows, columns: str) -> list[tuple[Any, ...]]:
    """Read columns of raw rows, by line."""
    return connection.execute(f"SELECT {columns} FROM ({raw.sql}) ORDER BY line").fetchall()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("", EmptySourceError, "is empty"),
        ("\n \n", EmptySourceError, "is empty"),
        ('"customer_id,ordered_at,amount\n', InputError, "header line of .* cannot be read"),
        ("customer_id,when,amount\n", MissingColumnError, "recognised as ordered_at"),
    ],
)
def test_unusable_text(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection, content: str, error: type[InputError], message: str
) -> None:
    """Files that are empty or no table are refused by name."""
    with pytest.raises(error, match=rf"orders\.csv.*{message}|{message}"):
        open_one(connection, write(tmp_path / "orders.csv", content))


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["absent.csv"], SourceNotFoundError, "no file at .*absent.csv"),
        (["*.tsv"], SourceNotFoundError, "No file matches"),
        ([], SourceNotFoundError, "No order file"),
        (["empty"], SourceNotFoundError, "is a folder without a CSV or Parquet file"),
        (["o.xlsx"], InputError, "neither CSV nor Parquet.*Export"),
        (["o.csv", "*.csv"], InputError, "given twice"),
        (["o.csv", "."], InputError, "given twice"),
        (["postgresql://bob:hush@host/shop"], InputError, r"An address \(postgresql://….*\[\[orders\.sources\]\]"),
        (["s3://bucket/orders.csv"], InputError, r"An address \(s3://….*download"),
    ],
)
def test_unusable_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], error: type[InputError], message: str
) -> None:
    """Missing files, empty folders, unknown suffixes, repeated files and addresses each have their own refusal."""
    write(tmp_path / "o.csv", GOOD)
    write(tmp_path / "o.xlsx", GOOD)
    write(tmp_path / "empty" / "notes.md", "none")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message) as refused:
        find_sources(names, inherited=READING)
    assert "hush" not in str(refused.value)


def test_broken_parquet(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """A file that is Parquet by name alone is refused."""
    with pytest.raises(InputError, match=r"bad\.parquet is not a readable Parquet"):
        open_one(connection, write(tmp_path / "bad.parquet", GOOD))


def test_bad_formats(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Number and date formats that do not exist are settings errors, for any source."""
    file = write(tmp_path / "o.csv", GOOD)
    with pytest.raises(SettingsError, match=r"number_format is '1_000'.*\"1 234,50\""):
        open_one(connection, file, number_format="1_000")
    with pytest.raises(SettingsError, match="date_format is 'yyyy'"):
        open_one(connection, file, date_format="yyyy")


def test_folder(tmp_path: Path) -> None:
    """A folder stands for all files of a known kind beneath it, sorted; what engines hide stays hidden."""
    given_files = ["b.csv", "a/z.tsv.gz", "a/y.TXT", "c/d/e.parquet", "c/f.csv.zst"]
    for name in (*given_files, "read.me", ".hidden.csv", "_log/00.parquet", ".tmp/x.csv", "a/_SUCCESS"):
        write(tmp_path / name, GOOD)
    found = find_sources([tmp_path], inherited=READING)
    assert [source.name for source in found] == sorted(str(tmp_path / name) for name in given_files)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("given_as", ["", "*", "*/*/part.*"])
def test_folder_keys(tmp_path: Path, connection: duckdb.DuckDBPyConnection, suffix: str, given_as: str) -> None:
    """Folders named key=value beneath what was given are columns, for text and Parquet alike."""
    root = tmp_path / "outside=1"
    for key in ("channel=d%27or", "channel=__HIVE_DEFAULT_PARTITION__"):
        content = GOOD if suffix == "csv" else orders([1])
        write(root / "year=2024" / key / f"part.{suffix}", content)
    found = find_sources([root / given_as], inherited=reading(columns={"category": "year"}))
    opened = [
        open_source(source, connection, names=ORDER_COLUMNS, name=f"n{number}") for number, source in enumerate(found)
    ]
    assert [select(connection, raw, "category, channel") for raw in opened] == [[("2024", None)], [("2024", "d'or")]]
    hashes = [select(connection, raw, "row_hash") for raw in opened]
    assert hashes[0] != hashes[1]
    with pytest.raises(MissingColumnError, match="'outside'"):
        open_source(
            find_sources([root], inherited=reading(columns={"category": "outside"}))[0],
            connection,
            names=ORDER_COLUMNS,
            name="m",
        )


def test_own_column_beside_key(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """A column that a file has itself is read from the file."""
    write(tmp_path / "channel=folder" / "o.parquet", orders([1], channel=["file"]))
    (source,) = find_sources([tmp_path], inherited=READING)
    raw = open_source(source, connection, names=ORDER_COLUMNS, name="n")
    assert select(connection, raw, "channel") == [("file",)]


def test_stated_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources of the settings come after the paths, are read their own way, and may be folders."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "eu/b.csv", "eu/c.csv"):
        write(Path(name), GOOD)
    stated = [
        SourceSettings(path="eu", number_format="1.234,50", columns={"amount": "Betrag"}),
        SourceSettings(url="sqlite:///shop.db", query="SELECT 1"),
    ]
    found = find_sources(["a.csv"], stated, inherited=reading(date_format="%d"))
    assert [source.name for source in found] == ["a.csv", "eu/b.csv", "eu/c.csv", "sqlite:///shop.db"]
    assert [source.reading.number_format for source in found] == ["", "1.234,50", "1.234,50", ""]
    assert {source.reading.date_format for source in found} == {"%d"}
    assert len(find_sources([], stated, inherited=READING)) == 3
    with pytest.raises(InputError, match=r"eu/b\.csv was given twice"):
        find_sources(["eu/b.csv"], stated, inherited=READING)


def test_packed_text(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Text packed with gzip or zstd gives the same rows."""
    packed = {
        "o.csv.gz": gzip.compress(GOOD.encode(), mtime=0),
        "o.csv.zst": pa.compress(GOOD.encode(), codec="zstd", asbytes=True),
    }
    for number, (name, content) in enumerate(packed.items()):
        (source,) = find_sources([write(tmp_path / name, content)], inherited=READING)
        raw = open_source(source, connection, names=ORDER_COLUMNS, name=f"n{number}")
        assert select(connection, raw, "line, customer_id, amount") == [(2, "a", "1")]


def test_parquet(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Parquet keeps its types, counts its rows from 1, and takes names that are SQL for names."""
    odd = 'x" FROM y; --'
    frame = orders([1.5, 2.5]).rename({"customer_id": odd}).with_columns(line=pl.lit("L"), fault=pl.lit("F"))
    file = write(tmp_path / "it's[1]*.parquet", frame)
    raw = open_one(connection, file, columns={"customer_id": odd, "category": "line", "channel": "fault"})
    assert raw.types == {
        "customer_id": "VARCHAR",
        "ordered_at": "DATE",
        "amount": "DOUBLE",
        "channel": "VARCHAR",
        "category": "VARCHAR",
    }
    assert select(connection, raw, "line, fault, customer_id, ordered_at, amount, category, channel") == [
        (1, None, "a", date(2024, 1, 1), 1.5, "L", "F"),
        (2, None, "a", date(2024, 1, 1), 2.5, "L", "F"),
    ]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (HEADER + "a,2024-01-01,12.5\n", "1234.50"),
        (HEADER + 'a,2024-01-01,"12,5"\n', "1234,50"),
        ("customer_id;ordered_at;amount\na;2024-01-01;12,5\n", "1234,50"),
        ("customer_id;ordered_at;amount\na;2024-01-01;12,5\na;2024-01-01;12.5\n", "1234.50"),
        (orders(["12,5", None]), "1234,50"),
        (orders([12.5]), "1234.50"),
    ],
)
def test_number_format(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection, content: str | pl.DataFrame, found: str
) -> None:
    """How amounts are written is found out for each source, and a decimal comma is said."""
    suffix = "csv" if isinstance(content, str) else "parquet"
    raw = open_one(connection, write(tmp_path / f"o.{suffix}", content))
    assert raw.reading.number_format == found
    has_note = any("decimal comma" in note for note in raw.notes)
    assert has_note == (found == "1234,50")


def test_stated_number_format(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """A stated format is kept for text, also of columns beside a native amount; native numbers need none."""
    stated: dict[str, Any] = {"number_format": "1.234,50"}
    assert open_one(connection, write(tmp_path / "a.csv", GOOD), **stated).reading.number_format == "1.234,50"
    native = write(tmp_path / "b.parquet", orders([1.5]))
    assert open_one(connection, native, **stated).reading.number_format == "1234.50"
    beside = write(tmp_path / "c.parquet", orders([1.5], cost=["1.000,5"]))
    assert open_one(connection, beside, **stated).reading.number_format == "1.234,50"


def test_native_times(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """A date format is for text; native times are read as they are."""
    stated: dict[str, Any] = {"date_format": "%d/%m/%Y"}
    native = write(tmp_path / "a.parquet", orders([1]).with_columns(ordered_at=datetime(2024, 1, 1, tzinfo=UTC)))
    assert open_one(connection, native, **stated).reading.date_format == ""
    assert open_one(connection, write(tmp_path / "a.csv", GOOD), **stated).reading.date_format == "%d/%m/%Y"


def test_events(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Events are opened by the same function, with columns of their own."""
    file = write(tmp_path / "e.csv", "anonymous_id;event;timestamp;value\nv;visit;2024-01-01;1,5\n")
    raw = open_one(connection, file, EVENT_COLUMNS)
    assert select(connection, raw, "visitor_id, event_type, occurred_at, value") == [
        ("v", "visit", "2024-01-01", "1,5")
    ]
    assert raw.reading.number_format == "1234,50"


CELLS = st.none() | st.sampled_from([0, 1, -1])
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, data=st.data())
def test_row_hash(tmp_path: Path, connection: duckdb.DuckDBPyConnection, rows: list[Any], data: st.DataObject) -> None:
    """Rows of Parquet files hash alike exactly if they are equal in every column, in any sequence of columns."""
    frame = orders([1] * len(rows)).with_columns(
        pl.DataFrame(rows, schema={"x": pl.Int64, "y": pl.Int64, "z": pl.Int64}, orient="row")
    )
    shuffled = data.draw(st.permutations(frame.columns))
    hashes = [
        [found for (found,) in select(connection, open_one(connection, write(file, table)), "row_hash")]
        for file, table in ((tmp_path / "a.parquet", frame), (tmp_path / "b.parquet", frame.select(shuffled)))
    ]
    assert hashes[0] == hashes[1]
    assert [[a == b for a in rows] for b in rows] == [[a == b for a in hashes[0]] for b in hashes[0]]


def test_unite(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Sources that are read alike are united in few statements, and each row keeps its source."""
    for number in range(250):
        write(tmp_path / f"{number:03}.parquet", orders([number, -number]))
    write(tmp_path / "250.csv", GOOD)
    found = find_sources([tmp_path], inherited=READING)
    opened = [open_source(source, connection, names=ORDER_COLUMNS, name=f"n{i}") for i, source in enumerate(found)]
    united = unite_sources(opened)
    assert [sum(f"SELECT {i} AS file" in raw.sql for raw in united) for i in range(251)] == [1] * 251
    assert [raw.types["amount"] for raw in united] == ["BIGINT", "BIGINT", "BIGINT", "VARCHAR"]
    rows = [
        row
        for raw in united
        for row in connection.execute(f"SELECT file, line, amount::BIGINT, row_hash FROM ({raw.sql})").fetchall()
    ]
    apart = [
        (i, *row) for i, raw in enumerate(opened) for row in select(connection, raw, "line, amount::BIGINT, row_hash")
    ]
    assert sorted(rows) == sorted(apart)
