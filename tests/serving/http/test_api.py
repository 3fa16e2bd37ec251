import csv
import io
import json
import typing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from features.lifecycle.segments import SIZES
from features.lifecycle.stages import PROSPECT_STAGES, STAGES
from serving import schemas
from serving.access.keys import KeyFile, create_key
from serving.columns import SCORE_COLUMNS
from serving.cursors import encode_cursor
from serving.http.api import build_app, known_routes
from serving.http.score_routes import SCORE_PATH
from serving.schemas import Score
from serving.state import LiveState, ServingState
from tests.serving.local_client import build_client
from tests.serving.score_rows import WORDING, build_customers, build_frame, build_row, publish_rows
from training.bundle import Bundle

PUBLISHED_AT = datetime(2026, 1, 2, tzinfo=UTC)
ORDERS = [{"ordered_at": "1997-03-01", "amount": 10.0}]
REQUEST = {"as_of": "1998-01-01", "customers": [{"customer_id": "a", "orders": ORDERS}]}


@pytest.fixture
def client(state: ServingState) -> TestClient:
    """Call an insecure-local service."""
    return build_client(state)


@pytest.fixture
def published(state: ServingState) -> ServingState:
    """Describe a service with 25 published scores."""
    publish_rows(state.store, build_customers(25), published_at=PUBLISHED_AT, keep_runs=2)
    return state


def assert_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Check that an answer is a problem of the status, whole and well labelled, and return it."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = schemas.Problem.model_validate(response.json()).model_dump()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["remedy"]
    return problem


def test_stored_score(published: ServingState) -> None:
    """A stored score is returned whole, with the next stages, months and flags nested."""
    told_of_value = {
        "next_order_on_low": "1998-02-01",
        "total_value": 220.0,
        "residual_value": None,
        "clv_12m_sd": 50.0,
    }
    row = build_row("ü/1 +&", flags="short_history,fallback_bands", stage="lost", **told_of_value)
    published.store.publish(build_frame(row), published_at=PUBLISHED_AT, keep_runs=2)

    answer = build_client(published).get("/v1/scores", params={"customer_id": "ü/1 +&"})

    assert answer.status_code == 200
    score = answer.json()
    told = {"p_next_stage", "stage_label", "is_label_borrowed", "plays", "run_id", "by_horizon"}
    assert {name for name in SCORE_COLUMNS if not name.startswith("p_next_")} | told == set(score)
    assert tuple(score["p_next_stage"]) == STAGES
    assert score["flags"] == ["short_history", "fallback_bands"]
    assert score["run_id"] == 2
    assert score["by_horizon"] == [{"horizon_days": 90, "p_churn": 0.25, "expected_orders": 1.5}]
    assert (score["customer_id"], score["stage"], score["clv_by_month"]) == ("ü/1 +&", "lost", [10.0] * 12)
    assert {name: score[name] for name in told_of_value} == told_of_value


def test_unknown_customer(published: ServingState) -> None:
    """A customer without a score is a 404 that does not repeat the id."""
    answer = build_client(published).get("/v1/scores", params={"customer_id": "alice@example.org"})
    assert_problem(answer, 404)
    assert "alice" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/scores?customer_id=a", "/v1/at-risk", "/v1/stages", "/v1/stages?format=svg", "/v1/segments"),
        *("/v1/segments?format=svg", "/v1/metrics-sheet", "/v1/metrics-sheet?format=csv", "/v1/prospects"),
        "/v1/changes",
    ],
)
def test_nothing_published(client: TestClient, path: str) -> None:
    """Before the first publication, each route over the store is a 404 that names the command to run.

    It is no 503: waiting for so many seconds, as that would say, helps nobody.
    """
    problem = assert_problem(answer := client.get(path), 404)
    assert problem["type"] == "urn:lifestage:problem:nothing-published"
    assert "lifestage score" in problem["remedy"]
    assert "retry-after" not in answer.headers


def test_at_risk(published: ServingState) -> None:
    """The list is ranked, carries its run and the sums of its rows, and its cursor leads through all of it."""
    client = build_client(published)
    page = client.get("/v1/at-risk", params={"limit": 10}).json()
    values = [score["value_at_risk"] for score in page["customers"]]
    assert values == sorted(values, reverse=True)
    assert page["totals"]["value_at_risk"] == sum(values)
    assert page["totals"]["clv_12m"] == sum(score["clv_12m"] for score in page["customers"])
    assert page["totals"]["clv_12m_low"] < page["totals"]["clv_12m"] < page["totals"]["clv_12m_high"]
    assert (page["run"]["n_customers"], page["matching_customers"]) == (25, 25)

    seen = [score["customer_id"] for score in page["customers"]]
    while page["next_cursor"]:
        page = client.get("/v1/at-risk", params={"limit": 10, "cursor": page["next_cursor"]}).json()
        seen += [score["customer_id"] for score in page["customers"]]
    assert sorted(seen) == sorted(f"c{i}" for i in range(25))


def test_at_risk_filters(published: ServingState) -> None:
    """The list passes its filters on to the store."""
    rows = [build_row("a", stage="lost", size="large", p_churn=0.9), build_row("b", stage="lost", p_churn=0.9)]
    publish_rows(published.store, build_frame(*rows, build_row("c")), published_at=PUBLISHED_AT, keep_runs=2)
    client = build_client(published)

    def listed(**filters: Any) -> list[str]:
        page = client.get("/v1/at-risk", params=filters).json()
        return [score["customer_id"] for score in page["customers"]]

    assert listed(stage="lost") == ["a", "b"]
    assert listed(stage="lost", size="large") == ["a"]
    assert listed(min_p_churn=0.5) == ["a", "b"]
    assert listed(max_p_churn=0.5) == ["c"]


@pytest.mark.parametrize(
    ("accept", "is_csv"),
    [
        ("text/csv", True),
        ("TEXT/CSV; charset=utf-8", True),
        ("text/*", True),
        ("text/csv, application/json;q=0.9", True),
        ("text/csv;q=0.2, */*;q=0.1", True),
        ("text/csv, application/json;q=0, */*", True),
        ("text/csv;q=0, application/json", False),
        ("text/csv;q=0", False),
        ("text/csv;q=0.5, application/json", False),
        ("text/csv, application/json", False),
        ("text/csv, */*", False),
        ("text/csv;q=nan, application/json;q=0.1", False),
        ("text/csvx", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_accept(published: ServingState, *, accept: str, is_csv: bool) -> None:
    """CSV is given to who would rather have it than JSON, by the weights of the Accept header."""
    answer = build_client(published).get("/v1/at-risk", headers={"Accept": accept})
    assert answer.headers["content-type"] == ("text/csv; charset=utf-8" if is_csv else "application/json")


@pytest.mark.parametrize("how", [{"params": {"format": "csv"}}, {"headers": {"Accept": "text/csv"}}])
def test_at_risk_csv(published: ServingState, how: dict[str, Any]) -> None:
    """The list comes as CSV on request, with a link to the next page."""
    client = build_client(published)
    how = {**how, "params": {**how.get("params", {}), "limit": 20}}
    answer = client.get("/v1/at-risk", **how)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    following = client.get(f"/v1/at-risk{answer.links['next']['url']}", headers=how.get("headers"))
    rows += list(csv.DictReader(io.StringIO(following.text)))
    assert len({row["customer_id"] for row in rows}) == 25
    assert "next" not in following.links


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=-17", "limit"),
        ("limit=many", "limit"),
        ("stage=asleep", "stage"),
        ("size=huge", "size"),
        ("min_p_churn=7.77", "min_p_churn"),
        ("format=xml", "format"),
        (f"cursor={'x' * 2001}", "cursor"),
        (f"vocabulary={'x' * 101}", "vocabulary"),
        (f"language={'x' * 11}", "language"),
    ],
)
def test_bad_queries(published: ServingState, query: str, field: str) -> None:
    """A wrong query parameter is named, without its value."""
    answer = build_client(published).get(f"/v1/at-risk?{query}")
    assert [error["field"] for error in assert_problem(answer, 422)["errors"]] == [field]
    assert query.split("=")[1] not in answer.text


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/v1/stages", "format=csv", "format"),
        ("/v1/segments", "format=png", "format"),
        ("/v1/metrics-sheet", "format=svg", "format"),
        ("/v1/prospects", "stage=repeat", "stage"),
        ("/v1/prospects", "limit=0", "limit"),
        ("/v1/changes", "since_run=-17", "since_run"),
        ("/v1/changes", "since_run=latest", "since_run"),
        ("/v1/changes", f"since_run={2**31}", "since_run"),
        ("/v1/changes", "since_run=99", "since_run"),
        ("/v1/changes", "limit=many", "limit"),
    ],
)
def test_bad_queries_of_the_lifecycle(published: ServingState, path: str, query: str, field: str) -> None:
    """A wrong query parameter is named by the routes of the lifecycle too, without its value."""
    answer = build_client(published).get(f"{path}?{query}")
    assert [error["field"] for error in assert_problem(answer, 422)["errors"]] == [field]
    assert query.split("=")[1] not in answer.text


def test_too_long_a_list(published: ServingState) -> None:
    """A limit above the setting is refused with the number that is allowed."""
    for path in ("/v1/at-risk", "/v1/prospects", "/v1/changes"):
        problem = assert_problem(build_client(published).get(f"{path}?limit=1001"), 422)
        assert "1000" in problem["detail"]
        assert [error["field"] for error in problem["errors"]] == ["limit"]


def test_bad_cursor(published: ServingState) -> None:
    """A foreign cursor is a 422 that names it, not an internal error; also with a run that no database can hold."""
    client = build_client(published)
    positions: dict[str, dict[str, Any]] = {
        "/v1/at-risk": {"filters": dict.fromkeys(("stage", "size", "min_p_churn", "max_p_churn")), "value": 1.0},
        "/v1/prospects": {"stage": "", "p": 0.5, "is_visitor": 0},
        "/v1/changes": {"to": 1},
    }
    for path, position in positions.items():
        runs = (99, 2**31, 2**63)
        forged = [encode_cursor({"run": run, "from": run, "id": "a", **position}) for run in runs]
        for cursor in ("abc", *forged):
            problem = assert_problem(client.get(path, params={"cursor": cursor}), 422)
            assert [error["field"] for error in problem["errors"]] == ["cursor"]


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/at-risk", "/v1/prospects", "/v1/scores?customer_id=c1", "/v1/stages", "/v1/segments"),
        *("/v1/metrics-sheet", "/v1/model", "/v1/objections", "/v1/openapi.json", "/v1/reference"),
    ],
)
def test_unknown_parameters(published: ServingState, path: str) -> None:
    """A parameter that a route does not have is refused, not passed over: ours by name, another, as data, without."""
    client, joint = build_client(published), "&" if "?" in path else "?"
    problem = assert_problem(answer := client.get(f"{path}{joint}alice@example.org=1&since_run=1"), 422)
    assert [error["field"] for error in problem["errors"]] == ["(unknown parameter)", "since_run"]
    assert "alice" not in answer.text


def test_unknown_parameters_of_others(client: TestClient) -> None:
    """So it is where something is sent or changed; who asks a probe may add what is needed to get past a cache."""
    for method, path in (("POST", SCORE_PATH), ("PUT", "/v1/objections"), ("POST", "/v1/admin/reload")):
        answer = client.request(method, f"{path}?dry_run=1", json=REQUEST if path == SCORE_PATH else None)
        assert [error["field"] for error in assert_problem(answer, 422)["errors"]] == ["(unknown parameter)"]
    assert client.get("/livez?now=1").status_code == 200


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/scores?customer_id=c1&customer_id=c2", "customer_id"),
        ("/v1/at-risk?stage=lost&stage=loyal", "stage"),
        ("/v1/changes?limit=1&limit=1", "limit"),
        ("/v1/prospects?format=json&format=csv", "format"),
    ],
)
def test_repeated_parameters(published: ServingState, path: str, name: str) -> None:
    """A parameter that is no list may not come twice: nobody could tell which is meant."""
    problem = assert_problem(build_client(published).get(path), 422)
    assert problem["errors"] == [{"field": name, "remedy": "Stands several times: give it once."}]


def test_stages(published: ServingState) -> None:
    """The stage map has every stage, and its counts, and those of its labels, sum to the customers of the run."""
    answer = build_client(published).get("/v1/stages").json()
    assert [entry["stage"] for entry in answer["stages"]] == list(STAGES)
    assert sum(entry["customers"] for entry in answer["stages"]) == answer["run"]["n_customers"] == 25
    assert sum(label["customers"] for label in answer["labels"]) == 25


def test_head(client: TestClient) -> None:
    """Probes answer HEAD as they do GET; other routes say that they do not."""
    for path in ("/livez", "/readyz"):
        assert client.head(path).status_code == client.get(path).status_code
        assert "head" not in client.get("/v1/openapi.json").json()["paths"][path]
    answer = client.head("/v1/model")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_no_champion(client: TestClient) -> None:
    """Without a champion the service lives but is not ready, and says what to do where a champion is needed."""
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 503
    for answer in (client.post(SCORE_PATH, json=REQUEST), client.get("/v1/model")):
        assert "lifestage promote" in assert_problem(answer, 503)["remedy"]


def test_starting() -> None:
    """Before the state is open, the service lives, and everything else waits."""
    client = build_client(None)
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert_problem(client.get("/v1/stages"), 503)
    assert_problem(client.post(SCORE_PATH, json=REQUEST), 503)


def customer(**changes: Any) -> dict[str, Any]:
    """Build a request about one customer, with changes to the customer."""
    return {"as_of": "1998-01-01", "customers": [{"customer_id": "a", "orders": ORDERS, **changes}]}


def order(**changes: Any) -> dict[str, Any]:
    """Build a request about one order, with changes to the order."""
    return customer(orders=[{**ORDERS[0], **changes}])


def event(**changes: Any) -> dict[str, Any]:
    """Build a request about one customer with one event, with changes to the event."""
    return customer(events=[{"occurred_at": "1997-03-01", "event_type": "visit", **changes}])


@pytest.mark.parametrize(
    ("request_body", "field"),
    [
        ({**REQUEST, "as_of": "01/02/1998"}, "as_of"),
        ({**REQUEST, "as_of": "19980102"}, "as_of"),
        ({**REQUEST, "as_of": 19980102}, "as_of"),
        ({**REQUEST, "as_of": "1998-02-30"}, "as_of"),
        ({**REQUEST, "as_of": "9999-12-31"}, "as_of"),
        ({"customers": REQUEST["customers"]}, "as_of"),
        ({**REQUEST, "customers": []}, "customers"),
        ({**REQUEST, "customers": [{"customer_id": name, "orders": ORDERS} for name in ("a", " a ")]}, "customers"),
        ({**REQUEST, "alice@example.org": 1}, "(unknown field)"),
        ([], "body"),
        (customer(customer_id=" "), "customers[0].customer_id"),
        (customer(customer_id=17), "customers[0].customer_id"),
        (customer(customer_id="\ud800"), "body"),
        (customer(customer_id="a\x00b"), "customers[0].customer_id"),
        (customer(orders=None), "customers[0].orders"),
        (customer(age=44), "customers[0].(unknown field)"),
        (order(amount=-1.1e9), "customers[0].orders[0].amount"),
        (order(amount=1.1e9), "customers[0].orders[0].amount"),
        (order(amount=float("nan")), "customers[0].orders[0].amount"),
        (order(amount=float("inf")), "customers[0].orders[0].amount"),
        (order(amount="12"), "customers[0].orders[0].amount"),
        (order(amount=True), "customers[0].orders[0].amount"),
        (order(ordered_at=852076800), "customers[0].orders[0].ordered_at"),
        (order(ordered_at="852076800"), "customers[0].orders[0].ordered_at"),
        (order(ordered_at="yesterday"), "customers[0].orders[0].ordered_at"),
        (order(ordered_at="1997-03-01T25:00"), "customers[0].orders[0].ordered_at"),
        (order(ordered_at="1897-03-01"), "customers[0].orders[0].ordered_at"),
        (order(order_id=17), "customers[0].orders[0].order_id"),
        (order(order_id=""), "customers[0].orders[0].order_id"),
        (order(refund_of="a\x00b"), "customers[0].orders[0].refund_of"),
        (order(channel="c" * 201), "customers[0].orders[0].channel"),
        (order(category=["books"]), "customers[0].orders[0].category"),
        (order(quantity="2"), "customers[0].orders[0].quantity"),
        (order(quantity=1.1e9), "customers[0].orders[0].quantity"),
        (order(cost=float("inf")), "customers[0].orders[0].cost"),
        (order(currency="EUR"), "customers[0].orders[0].(unknown field)"),
        (customer(events={}), "customers[0].events"),
        (event(occurred_at="yesterday"), "customers[0].events[0].occurred_at"),
        (event(occurred_at=852076800), "customers[0].events[0].occurred_at"),
        (event(event_type=""), "customers[0].events[0].event_type"),
        (event(event_type=None), "customers[0].events[0].event_type"),
        (event(value="9"), "customers[0].events[0].value"),
        (event(value=-1.1e9), "customers[0].events[0].value"),
        (event(channel=3), "customers[0].events[0].channel"),
        (event(properties={}), "customers[0].events[0].(unknown field)"),
    ],
)
def test_bad_requests(client: TestClient, request_body: Any, field: str) -> None:
    """A wrong field is named with what to do, exactly once."""
    body = json.dumps(request_body).encode()
    answer = client.post(SCORE_PATH, content=body, headers={"Content-Type": "application/json"})
    (error,) = assert_problem(answer, 422)["errors"]
    assert error["field"] == field
    assert error["remedy"]


def test_no_echo(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the answer to a bad request nor the log repeats anything that was sent."""
    sent = "alice@example.org"
    bad_order = {"ordered_at": sent, "amount": sent, "cost": sent, sent: sent}
    bad_event = {"occurred_at": sent, "event_type": [sent], "value": sent, sent: sent}
    bad_customer = {"customer_id": [sent], "orders": [bad_order, sent], "events": [bad_event, sent]}
    body = {"as_of": sent, sent: sent, "customers": [bad_customer]}
    with caplog.at_level("DEBUG"):
        answer = client.post(SCORE_PATH, json=body)
    assert len(assert_problem(answer, 422)["errors"]) > 4
    assert "alice" not in answer.text
    assert "alice" not in caplog.text


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"as_of": ' + b"9" * 5000 + b"}"])
def test_unreadable_bodies(client: TestClient, body: bytes) -> None:
    """A body that cannot be read is the caller's problem, never an internal error."""
    answer = client.post(SCORE_PATH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert_problem(answer, answer.status_code)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_media_type(client: TestClient, content_type: str) -> None:
    """Only JSON is read."""
    answer = client.post(SCORE_PATH, content=json.dumps(REQUEST), headers={"Content-Type": content_type})
    assert_problem(answer, 415)


def test_compressed_body(client: TestClient) -> None:
    """A compressed body is refused: its real size could not be limited before it is unpacked."""
    headers = {"Content-Type": "application/json; charset=utf-8", "Content-Encoding": "gzip"}
    assert_problem(client.post(SCORE_PATH, content=b"{}", headers=headers), 415)


@pytest.mark.parametrize("declares_length", [True, False])
def test_body_limit(state: ServingState, *, declares_length: bool) -> None:
    """A body above the limit is refused before it is parsed, whether or not it declares its length."""
    client = build_client(replace(state, settings=state.settings.model_copy(update={"max_body_bytes": 1000})))
    headers = {"Content-Type": "application/json"}
    body = b"[" * 1001
    assert_problem(client.post(SCORE_PATH, content=body if declares_length else iter([body]), headers=headers), 413)
    assert client.post(SCORE_PATH, content=body[:1000], headers=headers).status_code != 413


@pytest.mark.parametrize("path", ["/nothing", "/docs", "/redoc", "/openapi.json", "/v1/scores/", "/v1/scores/alice"])
def test_unknown_routes(client: TestClient, path: str) -> None:
    """An unknown path, a documentation page among them, is a 404 problem that does not repeat the path."""
    answer = client.get(path)
    assert_problem(answer, 404)
    assert "alice" not in answer.text


@pytest.mark.parametrize(("method", "path", "allow"), [("GET", SCORE_PATH, "POST"), ("DELETE", "/v1/stages", "GET")])
def test_wrong_method(client: TestClient, method: str, path: str, allow: str) -> None:
    """A wrong method is a 405 problem that names the right one."""
    answer = client.request(method, path)
    assert_problem(answer, 405)
    assert answer.headers["allow"] == allow


def test_unexpected_error(state: ServingState, caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw is a 500 problem; the log has its place but not its words."""
    app = build_app(LiveState(state))

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError("alice@example.org")

    answer = TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 1)).get("/broken")

    assert_problem(answer, 500)
    assert "ZeroDivisionError" in caplog.text
    assert "test_api.py" in caplog.text
    assert "alice" not in answer.text + caplog.text


def test_keys(published: ServingState, tmp_path: Path) -> None:
    """With keys, every /v1 route opens to a key and to nothing else."""
    key = create_key(tmp_path / "keys.json", name="crm", created_at=PUBLISHED_AT)
    client = build_client(replace(published, keys=KeyFile(tmp_path / "keys.json")), host="shop", caller="10.1.2.3")
    paths = sorted(path for path in known_routes(build_app(LiveState())) if path.startswith("/v1/"))
    for path in [*paths, "/v1/nothing"]:
        for header in ("", key, f"Basic {key}", f"Bearer {key}x", "Bearer "):
            answer = client.get(path, headers={"Authorization": header})
            assert_problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
    for header in (f"Bearer {key}", f"bearer {key}"):
        assert client.get("/v1/stages", headers={"Authorization": header}).status_code == 200
    assert client.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("host", "caller", "status"),
    [
        ("127.0.0.1", "127.0.0.1", 200),
        ("localhost:3000", "127.0.0.1", 200),
        ("[::1]:3000", "::1", 200),
        ("127.0.0.1", "10.1.2.3", 403),
        ("evil.example", "127.0.0.1", 403),
        ("localhost.evil.example", "127.0.0.1", 403),
    ],
)
def test_insecure_local(published: ServingState, host: str, caller: str, status: int) -> None:
    """Without keys the service answers this machine alone, and not a foreign page that resolves to it."""
    client = build_client(published, caller=caller)
    assert client.get("/v1/stages", headers={"Host": host}).status_code == status


def test_safe_headers(published: ServingState) -> None:
    """Answers are neither cached nor sniffed, errors included."""
    for path in ("/v1/stages", "/", "/nothing"):
        headers = build_client(published).get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"


def test_vocabularies() -> None:
    """The API names stages and sizes as the rest of the project does."""
    assert typing.get_args(schemas.Stage) == STAGES
    assert typing.get_args(schemas.Size) == SIZES
    assert typing.get_args(schemas.ProspectStage) == PROSPECT_STAGES


def test_score_schema() -> None:
    """A score row of any stage and size fits the schema."""
    for stage in STAGES:
        for size in SIZES:
            assert Score.from_row(build_row("a", stage=stage, size=size), WORDING).stage == stage


def test_damaged_keys(published: ServingState, bundle: Bundle, tmp_path: Path) -> None:
    """Where no key can be read, the service says so, and is not ready."""
    path = tmp_path / "keys.json"
    client = build_client(replace(published, champion=bundle, keys=KeyFile(path)))
    create_key(path, name="crm", scopes=("read",), created_at=PUBLISHED_AT)
    assert client.get("/readyz").status_code == 200
    path.write_text("{", encoding="utf-8")
    for answer in (client.get("/readyz"), client.get("/v1/model", headers={"Authorization": "Bearer x"})):
        assert answer.status_code == 503
        assert "key file" in answer.json()["detail"]
