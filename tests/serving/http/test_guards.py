import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import Message, Receive, Scope, Send

from features.settings import load_settings
from serving.access.addresses import is_loopback
from serving.access.keys import KeyFile, create_key
from serving.access.rates import RateLimits
from serving.access.scopes import OPEN_PATHS, is_listed, is_write, needed_scope
from serving.http.api import build_app, known_routes
from serving.http.guards import MAX_HEADER_BYTES, MAX_URL_BYTES, KeyGuard, ProblemBoundary
from serving.state import LiveState


def answer(request: Request) -> Response:
    """Answer with the status of the query, in a foreign form."""
    status = int(request.query_params["status"])
    return JSONResponse(["foreign"], status, headers={"X-Inner": "1", "Allow": "PUT"})


def stream(_request: Request) -> Response:
    """Stream a few pieces."""
    return StreamingResponse(iter(["a", "b", "c"]))


def fine(_request: Request) -> Response:
    """Answer with no fault."""
    return PlainTextResponse("fine", headers={"Cache-Control": "max-age=5"})


def build_client(routes: dict[str, set[str]] | None = None) -> TestClient:
    """Build a client of a foreign app inside the boundary."""
    app = Starlette(routes=[Route("/answer", answer), Route("/stream", stream), Route("/fine", fine)])
    return TestClient(ProblemBoundary(app, routes))


@pytest.mark.parametrize("status", [400, 404, 405, 413, 418, 429, 500, 503, 504])
def test_foreign_errors(status: int) -> None:
    """An error that another layer worded, such as an overload or a time-out, leaves as a problem."""
    response = build_client().get(f"/answer?status={status}")
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert response.json()["status"] == status
    assert response.headers["allow"] == "PUT"
    assert "x-inner" not in response.headers
    assert ("retry-after" in response.headers) == (status in {429, 503})


@pytest.mark.parametrize(
    ("path", "text"), [("/answer?status=201", '["foreign"]'), ("/stream", "abc"), ("/fine", "fine")]
)
def test_good_answers(path: str, text: str) -> None:
    """An answer that is no error passes unchanged, with its own headers."""
    response = build_client().get(path)
    assert response.text == text
    assert response.headers["cache-control"] == ("max-age=5" if path == "/fine" else "no-store")


def test_routes() -> None:
    """A path or method that is not on the list does not reach the app."""
    client = build_client({"/fine": {"GET", "POST"}})
    assert client.get("/fine").status_code == 200
    assert client.get("/stream").json()["status"] == 404
    for method in ("PUT", "OPTIONS", "alice@example.org"):
        answer = client.request(method, "/fine")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
        assert "alice" not in answer.text


def test_long_heads() -> None:
    """A URL or headers longer than anything we ask for are refused, up to the last byte that is not."""
    client = build_client()
    rest = len("/fine") + len("a=")
    assert client.get("/fine", params={"a": "x" * (MAX_URL_BYTES - rest)}).status_code == 200
    assert client.get("/fine", params={"a": "x" * (MAX_URL_BYTES - rest + 1)}).json()["status"] == 414
    assert client.get("/fine", headers={"X-Long": "x" * (MAX_HEADER_BYTES - 500)}).status_code == 200
    assert client.get("/fine", headers={"X-Long": "x" * MAX_HEADER_BYTES}).json()["status"] == 431


def test_no_websockets() -> None:
    """A websocket is refused with a problem."""
    with pytest.raises(WebSocketDenialResponse) as refused, build_client().websocket_connect("/fine"):
        pass
    assert refused.value.json()["status"] == 404


def test_no_websockets_at_all() -> None:
    """A websocket is closed where the server has no way to tell why."""
    sent: list[Message] = []

    async def send(message: Message) -> None:  # as the protocol has it
        sent.append(message)

    async def receive() -> Message:  # likewise
        return {"type": "websocket.connect"}

    asyncio.run(ProblemBoundary(Starlette())({"type": "websocket", "path": "/fine"}, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.example", "", "2130706433")],  # noqa: S104
)
def test_loopback(host: str, *, expected: bool) -> None:
    """Only what cannot mean another machine counts as this one."""
    assert is_loopback(host) is expected


def build_guarded(tmp_path: Path, *, scopes: list[str], clock: Callable[[], float] = lambda: 0.0) -> TestClient:
    """Build a client whose key has some scopes, of an app that tells who calls."""
    key = create_key(tmp_path / "keys.json", name="crm", scopes=scopes, created_at=datetime.now(UTC))
    file, settings = KeyFile(tmp_path / "keys.json"), load_settings(overrides={"serving": {"burst_requests": 20}})

    async def tell_caller(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(str(scope.get("state", {}).get("caller")))(scope, receive, send)

    limits = RateLimits(clock=clock)
    guard = KeyGuard(tell_caller, keys=lambda: file, settings=lambda: settings.serving, limits=limits)
    return TestClient(ProblemBoundary(guard), headers={"Authorization": f"Bearer {key}"})


@pytest.mark.parametrize("scope", ["score", "read", "lists", "admin"])
def test_scopes_of_routes(tmp_path: Path, scope: str) -> None:
    """A key opens the routes of its scopes alone, admin all; the refusal names the scope that is needed."""
    client = build_guarded(tmp_path, scopes=[scope])
    for method, path in [
        ("POST", "/v1/score"),
        ("GET", "/v1/scores"),
        ("GET", "/metrics"),
        ("GET", "/v1/at-risk"),
        ("DELETE", "/v1/customers"),
        ("POST", "/v1/admin/reload"),
        ("PUT", "/v1/stages"),
        ("GET", "/anything/new"),
    ]:
        needed = needed_scope(method, path)
        answer = client.request(method, path)
        if scope in {needed, "admin"}:
            assert (answer.status_code, answer.text) == (200, "crm")
        else:
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:lifestage:problem:scope-missing")
            assert f"scope {needed}; yours has {scope}" in answer.json()["detail"]
            assert f'scope="{needed}"' in answer.headers["www-authenticate"]


def test_open_paths(tmp_path: Path) -> None:
    """Probes and the page that explains keys need none; nothing else is open."""
    client = build_guarded(tmp_path, scopes=["read"])
    client.headers.clear()
    assert {
        path for path in ("/", "/livez", "/readyz", "/metrics", "/v1/scores", "/docs") if client.get(path).is_success
    } == {
        "/",
        "/livez",
        "/readyz",
    }


def test_every_route_has_a_scope() -> None:
    """No route of the app is without a scope of its own, and all that are not open need one."""
    routes = {(method, path) for path, methods in known_routes(build_app(LiveState())).items() for method in methods}
    unlisted = {(method, path) for method, path in routes if not is_listed(method, path)}
    assert unlisted == set()
    assert {path for _, path in routes if path in OPEN_PATHS} == OPEN_PATHS


def test_writes() -> None:
    """What changes something is known from its route; scoring changes nothing."""
    assert is_write("DELETE", "/v1/customers")
    assert is_write("POST", "/v1/admin/reload")
    assert not is_write("POST", "/v1/score")
    assert not is_write("GET", "/v1/objections")


def test_rate_of_a_key(tmp_path: Path) -> None:
    """A key that is used too fast is asked to wait, in whole seconds; another key, and probes, are not."""
    now = [0.0]
    client = build_guarded(tmp_path, scopes=["read"], clock=lambda: now[0])
    assert [client.get("/v1/scores").status_code for _ in range(21)] == [200] * 20 + [429]
    answer = client.get("/v1/at-risk")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert client.get("/livez").status_code == 200
    other = create_key(tmp_path / "keys.json", name="shop", created_at=datetime.now(UTC))
    assert client.get("/v1/scores", headers={"Authorization": f"Bearer {other}"}).status_code == 200
    now[0] += 1.0
    assert client.get("/v1/scores").status_code == 200


def test_wrong_keys(tmp_path: Path) -> None:
    """Trying wrong keys is slowed down, and does not keep a right one from the same address out."""
    client = build_guarded(tmp_path, scopes=["read"])
    statuses = [client.get("/v1/scores", headers={"Authorization": "Bearer wrong"}).status_code for _ in range(200)]
    assert (statuses[0], statuses[-1]) == (401, 429)
    assert sorted(set(statuses)) == [401, 429]
    assert client.get("/v1/scores").status_code == 200


def test_damaged_keys(tmp_path: Path) -> None:
    """While the key file is damaged nobody gets in, and the answer is a problem."""
    client = build_guarded(tmp_path, scopes=["read"])
    (tmp_path / "keys.json").write_text("damaged", encoding="utf-8")
    assert client.get("/v1/scores").json()["status"] == 503
    assert client.get("/livez").status_code == 200
