"""How stamps are written, as SQL: ISO 8601, a strptime format, or the day and second counts of other programs."""

import duckdb

from features.errors import SettingsError
from features.intake.values.texts import text_sql

COUNTED = ("excel", "unix", "unix_ms")

_OFFSET = r"(?:Z| ?UTC| ?[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)"
_DATE_TIME = r"\d{4}-\d{2}-\d{2}(?:[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?" + _OFFSET + "?)?"
_BASIC_DATE = r"\d{8}"
_EXCEL_EPOCH_DAY = 25_569  # 1970-01-01, counted as Excel does


def stamp_text_sql(kind: str, *, column: str = "ordered_at") -> str:
    """Return the SQL of a stamp as the expressions below read it, from a column named `stamp`."""
    return column if _is_native(kind) else text_sql(column, kind)


def utc_sql(kind: str, date_format: str) -> str:
    """Return the SQL of microseconds since the epoch of stamps that carry an offset or count from UTC, else NULL."""
    if _is_native(kind):
        return _micros("stamp") if _is_aware(kind) else "NULL::BIGINT"
    if date_format in {"unix", "unix_ms"}:
        return _since_epoch(1_000_000 if date_format == "unix" else 1_000)
    if date_format:
        return _micros(_strptime(date_format)) if _has_offset(date_format) else "NULL::BIGINT"
    compact = "replace(replace(replace(stamp, ' UTC', 'Z'), ' +', '+'), ' -', '-')"
    return f"""CASE WHEN regexp_full_match(stamp, '{_DATE_TIME.removesuffix("?)?")})')
        THEN {_micros(f"try_cast({compact} AS TIMESTAMPTZ)")} END"""


def local_sql(kind: str, date_format: str) -> str:
    """Return the SQL of microseconds of the wall clock of stamps without an offset, else NULL; `utc` stands beside."""
    if _is_native(kind):
        return "NULL::BIGINT" if _is_aware(kind) else _micros("try_cast(stamp AS TIMESTAMP)")
    if date_format == "excel":
        return _since_excel_epoch()
    if date_format:
        is_aware = _has_offset(date_format) or date_format in COUNTED
        return "NULL::BIGINT" if is_aware else _micros(_strptime(date_format))
    return f"""CASE WHEN utc IS NULL AND regexp_full_match(stamp, '{_DATE_TIME}')
        THEN {_micros("try_cast(stamp AS TIMESTAMP)")}
        WHEN regexp_full_match(stamp, '{_BASIC_DATE}') THEN {_micros(_strptime("%Y%m%d"))} END"""


def refuse_bad_date_format(date_format: str, connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse a date format that no date can be read with.

    Raises:
        SettingsError: If it is neither empty, one of `COUNTED`, nor a strptime format.
    """
    if not date_format or date_format in COUNTED:
        return
    try:
        connection.execute("SELECT strftime(TIMESTAMP '2024-03-31', ?)", [date_format]).fetchall()
        is_format = "%" in date_format
    except duckdb.Error:
        is_format = False
    if not is_format:
        raise SettingsError(
            f"Setting date_format is {date_format!r}, which is not a strptime format.",
            remedy=f"Write it with codes such as %d/%m/%Y or %Y%m%d %H:%M, or as one of {', '.join(COUNTED)}.",
        )


def _is_native(kind: str) -> bool:
    return kind == "DATE" or kind.startswith("TIMESTAMP")


def _is_aware(kind: str) -> bool:
    return kind.endswith("WITH TIME ZONE") or kind in {"TIMESTAMPTZ", "TIMESTAMPTZ_NS"}


def _has_offset(date_format: str) -> bool:
    return "%z" in date_format.lower()


def _micros(stamp: str) -> str:
    """Return microseconds since the epoch; infinite stamps have none."""
    return f"CASE WHEN isfinite({stamp}) THEN epoch_us({stamp}) END"


def _strptime(date_format: str) -> str:
    literal = date_format.replace("'", "''")
    return f"try_strptime(stamp, '{literal}')"


def _since_epoch(micros_per_unit: int) -> str:
    """Return the exact microseconds of a count; at most what stays within 64 bits is read."""
    n_digits = 19 - len(str(micros_per_unit))
    return rf"""CASE WHEN regexp_full_match(stamp, '-?\d{{1,{n_digits}}}(?:\.\d{{1,9}})?')
        THEN round(try_cast(stamp AS DECIMAL(28, 9)) * {micros_per_unit})::BIGINT END"""


def _since_excel_epoch() -> str:
    """Return the microseconds of a count of days. Its fractions are floats: exact to a millisecond, like Excel's."""
    return rf"""CASE WHEN regexp_full_match(stamp, '\d{{1,7}}(?:\.\d{{1,20}})?')
        THEN round((try_cast(stamp AS DOUBLE) - {_EXCEL_EPOCH_DAY}) * 86400000)::BIGINT * 1000 END"""
