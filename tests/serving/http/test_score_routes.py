"""The routes that callers ask most often: how much they take on at once, and that the way makes no difference."""

from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.state import ServingState
from tests.serving.local_client import build_client
from training.bundle import Bundle

DATES = ["1998-01-01", "1998-04-01"]


@pytest.fixture
def scoring_state(state: ServingState, bundle: Bundle) -> ServingState:
    """A service whose champion is loaded."""
    return replace(state, champion=bundle)


@pytest.fixture
def client(scoring_state: ServingState) -> TestClient:
    """Call it."""
    return build_client(scoring_state)


def ask(n_customers: int, *, dates: Any = DATES[0], blanks: int = 0) -> dict[str, Any]:
    """Build a request; blanks in an id make its body larger, and mean nothing."""
    orders = [{"ordered_at": f"1997-{month:02}-05", "amount": 10.0 + month} for month in range(1, 13)]
    customers = [
        {"customer_id": f"c{number}{' ' * blanks}", "orders": orders[number % 3 :]} for number in range(n_customers)
    ]
    return {"as_of": dates, "customers": customers}


@pytest.mark.parametrize("customers", [16, 17, 60])
def test_any_way(client: TestClient, customers: int) -> None:
    """Few customers, more of them, and a long body get the same scores."""
    alone = [client.post("/v1/score", json=ask(3)).json()["scores"][number] for number in range(3)]
    told = client.post("/v1/score", json=ask(customers, blanks=150)).json()["scores"]
    without_id = [{**score, "customer_id": ""} for score in told]
    assert without_id == [{**alone[number % 3], "customer_id": ""} for number in range(customers)]


def test_too_many_scores(scoring_state: ServingState) -> None:
    """Customers × dates are limited, and the refusal says by how much."""
    limited = replace(scoring_state, settings=scoring_state.settings.model_copy(update={"max_scores_per_request": 3}))
    client = build_client(limited)
    assert client.post("/v1/score", json=ask(3)).status_code == 200
    refused = client.post("/v1/score", json=ask(2, dates=DATES))
    assert refused.status_code == 422
    assert "4 scores" in refused.json()["detail"]
    assert "at most 3" in refused.json()["detail"]
    assert [error["field"] for error in refused.json()["errors"]] == ["customers"]


@pytest.mark.parametrize("customer_id", ["a\0b", " ", "", "x" * 201])
def test_no_customer_id(client: TestClient, customer_id: str) -> None:
    """What no customer is called is refused by name of the parameter, and not repeated."""
    refused = client.get("/v1/scores", params={"customer_id": customer_id})
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == ["customer_id"]


@pytest.mark.parametrize("moment", ["1998-13-01 c-4711 jane", "2026-02-30", "1998-01-01T25:00:00", "0001-01-01"])
def test_moment_is_not_repeated(client: TestClient, moment: str) -> None:
    """What is no time stamp is refused by its place, whatever it holds."""
    request = ask(1)
    request["customers"][0]["orders"] = [{"ordered_at": moment, "amount": 5}]
    refused = client.post("/v1/score", json=request)
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == ["customers[0].orders[0].ordered_at"]
    assert moment not in refused.text
