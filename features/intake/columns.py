"""Which column of a source is which of ours: an explicit mapping first, else a commonly used name."""

import re
from collections.abc import Mapping, Sequence

from features.errors import MissingColumnError, SettingsError

REQUIRED = ("customer_id", "ordered_at", "amount")
OPTIONAL = ("order_id", "currency", "quantity", "cost", "channel", "category")

# Compared without case, spaces and punctuation. `price` is absent on purpose: beside a quantity it is a unit price.
COMMON_NAMES: Mapping[str, tuple[str, ...]] = {
    "customer_id": (
        *(
            "customer_id",
            "customer",
            "customer_number",
            "customer_no",
            "customer_key",
            "cust_id",
            "client_id",
            "client",
        ),
        *("user_id", "buyer_id", "member_id", "shopper_id", "account_id", "household_id", "household_key"),
    ),
    "ordered_at": (
        *("ordered_at", "order_date", "order_time", "order_datetime", "order_timestamp", "order_purchase_timestamp"),
        *("date", "datetime", "timestamp", "created_at", "invoice_date", "purchase_date", "purchased_at"),
        *("transaction_date", "transaction_time", "sale_date", "sales_date"),
    ),
    "amount": (
        *("amount", "total", "total_amount", "total_price", "order_total", "order_value", "order_amount", "revenue"),
        *("sales", "sales_value", "sales_amount", "sale_amount", "monetary", "monetary_value", "dollar_value"),
        *("payment_value", "spend", "total_spent", "transaction_amount"),
    ),
    "order_id": (
        *("order_id", "order_no", "order_number", "order", "invoice", "invoice_id", "invoice_no", "invoice_number"),
        *("transaction_id", "basket_id", "receipt_id"),
    ),
    "currency": ("currency", "currency_code", "order_currency"),
}


def resolve_columns(found: Sequence[str], mapping: Mapping[str, str], *, source: str) -> dict[str, str]:
    """Resolve our column names to those of a source.

    Args:
        found: The column names of the source, in order.
        mapping: Our name → theirs, as the user gave it.
        source: The name of the source, for messages.

    Returns:
        Our name → theirs, for the three required columns and, where there are any, `order_id` and `currency`.

    Raises:
        SettingsError: If the mapping names a column that is not ours.
        MissingColumnError: If a required column is absent, or more than one column could be it.
    """
    _refuse_unknown_keys(mapping)
    resolved = {ours: _resolve(ours, found, mapping, source=source) for ours in (*REQUIRED, "order_id", "currency")}
    missing = [ours for ours in REQUIRED if resolved[ours] is None]
    if missing:
        raise MissingColumnError(
            f"{source} has no column recognised as {' or '.join(missing)}; its columns are: {_listed(found)}.",
            remedy=_how_to_map(missing),
        )
    return {ours: theirs for ours, theirs in resolved.items() if theirs is not None}


def _refuse_unknown_keys(mapping: Mapping[str, str]) -> None:
    unknown = sorted(set(mapping) - {*REQUIRED, *OPTIONAL})
    if unknown:
        raise SettingsError(
            f"The column mapping names {unknown[0]!r}, which is not a column of ours.",
            remedy=f"Map one of {', '.join((*REQUIRED, *OPTIONAL))} to your name, as in --column amount=THEIR_NAME.",
        )


def _resolve(ours: str, found: Sequence[str], mapping: Mapping[str, str], *, source: str) -> str | None:
    mapped = mapping.get(ours)
    candidates = [name for name in found if name == mapped] if mapped else _recognised(ours, found)
    if mapped and not candidates:
        raise MissingColumnError(
            f"{source} has no column {mapped!r}, to which {ours} is mapped; its columns are: {_listed(found)}.",
            remedy=_how_to_map([ours]),
        )
    if len(candidates) > 1:
        raise MissingColumnError(
            f"{source} is ambiguous: {len(candidates)} columns could be {ours}: {_listed(candidates)}.",
            remedy=_how_to_map([ours]) if len(set(candidates)) > 1 else "Give the two columns different names.",
        )
    return candidates[0] if candidates else None


def _recognised(ours: str, found: Sequence[str]) -> list[str]:
    known = {_plain(name) for name in COMMON_NAMES[ours]}
    return [name for name in found if _plain(name) in known]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _how_to_map(columns: Sequence[str]) -> str:
    flags = " ".join(f"--column {ours}=THEIR_NAME" for ours in columns)
    entries = ", ".join(f'{ours} = "THEIR_NAME"' for ours in columns)
    return f"Say which column it is: {flags}, or in lifestage.toml under [orders]: columns = {{ {entries} }}."
