"""How amounts are written, as SQL: any format that is stated becomes a plain decimal, and a decimal exact micros."""

# ruff: noqa: S608 - statements are composed of our own SQL

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import duckdb

from features.intake.values.texts import text_sql

_EXPONENT = r"(?:[eE][+-]?\d+)?"
_SPACES = " \u00a0\u202f\u2009"
_APOSTROPHES = "'\u2019"


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """One way of writing numbers.

    Attributes:
        decimal: The mark before the decimals.
        groups: The marks that may stand between groups of three digits; empty where none may.
    """

    decimal: str
    groups: str = ""

    @property
    def pattern(self) -> str:
        """Return the regular expression of a number, in an SQL literal. A group that begins with 0 is none."""
        grouped = rf"|[1-9]\d{{0,2}}(?:[{_escaped(self.groups)}]\d{{3}})+" if self.groups else ""
        whole = rf"(?:\d+{grouped})"
        if not self.decimal:
            return rf"'[+-]?{whole}{_EXPONENT}'"
        return rf"'[+-]?(?:{whole}(?:[{self.decimal}]\d*)?|[{self.decimal}]\d+){_EXPONENT}'"

    def plain_sql(self, column: str) -> str:
        """Return the SQL that writes a number of this format with a decimal point and without groups."""
        marks, point = (f",{self.groups}", ".") if self.decimal == "," else (self.groups, "")
        return f"translate({column}, '{_escaped(marks)}', '{point}')" if marks else column


_MICRO = Decimal("0.000001")
_MAX_PLAIN = 1e9
AMBIGUOUS = "1234"  # whole numbers only: a point may part thousands or decimals, and nothing says which

# Keyed by how 1234.50 is written.
NUMBER_FORMATS: Mapping[str, NumberFormat] = {
    "1234.50": NumberFormat("."),
    "1,234.50": NumberFormat(".", ","),
    "1234,50": NumberFormat(","),
    "1.234,50": NumberFormat(",", "."),
    "1 234,50": NumberFormat(",", _SPACES),
    "1'234.50": NumberFormat(".", _APOSTROPHES),
    AMBIGUOUS: NumberFormat(""),
}
_THOUSANDS = r"'[+-]?[1-9]\d{0,2}(?:\.\d{3})+'"

_WITH_POINT = NumberFormat(".", "," + _SPACES + _APOSTROPHES)
_WITH_COMMA = NumberFormat(",", "." + _SPACES + _APOSTROPHES)


def find_number_format(texts_sql: str, connection: duckdb.DuckDBPyConnection, *, may_hold_commas: bool = True) -> str:
    """Find out whether numbers have a decimal comma: some can have nothing else, and none must have a decimal point.

    Groups of digits are never guessed, for 1,234 and 1.234 would change their value.

    Args:
        texts_sql: A SELECT of one VARCHAR column.
        connection: Where to run it.
        may_hold_commas: Whether a text can hold a comma at all.

    Returns:
        A key of `NUMBER_FORMATS`: "1234,50" or "1234.50"; `AMBIGUOUS` where every point could part thousands.
    """
    if (
        may_hold_commas
        and _holds_any(texts_sql, _WITH_COMMA, _WITH_POINT, connection)
        and not _holds_any(texts_sql, _WITH_POINT, _WITH_COMMA, connection)
    ):
        return "1234,50"
    is_decimal = f"contains(text, '.') AND NOT regexp_full_match(text, {_THOUSANDS})"
    could_be_thousands = f"regexp_full_match(text, {_THOUSANDS})"
    if _holds(texts_sql, is_decimal, connection) or not _holds(texts_sql, could_be_thousands, connection):
        return "1234.50"
    return AMBIGUOUS


def plain_number_sql(column: str, number_format: str) -> str:
    """Return the SQL of the plain decimal, such as '1234.50' or '-3e2', that a trimmed text says; NULL if none."""
    form = NUMBER_FORMATS[number_format]
    return f"CASE WHEN regexp_full_match({column}, {form.pattern}) THEN {form.plain_sql(column)} END"


def micros_sql(plain: str) -> str:
    """Return the SQL of the exact millionths of a plain decimal; NULL beyond the range of DECIMAL(18, 6).

    The decimal is exact; below the largest amount the product errs by less than a quarter, so rounding restores it.
    """
    return f"round(try_cast({plain} AS DECIMAL(18, 6))::DOUBLE * 1e6)::BIGINT"


def nearest_micros(value: Decimal | float, *, limit: int) -> int | None:
    """Round half away from zero to millionths; a float counts as the shortest decimal that names it.

    Returns:
        The millionths; something beyond the limit for what is, and None for what is no finite number.
    """
    if isinstance(value, float) and abs(value) < _MAX_PLAIN:
        millionths = round(value * 1e6)
        if millionths / 1e6 == value:  # of at most 15 digits, so no shorter decimal names this float
            return millionths
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not exact.is_finite():
        return None
    beyond = Decimal(limit) * _MICRO + 1
    return int(min(max(exact, -beyond), beyond).quantize(_MICRO, rounding=ROUND_HALF_UP).scaleb(6))


def _holds_any(
    texts_sql: str, written: NumberFormat, not_written: NumberFormat, connection: duckdb.DuckDBPyConnection
) -> bool:
    """Return whether any text has the decimal mark of one format and can be read in it, but not in the other."""
    condition = f"""contains(text, '{written.decimal}')
        AND regexp_full_match(text, {written.pattern}) AND NOT regexp_full_match(text, {not_written.pattern})"""
    return _holds(texts_sql, condition, connection)


def _holds(texts_sql: str, condition: str, connection: duckdb.DuckDBPyConnection) -> bool:
    trimmed = f"SELECT {text_sql('text', 'VARCHAR')} AS text FROM ({texts_sql}) AS source(text)"
    return bool(connection.execute(f"SELECT 1 FROM ({trimmed}) WHERE {condition} LIMIT 1").fetchall())


def _escaped(text: str) -> str:
    return text.replace("'", "''")
