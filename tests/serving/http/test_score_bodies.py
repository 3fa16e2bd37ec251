"""Several dates and horizons, JSON and NDJSON: each score as if asked alone, and exactly that of the batch."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import httpx
import polars as pl
import pytest
from starlette.testclient import TestClient

from features.records import Records
from features.snapshot import to_day
from serving.http.bodies import NDJSON
from serving.http.score_bodies import MAX_TOLD_ERRORS
from serving.scoring import score_records
from serving.state import ServingState
from tests.serving.local_client import build_client
from tests.serving.score_rows import publish_rows
from tests.serving.test_live import build_request
from training.bundle import Bundle

DATES = (date(1997, 10, 1), date(1998, 4, 1), date(1998, 7, 1))
HORIZONS = (1, 30, 45, 90, 180, 365, 730)
ASKED = {"as_of": "1998-04-01", "horizons_days": [30, 365]}
LINE = {"customer_id": "a", "orders": [{"ordered_at": "1997-03-01", "amount": 10.0}]}


@pytest.fixture
def client(state: ServingState, bundle: Bundle) -> TestClient:
    """Call a service whose champion is loaded."""
    return build_client(replace(state, champion=bundle))


def send_lines(client: TestClient, body: bytes | str, *, accept: str = NDJSON, **params: Any) -> httpx.Response:
    """Send lines, with dates and horizons in the query."""
    headers = {"Content-Type": NDJSON, "Accept": accept}
    answer: httpx.Response = client.post("/v1/score", params=params or ASKED, content=body, headers=headers)
    return answer


def as_lines(request: dict[str, Any]) -> str:
    """Write the customers of a request as lines."""
    return "".join(f"{json.dumps(customer)}\n" for customer in request["customers"])


def test_dates(client: TestClient, bundle: Bundle, cdnow_orders: pl.DataFrame) -> None:
    """Many customers at several dates get what the batch of each date gives them, to 1e-12, in the order asked."""
    ids = [f"cdnow-{number:04}" for number in range(1, 121)]
    request = {**build_request(cdnow_orders, ids, as_of=DATES[0]), "as_of": [day.isoformat() for day in DATES]}
    answer = client.post("/v1/score", json=request).json()
    assert answer["as_of"] == request["as_of"]
    told = {(score["customer_id"], score["as_of"]): score for score in answer["scores"]}
    assert [*told] == [(one, day) for one in ids for day in answer["as_of"] if (one, day) in told]
    n_scores = 0
    for day in DATES:
        batch = score_records(bundle, Records.wrap(cdnow_orders), cutoff_day=to_day(day))
        for row in batch.filter(pl.col("customer_id").is_in(ids)).iter_rows(named=True):
            score = told[row["customer_id"], day.isoformat()]
            numbers = {name: value for name, value in row.items() if isinstance(value, float) and name in score}
            assert len(numbers) > 10
            assert {name: score[name] for name in numbers} == pytest.approx(numbers, rel=1e-12, abs=1e-12)
            assert score["by_horizon"][0]["p_churn"] == pytest.approx(row["p_churn"], abs=1e-12)
            n_scores += 1
    assert n_scores == len(told)
    assert len(told) + len(answer["not_scored"]) == len(ids) * len(DATES)


def test_published_date(client: TestClient, state: ServingState, bundle: Bundle, cdnow_orders: pl.DataFrame) -> None:
    """A score of the published run is the score of a request about its date."""
    [day] = DATES[1:2]
    batch = score_records(bundle, Records.wrap(cdnow_orders), cutoff_day=to_day(day))
    publish_rows(state.store, batch, published_at=datetime(2026, 1, 2, tzinfo=UTC), keep_runs=1)
    ids = [f"cdnow-{number:04}" for number in range(1, 21)]
    asked = client.post("/v1/score", json=build_request(cdnow_orders, ids, as_of=day)).json()["scores"]
    stored = [client.get("/v1/scores", params={"customer_id": one}).json() for one in ids]
    assert [{**score, "run_id": None} for score in stored] == asked


def test_alone(client: TestClient, cdnow_orders: pl.DataFrame) -> None:
    """A date, and a horizon, change nothing of each other."""
    request = build_request(cdnow_orders, ["cdnow-0001", "cdnow-0002"], as_of=DATES[0])
    together = {**request, "as_of": [day.isoformat() for day in DATES], "horizons_days": list(HORIZONS)}
    for score in client.post("/v1/score", json=together).json()["scores"]:
        customers = [one for one in request["customers"] if one["customer_id"] == score["customer_id"]]
        alone = {"as_of": score["as_of"], "customers": customers, "horizons_days": [45]}
        [told] = client.post("/v1/score", json=alone).json()["scores"]
        by_days = {at["horizon_days"]: at for at in score["by_horizon"]}
        assert told["by_horizon"] == [by_days[45], by_days[90]]
        assert {**told, "by_horizon": score["by_horizon"]} == score


def test_horizons(client: TestClient, cdnow_orders: pl.DataFrame) -> None:
    """Horizons agree with the other figures, p_churn never rises with the days, and expected orders never fall."""
    ids = [f"cdnow-{number:04}" for number in range(1, 200)]
    request = {**build_request(cdnow_orders, ids, as_of=DATES[1]), "horizons_days": list(HORIZONS[::-1])}
    for score in client.post("/v1/score", json=request).json()["scores"]:
        told = {at["horizon_days"]: at for at in score["by_horizon"]}
        assert tuple(told) == HORIZONS
        own = told[score["horizon_days"]]
        assert (own["p_churn"], own["expected_orders"]) == (score["p_churn"], score["expected_orders"])
        for days in (30, 90, 180):
            assert told[days]["p_churn"] == pytest.approx(score[f"p_churn_{days}d"], abs=1e-12)
        for shorter, longer in pairwise(HORIZONS):
            assert told[longer]["p_churn"] <= told[shorter]["p_churn"] + 1e-12
            assert told[longer]["expected_orders"] >= told[shorter]["expected_orders"] - 1e-12
        for at in told.values():
            assert at["expected_orders"] >= 1.0 - at["p_churn"] - 1e-9


def test_own_horizon(client: TestClient) -> None:
    """Without further horizons, the model's own is told alone, asked for or not."""
    for asked in (None, [], [90], [90.0]):
        options = {} if asked is None else {"horizons_days": asked}
        answer = client.post("/v1/score", json={"as_of": "1998-04-01", "customers": [LINE], **options})
        [score] = answer.json()["scores"]
        assert [at["horizon_days"] for at in score["by_horizon"]] == [90]


def test_forms_agree(client: TestClient, cdnow_orders: pl.DataFrame) -> None:
    """JSON and NDJSON, in and out, hold the same scores in the same order, and every line stands for itself."""
    request = build_request(cdnow_orders, ["cdnow-0002", "cdnow-0001"], as_of=DATES[0])
    request["customers"].insert(1, {"customer_id": "later", "orders": []})
    asked: dict[str, Any] = {"as_of": [day.isoformat() for day in DATES], "horizons_days": [30, 365]}
    whole = client.post("/v1/score", json={**request, **asked}).json()
    lines = send_lines(client, as_lines(request), **asked)
    assert lines.headers["content-type"] == NDJSON
    assert lines.headers["lifestage-as-of"] == ",".join(asked["as_of"])
    assert lines.headers["lifestage-model"] == whole["model_version"]
    assert client.post("/v1/score", json={**request, **asked}, headers={"Accept": NDJSON}).text == lines.text
    assert send_lines(client, as_lines(request), accept="application/json", **asked).json() == whole
    told = [json.loads(line) for line in lines.text.splitlines()]
    assert [line for line in told if "stage" in line] == whole["scores"]
    shared = ("horizon_days", "model_version", "catalogue_hash", "run_id", "flags")
    others = [line for line in told if "reason" in line]
    assert others == [{**one, **{name: whole[name] for name in shared}} for one in whole["not_scored"]]
    order = [(customer["customer_id"], day) for customer in request["customers"] for day in asked["as_of"]]
    assert [(line["customer_id"], line["as_of"]) for line in told] == order


@pytest.mark.parametrize(
    "dress",
    [
        lambda text: text.rstrip("\n"),
        lambda text: f"\ufeff{text}",
        lambda text: text.replace("\n", "\r\n"),
        lambda text: f"\n \n{text}\n\t\r\n",
    ],
    ids=["no last newline", "byte order mark", "CRLF", "blank lines"],
)
def test_dress(client: TestClient, dress: Any) -> None:
    """How lines are dressed makes no difference; a byte order mark before JSON makes none either."""
    text = as_lines({"customers": [LINE, {**LINE, "customer_id": "b"}]})
    plain = send_lines(client, text)
    assert plain.status_code == 200
    assert send_lines(client, dress(text).encode()).text == plain.text
    body = ("\ufeff" + json.dumps({**ASKED, "customers": [LINE]})).encode()
    answer = client.post("/v1/score", content=body, headers={"Content-Type": "application/json"})
    assert answer.json()["scores"] == [json.loads(plain.text.splitlines()[0])]


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        (['{"customer_id": "a", "orders": [{"ordered_at": "1997-03-01", "amount": "x"}]}'], ["orders[0].amount"]),
        (["{"], [""]),
        (['"a"'], [""]),
        (['{"customer_id": "b", "alice": 1}'], ["orders", "(unknown field)"]),
        ([json.dumps(LINE)], ["customer_id"]),
        (["\x00"], [""]),
    ],
)
def test_wrong_lines(client: TestClient, lines: list[str], fields: list[str]) -> None:
    """What is wrong is told with its line and field, never with its value; a customer may stand only once."""
    answer = send_lines(client, "\n".join([json.dumps(LINE), "", *lines]))
    assert answer.status_code == 422
    told = [error["field"] for error in answer.json()["errors"]]
    assert told == [f"line 3: {field}" if field else "line 3" for field in fields]
    assert "alice" not in answer.text


def test_many_wrong_lines(client: TestClient) -> None:
    """Of many wrong lines, so many are told as can be read."""
    answer = send_lines(client, "{\n" * 900)
    assert len(answer.json()["errors"]) == MAX_TOLD_ERRORS


@pytest.mark.parametrize(
    ("begin", "item", "end", "n_told"),
    [
        (b'{"as_of":"1998-01-01","customers":[', b"{}", b"]}", 2),
        (b'{"as_of":"1998-01-01","customers":[{"customer_id":"a","orders":[', b"{}", b"]}]}", 2),
        (b'{"as_of":[', b"1", b'],"customers":[]}', 2),
        (b'{"as_of":"1998-01-01","horizons_days":[', b"0", b'],"customers":[]}', 2),
        (b"{", b'"alice%d":1', b"}", 1),
    ],
)
def test_heaps_of_errors(client: TestClient, begin: bytes, item: bytes, end: bytes, n_told: int) -> None:
    """A body that is wrong in countless places is refused by the first of them, or by their number."""
    items = [item % i if b"%d" in item else item for i in range(20_000)]
    body = begin + b",".join(items) + end
    answer = client.post("/v1/score", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == n_told
    assert "alice" not in answer.text


@pytest.mark.parametrize(
    ("asked", "field", "told"),
    [
        ({"as_of": []}, "as_of", "required"),
        ({"as_of": "yesterday"}, "as_of", "date such as"),
        ({"as_of": ["1998-01-01"] * 2}, "as_of", "only once"),
        ({"as_of": [f"1998-01-{day:02}" for day in range(1, 14)]}, "as_of", "at most 12"),
        ({**ASKED, "horizons_days": [0]}, "horizons_days[0]", "greater than or equal to 1"),
        ({**ASKED, "horizons_days": [731]}, "horizons_days", "730"),
        ({**ASKED, "horizons_days": [30, 30]}, "horizons_days", "only once"),
        ({**ASKED, "horizons_days": list(range(1, 14))}, "horizons_days", "at most 12"),
    ],
)
def test_wrong_options(client: TestClient, asked: dict[str, Any], field: str, told: str) -> None:
    """Wrong dates and horizons are refused alike, in the query of NDJSON and in the body of JSON."""
    empty = asked["as_of"] == []
    whole = client.post("/v1/score", json={**asked, "customers": [LINE]})
    for answer in (whole, send_lines(client, json.dumps(LINE), **asked)):
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert error["field"] == field
        assert told in error["remedy"] or empty


def test_options_of_json(client: TestClient) -> None:
    """Dates and horizons beside a JSON body are refused, not passed over."""
    answer = client.post("/v1/score", params={"as_of": "1998-04-01"}, json={**ASKED, "customers": [LINE]})
    [error] = answer.json()["errors"]
    assert (error["field"], error["remedy"]) == ("as_of", "Must stand in the body of a JSON request.")


def test_line_limit(state: ServingState, bundle: Bundle) -> None:
    """More lines than customers are allowed are refused before any is read, and no line at all is too."""
    few = state.settings.model_copy(update={"max_customers_per_request": 2})
    client = build_client(replace(state, champion=bundle, settings=few))
    for body, told in ((b"{\n" * 3, "at most 2"), (b"\n\n", "a customer per line"), (b"", "a customer per line")):
        [error] = send_lines(client, body).json()["errors"]
        assert error["field"] == "body"
        assert told in error["remedy"]
