"""Which column of a source is which of ours: an explicit mapping first, else a commonly used name."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from features.errors import MissingColumnError, SettingsError


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """The columns that one kind of source can have.

    Attributes:
        required: Columns without which nothing can be read.
        optional: Columns that are read where they are.
        common: Our name → names under which it is known, compared without case, spaces and punctuation.
        section: Where in lifestage.toml they are mapped; empty where they cannot be.
        decisive: Optional columns that change what a row means: more than one candidate is an error, not a note.
        one_of: Optional columns of which at least one must be there.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    common: Mapping[str, tuple[str, ...]]
    section: str = "orders"
    decisive: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResolvedColumns:
    """Our column names → those of one source, and what people should know about the choice."""

    theirs: Mapping[str, str]
    notes: tuple[str, ...] = ()


_CUSTOMER = (
    *("customer_id", "customer", "customer_number", "customer_no", "customer_key", "cust_id"),
    *("user_id", "buyer_id", "member_id", "shopper_id", "account_id", "household_id", "household_key"),
)
_TIME = ("date", "datetime", "timestamp", "created_at")
_CHANNEL = (
    *("channel", "sales_channel", "order_channel", "marketing_channel", "channel_name", "source_name"),
    *("channel_group", "channel_grouping", "default_channel_group", "session_default_channel_group"),
)
_EVENT_TYPE = ("event_type", "event", "event_name")

# Absent on purpose: `price` and `unit_cost`, which are those of one unit beside a quantity.
ORDER_COLUMNS = ColumnNames(
    required=("customer_id", "ordered_at", "amount"),
    optional=("order_id", "currency", "quantity", "cost", "channel", "category", "event_type", "refund_of"),
    decisive=("order_id", "currency", "event_type", "refund_of"),
    common={
        "customer_id": (*_CUSTOMER, "client_id", "client"),
        "ordered_at": (
            *(*_TIME, "ordered_at", "order_date", "order_time", "order_datetime", "order_timestamp"),
            *("order_purchase_timestamp", "invoice_date", "purchase_date", "purchased_at", "event_time"),
            *("transaction_date", "transaction_time", "sale_date", "sales_date"),
        ),
        "amount": (
            *("amount", "total", "total_amount", "total_price", "order_total", "order_value", "order_amount"),
            *("revenue", "sales", "sales_value", "sales_amount", "sale_amount", "monetary", "monetary_value"),
            *("dollar_value", "payment_value", "spend", "total_spent", "transaction_amount"),
        ),
        "order_id": (
            *("order_id", "order_no", "order_number", "order", "invoice", "invoice_id", "invoice_no"),
            *("invoice_number", "transaction_id", "basket_id", "receipt_id"),
        ),
        "currency": ("currency", "currency_code", "order_currency"),
        "quantity": (
            *("quantity", "qty", "units", "n_units", "units_sold", "unit_count", "items_sold", "item_quantity"),
            *("lineitem_quantity", "quantity_ordered", "qty_ordered", "order_quantity", "number_of_items", "n_items"),
        ),
        "cost": (
            *("cost", "cogs", "cost_of_goods", "cost_of_goods_sold", "total_cost", "cost_total", "order_cost"),
            "cost_amount",
        ),
        "channel": _CHANNEL,
        "category": (
            *("category", "category_name", "category_code", "product_category", "product_category_name"),
            *("item_category", "product_type", "product_group", "product_line", "department", "department_name"),
        ),
        "event_type": _EVENT_TYPE,
        "refund_of": (
            *("refund_of", "refunded_order_id", "refunded_order", "refund_order_id", "original_order_id"),
            *("original_order", "original_order_no", "original_order_number", "return_of", "returned_order_id"),
        ),
    },
)

# Absent on purpose: `client_id`, which is a customer to one tool and a browser to another.
EVENT_COLUMNS = ColumnNames(
    required=("occurred_at", "event_type"),
    optional=("customer_id", "visitor_id", "value", "channel", "properties"),
    section="events",
    decisive=("customer_id", "visitor_id"),
    one_of=("customer_id", "visitor_id"),
    common={
        "occurred_at": (
            *(*_TIME, "occurred_at", "event_time", "event_timestamp", "event_at", "event_date", "event_datetime"),
            *("happened_at", "event_occurred_at"),
        ),
        "event_type": (*_EVENT_TYPE, "metric_name", "activity_type", "interaction_type"),
        "customer_id": (*_CUSTOMER, "profile_id", "contact_id", "subscriber_id"),
        "visitor_id": (
            *("visitor_id", "visitor", "anonymous_id", "anonymous_user_id", "cookie_id", "cookie", "device_id"),
            *("user_pseudo_id", "full_visitor_id", "browser_id", "domain_user_id"),
        ),
        "value": ("value", "event_value", "event_value_in_usd", "amount", "revenue", "score", "rating"),
        "channel": _CHANNEL,
        "properties": ("properties", "event_properties", "attributes", "event_params", "payload", "event_data"),
    },
)


def resolve_columns(
    found: Sequence[str], mapping: Mapping[str, str], *, names: ColumnNames, source: str
) -> ResolvedColumns:
    """Resolve our column names to those of a source.

    Args:
        found: The column names of the source, in order.
        mapping: Our name → theirs, as the user gave it.
        names: The columns that a source of this kind can have.
        source: The name of the source, for messages.

    Returns:
        Our name → theirs for each column that is there, with a note for each that could not be told.

    Raises:
        SettingsError: If the mapping names a column that is not ours.
        MissingColumnError: If a required or mapped column is absent, or more than one could be a column that decides.
    """
    _refuse_unknown_keys(mapping, names)
    candidates = {
        ours: _candidates(ours, found, mapping, names, source=source) for ours in (*names.required, *names.optional)
    }
    _refuse_missing(candidates, found, names, source=source)
    notes = []
    for ours, several in candidates.items():
        if len(several) > 1 and (ours in mapping or ours in (*names.required, *names.decisive)):
            raise MissingColumnError(
                f"{source} is ambiguous: {len(several)} columns could be {ours}: {_listed(several)}.",
                remedy=_how_to_map([ours], names) if len(set(several)) > 1 else "Give the two columns different names.",
            )
        if len(several) > 1:
            notes.append(f"{ours} is not read, for {len(several)} columns could be it: {_listed(several)}")
    theirs = {ours: several[0] for ours, several in candidates.items() if len(several) == 1}
    return ResolvedColumns(theirs, tuple(notes))


def _refuse_unknown_keys(mapping: Mapping[str, str], names: ColumnNames) -> None:
    ours = (*names.required, *names.optional)
    unknown = sorted(set(mapping) - set(ours))
    if unknown:
        raise SettingsError(
            f"The column mapping names {unknown[0]!r}, which is not a column of ours.",
            remedy=f"Map one of {', '.join(ours)} to your name{_flag_example(names)}.",
        )


def _candidates(
    ours: str, found: Sequence[str], mapping: Mapping[str, str], names: ColumnNames, *, source: str
) -> list[str]:
    mapped = mapping.get(ours)
    if not mapped:
        return _recognised(names.common[ours], found, taken=mapping.values())
    candidates = [name for name in found if name == mapped]
    if not candidates:
        raise MissingColumnError(
            f"{source} has no column {mapped!r}, to which {ours} is mapped; its columns are: {_listed(found)}.",
            remedy=_how_to_map([ours], names),
        )
    return candidates


def _recognised(common: Sequence[str], found: Sequence[str], *, taken: Collection[str]) -> list[str]:
    known = {_plain(name) for name in common}
    return [name for name in found if _plain(name) in known and name not in taken]


def _refuse_missing(
    candidates: Mapping[str, Sequence[str]], found: Sequence[str], names: ColumnNames, *, source: str
) -> None:
    missing = [ours for ours in names.required if not candidates[ours]]
    if names.one_of and not any(candidates[ours] for ours in names.one_of):
        missing.extend(names.one_of)
    if missing:
        raise MissingColumnError(
            f"{source} has no column recognised as {' or '.join(missing)}; its columns are: {_listed(found)}.",
            remedy=_how_to_map(missing, names),
        )


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _flag_example(names: ColumnNames) -> str:
    return ", as in --column amount=THEIR_NAME" if names.section == "orders" else ""


def _how_to_map(columns: Sequence[str], names: ColumnNames) -> str:
    if not names.section:
        return f"Name the columns {_listed(names.required)}."
    flags = " ".join(f"--column {ours}=THEIR_NAME" for ours in columns)
    where = f"{flags}, or in lifestage.toml" if names.section == "orders" else "in lifestage.toml"
    entries = ", ".join(f'{ours} = "THEIR_NAME"' for ours in columns)
    return f"Say which column it is: {where} under [{names.section}]: columns = {{ {entries} }}."
