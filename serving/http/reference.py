"""The description of the API, for programs as an OpenAPI document, for people as a page that needs no other file."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

from fastapi import FastAPI
from starlette.responses import HTMLResponse, Response

from features.settings import ServingSettings
from serving.http.bodies import JSON, NDJSON
from serving.http.openapi import LINE, OPENAPI_PATH, build_document, operations
from serving.http.pages import content_security_policy, page_environment
from serving.state import LiveState

REFERENCE_PATH = "/v1/reference"

_REF = "#/components/schemas/"
_URL = "http://127.0.0.1:3000"
_LONGEST_EXAMPLE = 6_000
_NUMBERS = re.compile(r"\[\s+([-\d.,\s]+?)\s+\]")


class Field(NamedTuple):
    """One field of a body or an answer, for a row of a table."""

    name: str
    kind: str
    note: str
    is_required: bool
    refers_to: str | None


def add_reference(app: FastAPI, live: LiveState) -> None:
    """Add the routes that describe all others, which must be there already or be added before the first request."""

    @lru_cache(maxsize=1)
    def document(settings: ServingSettings) -> dict[str, Any]:
        return build_document(app, settings)

    @lru_cache(maxsize=1)
    def page(settings: ServingSettings) -> str:
        return render_reference(document(settings))

    @app.get(OPENAPI_PATH, include_in_schema=False)
    def openapi() -> Response:
        """Describe the API for programs."""
        return Response(json.dumps(document(live.current.settings)), media_type=JSON)

    @app.get(REFERENCE_PATH, include_in_schema=False)
    def reference() -> HTMLResponse:
        """Describe the API for people."""
        headers = {"Content-Security-Policy": content_security_policy()}
        return HTMLResponse(page(live.current.settings), headers=headers)


def render_reference(document: Mapping[str, Any]) -> str:
    """Render the page of a document."""
    schemas = document["components"]["schemas"]
    groups = [
        (tag, [(path, method, op) for path, method, op in operations(document) if op["tags"] == [tag["name"]]])
        for tag in document["tags"]
    ]
    return (
        page_environment()
        .get_template("reference.html")
        .render(
            document=document,
            groups=groups,
            schemas=schemas,
            curl=curl_lines,
            fields=lambda name: list(list_fields(schemas[name])),
            schemas_of=_schemas_of,
            name_kind=lambda schema: _kind(schema).removesuffix(" or null"),
            note=_note,
            shown=show_example,
            line=LINE,
        )
    )


def curl_lines(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    """Yield commands that call an operation: one for each media type that it reads, or one."""
    flags = [] if method == "GET" else [f"-X {method}"]
    if "security" in operation:
        flags.append('-H "Authorization: Bearer $LIFESTAGE_KEY"')
    bodies = operation.get("requestBody", {}).get("content", {})
    for media_type, content in bodies.items() or [(None, {})]:
        url = f"'{_URL}{path}{_query(operation, media_type)}'"
        body = [] if media_type is None else [f"-H 'Content-Type: {media_type}'", _data(content, media_type)]
        accept = ["-H 'Accept: application/x-ndjson'"] if media_type == NDJSON else []
        yield " \\\n  ".join(["curl " + url, *flags, *accept, *body])


def list_fields(schema: Mapping[str, Any]) -> Iterator[Field]:
    """Yield the fields of an object."""
    properties, required = schema.get("properties", {}), set(schema.get("required", ()))
    may_lack = len(required) < len(properties)  # where nothing may, as in answers, it goes without saying
    for name, field in properties.items():
        yield Field(name, _kind(field), _note(field), may_lack and name in required, _find_reference(field))


def show_example(example: Any) -> str:
    """Write an example for people: JSON on lines of its own, anything else as it is, not too much of it."""
    text = example if isinstance(example, str) else json.dumps(example, indent=1, ensure_ascii=False)
    text = _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
    return text if len(text) <= _LONGEST_EXAMPLE else f"{text[:_LONGEST_EXAMPLE]}\n…"


def _query(operation: Mapping[str, Any], media_type: str | None) -> str:
    """Return the least query: what must be given, and what only NDJSON takes from it."""
    parameters = [one for one in operation.get("parameters", ()) if one["in"] == "query" and "example" in one]
    with_lines = ("as_of", "horizons_days") if media_type == NDJSON else ()
    pairs = [
        f"{one['name']}={quote(str(value))}"
        for one in parameters
        if one.get("required") or one["name"] in with_lines
        for value in (one["example"] if isinstance(one["example"], list) else [one["example"]])
    ]
    return f"?{'&'.join(pairs)}" if pairs else ""


def _data(content: Mapping[str, Any], media_type: str) -> str:
    example = content.get("example", {})
    text = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
    option = "--data-binary" if media_type == NDJSON else "-d"
    quoted = text.replace("'", r"'\''")
    return f"{option} '{quoted}'"


def _schemas_of(content: Mapping[str, Any]) -> list[str]:
    """Return the names of the schemas that a body, or each of its lines, may have."""
    schema = content.get(LINE, content["schema"])
    return [str(one["$ref"]).removeprefix(_REF) for one in schema.get("anyOf", [schema]) if "$ref" in one]


def _find_reference(schema: Mapping[str, Any]) -> str | None:
    """Return the name of the schema that a field leads to."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_REF)
    inner = [*schema.get("anyOf", ()), schema.get("items")]
    return next((found for one in inner if isinstance(one, dict) and (found := _find_reference(one))), None)


def _kind(schema: Mapping[str, Any]) -> str:
    """Say in words what a schema admits."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_REF)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"{_kind(schema['additionalProperties'])} by name"
    return str(schema.get("format") or schema.get("const") or schema.get("type", "any"))


def _note(schema: Mapping[str, Any]) -> str:
    """Return what stands beside a field: its description, and its limits."""
    parts = [one for one in (schema, *schema.get("anyOf", ())) if isinstance(one, Mapping)]
    limits = {
        word: one[key]
        for one in parts
        for key, word in (("minimum", "from"), ("maximum", "to"), ("maxItems", "at most"), ("maxLength", "length to"))
        if one.get(key) is not None
    }
    told = "; ".join(
        f"{word} {value:,g}" if isinstance(value, float) else f"{word} {value:,}" for word, value in limits.items()
    )
    return " ".join(part for part in (schema.get("description", ""), f"({told})" if told else "") if part)
