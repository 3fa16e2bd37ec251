"""Calls that Schemathesis draws from the description of the API, right ones and wrong ones, and what they may lead to.

Lines of NDJSON have no word in OpenAPI 3.1: here they are drawn as a list of what a line holds. Dates lie in the years
that the service knows, so that most calls get past its door.
"""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, date
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from features.lifecycle.vocabularies import SHIPPED
from serving.http.bodies import NDJSON
from serving.http.openapi import LINE, operations
from serving.schemas import ScoreOptions

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
OPERATIONS = (
    *("score", "scores", "at_risk", "prospects", "changes", "stages", "segments", "metrics_sheet", "model"),
    *("reload", "erase", "record_objection", "withdraw_objection", "objections", "livez", "readyz"),
)
Case = schemathesis.Case[Any]
Send = Callable[[Case], Any]

_days = st.dates(date(1970, 1, 2), date(2099, 12, 30))
schemathesis.openapi.format("date", _days.map(date.isoformat))
schemathesis.openapi.format(
    "date-time",
    st.datetimes(timezones=st.just(UTC)).map(
        lambda at: at.replace(year=1971 + at.year % 128, day=min(at.day, 28)).isoformat()
    ),
)


@schemathesis.serializer(NDJSON)
def _as_lines(_context: Any, value: Any) -> bytes:
    lines = value if isinstance(value, list) else [value]
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def draw_calls(document: dict[str, Any], operation_id: str, send: Send, *, n_calls: int) -> None:
    """Send so many drawn calls of an operation, half of them wrong where it reads anything, and check every answer.

    Args:
        document: The description, as served.
        operation_id: Which operation.
        send: Sends a call, and returns the answer.
        n_calls: How many.
    """
    schema = schemathesis.openapi.from_dict(_with_lines(document))
    operation = schema.find_operation_by_id(operation_id)
    is_plain = not operation.definition.raw.get("parameters") and operation.method == "get"
    modes = (GenerationMode.POSITIVE,) if is_plain else (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    for mode in modes:

        @settings(
            max_examples=n_calls // len(modes),
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), number=st.integers())  # equal calls are calls too
        def call(case: Case, number: int) -> None:
            _move_options(case)
            case.validate_response(send(case), checks=list(CHECKS))

        call()


def names(document: dict[str, Any]) -> Iterator[str]:
    """Yield the names of all operations."""
    yield from (operation["operationId"] for _, _, operation in operations(document))


def _move_options(case: Case) -> None:
    """Put dates and horizons where the media type of a scoring request wants them, most of the time."""
    is_right = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if is_right and case.operation.path == "/v1/score":
        if case.media_type == NDJSON:
            case.query["as_of"] = case.query.get("as_of") or ["2024-04-01"]
        else:
            case.query = {name: value for name, value in case.query.items() if name not in ScoreOptions.model_fields}


def _with_lines(document: dict[str, Any]) -> dict[str, Any]:
    """Say what OpenAPI has no words for: what a line holds, which words there are, and that blanks are no id."""
    changed = deepcopy(document)
    content = changed["paths"]["/v1/score"]["post"]["requestBody"]["content"][NDJSON]
    content["schema"] = {"type": "array", "items": content[LINE], "minItems": 1, "maxItems": 5}
    changed["components"]["schemas"]["CustomerIn"]["properties"]["customer_id"]["pattern"] = "^[!-~]+$"
    words = {"vocabulary": list(SHIPPED), "language": ["en", "fr"]}
    for _, _, operation in operations(changed):
        for parameter in operation.get("parameters", ()):
            if parameter["name"] in words:
                parameter["schema"] = {"enum": words[parameter["name"]]}
    return changed
