from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import polars as pl
import pytest

from features.records import Records
from serving.batch import publish_scores
from serving.keys import create_key
from serving.scoring import score_records
from serving.server import log_path, running_server
from serving.state import keys_path, open_store
from training.bundle import Bundle

pytestmark = pytest.mark.slow

PUBLISHED_AT = datetime(1998, 4, 1, tzinfo=UTC)
REQUEST = {
    "as_of": "1998-04-01",
    "customers": [{"customer_id": "c-17", "orders": [{"ordered_at": "1997-01-04", "amount": 29.33}]}],
}


@pytest.fixture(scope="module")
def scores(bundle: Bundle, cdnow_orders: pl.DataFrame, end_day: int) -> pl.DataFrame:
    """Score every customer."""
    return score_records(bundle, Records.wrap(cdnow_orders), cutoff_day=end_day)


@pytest.fixture(scope="module")
def home(champion_home: Path, scores: pl.DataFrame) -> Path:
    """Prepare a home with a champion and its published scores."""
    with open_store(champion_home) as store:
        publish_scores(scores, store, published_at=PUBLISHED_AT, keep_runs=2)
    return champion_home


@pytest.fixture(scope="module")
def key(home: Path) -> str:
    """Create an API key."""
    return create_key(keys_path(home), name="crm", created_at=PUBLISHED_AT)


@pytest.fixture(scope="module")
def client(home: Path, key: str) -> Iterator[httpx.Client]:
    """Call a real server with a key."""
    with (
        running_server(home) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client,
    ):
        yield client


def test_every_route(client: httpx.Client, scores: pl.DataFrame) -> None:
    """Each route answers over a real socket."""
    run = client.get("/v1/stages").json()["run"]
    page = client.get("/v1/at-risk", params={"limit": 3}).json()
    top = page["customers"][0]
    stored = client.get("/v1/scores", params={"customer_id": top["customer_id"]}).json()
    live = client.post("/v1/score", json=REQUEST).json()
    card = client.get("/v1/model").json()
    assert run["n_customers"] == page["matching_customers"] == scores.height
    assert stored == top
    assert live["scores"][0]["customer_id"] == "c-17"
    assert card["version"] == run["model_version"] == live["model_version"]
    assert client.get("/v1/at-risk", params={"format": "csv"}).text.startswith("customer_id,")
    assert client.get("/v1/openapi.json").json()["openapi"].startswith("3.1")
    assert client.get("/readyz").status_code == client.get("/livez").status_code == 200
    assert "Authorization: Bearer" in client.get("/").text


def test_key_is_asked_for(client: httpx.Client) -> None:
    """Without the key, no customer's data comes out."""
    for path in ("/v1/stages", "/v1/at-risk", "/v1/scores?customer_id=cdnow-0001", "/v1/model"):
        answer = httpx.get(f"{client.base_url}{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_new_run(client: httpx.Client, home: Path, scores: pl.DataFrame) -> None:
    """A run published by another process is served at once."""
    before = client.get("/v1/stages").json()["run"]["run_id"]
    with open_store(home) as store:
        run = publish_scores(scores, store, published_at=PUBLISHED_AT, keep_runs=2)
    assert client.get("/v1/stages").json()["run"]["run_id"] == run.run_id > before


def test_callers_at_once(client: httpx.Client) -> None:
    """Many callers at once get the same answers as one."""
    alone = client.post("/v1/score", json=REQUEST).json()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/score", json=REQUEST).json(), range(40)))
    assert all(answer == alone for answer in answers)


def test_log(client: httpx.Client, home: Path, key: str) -> None:
    """The log holds neither a customer id nor the key."""
    client.get("/v1/scores", params={"customer_id": "alice@example.org"})
    client.get("/v1/nothing/alice@example.org")
    text = log_path(home).read_text(encoding="utf-8")
    assert text
    assert key not in text
    assert "alice" not in text
