"""What makes a row an order, as SQL over the raw rows of a source.

Each row comes out with its parsed values and its fate: an order (or, below 0, a refund) of a customer, a guest's,
an event of another kind, or the first reason that applies for which it is refused. A row whose type says refund is one
whatever its sign; of another row that is or may be an order, the sign says it.
"""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

from collections.abc import Collection, Mapping
from datetime import date

from features.intake.quarantine import REASONS, VALUE_CLASSES
from features.intake.readers.sources import RawRows
from features.intake.rules.event_types import names_of, plain_type_sql
from features.intake.values.dates import local_sql, stamp_text_sql, utc_sql
from features.intake.values.numbers import micros_sql, plain_number_sql
from features.intake.values.texts import text_sql
from features.intake.values.zones import FIRST_DAY, LAST_DAY, MICROS_PER_DAY, Clock, load_clock
from features.snapshot import to_day

MAX_AMOUNT_MICROS = 1_000_000_000 * 1_000_000
MAX_CUSTOMER_MICROS = 9_000 * MAX_AMOUNT_MICROS  # what one customer's orders may sum to: exact in 64 bits
FIRST_DAY_NUMBER = 0
LAST_DAY_NUMBER = (LAST_DAY - FIRST_DAY).days

_TOLERATED_DAYS_AHEAD = 1  # somewhere it is tomorrow already

ACCEPTED = ("order", "guest", "other_event", "repeat")
FATES = (*ACCEPTED, *(reason.code for reason in REASONS))

_TEXTS = ("order_id", "refund_of", "channel", "category", "currency")
_MEASURES = ("quantity", "cost")
_FLOATS = {"DOUBLE"}  # not FLOAT: the shortest decimal of 32 bits is lost in 64
_EXACT = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}


def find_last_day(today: date | None) -> int:
    """Return the last day number on which something can have happened; without a today, every date passes."""
    return LAST_DAY_NUMBER if today is None else to_day(today) + _TOLERATED_DAYS_AHEAD


def checked_columns(given: Collection[str]) -> dict[str, str]:
    """Return the columns of the table of checked rows, with their DuckDB types.

    Args:
        given: Our names of the columns that any source has; the table has no more than it needs.
    """
    columns = {
        "file": "USMALLINT",
        "line": "BIGINT",
        "row_hash": "UBIGINT",
        "customer_id": "VARCHAR",
        "ordered_at": "TIMESTAMP",
        "day": "USMALLINT",
        "amount_micros": "BIGINT",
        "fate": f"ENUM ({_listed(FATES)})",
        "value_class": f"ENUM ({_listed(VALUE_CLASSES)})",
    }
    columns |= dict.fromkeys((name for name in _TEXTS if name in given), "VARCHAR")
    for name in _MEASURES:
        if name in given:
            columns |= {f"{name}_micros": "BIGINT", f"is_bad_{name}": "BOOLEAN"}
    return columns


def checked_rows_sql(raw: RawRows, columns: Collection[str], *, clock: Clock, last_day: int = LAST_DAY_NUMBER) -> str:
    """Return the SELECT that checks raw rows. One row per raw row, in the columns of the table.

    Args:
        raw: The rows of united sources; naive stamps are read in the time zone of their source.
        columns: The columns of the table, from `checked_columns`.
        clock: The shop's, whose midnights part the days.
        last_day: The last day number on which an order can have happened.
    """
    kind, date_format = raw.types["ordered_at"], raw.reading.date_format
    wall = load_clock(raw.reading.timezone)
    prepared = f"""
        SELECT file, line, fault, row_hash, {text_sql("customer_id", raw.types["customer_id"])} AS customer_id,
            {stamp_text_sql(kind)} AS stamp, {_given_numbers(raw)}, {_given_texts(raw)}
        FROM ({raw.sql})"""
    parsed = f"""
        SELECT *, {utc_sql(kind, date_format)} AS utc, {local_sql(kind, date_format)} AS local, {_parsed_numbers(raw)}
        FROM ({prepared})"""
    timed = f"SELECT *, coalesce(utc, local - ({wall.from_local.sql('local')})) AS us FROM ({parsed})"
    dated = f"SELECT *, (us + {clock.from_utc.sql('us')}) // {MICROS_PER_DAY} AS local_day FROM ({timed})"
    judged = f"SELECT *, {_fate_sql(last_day)} AS fate FROM ({dated})"
    return f"SELECT {', '.join(map(_value_sql, columns))} FROM ({judged})"


def _value_sql(column: str) -> str:
    """Return the SQL of one column of the table over judged rows."""
    values = {
        "ordered_at": "make_timestamp(us)",
        "day": "try_cast(local_day AS USMALLINT)",
        "amount_micros": "CASE WHEN is_refund THEN -abs(amount_micros) ELSE amount_micros END",
        "currency": "upper(currency)",
        "value_class": _value_class_sql(),
    }
    return f"{values.get(column, column)} AS {column}"


def _given_texts(raw: RawRows) -> str:
    """Return the SQL of the texts, and of what the type of a row in a log of all that happens says about it."""
    kinds = {name: text_sql(name, raw.types[name]) if name in raw.types else "NULL::VARCHAR" for name in _TEXTS}
    listed = ", ".join(f"{sql} AS {name}" for name, sql in kinds.items())
    if "event_type" not in raw.types:
        return f"{listed}, false AS is_refund, false AS is_other"
    plain = plain_type_sql(text_sql("event_type", raw.types["event_type"]))
    orders, refunds = names_of("purchase"), names_of("refund")
    return f"""{listed}, {plain} AS plain_type, coalesce(plain_type IN ({_listed(refunds)}), false) AS is_refund,
        coalesce(plain_type NOT IN ({_listed((*orders, *refunds))}), false) AS is_other"""


def _given_numbers(raw: RawRows) -> str:
    """Return the SQL of the numbers as they stand: native ones as they are, others as trimmed texts."""
    return ", ".join(f"{_given(name, kind, raw.types)} AS {name}" for name, kind in _numbers(raw).items())


def _given(name: str, kind: str, types: Mapping[str, str]) -> str:
    if name not in types:
        return f"NULL::{kind}"
    if not _is_number(kind):
        return text_sql(name, "VARCHAR")
    # Frames write a missing number as NaN; what is required must be there, though.
    return f"CASE WHEN NOT isnan({name}) THEN {name} END" if kind in _FLOATS and name in _MEASURES else name


def _parsed_numbers(raw: RawRows) -> str:
    """Return the SQL of the plain numbers, NULL where a value is none, and of their exact millionths."""
    return ", ".join(
        f"""{_plain(name, kind, raw.reading.number_format)} AS {name}_number,
            {_micros(f"{name}_number", kind)} AS {name}_wide,
            CASE WHEN {name}_wide BETWEEN -{MAX_AMOUNT_MICROS} AND {MAX_AMOUNT_MICROS} THEN {name}_wide END
                AS {name}_micros, {name} IS NOT NULL AND {name}_micros IS NULL AS is_bad_{name}"""
        for name, kind in _numbers(raw).items()
    )


def _numbers(raw: RawRows) -> Mapping[str, str]:
    return {name: raw.types.get(name, "DOUBLE") for name in ("amount", *_MEASURES)}


def _is_number(kind: str) -> bool:
    return kind in _FLOATS | _EXACT or kind.startswith("DECIMAL")


def _plain(name: str, kind: str, number_format: str) -> str:
    if kind in _FLOATS:
        return f"CASE WHEN isfinite({name}) THEN {name} END"
    if _is_number(kind):
        return name
    return plain_number_sql(name, number_format if kind == "VARCHAR" else "1234.50")


def _micros(number: str, kind: str) -> str:
    """Return the SQL of exact millionths, rounded half away from zero.

    A float means the shortest decimal that names it. Up to the greatest amount, that decimal's millionths differ from
    the float's by less than a quarter, so a float's that are as near to a whole number round to the same; only the
    others go by their text.
    """
    if kind not in _FLOATS:
        return micros_sql(number)
    return f"""CASE WHEN abs({number}) <= {MAX_AMOUNT_MICROS // 1_000_000}
            AND abs({number} * 1e6 - round({number} * 1e6)) < 0.25 THEN round({number} * 1e6)::BIGINT
        ELSE {micros_sql(f"{number}::VARCHAR")} END"""


def _fate_sql(last_day: int) -> str:
    return f"""CASE
        WHEN fault IN ('too few values', 'too many values') THEN 'wrong_number_of_columns'
        WHEN fault IS NOT NULL THEN 'unreadable_row'
        WHEN is_other THEN 'other_event'
        WHEN customer_id IS NULL AND stamp IS NULL AND amount IS NULL THEN 'missing_customer_id'
        WHEN stamp IS NULL THEN 'missing_ordered_at'
        WHEN us IS NULL OR local_day NOT BETWEEN {FIRST_DAY_NUMBER} AND {LAST_DAY_NUMBER} THEN 'bad_date'
        WHEN local_day > {last_day} THEN 'future_date'
        WHEN amount IS NULL THEN 'missing_amount'
        WHEN amount_number IS NULL THEN 'not_a_number'
        WHEN amount_micros IS NULL THEN 'amount_out_of_range'
        WHEN is_refund AND amount_micros = 0 THEN 'other_event'
        WHEN customer_id IS NULL THEN 'guest'
        ELSE 'order' END"""


def _value_class_sql() -> str:
    return f"""CASE
        WHEN fate IN ({_listed(ACCEPTED)}) THEN NULL
        WHEN fault IN ({_listed(VALUE_CLASSES)}) THEN fault
        WHEN fault IS NOT NULL THEN 'unreadable'
        ELSE {bad_value_class_sql("fate", "amount::VARCHAR")} END"""


def bad_value_class_sql(reason: str, number: str) -> str:
    """Return the SQL of the class of the value at fault in a row that could be read.

    Args:
        reason: The column of the reason code; `us` and `stamp` are columns beside it.
        number: The text of the number that may be at fault.
    """
    return f"""CASE
        WHEN starts_with({reason}, 'missing_') THEN 'empty'
        WHEN {reason} = 'amount_out_of_range' THEN 'huge'
        WHEN {reason} = 'future_date' THEN 'date'
        WHEN {reason} = 'bad_date' THEN
            CASE WHEN us IS NOT NULL THEN 'date' WHEN regexp_full_match(stamp::VARCHAR, '[0-9.]+') THEN 'number'
            ELSE 'text' END
        WHEN regexp_full_match(lower({number}), '[+-]?(nan|inf|infinity)') THEN 'not finite'
        WHEN regexp_full_match({number}, '[+-]?[0-9.]*[0-9][0-9.]*') THEN 'number with points'
        WHEN regexp_full_match({number}, '[+-]?[0-9.,]*[0-9][0-9.,]*') THEN 'number with comma'
        WHEN regexp_matches({number}, '[0-9]') THEN 'number with text'
        ELSE 'text' END"""


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
