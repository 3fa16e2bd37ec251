"""The OpenAPI document: what FastAPI knows of the routes, with examples, limits, scopes and problems."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from features.settings import ServingSettings
from serving.access.scopes import OPEN_PATHS, is_write, needed_scope
from serving.http.bodies import JSON, NDJSON
from serving.http.problems import MEDIA_TYPE, build_problem
from serving.schemas import FieldProblem, NotScoredLine, ScoreRequest

API_VERSION = "1"
OPENAPI_PATH = "/v1/openapi.json"
PROBLEM_REF = "#/components/responses/Problem"
_SCHEMA_REF = "#/components/schemas/"
LINE = "x-line"  # of NDJSON: the schema of each line, for which OpenAPI 3.1 has no word

_SUMMARY = "Will a customer leave, which lifecycle stage comes next, and what is the customer worth."
_DESCRIPTION = """{summary} At a stated date, over a stated horizon.

Every answer names its `as_of` date, `horizon_days`, `model_version`, `catalogue_hash`, `run_id` and `flags`: at its
top, in `run`, or, for files and pictures, in headers that begin with `Lifestage-`. Errors are `{problem}` (RFC 9457):
`errors` names each wrong field and what to do about it, and never repeats what was sent. A query parameter that an
operation does not have, or that comes twice and is no list, is refused.

Limits of this service:

{limits}
"""
_TAGS = {
    "Scores": "One customer at a time, or as many as a request holds.",
    "Lists": "People to act on, page by page.",
    "Base": "All customers as a whole.",
    "Model": "What answers.",
    "People": "What people may ask of a shop: to be erased, or left out.",
    "Service": "For whoever watches the service.",
}
_TAG_OF_PATH = {
    "/v1/score": "Scores",
    "/v1/scores": "Scores",
    "/v1/at-risk": "Lists",
    "/v1/prospects": "Lists",
    "/v1/changes": "Lists",
    "/v1/stages": "Base",
    "/v1/segments": "Base",
    "/v1/metrics-sheet": "Base",
    "/v1/model": "Model",
    "/v1/admin/reload": "Model",
    "/v1/customers": "People",
    "/v1/objections": "People",
}
_PARAMETER_EXAMPLES: dict[str, Any] = {
    "customer_id": "shopper-002",
    "vocabulary": "lifestage",
    "language": "en",
    "as_of": ["2024-02-01", "2024-04-01"],
    "horizons_days": [30, 365],
    "stage": "prospect_hot",
    "size": "large",
    "min_p_churn": 0.5,
    "max_p_churn": 0.95,
    "limit": 10,
    "cursor": "eyJydW4iOiAyLCAiaWQiOiAic2hvcHBlcjAifQ",
    "format": "json",
    "since_run": 1,
    "Idempotency-Key": "5f0c6c1e-2f63-4c0e-9d0a-0d3f1f7f9b52",
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A text of your own; a repeated request with it is answered as the first was, and done once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}}
_CHALLENGE = {"WWW-Authenticate": {"description": "Bearer.", "schema": {"type": "string"}}}
_HEADERS_OF_STATUS: Mapping[int, dict[str, Any]] = {401: _CHALLENGE, 429: _RETRY_AFTER, 503: _RETRY_AFTER}
_TOLD_OF_PROBLEM: Mapping[int, dict[str, str]] = {
    403: {
        "slug": "scope-missing",
        "detail": "This needs a key with another scope.",
        "remedy": "Use a key with the scope that the operation names.",
    },
    404: {
        "slug": "nothing-published",
        "detail": "No scores have been published yet.",
        "remedy": "Run lifestage score --orders PATH --as-of DATE.",
    },
    422: {"detail": "One field is wrong or missing."},
}
_WRONG_FIELD = FieldProblem(field="limit", remedy="Must be greater than or equal to 1.")


def score_body() -> dict[str, Any]:
    """Return how the document describes the body of a scoring request."""
    content = {
        JSON: {"schema": {"$ref": f"{_SCHEMA_REF}ScoreRequest"}},
        NDJSON: {
            "schema": {"type": "string", "description": "One customer per line."},
            LINE: {"$ref": f"{_SCHEMA_REF}CustomerIn"},
        },
    }
    return {"requestBody": {"required": True, "content": content}}


def build_document(app: FastAPI, settings: ServingSettings) -> dict[str, Any]:
    """Build the document of an app's routes.

    Args:
        app: With all of its routes.
        settings: The limits to state.
    """
    document = get_openapi(
        title="Lifestage",
        version=API_VERSION,
        summary=_SUMMARY,
        description=_DESCRIPTION.format(summary=_SUMMARY, problem=MEDIA_TYPE, limits=_tell_limits(settings)),
        routes=app.routes,
        servers=[{"url": "/"}],
        separate_input_output_schemas=False,
    )
    components = document["components"]
    _, bodies = models_json_schema(
        [(ScoreRequest, "validation"), (NotScoredLine, "validation")], ref_template=_SCHEMA_REF + "{model}"
    )
    components["schemas"] = dict(sorted({**components["schemas"], **bodies["$defs"]}.items()))
    components["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, as lifestage keys creates it. Each operation names the scope that it needs.",
        }
    }
    for path, method, operation in operations(document):
        _complete(operation, method, path, settings)
    problems = {s for _, _, op in operations(document) for s, response in op["responses"].items() if "$ref" in response}
    components["responses"] = {f"Problem{status}": _describe_problem(int(status)) for status in sorted(problems)}
    used = {operation["tags"][0] for _, _, operation in operations(document)}
    document["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items() if name in used]
    _limit_schemas(components["schemas"], settings)
    for content in _contents(document):
        schema = components["schemas"].get(content["schema"].get("$ref", "").removeprefix(_SCHEMA_REF), {})
        if "examples" in schema:
            content.setdefault("example", schema["examples"][0])
    return document


def _contents(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the content of each body and answer."""
    for _, _, operation in operations(document):
        for told in (operation.get("requestBody", {}), *operation["responses"].values()):
            yield from told.get("content", {}).values()


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, METHOD and operation of everything that a document describes."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


@cache
def load_examples() -> dict[str, dict[str, Any]]:
    """Load the examples: operationId → media type → answer; `request` holds the bodies by media type."""
    text = resources.files("serving").joinpath("templates/api_examples.json").read_text(encoding="utf-8")
    examples: dict[str, dict[str, Any]] = json.loads(text)
    return examples


def _complete(operation: dict[str, Any], method: str, path: str, settings: ServingSettings) -> None:
    examples = load_examples().get(operation["operationId"], {})
    operation["tags"] = [_TAG_OF_PATH.get(path, "Service")]
    summary, _, more = operation.pop("description").partition("\n\n")
    operation["summary"] = summary.removesuffix(".")
    if more:
        operation["description"] = more
    if path not in OPEN_PATHS:
        operation["security"] = [{"key": [needed_scope(method, path)]}]
    if is_write(method, path):
        operation.setdefault("parameters", []).append(dict(_IDEMPOTENCY_KEY))
    for parameter in operation.get("parameters", ()):
        _complete_parameter(parameter, path, settings)
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        _give(content, examples.get("request", {}), media_type)
    operation["responses"] = _complete_responses(operation["responses"], examples, method, path)


def _complete_responses(
    responses: dict[str, Any], examples: Mapping[str, Any], method: str, path: str
) -> dict[str, Any]:
    """Give answers their examples, and refer to the problems, a route's own ones aside."""
    own = {status: response for status, response in responses.items() if not _is_common(response)}
    for status, response in own.items():
        if status >= "400":
            response["content"] = {MEDIA_TYPE: next(iter(response["content"].values()))}
        for media_type, content in response.get("content", {}).items():
            _give(content, examples, media_type)
            if media_type == NDJSON:
                content[LINE] = {"anyOf": [{"$ref": f"{_SCHEMA_REF}{name}"} for name in ("Score", "NotScoredLine")]}
    common = {int(status) for status, response in responses.items() if _is_common(response)}
    common |= set() if path in OPEN_PATHS else _possible_problems(method, path)
    return {**own, **{str(status): {"$ref": f"{PROBLEM_REF}{status}"} for status in sorted(common)}}


def _is_common(response: Mapping[str, Any]) -> bool:
    """Tell whether a route answers with a problem like any other."""
    schemas = [content.get("schema") for content in response.get("content", {}).values()]
    return schemas == [{"$ref": f"{_SCHEMA_REF}Problem"}]


def _possible_problems(method: str, path: str) -> set[int]:
    """Return what the guards may answer before a route is asked."""
    with_body = set() if method == "GET" else {408, 413, 415}
    return {400, 401, 403, 414, 422, 429, 431, 500, 503, 504} | with_body | ({409} if is_write(method, path) else set())


def _give(content: dict[str, Any], examples: Mapping[str, Any], media_type: str) -> None:
    if media_type in examples:
        content["example"] = examples[media_type]


def _complete_parameter(parameter: dict[str, Any], path: str, settings: ServingSettings) -> None:
    name, schema = parameter["name"], parameter["schema"]
    if name in _PARAMETER_EXAMPLES:
        parameter["example"] = "at_risk" if (name, path) == ("stage", "/v1/at-risk") else _PARAMETER_EXAMPLES[name]
    if name == "limit":
        schema["maximum"] = settings.max_list_rows
    most = {"as_of": settings.max_as_of_dates, "horizons_days": settings.max_horizons}.get(name)
    for listed in (one for one in schema.get("anyOf", ()) if one.get("type") == "array"):
        listed |= {"maxItems": most, "uniqueItems": True}
        if name == "horizons_days":
            listed["items"]["maximum"] = settings.max_horizon_days


def _describe_problem(status: int) -> dict[str, Any]:
    errors = [_WRONG_FIELD] if status == 422 else []
    problem = build_problem(status, **_TOLD_OF_PROBLEM.get(status, {}), errors=errors)
    content = {"schema": {"$ref": f"{_SCHEMA_REF}Problem"}, "example": problem.model_dump(mode="json")}
    headers = {"headers": _HEADERS_OF_STATUS[status]} if status in _HEADERS_OF_STATUS else {}
    return {"description": problem.title, **headers, "content": {MEDIA_TYPE: content}}


def _limit_schemas(schemas: dict[str, Any], settings: ServingSettings) -> None:
    request, customer = schemas["ScoreRequest"]["properties"], schemas["CustomerIn"]["properties"]
    request["customers"]["maxItems"] = settings.max_customers_per_request
    request["as_of"]["anyOf"][1]["maxItems"] = settings.max_as_of_dates
    request["horizons_days"]["maxItems"] = settings.max_horizons
    request["horizons_days"]["items"]["maximum"] = settings.max_horizon_days
    customer["orders"]["maxItems"] = settings.max_orders_per_customer
    customer["events"]["anyOf"][0]["maxItems"] = settings.max_orders_per_customer


def _tell_limits(settings: ServingSettings) -> str:
    limits = {
        "bytes of a request's body": settings.max_body_bytes,
        "customers of a scoring request": settings.max_customers_per_request,
        "orders, and events, of one of them": settings.max_orders_per_customer,
        "as-of dates of a scoring request": settings.max_as_of_dates,
        "customers × as-of dates of a scoring request": settings.max_scores_per_request,
        "further horizons of a scoring request": settings.max_horizons,
        "days of a horizon": settings.max_horizon_days,
        "rows of a page": settings.max_list_rows,
        "requests per second of one key": settings.requests_per_second,
        "requests at once": settings.max_concurrent_requests,
    }
    return "\n".join(f"- {name}: {most:,.0f}" for name, most in limits.items())
