"""What callers make up is refused alike whatever the database, and is never its error."""

from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from features.errors import ModelError
from features.settings import load_settings
from serving.cursors import GREATEST_INTEGER, encode_cursor
from serving.state import ServingState
from serving.store.score_store import ScoreStore
from tests.serving.local_client import build_client
from tests.serving.score_rows import WORDING, build_customers, build_prospect, build_prospects, publish_rows

NO_FILTERS = dict.fromkeys(("stage", "size", "min_p_churn", "max_p_churn"))
FLOATS = (0.0, -1e308, 1e308, 5e-324)


@pytest.fixture
def client(store: ScoreStore) -> TestClient:
    """Call a service over a store with one run."""
    people = build_prospects(*(build_prospect(f"p{i}") for i in range(3)))
    publish_rows(store, build_customers(3), people, published_at=datetime(2026, 1, 2, tzinfo=UTC), keep_runs=2)
    settings, no_champion = load_settings(), ModelError("No model was promoted yet.", remedy="Run lifestage promote.")
    return build_client(
        ServingState(settings.serving, settings.lifecycle, WORDING, store, champion=no_champion, keys=None)
    )


@pytest.mark.parametrize("run", [0, -1, 99, GREATEST_INTEGER, GREATEST_INTEGER + 1, 2**53, 2**63])
def test_runs(client: TestClient, run: int) -> None:
    """A run that is not there is a 422 that names what asked for it, also where no column could hold its number."""
    positions: dict[str, dict[str, Any]] = {
        "/v1/at-risk": {"run": run, "filters": NO_FILTERS, "value": 1.0, "id": "a"},
        "/v1/prospects": {"run": run, "stage": "", "p": 0.5, "id": "a", "is_visitor": 0},
        "/v1/changes": {"from": run, "to": 1, "id": "a"},
    }
    asked = [(path, {"cursor": encode_cursor(position)}) for path, position in positions.items()]
    for path, query in (*asked, ("/v1/changes", {"since_run": str(run)})):
        answer = client.get(path, params=query)
        assert answer.status_code == 422, path
        assert [error["field"] for error in answer.json()["errors"]] == list(query)


@pytest.mark.parametrize("number", FLOATS)
def test_positions(client: TestClient, number: float) -> None:
    """A cursor with numbers that no list gave, but that a database can compare with, leads somewhere in the list."""
    at_risk = {"run": 1, "filters": NO_FILTERS, "value": number, "id": "\U0001f600'; --"}
    prospects = {"run": 1, "stage": "", "p": number, "id": "\x01", "is_visitor": -GREATEST_INTEGER}
    for path, position in (("/v1/at-risk", at_risk), ("/v1/prospects", prospects)):
        assert client.get(path, params={"cursor": encode_cursor(position)}).status_code == 200
