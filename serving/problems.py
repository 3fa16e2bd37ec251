"""Every error as application/problem+json (RFC 9457): what is wrong and what to do, never what was sent."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from features.errors import InputError, InsufficientHistoryError, LifestageError, ModelError, ServingError
from serving import schemas
from serving.schemas import FieldProblem, Problem

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1

# Below BentoML's logger, so that its set-up of the worker's log applies.
_logger = logging.getLogger("bentoml.lifestage")

_SLUGS: dict[int, str] = {
    400: "unreadable-request",
    401: "key-required",
    403: "local-only",
    404: "not-found",
    405: "method-not-allowed",
    413: "request-too-large",
    415: "unsupported-media-type",
    422: "invalid-request",
    429: "overloaded",
    500: "internal-error",
    503: "not-ready",
    504: "timed-out",
}
_REMEDIES: dict[int, str] = {
    400: "Send what /v1/openapi.json describes.",
    401: "Send a key as Authorization: Bearer KEY; lifestage keys NAME creates one.",
    403: "Call it from the same machine, or start the service with keys.",
    404: "/v1/openapi.json lists what exists.",
    405: "Use a method that the Allow header names.",
    413: "Split the request into smaller ones.",
    415: "Send Content-Type: application/json, uncompressed.",
    422: "Correct the fields that errors names.",
    429: "Wait as long as Retry-After says, then repeat the request.",
    500: "Repeat the request; if it fails again, look into the service's log.",
    503: "Repeat the request once /readyz answers 200.",
    504: "Ask for fewer customers at a time.",
}
# pydantic error type -> what to do. Types that are not here use pydantic's own words, which name limits, not inputs.
_FIELD_REMEDIES: dict[str, str] = {
    "missing": "This field is required.",
    "extra_forbidden": "This field is unknown: remove it.",
    "json_invalid": "The body is not valid JSON.",
    "model_attributes_type": "Must be a JSON object.",
    "too_short": "Must not be empty.",
    "string_pattern_mismatch": "Must not hold control characters.",
}
_STATUS_OF_ERROR: tuple[tuple[type[LifestageError], int], ...] = (
    (InputError, 422),
    (InsufficientHistoryError, 422),
    (ModelError, 503),
    (ServingError, 503),
)
_UNNAMED = "(unknown field)"
_OUR_FIELDS = frozenset(
    name
    for model in (schemas.ScoreRequest, schemas.CustomerIn, schemas.OrderIn, schemas.EventIn)
    for name in model.model_fields
) | {
    *("customer_id", "stage", "size", "min_p_churn", "max_p_churn", "since_run"),
    *("limit", "cursor", "format", "vocabulary", "language"),
}


def build_problem(status: int, *, detail: str = "", remedy: str = "", errors: Sequence[FieldProblem] = ()) -> Problem:
    """Build a problem; the status supplies the words that are not given."""
    title = HTTPStatus(status).phrase
    return Problem(
        type=f"urn:lifestage:problem:{_SLUGS[status]}" if status in _SLUGS else "about:blank",
        title=title,
        status=status,
        detail=detail or f"{title}.",
        remedy=remedy or _REMEDIES.get(status, "See /v1/openapi.json."),
        errors=list(errors),
    )


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Build the HTTP response that carries a problem."""
    return Response(problem.model_dump_json(), problem.status, headers=headers, media_type=MEDIA_TYPE)


def status_of(error: Exception) -> int:
    """Return the HTTP status that says best whose turn it is after this error; 500 when we did not foresee it."""
    return next((status for kind, status in _STATUS_OF_ERROR if isinstance(error, kind)), 500)


def log_unexpected(error: Exception) -> None:
    """Log where an unexpected error arose; not its message, which may quote customer data."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = "unknown" if frame is None else f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
    _logger.error("Unexpected %s at %s", type(error).__name__, place)


def answer_with_problems(app: FastAPI) -> None:
    """Make a FastAPI app answer its errors as problems."""
    app.exception_handler(LifestageError)(_on_lifestage_error)
    app.exception_handler(RequestValidationError)(_on_invalid_request)
    app.exception_handler(HTTPException)(_on_http_error)


def _on_lifestage_error(_request: Request, error: LifestageError) -> Response:
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _logger.warning("Answered %d: %s", status, type(error).__name__)
    return problem_response(build_problem(status, detail=error.problem, remedy=error.remedy))


def _on_invalid_request(_request: Request, error: RequestValidationError) -> Response:
    remedies = {_field(found["loc"]): _remedy(found) for found in error.errors()}
    fields = [FieldProblem(field=field, remedy=remedy) for field, remedy in remedies.items()]
    count = "One field is" if len(fields) == 1 else f"{len(fields)} fields are"
    return problem_response(build_problem(422, detail=f"{count} wrong or missing.", errors=fields))


def _on_http_error(_request: Request, error: HTTPException) -> Response:
    detail = "" if error.detail == HTTPStatus(error.status_code).phrase else error.detail
    return problem_response(build_problem(error.status_code, detail=detail), error.headers)


def _field(location: Sequence[int | str]) -> str:
    """Write a location such as customers[0].amount; a name that is not ours could be data, so it is left out."""
    path = ""
    for part in location[1:]:
        if isinstance(part, int):
            path += f"[{part}]" if path else ""
        elif part in _OUR_FIELDS:
            path += f".{part}" if path else part
        else:
            path += f".{_UNNAMED}" if path else _UNNAMED
    return path or str(location[0])


def _remedy(found: Mapping[str, Any]) -> str:
    if found["type"] == "value_error":
        return _sentence(str(found["ctx"]["error"]))
    return _FIELD_REMEDIES.get(found["type"]) or _sentence(found["msg"].replace("Input should", "must"))


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
