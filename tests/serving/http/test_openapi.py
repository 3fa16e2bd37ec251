"""The description of the API: whole, true to the service, and with an example of everything.

With `UPDATE_EXAMPLES=1` in the environment they write the examples anew, from the answers of a tiny real run.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from serving import schemas
from serving.access.scopes import OPEN_PATHS, is_listed
from serving.http.api import build_app, known_routes
from serving.http.bodies import NDJSON
from serving.http.openapi import LINE, OPENAPI_PATH, load_examples, operations
from serving.http.reference import REFERENCE_PATH
from serving.http.score_routes import SCORE_PATH
from serving.state import LiveState, ServingState
from tests.serving.http.test_pages import Outline
from tests.serving.local_client import build_client
from tests.whole_shop import WholeShop

EXAMPLES = Path("serving/templates/api_examples.json")
PAGES = {"/", OPENAPI_PATH, REFERENCE_PATH}
JSON = "application/json"


@pytest.fixture(scope="module")
def document(visited: TestClient) -> dict[str, Any]:
    """The document of a running service."""
    return dict(visited.get(OPENAPI_PATH).json())


def resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that stands for itself, with all others beside it."""
    return {**schema, "components": document["components"]}


def check(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Check that a value fits a schema of the document."""
    Draft202012Validator(resolve(document, schema)).validate(value)


def contents(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where a body or an answer stands, and its content, of each media type."""
    for path, method, operation in operations(document):
        bodies = operation.get("requestBody", {}).get("content", {})
        yield from ((f"{method} {path} body {media}", content) for media, content in bodies.items())
        for status, response in operation["responses"].items():
            for media, content in response.get("content", {}).items():
                yield f"{method} {path} {status} {media}", content
    for name, response in document["components"]["responses"].items():
        yield from ((f"{name} {media}", content) for media, content in response["content"].items())


def test_valid(document: dict[str, Any]) -> None:
    """The document is one of OpenAPI 3.1, by its own schema."""
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_routes(document: dict[str, Any]) -> None:
    """It describes each route with its methods, a name, a tag that is explained, and the scope that it needs."""
    described = {(method, path) for path, method, _ in operations(document)}
    routes = {(method, path) for path, methods in known_routes(build_app(LiveState())).items() for method in methods}
    assert described == {(method, path) for method, path in routes if path not in PAGES and method != "HEAD"}
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert {tag["name"] for tag in document["tags"]} == {op["tags"][0] for _, _, op in operations(document)}
    for path, method, operation in operations(document):
        assert is_listed(method, path)
        assert ("security" in operation) == (path not in OPEN_PATHS)
        assert operation["summary"]


def test_problems(document: dict[str, Any]) -> None:
    """Each problem is told as such, with an example that says what to do."""
    for path, _, operation in operations(document):
        for status, response in operation["responses"].items():
            is_own = path == "/readyz"
            assert status < "400" or is_own or response == {"$ref": f"#/components/responses/Problem{status}"}
            assert status < "400" or not is_own or list(response["content"]) == ["application/problem+json"]
    for name, response in document["components"]["responses"].items():
        [(media_type, content)] = response["content"].items()
        assert media_type == "application/problem+json"
        problem = schemas.Problem.model_validate(content["example"])
        assert name == f"Problem{problem.status}"
        assert problem.remedy


def test_no_loose_ends(document: dict[str, Any]) -> None:
    """Every schema that is described is referred to, and every one referred to is described."""
    used = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert used == set(document["components"]["schemas"])


def test_examples(document: dict[str, Any]) -> None:
    """Each body and each answer has an example, which fits its schema; so does each line of NDJSON."""
    for where, content in contents(document):
        assert "example" in content, where
        check(document, content["schema"], content["example"])
        if LINE in content:
            for line in content["example"].splitlines():
                check(document, content[LINE], json.loads(line))


def test_parameter_examples(document: dict[str, Any]) -> None:
    """Each parameter has an example that fits its schema."""
    for path, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert "example" in parameter, (path, parameter["name"])
            check(document, parameter["schema"], parameter["example"])


def test_limits(document: dict[str, Any], visited_state: ServingState) -> None:
    """The document states the limits that are in force."""
    settings, described = visited_state.settings, document["components"]["schemas"]
    assert described["ScoreRequest"]["properties"]["customers"]["maxItems"] == settings.max_customers_per_request
    assert described["CustomerIn"]["properties"]["orders"]["maxItems"] == settings.max_orders_per_customer
    for limit in (settings.max_body_bytes, settings.max_as_of_dates, settings.max_horizon_days, settings.max_list_rows):
        assert f"{limit:,}" in document["info"]["description"]


def test_request_examples(visited: TestClient, document: dict[str, Any]) -> None:
    """The examples of bodies are answered, and their answers are told with the fields that the service gives."""
    examples = load_examples()["score"]
    told = visited.post(SCORE_PATH, json=examples["request"][JSON]).json()
    assert told.keys() == examples[JSON].keys()
    assert told["scores"][0].keys() == examples[JSON]["scores"][0].keys()
    lines = visited.post(
        SCORE_PATH,
        params={"as_of": ["2024-02-01", "2024-04-01"]},
        content=examples["request"][NDJSON],
        headers={"Content-Type": NDJSON, "Accept": NDJSON},
    )
    assert [sorted(json.loads(line)) for line in lines.text.splitlines()] == [
        sorted(json.loads(line)) for line in examples[NDJSON].splitlines()
    ]


def test_reference(visited: TestClient, document: dict[str, Any]) -> None:
    """The page tells of every operation, parameter and schema, has commands to copy, and needs no other file."""
    answer = visited.get(REFERENCE_PATH)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    outline = Outline(answer.text)
    assert "script" not in outline.tags
    anchors = {reference[1:] for reference in outline.references if reference.startswith("#")}
    names = {op["operationId"] for _, _, op in operations(document)} | set(document["components"]["schemas"])
    assert anchors >= names
    assert anchors - names == {"schemas", "problems", *document["components"]["responses"]}
    for name in anchors:
        assert f'id="{name}"' in answer.text
    text = " ".join(outline.texts)
    for path, method, operation in operations(document):
        assert f"{method} {path}" in text
        assert f"curl 'http://127.0.0.1:3000{path}" in text
        assert all(parameter["name"] in text for parameter in operation.get("parameters", ()))


def test_home_links(visited: TestClient) -> None:
    """The home page leads to the reference."""
    assert REFERENCE_PATH in Outline(visited.get("/").text).references


@pytest.mark.skipif("UPDATE_EXAMPLES" not in os.environ, reason="writes the examples anew, where it is asked to")
def test_write_examples(visited_state: ServingState, whole_rows: WholeShop, document: dict[str, Any]) -> None:
    """Write the examples anew, with short lists and round numbers."""
    client = build_client(visited_state)
    examples = dict(load_examples())
    for path, method, operation in operations(document):
        if method != "GET":
            continue
        told = examples.setdefault(operation["operationId"], {})
        for media in operation["responses"]["200"]["content"]:  # reload and unreadiness are told by hand
            params = {"customer_id": "shopper-002"} if path == "/v1/scores" else {}
            answer = client.get(path, params=params, headers={"Accept": media})
            if answer.status_code == 200:
                told[media] = _shorten(answer.json()) if media == JSON else _cut(answer.text, media)
    orders = [
        {"ordered_at": "2023-05-04", "amount": 29.33},
        {"ordered_at": "2023-08-22T14:05:00+02:00", "amount": 29.73, "order_id": "A-1"},
    ]
    customers = [{"customer_id": "c-17", "orders": orders}, {"customer_id": "c-18", "orders": []}]
    request = {"as_of": "2024-04-01", "horizons_days": [30, 365], "customers": customers}
    lines = "".join(f"{json.dumps(one)}\n" for one in customers)
    asked = {"as_of": ["2024-02-01", "2024-04-01"]}
    headers = {"Content-Type": NDJSON, "Accept": NDJSON}
    answered = client.post(SCORE_PATH, params=asked, content=lines, headers=headers).text
    examples["score"] = {
        "request": {JSON: request, NDJSON: lines},
        JSON: _shorten(client.post(SCORE_PATH, json=request).json()),
        NDJSON: "".join(f"{json.dumps(_shorten(json.loads(line)))}\n" for line in answered.splitlines()),
    }
    examples = {name: told for name, told in examples.items() if told}
    EXAMPLES.write_text(json.dumps(examples, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _shorten(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _shorten(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        is_whole = key in {"clv_by_month", "by_horizon", "flags"}
        return [_shorten(inner) for inner in (value if is_whole else value[:1])]
    return round(value, 4) if isinstance(value, float) else value


def _cut(text: str, media: str) -> str:
    if media == "text/csv":
        return "".join(text.splitlines(keepends=True)[:2])
    return text if len(text) < 500 else '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>'
