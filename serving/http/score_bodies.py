"""What callers send to be scored, as JSON or as NDJSON, read straight from its bytes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError
from starlette.requests import Request

from features.settings import ServingSettings
from serving.http.bodies import NDJSON
from serving.schemas import CustomerIn, ScoreLines, ScoreOptions, ScoreRequest

MAX_TOLD_ERRORS = 50

_MOST_ERRORS = 1_000

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_POSITION = re.compile(r" at (?:line (\d+) )?column (\d+)$")

Date = Annotated[str, Field(json_schema_extra={"format": "date"})]
Found = Mapping[str, Any]


def is_ndjson(request: Request) -> bool:
    """Tell whether a request holds a customer per line."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == NDJSON


def read_json(body: bytes, options: Mapping[str, Any], *, settings: ServingSettings) -> ScoreRequest:
    """Read a JSON request.

    Args:
        body: As sent; a byte order mark is passed over.
        options: What the query says of dates and horizons, which must be nothing.
        settings: Limits of the service.

    Raises:
        RequestValidationError: If it is not what `ScoreRequest` describes; the place is named, never the value.
    """
    if options:
        raise _refused([_wrong("query", (name,), "must stand in the body of a JSON request") for name in options])
    try:
        return ScoreRequest.model_validate_json(body.removeprefix(_BYTE_ORDER_MARK), context=settings)
    except ValidationError as error:
        raise _refused(_found(error, "body")) from None


def read_lines(body: bytes, options: Mapping[str, Any], *, settings: ServingSettings) -> ScoreRequest:
    """Read an NDJSON request: one customer per line; blank lines, a byte order mark and CRLF are passed over.

    Args:
        body: As sent.
        options: What the query says of dates and horizons.
        settings: Limits of the service.

    Raises:
        RequestValidationError: If a line is not what `CustomerIn` describes; line and field are named, never a value.
    """
    asked = _read_options(options, settings)
    lines = [
        (number, line)
        for number, line in enumerate(body.removeprefix(_BYTE_ORDER_MARK).split(b"\n"), start=1)
        if line.strip()
    ]
    most = settings.max_customers_per_request
    if not lines:
        raise _refused([_wrong("body", (), "must hold a customer per line")])
    if len(lines) > most:
        raise _refused([_wrong("body", (), f"has {len(lines)} lines; at most {most} are accepted: send several")])
    customers: dict[str, tuple[int, CustomerIn]] = {}
    wrong: list[Found] = []
    for number, line in lines:
        wrong += _read_line(line, number, customers, settings)
        if len(wrong) >= MAX_TOLD_ERRORS:
            break
    if wrong:
        raise _refused(wrong)
    return ScoreLines.model_construct(
        as_of=asked.as_of,
        horizons_days=asked.horizons_days,
        customers=[customer for _, customer in customers.values()],
        lines=tuple(number for number, _ in customers.values()),
    )


def _read_options(options: Mapping[str, Any], settings: ServingSettings) -> ScoreOptions:
    try:
        return ScoreOptions.model_validate(options, context=settings)
    except ValidationError as error:
        raise _refused(_found(error, "query")) from None


def _read_line(
    line: bytes, number: int, customers: dict[str, tuple[int, CustomerIn]], settings: ServingSettings
) -> list[Found]:
    """Add the customer of a line to the others, or return what is wrong with it."""
    place = f"line {number}"
    try:
        customer = CustomerIn.model_validate_json(line, context=settings)
    except ValidationError as error:
        return list(_found(error, place))
    first, _ = customers.setdefault(customer.customer_id, (number, customer))
    return [] if first == number else [_wrong(place, ("customer_id",), f"stands in line {first} already")]


def _refused(found: Iterator[Found] | Sequence[Found]) -> RequestValidationError:
    return RequestValidationError([one for one, _ in zip(found, range(MAX_TOLD_ERRORS), strict=False)])


def _found(error: ValidationError, place: str) -> Iterator[Found]:
    if error.error_count() > _MOST_ERRORS:  # to list them would take seconds
        yield _wrong(place, (), f"has {error.error_count():,} wrong fields")
        return
    for one in error.errors(include_url=False, include_input=False):
        if one["type"] == "json_invalid":
            yield _wrong(place, (), f"must be valid JSON, and is not{_from_where(one['msg'], place)}")
        else:
            yield {**one, "loc": (place, *one["loc"])}


def _from_where(message: str, place: str) -> str:
    position = _POSITION.search(message)
    if position is None:
        return ""
    line = f"line {position[1]}, " if place == "body" and position[1] else ""
    return f" from {line}column {position[2]} on"


def _wrong(place: str, field: Sequence[str], words: str) -> Found:
    return {"type": "value_error", "loc": (place, *field), "ctx": {"error": words}}
