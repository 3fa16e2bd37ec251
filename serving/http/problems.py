"""Every error as application/problem+json (RFC 9457): what is wrong and what to do, never what was sent."""

import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from features.errors import (
    InputError,
    InsufficientHistoryError,
    LifestageError,
    ModelError,
    NoEarlierRunError,
    ServingError,
    UnpublishedError,
)
from serving import schemas
from serving.schemas import FieldProblem, Problem
from serving.telemetry.unexpected import count_store_error

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
    408: "slow-request",
    409: "still-running",
    413: "request-too-large",
    414: "url-too-long",
    415: "unsupported-media-type",
    422: "invalid-request",
    429: "too-many-requests",
    431: "headers-too-large",
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
    408: "Send the request's body faster, or in smaller requests.",
    409: "Wait as long as Retry-After says, then repeat the request.",
    413: "Split the request into smaller ones.",
    414: "Shorten the query; /v1/openapi.json says what it may hold.",
    415: "Send Content-Type: application/json, uncompressed.",
    422: "Correct the fields that errors names.",
    429: "Wait as long as Retry-After says, then repeat the request.",
    431: "Send fewer or shorter headers.",
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
    "model_type": "Must be a JSON object.",
    "too_short": "Must not be empty.",
    "string_pattern_mismatch": "Must not hold control characters.",
}
_STATUS_OF_ERROR: tuple[tuple[type[Exception], int], ...] = (
    (InputError, 422),
    (InsufficientHistoryError, 422),
    (ModelError, 503),
    (UnpublishedError, 404),
    (ServingError, 503),
    (TimeoutError, 504),
)
_SLUG_OF_ERROR: Mapping[type[Exception], str] = {
    UnpublishedError: "nothing-published",
    NoEarlierRunError: "nothing-to-compare",
}
_UNNAMED = "(unknown field)"
_UNNAMED_PARAMETER = "(unknown parameter)"
_OUR_FIELDS = frozenset(
    name
    for model in (schemas.ScoreRequest, schemas.CustomerIn, schemas.OrderIn, schemas.EventIn)
    for name in model.model_fields
) | {
    *("customer_id", "stage", "size", "min_p_churn", "max_p_churn", "since_run"),
    *("limit", "cursor", "format", "vocabulary", "language"),
}


def build_problem(
    status: int, *, slug: str = "", detail: str = "", remedy: str = "", errors: Sequence[FieldProblem] = ()
) -> Problem:
    """Build a problem; the status supplies the words that are not given.

    Args:
        status: Of the answer.
        slug: Names the kind of problem, where a status has several.
        detail: What is wrong; nothing of what was sent.
        remedy: What to do about it.
        errors: The fields that are wrong.
    """
    title = HTTPStatus(status).phrase
    kind = slug or _SLUGS.get(status)
    return Problem(
        type=f"urn:lifestage:problem:{kind}" if kind else "about:blank",
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


def answer_with_problems(app: FastAPI) -> None:
    """Make a FastAPI app answer its errors as problems."""
    for kind, answer in _ANSWERS.items():
        app.exception_handler(kind)(answer)


def answer_error(request: Request, error: Exception) -> Response:
    """Answer an error of a route as a problem.

    Raises:
        Exception: The error itself, where it is none that routes answer with.
    """
    answer = next((_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS), None)
    if answer is None:
        raise error
    error.__traceback__ = None  # one that is raised again and again would gather them
    return answer(request, error)


def _on_lifestage_error(_request: Request, error: LifestageError) -> Response:
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        count_store_error(error)
        _logger.warning("Answered %d: %s", status, type(error).__name__)
    field = error.field if isinstance(error, InputError) else ""
    problem = build_problem(
        status,
        slug=_SLUG_OF_ERROR.get(type(error), ""),
        detail=error.problem,
        remedy=error.remedy,
        errors=[FieldProblem(field=field, remedy=error.remedy)] if field else [],
    )
    return problem_response(problem)


def _on_invalid_request(_request: Request, error: RequestValidationError) -> Response:
    remedies = {_field(found["loc"]): _remedy(found) for found in error.errors()}
    fields = [FieldProblem(field=field, remedy=remedy) for field, remedy in remedies.items()]
    count = "One field is" if len(fields) == 1 else f"{len(fields)} fields are"
    return problem_response(build_problem(422, detail=f"{count} wrong or missing.", errors=fields))


def _on_http_error(_request: Request, error: HTTPException) -> Response:
    detail = "" if error.detail == HTTPStatus(error.status_code).phrase else error.detail
    return problem_response(build_problem(error.status_code, detail=detail), error.headers)


_ANSWERS: Mapping[type[Any], Callable[[Request, Any], Response]] = {
    LifestageError: _on_lifestage_error,
    RequestValidationError: _on_invalid_request,
    HTTPException: _on_http_error,
}


def _field(location: Sequence[int | str]) -> str:
    """Write a location such as customers[0].amount; a name that is not ours could be data, so it is left out."""
    path, unnamed = "", _UNNAMED_PARAMETER if location[0] == "query" else _UNNAMED
    for part in location[1:]:
        if isinstance(part, int):
            path += f"[{part}]" if path else ""
        elif part in _OUR_FIELDS:
            path += f".{part}" if path else part
        else:
            path += f".{unnamed}" if path else unnamed
    place = str(location[0])
    if not place.startswith("line "):  # of NDJSON; the others are parts of a request, which a field's name tells
        return path or place
    return f"{place}: {path}" if path else place


def _remedy(found: Mapping[str, Any]) -> str:
    if found["type"] == "value_error":
        return _sentence(str(found["ctx"]["error"]))
    return _FIELD_REMEDIES.get(found["type"]) or _sentence(found["msg"].replace("Input should", "must"))


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
