"""Which column is which: by mapping, by common name, and never by a guess."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import MissingColumnError, SettingsError
from features.intake.readers.columns import EVENT_COLUMNS, ORDER_COLUMNS, ColumnNames, resolve_columns

KINDS = pytest.mark.parametrize("names", [ORDER_COLUMNS, EVENT_COLUMNS], ids=["orders", "events"])


def resolved(
    found: list[str], mapping: dict[str, str] | None = None, names: ColumnNames = ORDER_COLUMNS
) -> Mapping[str, str]:
    """Resolve columns of a source named f; our name → theirs."""
    return resolve_columns(found, mapping or {}, names=names, source="f").theirs


@pytest.mark.parametrize(
    ("found", "theirs"),
    [
        (["CustomerID", "Invoice Date", "Revenue"], ["CustomerID", "Invoice Date", "Revenue"]),
        (["USER_ID", "date", "dollar_value", "price"], ["USER_ID", "date", "dollar_value"]),
        (["customer_id", "timestamp", "amount", "unit_price"], ["customer_id", "timestamp", "amount"]),
        (["user_id", "date", "total", "Order No.", "currency"], ["user_id", "date", "total", "Order No.", "currency"]),
    ],
)
def test_common_names(found: list[str], theirs: list[str]) -> None:
    """Common names are recognised without regard to case, spaces and punctuation."""
    assert list(resolve_columns(found, {}, names=ORDER_COLUMNS, source="f").theirs.values()) == theirs


def test_optional_columns() -> None:
    """A line-item export gives quantity, cost, channel, category and what a refund refunds."""
    found = ["Customer ID", "Created at", "Total", "Lineitem quantity", "COGS", "Sales channel", "Product type"]
    assert resolved([*found, "Original order ID", "Event name", "Unit cost", "Shipping cost"]) == {
        "customer_id": "Customer ID",
        "ordered_at": "Created at",
        "amount": "Total",
        "quantity": "Lineitem quantity",
        "cost": "COGS",
        "channel": "Sales channel",
        "category": "Product type",
        "event_type": "Event name",
        "refund_of": "Original order ID",
    }


@pytest.mark.parametrize(
    ("found", "theirs"),
    [
        (
            ["id", "anonymous_id", "event", "event_text", "user_id", "sent_at", "received_at", "timestamp"],
            {"occurred_at": "timestamp", "event_type": "event", "customer_id": "user_id", "visitor_id": "anonymous_id"},
        ),
        (
            ["event_timestamp", "event_name", "user_pseudo_id", "event_value_in_usd", "event_params"],
            {
                "occurred_at": "event_timestamp",
                "event_type": "event_name",
                "visitor_id": "user_pseudo_id",
                "value": "event_value_in_usd",
                "properties": "event_params",
            },
        ),
        (
            ["Profile ID", "Metric name", "Datetime", "Value"],
            {"occurred_at": "Datetime", "event_type": "Metric name", "customer_id": "Profile ID", "value": "Value"},
        ),
    ],
    ids=["segment", "ga4", "klaviyo"],
)
def test_event_exports(found: list[str], theirs: dict[str, str]) -> None:
    """The exports of common event tools are read without a mapping."""
    assert resolved(found, names=EVENT_COLUMNS) == theirs


def test_mapping_wins() -> None:
    """An explicit mapping decides between candidates, and the column it takes is nothing else."""
    assert resolved(["client", "date", "total", "sales"], {"amount": "sales"}) == {
        "customer_id": "client",
        "ordered_at": "date",
        "amount": "sales",
    }
    found = ["client", "date", "total", "channel"]
    assert "channel" not in resolved(found, {"category": "channel"})


@pytest.mark.parametrize(
    ("found", "mapping", "message"),
    [
        (
            ["client", "date", "total", "sales"],
            {},
            r"2 columns could be amount: total, sales\. .*--column amount=THEIR",
        ),
        (
            ["client", "date", "x"],
            {},
            r"recognised as amount; its columns are: client, date, x\. .*amount = \"THEIR_NAME\"",
        ),
        (["client", "date", "x"], {"amount": "X"}, r"no column 'X', to which amount is mapped.*--column amount="),
        (["client", "date", "total"], {"cost": "X"}, r"no column 'X', to which cost is mapped.*--column cost="),
        (["client", "date", "total", "total"], {}, "2 columns could be amount.*different names"),
        (["client", "date", "total", "order", "invoice"], {}, "2 columns could be order_id: order, invoice"),
        (["client", "date", "total", "event", "event_name"], {}, "2 columns could be event_type: event, event_name"),
        (["client", "date", "total", "x", "x"], {"channel": "x"}, "2 columns could be channel.*different names"),
    ],
)
def test_missing_columns(found: list[str], mapping: dict[str, str], message: str) -> None:
    """An absent or ambiguous column that decides is refused, with the columns found and how to map them."""
    with pytest.raises(MissingColumnError, match=message):
        resolved(found, mapping)


def test_undecided_option() -> None:
    """Where several columns could be an optional one, none is read, and a note says which."""
    found = ["client", "date", "total", "category", "department", "qty"]
    columns = resolve_columns(found, {}, names=ORDER_COLUMNS, source="f")
    assert "category" not in columns.theirs
    assert columns.theirs["quantity"] == "qty"
    assert columns.notes == ("category is not read, for 2 columns could be it: category, department",)


def test_someone_did_it() -> None:
    """Events need a customer or a visitor, and are mapped under their own section."""
    with pytest.raises(MissingColumnError, match=r"customer_id or visitor_id; .*under \[events\]") as refused:
        resolved(["date", "event", "client_id"], names=EVENT_COLUMNS)
    assert "--column" not in str(refused.value)
    assert resolved(["date", "event", "client_id"], {"visitor_id": "client_id"}, EVENT_COLUMNS) == {
        "occurred_at": "date",
        "event_type": "event",
        "visitor_id": "client_id",
    }


@KINDS
def test_unknown_key(names: ColumnNames) -> None:
    """A mapping of a column that is not ours is refused; our names are case-sensitive."""
    with pytest.raises(SettingsError, match=r"'Amount'.*customer_id"):
        resolved(["a"], {"Amount": "a"}, names)


@KINDS
def test_one_meaning(names: ColumnNames) -> None:
    """Our own names are recognised, and no common name stands for two columns."""
    plain = [name.replace("_", "") for common in names.common.values() for name in common]
    assert len(set(plain)) == len(plain)
    ours = [*names.required, *names.optional]
    assert resolved(ours, names=names) == dict(zip(ours, ours, strict=True))


@KINDS
@settings(max_examples=200)
@given(data=st.data())
def test_sequence_is_nothing(names: ColumnNames, data: st.DataObject) -> None:
    """The sequence of a file's columns does not change what they are."""
    pool = [*names.required, *names.optional, "qty", "cogs", "department", "score", "x", "y"]
    found = [*names.required, *names.one_of, *data.draw(st.lists(st.sampled_from(pool[2:]), unique=True, max_size=8))]
    found = list(dict.fromkeys(found))
    assert resolved(data.draw(st.permutations(found)), names=names) == resolved(found, names=names)
