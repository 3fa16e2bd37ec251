from dataclasses import replace
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient

from serving.http.api import build_app
from serving.http.bare import BareRoutes
from serving.http.guards import ProblemBoundary
from serving.http.problems import answer_with_problems
from serving.http.queries import StrictRoute, describe_query
from serving.http.score_routes import _ScoresQuery
from serving.state import LiveState, ServingState
from training.bundle import Bundle

ERRORS = {
    "404": HTTPException(404, "No such score."),
    "500": ZeroDivisionError("alice@example.org"),
    "504": TimeoutError("alice@example.org"),
}


def build_errant() -> tuple[FastAPI, BareRoutes]:
    """Build an app with a bare route that raises what its query names, and the short way to it."""
    app = FastAPI()
    app.router.route_class = StrictRoute
    answer_with_problems(app)

    @app.get("/v1/errant", openapi_extra=describe_query(_ScoresQuery))
    async def errant(request: Request) -> Response:
        raise ERRORS[request.query_params["customer_id"]]

    return app, BareRoutes(app, app.routes)


def test_which_are_bare() -> None:
    """The two routes that are asked most take the short way; no route that writes does."""
    bare = {
        (method, route.path)
        for route in build_app(LiveState()).routes
        if isinstance(route, StrictRoute) and route.get_bare_handler() is not None
        for method in route.methods or ()
    }
    assert bare == {("POST", "/v1/score"), ("GET", "/v1/scores")}


@pytest.mark.parametrize("query", ["customer_id=404", "customer_id=404&customer_id=404", "id=1"])
def test_same_problems(query: str) -> None:
    """Errors are the same problems on the short way as on FastAPI's."""
    long, short = (TestClient(app).get(f"/v1/errant?{query}") for app in build_errant())
    assert short.status_code == long.status_code in {404, 422}
    assert (short.json(), short.headers) == (long.json(), long.headers)


@pytest.mark.parametrize("status", [500, 504])
def test_unforeseen(status: int) -> None:
    """An error that nobody foresaw passes on to the boundary on either way, which answers it alike."""
    path = f"/v1/errant?customer_id={status}"
    with pytest.raises(type(ERRORS[str(status)])):
        TestClient(build_errant()[1]).get(path)
    long, short = (TestClient(ProblemBoundary(app)).get(path) for app in build_errant())
    assert short.status_code == long.status_code == short.json()["status"] == status
    assert (short.json(), short.headers) == (long.json(), long.headers)
    assert "alice" not in short.text


def test_no_writes() -> None:
    """What changes something is passed on to the guards of writes, however bare its route is."""
    app = FastAPI()
    app.router.route_class = StrictRoute

    @app.api_route("/v1/admin/errant", methods=["GET", "POST"])
    async def errant(request: Request) -> Response:
        return PlainTextResponse(f"{request.method} was bare")

    client = TestClient(BareRoutes(PlainTextResponse("passed on"), app.routes))
    assert client.get("/v1/admin/errant").text == "GET was bare"
    assert client.post("/v1/admin/errant").text == "passed on"


def test_same_answers(state: ServingState, bundle: Bundle) -> None:
    """The short way gives the same answer as FastAPI's own."""
    app = build_app(LiveState(replace(state, champion=bundle)))
    orders = [{"ordered_at": f"1997-{month:02}-05", "amount": 10.0} for month in range(1, 9)]
    asked: dict[str, Any] = {"as_of": "1998-01-01", "customers": [{"customer_id": "c", "orders": orders}]}
    short = TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50_000)).post("/v1/score", json=asked)
    long = TestClient(app.answer).post("/v1/score", json=asked)
    assert short.status_code == long.status_code == 200
    assert short.json() == long.json()


def test_not_bare() -> None:
    """A route for which FastAPI reads a parameter, or writes the answer, is left to it."""
    router = APIRouter(route_class=StrictRoute)

    @router.get("/a")
    async def reads(request: Request, number: int) -> Response:
        return Response(f"{number} {request.url}")

    @router.get("/b")
    async def returns(request: Request) -> dict[str, str]:
        return dict(request.headers)

    @router.get("/c")
    def waits(request: Request) -> Response:
        return Response(str(request.url))

    assert [route.get_bare_handler() for route in router.routes if isinstance(route, StrictRoute)] == [None] * 3
