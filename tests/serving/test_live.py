import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from starlette.testclient import TestClient

from features.records import Records
from features.snapshot import to_date
from serving.environment import HOME_VARIABLE, INSECURE_LOCAL_VARIABLE
from serving.http.bodies import NDJSON
from serving.live import NO_ORDER
from serving.schemas import Score
from serving.scoring import score_records
from serving.state import ServingState, open_state
from tests.serving.local_client import build_client
from tests.serving.score_rows import WORDING
from training.bundle import Bundle
from training.promotion.champion import Promotion, append_promotion, read_champion

AS_OF = date(1998, 4, 1)


@pytest.fixture
def client(state: ServingState, bundle: Bundle) -> TestClient:
    """Call a service whose champion is loaded."""
    return build_client(replace(state, champion=bundle))


def build_request(orders: pl.DataFrame, customer_ids: list[str], *, as_of: date) -> dict[str, Any]:
    """Build a request about some customers, with all their orders, youngest first."""
    rows = orders.with_columns(
        ordered_at=pl.col("ordered_at").dt.to_string("%Y-%m-%dT%H:%M:%SZ"), amount=pl.col("amount_micros") / 1e6
    ).reverse()
    customers = [
        {
            "customer_id": customer_id,
            "orders": rows.filter(customer_id=customer_id).select("ordered_at", "amount").to_dicts(),
        }
        for customer_id in customer_ids
    ]
    return {"as_of": as_of.isoformat(), "customers": customers}


def post(client: TestClient, request: dict[str, Any]) -> dict[str, Any]:
    """Ask for scores and return the answer."""
    answer: httpx.Response = client.post("/v1/score", json=request)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_request_equals_batch(client: TestClient, bundle: Bundle, cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """A customer scored from a request gets exactly the score of the batch, in every column."""
    batch = score_records(bundle, Records.wrap(cdnow_orders), cutoff_day=end_day)
    sample = batch.sample(40, seed=1)
    request = build_request(cdnow_orders, sample["customer_id"].to_list(), as_of=to_date(end_day))

    answer = post(client, request)

    expected = [Score.from_row(row, WORDING).model_dump() for row in sample.iter_rows(named=True)]
    assert answer["scores"] == expected
    assert answer["not_scored"] == []
    assert (answer["horizon_days"], answer["model_version"]) == (bundle.manifest.horizon_days, bundle.manifest.version)


def test_one_at_a_time(client: TestClient, cdnow_orders: pl.DataFrame) -> None:
    """A customer's score does not depend on who else is in the request."""
    ids = [f"cdnow-{number:04}" for number in range(1, 9)]
    together = post(client, build_request(cdnow_orders, ids, as_of=AS_OF))["scores"]
    alone = [post(client, build_request(cdnow_orders, [customer_id], as_of=AS_OF))["scores"][0] for customer_id in ids]
    assert alone == together


def test_refund(client: TestClient) -> None:
    """A refund lowers what a customer was worth, by what its order held, and is no order of its own."""
    orders = [{"ordered_at": "1997-02-01", "amount": 30, "order_id": "a"}, {"ordered_at": "1998-01-01", "amount": 20}]
    refunds = {
        "none": [],
        "named": [{"ordered_at": "1998-02-01", "amount": -10, "refund_of": "a"}],
        "too much": [{"ordered_at": "1998-02-01", "amount": -45, "refund_of": "a"}],
        "later": [{"ordered_at": "1998-04-01", "amount": -10, "refund_of": "a"}],
        "alone": [{"ordered_at": "1996-02-01", "amount": -10}],
    }
    customers = [{"customer_id": name, "orders": orders + rows} for name, rows in refunds.items()]
    scores = post(client, {"as_of": AS_OF.isoformat(), "customers": customers})["scores"]
    assert {score["customer_id"]: score["historic_value"] for score in scores} == {
        "none": 50.0,
        "named": 40.0,
        "too much": 20.0,
        "later": 50.0,
        "alone": 50.0,
    }
    assert len({(score["stage"], score["stage_since"], score["rfm"][1]) for score in scores}) == 1


def test_bad_rows(client: TestClient) -> None:
    """What can only be seen from several rows, or of a type of event, is refused with its place and without an echo."""
    fine = {"customer_id": "before", "orders": [{"ordered_at": "1998-01-01", "amount": 1}] * 3}
    huge = [{"ordered_at": "1998-01-01", "amount": 1e9}] * 9_300
    early = [*fine["orders"], {"ordered_at": "1970-01-01T00:00:00+14:00", "amount": 1}]
    cost = [{"occurred_at": "1998-01-01", "event_type": "marketing_cost", "channel": "alice@example.org"}]
    blank = [{"occurred_at": "1998-01-01", "event_type": " "}]
    for told, field, customer in (
        ("sum to more than", "orders", {"orders": huge}),
        ("Order 4: ", "orders[3].ordered_at", {"orders": early}),
        ("Event 1: ", "events[0].value", {"orders": [], "events": cost}),
        ("Event 1: ", "events[0].event_type", {"orders": [], "events": blank}),
    ):
        customers = [fine, {"customer_id": "alice@example.org", **customer}]
        answer = client.post("/v1/score", json={"as_of": "1998-04-01", "customers": customers})
        assert answer.status_code == 422
        assert told in answer.json()["detail"]
        assert [error["field"] for error in answer.json()["errors"]] == [f"customers[1].{field}"]
        lines = "\n\n".join(map(json.dumps, customers))
        in_lines = {"Content-Type": NDJSON}
        of_lines = client.post("/v1/score?as_of=1998-04-01", content=lines, headers=in_lines)
        assert [error["field"] for error in of_lines.json()["errors"]] == [f"line 3: {field}"]
        assert "alice" not in answer.text + of_lines.text


def test_later_orders(client: TestClient, cdnow_orders: pl.DataFrame) -> None:
    """Orders on or after the as-of date change nothing."""
    request = build_request(cdnow_orders, ["cdnow-0001", "cdnow-0002"], as_of=AS_OF)
    before = post(client, request)
    for customer in request["customers"]:
        customer["orders"] += [{"ordered_at": "1998-04-01", "amount": 99}, {"ordered_at": "2024-01-01", "amount": 1}]
    assert post(client, request) == before


def test_not_scored(client: TestClient, cdnow_orders: pl.DataFrame) -> None:
    """A customer without an order before the as-of date is listed with the reason, and nobody is lost."""
    request = build_request(cdnow_orders, ["cdnow-0001"], as_of=AS_OF)
    request["customers"] += [
        {"customer_id": "nothing yet", "orders": []},
        {"customer_id": "later", "orders": [{"ordered_at": "1998-04-01", "amount": 5}]},
    ]
    answer = post(client, request)
    assert [score["customer_id"] for score in answer["scores"]] == ["cdnow-0001"]
    assert answer["not_scored"] == [
        {"customer_id": customer_id, "as_of": "1998-04-01", "reason": NO_ORDER}
        for customer_id in ("nothing yet", "later")
    ]


def test_nobody_to_score(client: TestClient) -> None:
    """A request in which nobody has ordered is answered, without scores."""
    answer = post(client, {"as_of": "1998-04-01", "customers": [{"customer_id": "a", "orders": []}]})
    assert answer["scores"] == []
    assert len(answer["not_scored"]) == 1


def test_coherence(client: TestClient, cdnow_orders: pl.DataFrame) -> None:
    """The next stages sum to 1, the months to the value, and the value at risk is churn times value."""
    ids = [f"cdnow-{number:04}" for number in range(1, 200)]
    for score in post(client, build_request(cdnow_orders, ids, as_of=AS_OF))["scores"]:
        assert sum(score["p_next_stage"].values()) == pytest.approx(1.0, abs=1e-9)
        assert sum(score["clv_by_month"]) == pytest.approx(score["clv_12m"], rel=1e-9, abs=1e-9)
        assert score["value_at_risk"] == pytest.approx(score["p_churn"] * score["clv_12m"])


@pytest.mark.parametrize("as_of", ["1970-01-01", "2099-12-31"])
def test_far_dates(client: TestClient, as_of: str) -> None:
    """The first and last dates that are accepted are also answered."""
    orders = [{"ordered_at": "1970-01-01T00:00:00+00:00", "amount": 1e9}, {"ordered_at": "2099-12-30", "amount": 0}]
    post(client, {"as_of": as_of, "customers": [{"customer_id": "a", "orders": orders}]})


def test_request_limits(state: ServingState, bundle: Bundle) -> None:
    """Too many customers, or too many orders or events of one, are refused with the number that is allowed."""
    few = state.settings.model_copy(update={"max_customers_per_request": 1, "max_orders_per_customer": 2})
    client = build_client(replace(state, champion=bundle, settings=few))
    order = {"ordered_at": "1998-01-01", "amount": 1}
    two_customers = [{"customer_id": name, "orders": []} for name in "ab"]
    three_orders = [{"customer_id": "a", "orders": [order] * 3}]
    event = {"occurred_at": "1998-01-01", "event_type": "visit"}
    three_events = [{"customer_id": "a", "orders": [order], "events": [event] * 3}]
    refused = (
        (two_customers, "customers", "at most 1 "),
        (three_orders, "customers[0].orders", "at most 2 "),
        (three_events, "customers[0].events", "at most 2 "),
    )
    for customers, field, allowed in refused:
        answer = client.post("/v1/score", json={"as_of": "1998-04-01", "customers": customers})
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert error["field"] == field
        assert allowed in error["remedy"]


def test_ready(client: TestClient) -> None:
    """With a champion loaded the service is ready."""
    assert client.get("/readyz").status_code == 200


def test_model_card(client: TestClient, bundle: Bundle) -> None:
    """The model card names version, window, thresholds, every feature that it reads, and the flag codes."""
    card = client.get("/v1/model").json()
    manifest = bundle.manifest
    assert (card["version"], card["trained_as_of"]) == (manifest.version, manifest.trained_as_of)
    assert card["stage_thresholds"] == manifest.stage_rule
    assert [feature["name"] for feature in card["features"]] == list(bundle.model.features)
    assert all(feature["unit"] and feature["meaning"] and feature["needs"] for feature in card["features"])
    assert all(card["flags"].values())
    assert all(card[name] for name in ("intended_use", "not_for", "limits"))
    assert card["promotion"] is None


def test_forced_on_card(champion_home: Path, tmp_path: Path) -> None:
    """The card of a champion that was forced says so: when, why, and what the gate had objected."""
    home = Path(shutil.copytree(champion_home, tmp_path / "home"))
    version = read_champion(home).name
    append_promotion(
        home,
        Promotion(
            version,
            at="1998-07-02T00:00:00+00:00",
            reason="forced: the season moved",
            is_forced=True,
            force_reason="the season moved",
            objections=("churn: loses to bg_nbd",),
        ),
    )
    state = open_state({HOME_VARIABLE: str(home), INSECURE_LOCAL_VARIABLE: "1"})
    with state.store:
        card = build_client(state).get("/v1/model").json()
    assert card["version"] == version
    assert card["promotion"] == {
        "at": "1998-07-02T00:00:00+00:00",
        "reason": "forced: the season moved",
        "is_rollback": False,
        "is_forced": True,
        "force_reason": "the season moved",
        "objections": ["churn: loses to bg_nbd"],
    }
