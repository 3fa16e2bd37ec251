"""The bytes of a text file, as plain UTF-8 with one line per line.

Most files are that already and are read where they lie. Any other is copied once, in bounded memory; a line that
cannot be text is replaced there by a mark, so that it costs its own row only and the others keep their numbers.
"""

import codecs
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from features.errors import InputError
from features.intake.readers.encodings import (
    find_packing,
    known_encoding,
    marked_encoding,
    open_unpacked,
    read_chunks,
    read_utf8,
    refuse_binary,
    refuse_unmarked_utf16,
)
from features.intake.readers.header import read_header
from features.intake.readers.scan import MAX_LINE_BYTES, Scan, decodes, has_long_line, scan_bytes
from features.settings import Reading

# What follows the mark of a line that is no text → the value class of its row.
FAULTS: Mapping[str, str] = {"N": "NUL byte", "U": "not UTF-8", "L": "line too long"}

_ENCODING_NAMES = {"cp1252": "Windows-1252, for it is not UTF-8", "utf-16": "UTF-16", "utf-32": "UTF-32"}


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text file that the line reader can read.

    Attributes:
        path: The file as given.
        text_path: The file to read: the same one, or its plain copy.
        packing: How the file to read is packed: "none" or "gzip".
        header_line: The number of the header's line, from 1; 0 where there is none.
        columns: The names of the columns.
        separator: What separates values; " " stands for any run of blanks.
        has_quotes: Whether a quote occurs.
        has_returns: Whether lines to read may end in a carriage return and a line feed.
        line_guard: A byte that does not occur.
        fault_mark: A byte that occurs only where a line that is no text was replaced; None where none was.
        notes: What was found out about how the file is written, for people.
    """

    path: Path
    text_path: Path
    packing: str
    header_line: int
    columns: tuple[str, ...]
    separator: str
    has_quotes: bool
    has_returns: bool
    line_guard: int
    fault_mark: int | None
    notes: tuple[str, ...]


def prepare_text(path: Path, reading: Reading, spill: Path) -> TextFile:
    """Find out how a text file is written and, where it is not plain, copy it as plain UTF-8.

    Args:
        path: The file; it may be packed with gzip or zstd.
        reading: How its values are written; its encoding, delimiter and column mapping matter here.
        spill: A folder for the copy; whoever owns the folder removes it.

    Raises:
        EmptySourceError: If the file holds nothing but blank lines.
        SettingsError: If the encoding or the delimiter is not known.
        InputError: If the file is not text, is not complete, or has no header.
    """
    packing = find_packing(path)
    encoding = _stated_encoding(path, packing, reading)
    scan = scan_bytes(read_utf8(path, packing, encoding or "utf-8"))
    if len(scan.unused) < 2:
        raise InputError(f"{path} is not a text file.", remedy="Save it as CSV in UTF-8, or as Parquet.")
    guard, mark, *_ = scan.unused
    encoding = encoding or ("utf-8" if scan.is_utf8 or scan.has_sequences else "cp1252")
    is_plain = encoding == "utf-8" and packing != "zstd" and scan.is_plain  # DuckDB reads one frame of zstd, not all
    text_path = path if is_plain else _copy(path, read_utf8(path, packing, encoding), spill, mark)
    packing = packing if is_plain else "none"
    lines = _text_lines(path, text_path, packing, mark)
    header = read_header(lines, delimiter=reading.delimiter, mapping=reading.columns, path=path)
    return TextFile(
        path=path,
        text_path=text_path,
        packing=packing,
        header_line=header.line,
        columns=header.columns,
        separator=header.separator,
        has_quotes=ord('"') in scan.seen,
        has_returns=is_plain and ord("\r") in scan.seen,
        line_guard=guard,
        fault_mark=None if is_plain else mark,
        notes=(*_notes(encoding, scan, is_stated=bool(reading.encoding)), *header.notes),
    )


def _stated_encoding(path: Path, packing: str, reading: Reading) -> str:
    """Return the encoding that the settings or the first bytes state; empty if none does."""
    head = next(read_chunks(path, packing), b"")
    refuse_binary(path, head)
    encoding = known_encoding(reading.encoding) or marked_encoding(head)
    if not encoding:
        refuse_unmarked_utf16(path, head)
    return encoding


def _copy(path: Path, chunks: Iterator[bytes], spill: Path, mark: int) -> Path:
    try:
        spill.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=spill, suffix=".txt")
        with os.fdopen(handle, "wb") as file:
            file.writelines(_marked(_with_line_feeds(chunks), bytes([mark])))
    except OSError as error:
        raise InputError(
            f"{path} cannot be copied as UTF-8: {error.strerror}.",
            remedy="Make room for temporary files, or save it so.",
        ) from None
    return Path(name)


def _with_line_feeds(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Write every line end as a line feed."""
    held = b""
    for chunk in chunks:
        joined = held + chunk
        held = b"\r" if joined.endswith(b"\r") else b""
        yield joined.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    yield held.replace(b"\r", b"\n")


def _marked(chunks: Iterable[bytes], mark: bytes) -> Iterator[bytes]:
    """Replace lines that are no text by a mark, and hold no more of a line than the limit."""
    rest, is_cut = b"", False
    for chunk in chunks:
        _, line_feed, fresh = chunk.partition(b"\n") if is_cut else (b"", b"", chunk)
        if is_cut and not line_feed:
            continue
        lines, line_feed, rest = (rest + fresh).rpartition(b"\n")
        yield _marked_lines(lines, mark) + line_feed
        is_cut = len(rest) > MAX_LINE_BYTES
        if is_cut:
            yield mark + b"L\n"
            rest = b""
    yield _marked_lines(rest, mark)


def _marked_lines(lines: bytes, mark: bytes) -> bytes:
    if _fault(lines) == b"" and not has_long_line(lines):
        return lines
    faults = ((line, _fault(line)) for line in lines.split(b"\n"))
    return b"\n".join(mark + fault if fault else line for line, fault in faults)


def _fault(text: bytes) -> bytes:
    if len(text) > MAX_LINE_BYTES and b"\n" not in text:
        return b"L"
    if 0 in text:
        return b"N"
    return b"" if decodes(codecs.getincrementaldecoder("utf-8")(), text, is_last=True) else b"U"


def _text_lines(path: Path, text_path: Path, packing: str, mark: int) -> Iterator[str]:
    """Read lines up to the header; what is no text cannot be one."""
    with io.TextIOWrapper(open_unpacked(text_path, packing), encoding="utf-8-sig", newline="\n") as lines:
        for line in lines:
            if line.startswith(chr(mark)):
                raise InputError(
                    f"The header line of {path} cannot be read ({FAULTS[line[1]]}).",
                    remedy="Write the column names as UTF-8 text on one line.",
                )
            yield line


def _notes(encoding: str, scan: Scan, *, is_stated: bool) -> tuple[str, ...]:
    is_found = not is_stated and encoding != "utf-8"
    encoded = (f"read as {_ENCODING_NAMES[encoding]}",) if is_found else ()
    returns = ("some lines end in a carriage return alone",) if scan.has_bare_returns else ()
    return (*encoded, *returns)
