"""One currency for all amounts: the one they are in, or the shop's, at the rate of the day."""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

import re
from collections.abc import Collection, Sequence

import duckdb

from features.errors import InputError
from features.intake.rules.checks import MAX_AMOUNT_MICROS
from features.intake.values.rates import load_rates, with_rates_sql
from features.intake.values.texts import literal_sql
from features.settings import OrdersSettings

_SHOWN_CURRENCIES = 5
_CURRENCY_CODE = re.compile("[A-Z]{3}")


def settle_currencies(
    checked: str,
    columns: Collection[str],
    settings: OrdersSettings,
    connection: duckdb.DuckDBPyConnection,
    *,
    silent: Sequence[int],
    name: str,
) -> None:
    """Bring the checked rows to one currency.

    An empty currency is that of the others of its source, where they are in one.

    Args:
        checked: The table of checked rows; it is replaced where amounts are converted.
        columns: Its columns.
        settings: The shop's currency and rates.
        connection: Where the tables are.
        silent: Numbers of the sources that have no column of currencies; their amounts are in the shop's.
        name: A name that nothing else on this connection has.

    Raises:
        InputError: If amounts are in several currencies, or not in the shop's, and there are no rates.
    """
    codes = _list_codes(checked, connection) if "currency" in columns else []
    if not codes or codes == [settings.currency.upper()]:
        return
    if silent and not settings.currency:
        raise InputError(
            f"Some sources say the currency of their orders ({_shown(codes)}), and others do not.",
            remedy="Set orders.currency: that of the sources that do not say.",
        )
    if settings.rates:
        _convert(checked, columns, codes, settings, connection, silent=silent, name=name)
    elif len(codes) > 1:
        raise InputError(
            f"The orders are in more than one currency ({_shown(codes)}); such amounts do not add up.",
            remedy="Give dated rates as orders.rates with the shop's orders.currency, or the orders of one currency.",
        )
    elif settings.currency:
        raise InputError(
            f"The orders are in {_shown(codes)}, but orders.currency is {settings.currency}.",
            remedy="Correct orders.currency, or give dated rates as orders.rates.",
        )


def _list_codes(checked: str, connection: duckdb.DuckDBPyConnection) -> list[str]:
    codes = connection.execute(f"""
        SELECT DISTINCT currency FROM {checked} WHERE fate IN ('order', 'guest') AND currency IS NOT NULL
        ORDER BY 1 LIMIT {_SHOWN_CURRENCIES + 1}""").fetchall()
    return [str(code) for (code,) in codes]


def _shown(codes: Sequence[str]) -> str:
    """List the codes that look like codes; a value of another kind is not shown."""
    shown = [code for code in codes[:_SHOWN_CURRENCIES] if _CURRENCY_CODE.fullmatch(code)]
    return ", ".join(shown if len(shown) == len(codes) else [*shown, "…"])


def _convert(
    checked: str,
    columns: Collection[str],
    codes: Sequence[str],
    settings: OrdersSettings,
    connection: duckdb.DuckDBPyConnection,
    *,
    silent: Sequence[int],
    name: str,
) -> None:
    if silent:
        connection.execute(
            f"UPDATE {checked} SET currency = ? WHERE list_contains(?, file)",
            [settings.currency.upper(), list(silent)],
        )
    rates = load_rates(settings.rates, connection, currency=settings.currency, name=f"{name}_rates")
    only = codes[0] if len(codes) == 1 else None
    connection.execute(f"CREATE TEMP TABLE {name}_converted AS FROM {checked} LIMIT 0")
    connection.execute(f"INSERT INTO {name}_converted {_converted_sql(checked, columns, rates, only=only)}")
    connection.execute(f"DROP TABLE {checked}")
    connection.execute(f"ALTER TABLE {name}_converted RENAME TO {checked}")


def _converted_sql(checked: str, columns: Collection[str], rates: str, *, only: str | None) -> str:
    """Return the SELECT of the converted rows, in their columns; `only` is what an empty currency is."""
    code = "currency" if only is None else f"coalesce(currency, {literal_sql(only)})"
    rows = _at_rates_sql(f"SELECT * REPLACE ({code} AS currency) FROM {checked}", "amount_micros", rates)
    if "cost_micros" in columns:
        rows = _at_rates_sql(rows, "cost_micros", rates)
    return f"""
        SELECT * EXCLUDE (fault) REPLACE (
            CASE WHEN fault = '' THEN fate::VARCHAR ELSE fault END AS fate,
            CASE fault WHEN '' THEN value_class::VARCHAR WHEN 'missing_currency' THEN 'empty'
                WHEN 'missing_rate' THEN 'currency code' ELSE 'huge' END AS value_class)
        FROM (
            SELECT *, CASE WHEN fate NOT IN ('order', 'guest') THEN '' WHEN currency IS NULL THEN 'missing_currency'
                WHEN amount_micros IS NULL THEN 'missing_rate'
                WHEN abs(amount_micros) > {MAX_AMOUNT_MICROS} THEN 'amount_out_of_range' ELSE '' END AS fault
            FROM ({rows}))"""


def _at_rates_sql(rows: str, column: str, rates: str) -> str:
    converted = with_rates_sql(f"SELECT *, {column} AS micros FROM ({rows})", rates)
    return f"SELECT * EXCLUDE (micros, converted_micros) REPLACE (converted_micros AS {column}) FROM ({converted})"
