"""The bytes of text files: any encoding and line end becomes one plain line per line, at no more than a row's cost."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import EmptySourceError, InputError, SettingsError
from features.intake.readers.delimited import register_records
from features.intake.readers.scan import MAX_LINE_BYTES
from features.intake.readers.text import FAULTS, TextFile, prepare_text
from features.settings import Reading

READING = Reading(columns={}, timezone="UTC", date_format="", number_format="", encoding="", delimiter="")
HEADER = "id,name\n"
ROWS = "1,Zoë\n2,œuf €\n"

Prepare = Callable[..., TextFile]


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """Write bytes to a file and prepare it."""

    def write_and_prepare(content: bytes, *, name: str = "people.csv", **reading: object) -> TextFile:
        (tmp_path / name).write_bytes(content)
        return prepare_text(tmp_path / name, READING.model_copy(update=reading), tmp_path / "spill")

    return write_and_prepare


def records(file: TextFile) -> list[tuple[int, list[str] | None, str | None]]:
    """List line, fields and fault of the records of a file."""
    with duckdb.connect() as connection:
        sql = f"SELECT line, fields, fault FROM ({register_records(file, connection, name='t')}) ORDER BY line"
        return connection.sql(sql).fetchall()


def zstd(content: bytes) -> bytes:
    """Pack bytes with zstd."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ((HEADER + ROWS).encode(), "a.csv"),
        ((HEADER + ROWS).replace("\n", "\r\n").encode(), "a.csv"),
        ((HEADER + ROWS).replace("\n", "\r\n", 1).encode(), "a.csv"),
        ((HEADER + ROWS).encode("utf-8-sig"), "a.txt"),
        (gzip.compress(HEADER.encode(), mtime=0) + gzip.compress(ROWS.encode(), mtime=0), "a.csv.gz"),
        (gzip.compress((HEADER + ROWS).encode(), mtime=0), "packed_without_saying_so.csv"),
    ],
)
def test_plain(prepare: Prepare, content: bytes, name: str) -> None:
    """What is UTF-8 in ordinary lines is read where it lies, packed or not."""
    file = prepare(content, name=name)
    assert (file.text_path, file.notes) == (file.path, ())
    assert records(file) == [(2, ["1", "Zoë"], None), (3, ["2", "œuf €"], None)]


@pytest.mark.parametrize(
    ("content", "encoding", "notes"),
    [
        ((HEADER + ROWS).encode("utf-16"), "", ("read as UTF-16",)),
        (b"\xfe\xff" + (HEADER + ROWS).encode("utf-16-be"), "", ("read as UTF-16",)),
        ((HEADER + ROWS).encode("utf-32"), "", ("read as UTF-32",)),
        ((HEADER + ROWS).encode("utf-16-le"), "utf-16-le", ()),
        (("\ufeff" + HEADER + ROWS).encode("utf-16-le"), "utf-16-le", ()),
        ((HEADER + ROWS).encode("cp1252"), "", ("read as Windows-1252, for it is not UTF-8",)),
        ((HEADER + ROWS).encode("iso-8859-15"), "ISO-8859-15", ()),
        ((HEADER + ROWS).encode("utf-8-sig"), "utf8", ()),
        (zstd((HEADER + ROWS).encode()), "", ()),
        (zstd(HEADER.encode()) + zstd(ROWS.encode()), "", ()),
    ],
)
def test_encodings(prepare: Prepare, content: bytes, encoding: str, notes: tuple[str, ...]) -> None:
    """The same text gives the same records in every encoding, whether it is stated, marked or found out."""
    file = prepare(content, encoding=encoding)
    assert file.notes == notes
    assert records(file) == [(2, ["1", "Zoë"], None), (3, ["2", "œuf €"], None)]


def test_line_ends(prepare: Prepare) -> None:
    """Each kind of line end ends a line, also where all three are mixed; lines keep their numbers."""
    mac = prepare(b"id,name\r1,a\r\r2,b\r")
    assert mac.notes == ("some lines end in a carriage return alone",)
    assert records(mac) == [(2, ["1", "a"], None), (4, ["2", "b"], None)]
    mixed = prepare(b"id,name\r\n1,a\r2,b\n\r\n\r3,c")
    assert records(mixed) == [(2, ["1", "a"], None), (3, ["2", "b"], None), (6, ["3", "c"], None)]


def test_marked_lines(prepare: Prepare) -> None:
    """A line that is no text is a fault of its own, and those around it keep their numbers."""
    long = b"3," + b"x" * MAX_LINE_BYTES
    file = prepare(b"id,name\n1,\0a\n\n2,\xc3\xa9\n3,\xff\n" + long + b"\n" + long[:-2] + b"\n\x1f,\x1e\n4,b\r\n5,\0")
    found = [(line, fault) for line, _, fault in records(file)]
    faults = [(2, "NUL byte"), (5, "not UTF-8"), (6, "line too long"), (10, "NUL byte")]
    assert [row for row in found if row[1]] == faults
    assert [line for line, fault in found if not fault] == [4, 7, 8, 9]
    assert sorted(FAULTS.values()) == sorted({fault for _, fault in faults})


def test_undecodable_parts(prepare: Prepare) -> None:
    """What a stated or found encoding cannot decode costs its line only."""
    for content, encoding in [
        (b"id,name\n1,\xe9\n2,\x81\n", ""),
        (b"id,name\n1,\xe9\n2,\x81\n", "windows-1252"),
        ("id,name\n1,é\n2,".encode("utf-16") + b"\x00\xdc\x41\x00", ""),
        ("id,name\n1,é\n2,".encode("utf-16") + b"\x41", ""),
    ]:
        assert [(line, fault) for line, _, fault in records(prepare(content, encoding=encoding))] == [
            (2, None),
            (3, "not UTF-8"),
        ]
    assert records(prepare(b"id,name\n1,\xe9\n", encoding="UTF-8"))[0][2] == "not UTF-8"


def test_endless_line(prepare: Prepare, tmp_path: Path) -> None:
    """A line of 64 MB costs its row and a few megabytes of memory, packed or not."""
    content = b"id,name\n1,a\n" + b"x" * (1 << 26) + b"\n2,b\n"
    for written in (content, gzip.compress(content, 1, mtime=0)):
        (tmp_path / "big.csv").write_bytes(written)
        tracemalloc.start()
        file = prepare_text(tmp_path / "big.csv", READING, tmp_path / "spill")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 25
        assert file.text_path.stat().st_size < 1 << 10
        assert [(line, fault) for line, _, fault in records(file)] == [(2, None), (3, "line too long"), (4, None)]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a.csv", "is no table; export"),
        (b"PK\x03\x04\x14\0[Content_Types].xml", "a.csv", "is an Excel workbook; save it as CSV"),
        (b"PK\x03\x04\x14\0orders.csv", "a.csv", "is an archive; unpack it"),
        (gzip.compress(b"PAR1\0", mtime=0), "a.csv.gz", "is a Parquet file; give it the suffix"),
        (HEADER.encode(), "a.csv.gz", "not a complete gzip file"),
        (gzip.compress(HEADER.encode() * 9, mtime=0)[:-9], "a.csv.gz", "not a complete gzip file"),
        (HEADER.encode(), "a.csv.zst", "not a complete zstd file"),
        (zstd(HEADER.encode())[:-1], "a.csv.zst", "not a complete zstd file"),
        (HEADER.encode("utf-16-le"), "a.csv", 'UTF-16 without a byte order mark.*encoding = "utf-16"'),
        (HEADER.encode("utf-16-be"), "a.csv", 'UTF-16 without a byte order mark.*encoding = "utf-16-be"'),
        (b"id,\0name\n1,a\n", "a.csv", r"header line .* cannot be read \(NUL byte\)"),
        (bytes(range(1, 256)), "a.csv", "is not a text file"),
    ],
)
def test_no_text(prepare: Prepare, content: bytes, name: str, message: str) -> None:
    """What is no text is refused, with what it is and what to do."""
    with pytest.raises(InputError, match=message):
        prepare(content, name=name)


def test_nothing_in_it(prepare: Prepare) -> None:
    """Files without a letter are empty in any encoding."""
    for content in (b"", b"\n \r\n\t\n", b"\xef\xbb\xbf\n", "\n \n".encode("utf-16"), b"\r\r"):
        with pytest.raises(EmptySourceError, match=r"people\.csv is empty"):
            prepare(content)


@pytest.mark.parametrize("encoding", ["utf-9", "base64", "rot13", "\0"])
def test_unknown_encoding(prepare: Prepare, encoding: str) -> None:
    """Only encodings of text can be stated."""
    with pytest.raises(SettingsError, match=r"encoding is .* not a known encoding"):
        prepare(HEADER.encode(), encoding=encoding)


def test_private_copy(prepare: Prepare, tmp_path: Path) -> None:
    """A copy is readable by its owner alone, and stands in the folder given."""
    file = prepare((HEADER + ROWS).encode("utf-16"))
    assert file.text_path.parent == tmp_path / "spill"
    assert file.text_path.stat().st_mode & 0o077 == 0


_TEXTS = st.text(st.characters(codec="utf-16", exclude_characters='\r\n\0",;\t|^~\ufeff\x1f\x1e'), max_size=8)


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(st.tuples(_TEXTS, st.sampled_from(["\n", "\r\n", "\r"])), min_size=1, max_size=8),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)
def test_any_text(values: list[tuple[str, str]], encoding: str) -> None:
    """Any text comes back unchanged, line for line, from any Unicode encoding and with any line ends."""
    content = "id,name\n" + "".join(f"{number},{text}{end}" for number, (text, end) in enumerate(values))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(content.encode(encoding))
        found = records(prepare_text(path, READING, Path(folder)))
    assert [(line, fields) for line, fields, _ in found] == [
        (number + 2, [str(number), text]) for number, (text, _) in enumerate(values)
    ]
