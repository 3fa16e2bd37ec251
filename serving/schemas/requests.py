"""What callers ask: customers with their orders and events, at some dates, over some horizons."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from features.settings import ServingSettings
from serving.schemas.wire import DATE_SCHEMA, CustomerId, IsoMoment, Number, Text, Wire, read_date

Items = TypeVar("Items", bound=Sequence[Any])

_SPLIT = "split the request into smaller ones"
_AS_OF = "Only orders before the start of this day are used. Or a list of such dates: each is answered as if alone."
_HORIZONS = "Further horizons for by_horizon, beside the model's own."
_EXAMPLE: dict[str, Any] = {
    "as_of": "1998-04-01",
    "horizons_days": [30, 365],
    "customers": [
        {
            "customer_id": "c-17",
            "orders": [
                {"ordered_at": "1997-01-04", "amount": 29.33},
                {"ordered_at": "1997-03-22T14:05:00", "amount": 29.73},
            ],
        }
    ],
}


def _at_most(setting: str, remedy: str) -> AfterValidator:
    """Refuse more items than a setting allows, where the settings are given as the context of the validation."""

    def check(items: Items, info: ValidationInfo) -> Items:
        _check_count(items, setting, remedy, info.context)
        return items

    return AfterValidator(check)


def _check_count(items: Sequence[Any], setting: str, remedy: str, settings: ServingSettings | None) -> None:
    if settings is None:
        return
    most = getattr(settings, setting)
    if len(items) > most:
        raise ValueError(f"has {len(items)} entries; at most {most} are accepted: {remedy}")


def _check_once(items: Items) -> Items:
    if len(set(items)) != len(items):
        raise ValueError("each may stand only once")
    return items


def _read_dates(value: Any, info: ValidationInfo) -> date | tuple[date, ...]:
    """Read a date or several. One validator for both, so that what is wrong is told once."""
    if not isinstance(value, (list, tuple)):
        return read_date(value)
    if not value:
        raise ValueError("must not be empty")
    _check_count(value, "max_as_of_dates", _SPLIT, info.context)
    return _check_once(tuple(map(read_date, value)))


def _read_whole(value: Any) -> Any:
    """Take 30.0 for the integer that it is in JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_days(days: Items, info: ValidationInfo) -> Items:
    if info.context is not None and max(days, default=0) > info.context.max_horizon_days:
        raise ValueError(f"must not lie beyond {info.context.max_horizon_days} days")
    return days


_DATES_SCHEMA = {"anyOf": [DATE_SCHEMA, {"type": "array", "items": DATE_SCHEMA, "minItems": 1, "uniqueItems": True}]}
Dates = Annotated[date | tuple[date, ...], PlainValidator(_read_dates), WithJsonSchema(_DATES_SCHEMA)]
Horizons = Annotated[
    tuple[Annotated[int, BeforeValidator(_read_whole), Field(ge=1, strict=True)], ...],
    Field(fail_fast=True, json_schema_extra={"uniqueItems": True}),
    _at_most("max_horizons", "ask for fewer"),
    AfterValidator(_check_once),
    AfterValidator(_check_days),
]


class OrderIn(Wire):
    """One order of a customer, one line of it, or, with an amount below 0, a refund."""

    ordered_at: Annotated[
        IsoMoment,
        Field(description="ISO 8601 date or time stamp; without an offset it is in the shop's time zone."),
    ]
    amount: Annotated[Number, Field(description="In the shop's currency; below 0 for what was refunded.")]
    order_id: Annotated[Text | None, Field(description="Rows of one order and day add up.")] = None
    refund_of: Annotated[Text | None, Field(description="The order_id of the order that was refunded.")] = None
    channel: Annotated[Text | None, Field(description="Where it was ordered.")] = None
    category: Annotated[Text | None, Field(description="Of the goods.")] = None
    quantity: Annotated[Number | None, Field(description="Number of goods.")] = None
    cost: Annotated[Number | None, Field(description="What the goods cost the shop.")] = None


class EventIn(Wire):
    """One web or marketing event of a customer."""

    occurred_at: Annotated[IsoMoment, Field(description="As ordered_at.")]
    event_type: Annotated[Text, Field(examples=["visit"])]
    value: Annotated[Number | None, Field(description="The answer of a survey, the stars of a review, …")] = None
    channel: Text | None = None


# Lists fail at their first wrong item: millions of errors in one body would fill the memory.
_rows = _at_most("max_orders_per_customer", "score such customers from a file with lifestage score")


class CustomerIn(Wire):
    """One customer with all orders known, and events where the model was trained with them."""

    customer_id: CustomerId
    orders: Annotated[list[OrderIn], Field(fail_fast=True), _rows]
    events: Annotated[list[EventIn], Field(fail_fast=True), _rows] | None = None


class ScoreOptions(Wire):
    """At which dates and over which horizons customers are scored."""

    as_of: Annotated[Dates, Field(description=_AS_OF)]
    horizons_days: Annotated[Horizons, Field(description=_HORIZONS)] = ()

    @property
    def dates(self) -> tuple[date, ...]:
        """The as-of dates, in the order asked."""
        return self.as_of if isinstance(self.as_of, tuple) else (self.as_of,)


class ScoreRequest(ScoreOptions):
    """Customers to score from the orders in the request; nothing is stored."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [_EXAMPLE]})

    customers: Annotated[
        list[CustomerIn], Field(min_length=1, fail_fast=True), _at_most("max_customers_per_request", _SPLIT)
    ]

    @field_validator("customers")
    @classmethod
    def _each_once(cls, customers: list[CustomerIn]) -> list[CustomerIn]:
        if len({customer.customer_id for customer in customers}) != len(customers):
            raise ValueError("each customer_id may stand only once")
        return customers

    def place_of(self, number: int) -> str:
        """Return where a customer stands, as the beginning of a field's name."""
        return f"customers[{number}]."


class ScoreLines(ScoreRequest):
    """Customers to score, each from a line of its own."""

    lines: tuple[int, ...]

    def place_of(self, number: int) -> str:
        """Return the line that a customer stands in, as the beginning of a field's name."""
        return f"line {self.lines[number]}: "
