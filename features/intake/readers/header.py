"""The header of a delimited file: which line it is, what separates its values, and how its columns are named."""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from features.errors import EmptySourceError, InputError, SettingsError

BLANK_RUNS = " "  # as a separator: any run of blanks and tabs

_SEPARATORS: Mapping[str, str] = {
    ",": "commas",
    ";": "semicolons",
    "\t": "tabs",
    "|": "vertical bars",
    "^": "carets",
    "~": "tildes",
    BLANK_RUNS: "blanks",
}
_FOUND_BY_NAMES = tuple(separator for separator in _SEPARATORS if separator != BLANK_RUNS)
_BLANKS = " \t\r\n"
_SEPARATOR_LINE = re.compile(r"sep=(.)", re.IGNORECASE)  # Excel's first line
_VALUE = re.compile(r"[^\w.,-]{0,3}[+-]?[\d.,]*\d|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b.*|.*@.*")
_MARKUP = {"{": "JSON", "[": "JSON", "<": "HTML or XML"}


@dataclass(frozen=True, slots=True)
class Header:
    """What the header says.

    Attributes:
        line: The number of its line, from 1; 0 where there is none, and columns are named by their position.
        columns: The names of the columns.
        separator: What separates values; `BLANK_RUNS` for runs of blanks.
    """

    line: int
    columns: tuple[str, ...]
    separator: str

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what was found out, for people."""
        names = () if self.line else ("there is no header line: columns are named by their position",)
        if self.separator in {",", "\t"}:
            return names
        return (f"values are separated by {_SEPARATORS.get(self.separator, self.separator)}", *names)


def read_header(lines: Iterable[str], *, delimiter: str, mapping: Mapping[str, str], path: Path) -> Header:
    """Read the header, which is the first line that is not blank.

    Args:
        lines: The lines of the file.
        delimiter: What separates values; empty to find out.
        mapping: Our column name → theirs. Where all of theirs are positions, the file has no header.
        path: The name of the file, for messages.

    Raises:
        EmptySourceError: If all lines are blank.
        SettingsError: If the delimiter is none.
        InputError: If the line cannot be read, or holds values.
    """
    _refuse_bad_delimiter(delimiter)
    filled = ((number, line.strip("\r\n")) for number, line in enumerate(lines, start=1) if line.strip(_BLANKS))
    number, text = next(filled, (0, ""))
    if stated := _SEPARATOR_LINE.fullmatch(text):
        delimiter = delimiter or stated[1]
        number, text = next(filled, (0, ""))
    if not number:
        raise EmptySourceError(f"{path} is empty.", remedy="Give a file with a header line and one row per line.")
    _refuse_markup(text, path)
    names, separator = _split(text, delimiter, path)
    if mapping and all(theirs.isdecimal() for theirs in mapping.values()):
        return Header(number - 1, tuple(str(index) for index in range(1, len(names) + 1)), separator)
    _refuse_values(names, path)
    return Header(number, names, separator)


def _refuse_bad_delimiter(delimiter: str) -> None:
    if len(delimiter) > 1 or delimiter.isalnum() or delimiter in {'"', "\r", "\n", "\0"}:
        raise SettingsError(
            f"Setting delimiter is {delimiter!r}, which cannot stand between values.",
            remedy='Give one sign, such as "," or ";" or "\\t"; " " stands for any run of blanks.',
        )


def _refuse_markup(text: str, path: Path) -> None:
    if kind := _MARKUP.get(text.strip()[:1]):
        raise InputError(
            f"{path} is {kind}, not a table.", remedy="Export it as CSV with a header line, or as Parquet."
        )


def _split(text: str, delimiter: str, path: Path) -> tuple[tuple[str, ...], str]:
    """Take the separator that splits the line into most names; blanks only where no other splits it."""
    names, separator = max(
        ((_names(text, separator), separator) for separator in delimiter or _FOUND_BY_NAMES),
        key=lambda split: len(split[0]),
    )
    if len(names) < 2 and not delimiter:
        names, separator = max((names, separator), (_names(text, BLANK_RUNS), BLANK_RUNS), key=lambda s: len(s[0]))
    if names:
        return names, separator
    raise InputError(
        f"The header line of {path} cannot be read.",
        remedy="Write the column names as UTF-8 text on one line, with every quote closed.",
    )


def _names(text: str, separator: str) -> tuple[str, ...]:
    """Split a line into names; none, where its quotes do not match."""
    if separator == BLANK_RUNS:
        text = re.sub(r"[ \t]+", BLANK_RUNS, text.strip(_BLANKS))
    try:
        return tuple(name.strip() for name in next(csv.reader([text], delimiter=separator, strict=True)))
    except csv.Error:
        return ()


def _refuse_values(names: Iterable[str], path: Path) -> None:
    if any(_VALUE.fullmatch(name) for name in names):
        raise InputError(
            f"The first line of {path} holds values, not column names.",
            remedy="Add a header line, such as customer_id,ordered_at,amount; or name the columns by their position,"
            " as in --column customer_id=1 --column ordered_at=2 --column amount=3.",
        )
