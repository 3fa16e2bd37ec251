import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from serving.guards import ProblemBoundary, is_loopback


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


def build_client(paths: set[str] | None = None) -> TestClient:
    """Build a client of a foreign app inside the boundary."""
    app = Starlette(routes=[Route("/answer", answer), Route("/stream", stream), Route("/fine", fine)])
    return TestClient(ProblemBoundary(app, paths))


@pytest.mark.parametrize("status", [400, 404, 405, 413, 418, 429, 500, 503, 504])
def test_foreign_errors(status: int) -> None:
    """An error that another layer worded, such as an overload or a time-out, leaves as a problem."""
    response = build_client().get(f"/answer?status={status}")
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert response.json()["status"] == status
    assert response.headers["allow"] == "PUT"
    assert "x-inner" not in response.headers
    assert ("retry-after" in response.headers) == (status == 429)


@pytest.mark.parametrize(
    ("path", "text"), [("/answer?status=201", '["foreign"]'), ("/stream", "abc"), ("/fine", "fine")]
)
def test_good_answers(path: str, text: str) -> None:
    """An answer that is no error passes unchanged, with its own headers."""
    response = build_client().get(path)
    assert response.text == text
    assert response.headers["cache-control"] == ("max-age=5" if path == "/fine" else "no-store")


def test_paths() -> None:
    """A path that is not on the list does not reach the app."""
    client = build_client({"/fine"})
    assert client.get("/fine").status_code == 200
    assert client.get("/stream").json()["status"] == 404


def test_no_websockets() -> None:
    """A websocket is closed at the door."""
    with pytest.raises(WebSocketDisconnect), build_client().websocket_connect("/fine"):
        pass


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.example", "", "2130706433")],  # noqa: S104
)
def test_loopback(host: str, *, expected: bool) -> None:
    """Only what cannot mean another machine counts as this one."""
    assert is_loopback(host) is expected
