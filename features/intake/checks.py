"""What makes a row an order, as SQL over the raw rows of a source.

Each row comes out with its parsed values and, where it is refused, with the first reason that applies.
"""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

from collections.abc import Mapping

from features.intake.quarantine import REASONS, VALUE_CLASSES
from features.intake.zones import FIRST_DAY, LAST_DAY, MICROS_PER_DAY, Clock

MAX_AMOUNT_MICROS = 1_000_000_000 * 1_000_000
MAX_CUSTOMER_MICROS = 9_000 * MAX_AMOUNT_MICROS  # what one customer's orders may sum to: exact in 64 bits
BLANKS = " \t\r\n\v\f\u00a0"
FIRST_DAY_NUMBER = 0
LAST_DAY_NUMBER = (LAST_DAY - FIRST_DAY).days

_OFFSET = r"(?:Z| ?UTC| ?[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)"
_DATE_TIME = r"\d{4}-\d{2}-\d{2}(?:[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?" + _OFFSET + "?)?"
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"

# The decimal is exact; below the largest amount the product errs by less than a quarter, so rounding restores it.
_MICROS = "round(try_cast(amount AS DECIMAL(18, 6))::DOUBLE * 1e6)::BIGINT"

CHECKED_COLUMNS = "file, line, customer_id, ordered_at, day, amount_micros, order_id, reason, value_class"


def checked_table_sql(name: str) -> str:
    """Return the statement that creates the table of checked rows."""
    reasons = ", ".join(f"'{reason.code}'" for reason in REASONS)
    classes = ", ".join(f"'{value_class}'" for value_class in VALUE_CLASSES)
    return f"""
        CREATE TEMP TABLE {name} (file USMALLINT, line BIGINT, customer_id VARCHAR, ordered_at TIMESTAMP, day BIGINT,
            amount_micros BIGINT, order_id VARCHAR, reason ENUM ({reasons}), value_class ENUM ({classes}))"""


def checked_rows_sql(
    raw: str, types: Mapping[str, str], *, clock: Clock, date_format: str, file: int, last_day: int = LAST_DAY_NUMBER
) -> str:
    """Return the SELECT that checks the raw rows of one source. One row per raw row, in the columns of the table.

    Args:
        raw: A SELECT of line, fault, and the columns in `types`.
        types: Our column names → DuckDB type in the source.
        clock: The shop's clock.
        date_format: How text dates are written, for strptime; empty for ISO 8601.
        file: The number of the source.
        last_day: The last day number on which an order can have happened.
    """
    order_id = _text("order_id", types["order_id"]) if "order_id" in types else "NULL::VARCHAR"
    prepared = f"""
        SELECT line, fault, {_text("customer_id", types["customer_id"])} AS customer_id, {order_id} AS order_id,
            {_stamp_text(types["ordered_at"])} AS stamp, {_text("amount", types["amount"])} AS amount
        FROM ({raw})"""
    parsed = f"""
        SELECT *, {_utc(types["ordered_at"], date_format)} AS utc, {_local(types["ordered_at"], date_format)} AS local,
            amount IS NOT NULL AND regexp_full_match(amount, '{_NUMBER}') AS is_number,
            CASE WHEN is_number THEN {_MICROS} END AS micros
        FROM ({prepared})"""
    timed = f"SELECT *, coalesce(utc, local - ({clock.from_local.sql('local')})) AS us FROM ({parsed})"
    dated = f"SELECT *, (us + {clock.from_utc.sql('us')}) // {MICROS_PER_DAY} AS day FROM ({timed})"
    judged = f"SELECT *, {_reason_sql(last_day)} AS reason FROM ({dated})"
    return f"""
        SELECT {file} AS file, line, customer_id, make_timestamp(us) AS ordered_at, day, micros AS amount_micros,
            order_id, reason, {_value_class_sql()} AS value_class
        FROM ({judged})"""


def _text(column: str, kind: str) -> str:
    """Trim blanks; empty is NULL. Whole floats, such as ids that once stood beside gaps, lose their `.0`."""
    as_text = f"{column}::VARCHAR"
    if kind in {"DOUBLE", "FLOAT"} and column != "amount":
        whole = f"try_cast({column} AS BIGINT)"
        as_text = (
            f"CASE WHEN isnan({column}) THEN NULL WHEN {whole} = {column} THEN {whole}::VARCHAR ELSE {as_text} END"
        )
    return f"nullif(trim({as_text}, '{BLANKS}'), '')"


def _is_native(kind: str) -> bool:
    return kind == "DATE" or kind.startswith("TIMESTAMP")


def _is_aware(kind: str) -> bool:
    return kind.endswith("WITH TIME ZONE") or kind in {"TIMESTAMPTZ", "TIMESTAMPTZ_NS"}


def _stamp_text(kind: str) -> str:
    return "ordered_at" if _is_native(kind) else _text("ordered_at", kind)


def _utc(kind: str, date_format: str) -> str:
    """Return microseconds since the epoch of stamps that carry an offset, else NULL."""
    if _is_native(kind):
        return _micros("stamp") if _is_aware(kind) else "NULL::BIGINT"
    if date_format:
        return _micros(_strptime(date_format)) if "%z" in date_format.lower() else "NULL::BIGINT"
    compact = "replace(replace(replace(stamp, ' UTC', 'Z'), ' +', '+'), ' -', '-')"
    return f"""CASE WHEN regexp_full_match(stamp, '{_DATE_TIME.removesuffix("?)?")})')
        THEN {_micros(f"try_cast({compact} AS TIMESTAMPTZ)")} END"""


def _local(kind: str, date_format: str) -> str:
    """Return microseconds of the wall clock of stamps without an offset, else NULL."""
    if _is_native(kind):
        return "NULL::BIGINT" if _is_aware(kind) else _micros("try_cast(stamp AS TIMESTAMP)")
    if date_format:
        return "NULL::BIGINT" if "%z" in date_format.lower() else _micros(_strptime(date_format))
    return f"""CASE WHEN utc IS NULL AND regexp_full_match(stamp, '{_DATE_TIME}')
        THEN {_micros("try_cast(stamp AS TIMESTAMP)")} END"""


def _micros(stamp: str) -> str:
    """Return microseconds since the epoch; infinite stamps have none."""
    return f"CASE WHEN isfinite({stamp}) THEN epoch_us({stamp}) END"


def _strptime(date_format: str) -> str:
    literal = date_format.replace("'", "''")
    return f"try_strptime(stamp, '{literal}')"


def _reason_sql(last_day: int) -> str:
    return f"""CASE
        WHEN fault IN ('unmatched quote', 'not UTF-8') THEN 'unreadable_row'
        WHEN fault IS NOT NULL THEN 'wrong_number_of_columns'
        WHEN customer_id IS NULL THEN 'missing_customer_id'
        WHEN stamp IS NULL THEN 'missing_ordered_at'
        WHEN us IS NULL OR day NOT BETWEEN {FIRST_DAY_NUMBER} AND {LAST_DAY_NUMBER} THEN 'bad_date'
        WHEN day > {last_day} THEN 'future_date'
        WHEN amount IS NULL THEN 'missing_amount'
        WHEN NOT is_number THEN 'not_a_number'
        WHEN starts_with(amount, '-') AND micros IS DISTINCT FROM 0 THEN 'negative_amount'
        WHEN micros IS NULL OR micros > {MAX_AMOUNT_MICROS} THEN 'amount_out_of_range'
        END"""


def _value_class_sql() -> str:
    return """CASE
        WHEN reason IS NULL THEN NULL
        WHEN fault IS NOT NULL THEN fault
        WHEN starts_with(reason, 'missing_') THEN 'empty'
        WHEN reason = 'negative_amount' THEN 'negative'
        WHEN reason = 'amount_out_of_range' THEN 'huge'
        WHEN reason = 'future_date' THEN 'date'
        WHEN reason = 'bad_date' THEN
            CASE WHEN us IS NOT NULL THEN 'date' WHEN regexp_full_match(stamp::VARCHAR, '[0-9.]+') THEN 'number'
            ELSE 'text' END
        WHEN regexp_full_match(lower(amount), '[+-]?(nan|inf|infinity)') THEN 'not finite'
        WHEN regexp_full_match(amount, '[+-]?[0-9.,]*[0-9][0-9.,]*') THEN 'number with comma'
        WHEN regexp_matches(amount, '[0-9]') THEN 'number with text'
        ELSE 'text' END"""
