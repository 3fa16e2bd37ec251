"""What all schemas share: how values are written, and in whose words they are told."""

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, StringConstraints, WithJsonSchema

from features.intake.values.texts import BLANKS
from features.intake.values.zones import FIRST_DAY, LAST_DAY

MAX_AMOUNT = 1e9

_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

Stage = Literal["first_time_buyer", "repeat", "loyal", "at_risk", "lost", "won_back", "ambassador"]
ProspectStage = Literal["reached", "new_visitor", "returning_visitor", "prospect_cold", "prospect_hot"]
Size = Literal["small", "medium", "large"]
Day = TypeVar("Day", bound=date)
Probability = Annotated[float, Field(json_schema_extra={"minimum": 0.0, "maximum": 1.0})]


LABEL = "The stage in the words of the vocabulary, in the language asked for."
BORROWED = "Whether the vocabulary has no word for the stage, and lends its nearest one."
PLAYS = "What the sources recommend for the stage, or the shop's own plays."
NEXT_CURSOR = "Pass as cursor for the next page; null on the last."
CATALOGUE_HASH = "Of the features that the model reads."


_IN_RANGE = f"in the years {FIRST_DAY.year} to {LAST_DAY.year}"


def read_date(value: Any) -> date:
    """Read a date as ISO 8601 writes it; pydantic itself would read 20260101 as seconds since 1970."""
    day = _read(date.fromisoformat, value) if isinstance(value, str) and _ISO_DATE.fullmatch(value) else None
    if day is None:
        raise ValueError(f"must be a date such as 2026-01-31, {_IN_RANGE}")
    return day


def _stripped(customer_id: str) -> str:
    """Strip what the intake of files strips, so that one customer has one id."""
    stripped = customer_id.strip(BLANKS)
    if not stripped:
        raise ValueError("must not be empty")
    return stripped


def _moment(value: Any) -> datetime:
    """Read a time stamp; a date alone is its midnight."""
    moment = _read(datetime.fromisoformat, value) if isinstance(value, str) and _ISO_DATE.match(value) else None
    if moment is None:
        raise ValueError(f"must be a date or time stamp such as 2026-01-31 or 2026-01-31T14:05:00+01:00, {_IN_RANGE}")
    return moment


def _read(parse: Callable[[str], Day], text: str) -> Day | None:
    """Return the day or moment of a text, None where there is none within range; Python's own words would repeat it."""
    try:
        day = parse(text)
    except ValueError:
        return None
    return day if FIRST_DAY.year <= day.year <= LAST_DAY.year else None


DATE_SCHEMA = {"type": "string", "format": "date"}
_MOMENT_SCHEMA = {"anyOf": [DATE_SCHEMA, {"type": "string", "format": "date-time"}]}
IsoMoment = Annotated[datetime, PlainValidator(_moment), WithJsonSchema(_MOMENT_SCHEMA)]


CustomerId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$"),
    AfterValidator(_stripped),
]


class Wire(BaseModel):
    """What goes over the wire: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Number = Annotated[float, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT, allow_inf_nan=False, strict=True)]


class Named(Wire):
    """What is told in the words of a vocabulary."""

    vocabulary: Annotated[str, Field(examples=["lifestage"])]
    language: Annotated[str, Field(examples=["en"])]
