"""How the bytes of a text file are packed and encoded, and the same file as a stream of UTF-8."""

import codecs
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from features.errors import InputError, SettingsError

CHUNK_BYTES = 1 << 22

_HEAD_BYTES = 1024
_PACKED: Mapping[bytes, str] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_SUFFIXES: Mapping[str, str] = {".gz": "gzip", ".zst": "zstd"}
_BYTE_ORDER_MARKS: Mapping[bytes, str] = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8",
}
_NO_TABLE = ("is no table", "export the orders as CSV or Parquet")
_EXCEL = ("is an Excel workbook", "save it as CSV")
_ARCHIVE = ("is an archive", "unpack it, or pack the file in it with gzip or zstd")
_BINARY: Mapping[bytes, tuple[str, str]] = {
    **dict.fromkeys((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"%PDF"), _NO_TABLE),
    **dict.fromkeys((b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!"), _ARCHIVE),
    b"\xd0\xcf\x11\xe0": _EXCEL,
    b"PAR1": ("is a Parquet file", "give it the suffix .parquet"),
    b"SQLite format 3\0": ("is a database", "name it under [[orders.sources]], with its url and a query"),
}


def find_packing(path: Path) -> str:
    """Return how a file is packed: "none", "gzip" or "zstd". Its first bytes decide, not its name.

    Raises:
        InputError: If it is not packed as its name says, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", remedy="Give a readable file.") from None
    packing = next((kind for magic, kind in _PACKED.items() if head.startswith(magic)), "none")
    named = _SUFFIXES.get(path.suffix.lower(), packing)
    if named != packing:
        raise _incomplete(path, named)
    return packing


def open_unpacked(path: Path, packing: str) -> BinaryIO:
    """Open the unpacked bytes of a file."""
    return cast(BinaryIO, pa.input_stream(str(path), compression=None if packing == "none" else packing))


def read_chunks(path: Path, packing: str) -> Iterator[bytes]:
    """Read the unpacked bytes of a file.

    Raises:
        InputError: If they cannot be read to the end.
    """
    try:
        with open_unpacked(path, packing) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except OSError:
        raise _incomplete(path, packing) from None


def read_utf8(path: Path, packing: str, encoding: str) -> Iterator[bytes]:
    """Read a file as UTF-8, without a byte order mark. What cannot be decoded stays invalid."""
    chunks = read_chunks(path, packing)
    if encoding != "utf-8":
        chunks = _transcoded(chunks, encoding)
    yield next(chunks, b"").removeprefix(codecs.BOM_UTF8)
    yield from chunks


def known_encoding(name: str) -> str:
    """Return the codec's name of a stated encoding; empty if none is stated.

    Raises:
        SettingsError: If there is no such encoding of text.
    """
    if not name:
        return ""
    try:
        "".encode(name)  # some codecs are not of text
        codecs.getincrementaldecoder(name)
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        raise SettingsError(
            f"Setting encoding is {name!r}, which is not a known encoding.",
            remedy='Give one such as "utf-8", "utf-16", "windows-1252" or "iso-8859-15"; or leave it out to find out.',
        ) from None


def marked_encoding(head: bytes) -> str:
    """Return the encoding that a byte order mark states; empty without one."""
    return next((encoding for mark, encoding in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), "")


def refuse_binary(path: Path, head: bytes) -> None:
    """Refuse what its first bytes show to be another kind of file.

    Raises:
        InputError: If it is one; the message says which.
    """
    found = next((kind for magic, kind in _BINARY.items() if head.startswith(magic)), None)
    if found is None:
        return
    is_workbook = head.startswith(b"PK") and (b"[Content_Types].xml" in head or b"xl/" in head)
    problem, remedy = _EXCEL if is_workbook else found
    raise InputError(f"{path} {problem}; {remedy}.", remedy="Text files hold one line per row.")


def refuse_unmarked_utf16(path: Path, head: bytes) -> None:
    """Refuse text in UTF-16 that does not say so: every other byte of its first words is NUL.

    Raises:
        InputError: If it looks so; the remedy states the encoding.
    """
    sample = head[:_HEAD_BYTES]
    half = len(sample) // 2
    high, low = sample[0::2].count(0), sample[1::2].count(0)
    if 0 not in sample[:2] or max(high, low) < 0.4 * half or min(high, low) > 0.1 * half:
        return
    encoding = "utf-16" if low > high else "utf-16-be"
    raise InputError(
        f"{path} looks like UTF-16 without a byte order mark.",
        remedy=f'Set encoding = "{encoding}" in lifestage.toml, or save it as UTF-8.',
    )


def _transcoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    codecs.register_error("lifestage.invalid", _stay_invalid)
    decoder = codecs.getincrementaldecoder(encoding)(errors="lifestage.invalid")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "surrogateescape")
    yield decoder.decode(b"", final=True).encode("utf-8", "surrogateescape")


def _stay_invalid(error: UnicodeError) -> tuple[str, int]:
    """Stand in with what surrogateescape writes as the byte 0xFF, which occurs in no UTF-8."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


def _incomplete(path: Path, packing: str) -> InputError:
    if packing == "none":
        return InputError(f"{path} cannot be read to its end.", remedy="Copy it again.")
    return InputError(f"{path} is not a complete {packing} file.", remedy="Pack or copy it again.")
