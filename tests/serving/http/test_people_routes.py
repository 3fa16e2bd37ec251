from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from features.settings import load_settings
from serving.access.audit import AuditLog
from serving.http.people_routes import CUSTOMERS_PATH, OBJECTIONS_PATH
from serving.people.desk import open_desk
from serving.people.schemas import ObjectionRecorded, Objections, Receipt, Withdrawal
from serving.state import ServingState
from serving.store.score_store import ScoreStore, sqlite_url
from tests.serving.local_client import build_client
from tests.serving.people.conftest import AT
from tests.serving.score_rows import WORDING, build_customers, build_prospect, build_prospects, publish_rows
from training.bundle import Bundle

LISTS = ("/v1/at-risk", "/v1/at-risk?format=csv", "/v1/changes", "/v1/changes?format=csv", "/v1/prospects")


@pytest.fixture
def service(tmp_path: Path, bundle: Bundle) -> Iterator[ServingState]:
    """A service with a home folder, two runs of four customers, who all moved, and two prospects."""
    with ScoreStore.open(sqlite_url(tmp_path / "scores.db")) as store:
        for as_of, stage in (("1998-01-01", "loyal"), ("1998-02-01", "at_risk")):
            prospects = build_prospects(
                *(build_prospect(f"prospect-{i}", as_of=as_of, catalogue_hash="hash") for i in range(2))
            )
            rows = build_customers(4, as_of=as_of, stage=stage, catalogue_hash="hash")
            publish_rows(store, rows, prospects, published_at=AT, keep_runs=3)
        settings = load_settings()
        yield ServingState(
            settings.serving,
            settings.lifecycle,
            WORDING,
            store,
            champion=bundle,
            keys=None,
            people=open_desk(tmp_path, store),
        )


@pytest.fixture
def client(service: ServingState) -> TestClient:
    """Call that service."""
    return build_client(service)


@pytest.fixture
def other_worker(service: ServingState, tmp_path: Path) -> Iterator[TestClient]:
    """Call another worker of that service, with a store of its own."""
    with ScoreStore.open(sqlite_url(tmp_path / "scores.db")) as store:
        yield build_client(
            ServingState(
                service.settings,
                service.lifecycle,
                WORDING,
                store,
                champion=service.champion,
                keys=None,
                people=open_desk(tmp_path, store),
            )
        )


def asked(*customer_ids: str) -> dict[str, Any]:
    """Return a request to score people."""
    orders = [{"ordered_at": "1997-01-04", "amount": 29.33}, {"ordered_at": "1997-03-22", "amount": 29.73}]
    people = [{"customer_id": customer_id, "orders": orders} for customer_id in customer_ids]
    return {"as_of": "1998-04-01", "customers": people}


def named(client: TestClient) -> set[str]:
    """Return whoever is named in any list or score."""
    told = "".join(client.get(path).raise_for_status().text for path in LISTS)
    everybody = ("c0", "c1", "c2", "c3", "prospect-0", "prospect-1")
    found = {each for each in everybody if f'"{each}"' in told or f"\n{each}," in told}
    return found | {each for each in everybody if client.get("/v1/scores", params={"customer_id": each}).is_success}


def test_objection(client: TestClient, other_worker: TestClient) -> None:
    """An objection keeps a person out of every list and score of every worker at once, until it is withdrawn."""
    everybody = {"c0", "c1", "c2", "c3", "prospect-0", "prospect-1"}
    assert named(client) == named(other_worker) == everybody
    recorded = client.put(OBJECTIONS_PATH, params={"customer_id": " c1 "})
    client.put(OBJECTIONS_PATH, params={"customer_id": "prospect-1"})
    assert recorded.status_code == 200
    assert ObjectionRecorded.model_validate(recorded.json()).objected_at
    for worker in (client, other_worker):
        assert named(worker) == everybody - {"c1", "prospect-1"}
        listed = Objections.model_validate(worker.get(OBJECTIONS_PATH).json())
        assert [each.customer_id for each in listed.objections] == ["c1", "prospect-1"]
    for customer_id in ("c1", "prospect-1"):
        withdrawn = other_worker.delete(OBJECTIONS_PATH, params={"customer_id": customer_id})
        assert Withdrawal.model_validate(withdrawn.json()).was_objecting
    assert named(client) == named(other_worker) == everybody


def test_score_of_withheld(client: TestClient, other_worker: TestClient) -> None:
    """A request's customers who are withheld are not scored, with the reason; the others score as ever."""
    alone = client.post("/v1/score", json=asked("z")).json()["scores"]
    client.put(OBJECTIONS_PATH, params={"customer_id": "x"})
    client.delete(CUSTOMERS_PATH, params={"customer_id": "y"})
    for worker in (client, other_worker):
        answer = worker.post("/v1/score", json=asked("x", "y", "z")).json()
        reasons = {one["customer_id"]: one["reason"] for one in answer["not_scored"]}
        assert set(reasons) == {"x", "y"}
        assert len(set(reasons.values())) == 1, "which of the two it is, is not every caller's business"
        assert answer["scores"] == alone
    only = client.post("/v1/score", json=asked("x"))
    assert (only.status_code, only.json()["scores"]) == (200, [])


def test_why_absent(client: TestClient) -> None:
    """The refusal of a score says that an objection is on record; who was erased looks like somebody unknown."""
    client.put(OBJECTIONS_PATH, params={"customer_id": "c1"})
    client.delete(CUSTOMERS_PATH, params={"customer_id": "c2"})
    objecting, erased, unknown = (
        client.get("/v1/scores", params={"customer_id": each}).json() for each in ("c1", "c2", "nobody")
    )
    assert "objection" in objecting["detail"]
    assert erased == unknown


def test_erase(client: TestClient, service: ServingState, tmp_path: Path) -> None:
    """An erased person is in no answer any more; the receipt is the one in the home folder, and the act is audited."""
    answer = client.delete(CUSTOMERS_PATH, params={"customer_id": "c1"})
    assert answer.status_code == 200
    receipt = Receipt.model_validate(answer.json())
    assert receipt.removed.scores == 2
    assert (tmp_path / "receipts" / f"{receipt.receipt_id}.json").is_file()
    assert named(client) == {"c0", "c2", "c3", "prospect-0", "prospect-1"}
    [entry] = AuditLog(tmp_path / "audit.jsonl").entries()
    assert (entry.act, entry.actor, entry.sha256) == ("erase", "local", receipt.audit_head)


@pytest.mark.parametrize("customer_id", ["", "   ", "a\x00b", "x" * 201])
def test_unusable_id(client: TestClient, customer_id: str) -> None:
    """An id that cannot be one is refused with a problem that does not repeat it."""
    for call in (client.delete, client.put):
        answer = call(OBJECTIONS_PATH, params={"customer_id": customer_id})
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert [error["field"] for error in answer.json()["errors"]] == ["customer_id"]
        assert customer_id.strip() == "" or customer_id not in answer.text


def test_without_home(service: ServingState, bundle: Bundle) -> None:
    """A service without a home folder says that it cannot keep such a record."""
    state = ServingState(service.settings, service.lifecycle, WORDING, service.store, champion=bundle, keys=None)
    assert build_client(state).delete(CUSTOMERS_PATH, params={"customer_id": "c1"}).status_code == 503
    assert build_client(state).post("/v1/score", json=asked("z")).status_code == 200
