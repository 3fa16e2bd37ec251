from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import httpx
import polars as pl
import pytest

from features.intake.shop import read_shop
from features.settings import load_settings
from features.snapshot import to_date
from serving.access.keys import create_key, keys_path
from serving.batch import Publication, publish_scores, score_base
from serving.server import log_path, running_server
from serving.state import open_store
from serving.store.score_store import RunInfo
from tests.serving.score_rows import WORDING
from training.bundle import Bundle

pytestmark = pytest.mark.slow

PUBLISHED_AT = datetime(1998, 4, 1, tzinfo=UTC)
REQUEST = {
    "as_of": "1998-04-01",
    "customers": [{"customer_id": "c-17", "orders": [{"ordered_at": "1997-01-04", "amount": 29.33}]}],
}


@pytest.fixture(scope="module")
def publication(
    bundle: Bundle,
    cdnow_orders: pl.DataFrame,
    end_day: int,
    engine: duckdb.DuckDBPyConnection,
    tmp_path_factory: pytest.TempPathFactory,
) -> Publication:
    """Score every customer."""
    path = tmp_path_factory.mktemp("orders") / "orders.parquet"
    cdnow_orders.select("customer_id", "ordered_at", amount=pl.col("amount_micros") / 1e6).write_parquet(path)
    settings = load_settings()
    shop = read_shop([path], [], settings, connection=engine)
    return score_base(shop, bundle, as_of=to_date(end_day), settings=settings)


def publish(home: Path, publication: Publication) -> RunInfo:
    """Publish into a home."""
    with open_store(home) as store:
        return publish_scores(publication, store, published_at=PUBLISHED_AT, keep_runs=2, wording=WORDING)


@pytest.fixture(scope="module")
def home(champion_home: Path, publication: Publication) -> Path:
    """Prepare a home with a champion and its published scores."""
    publish(champion_home, publication)
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


def test_every_route(client: httpx.Client, publication: Publication) -> None:
    """Each route answers over a real socket."""
    run = client.get("/v1/stages").json()["run"]
    page = client.get("/v1/at-risk", params={"limit": 3}).json()
    top = page["customers"][0]
    stored = client.get("/v1/scores", params={"customer_id": top["customer_id"]}).json()
    live = client.post("/v1/score", json=REQUEST).json()
    card = client.get("/v1/model").json()
    assert run["n_customers"] == page["matching_customers"] == publication.scores.height
    assert stored == top
    assert live["scores"][0]["customer_id"] == "c-17"
    assert card["version"] == run["model_version"] == live["model_version"]
    assert client.get("/v1/at-risk", params={"format": "csv"}).text.startswith("customer_id,")
    assert client.get("/v1/stages", params={"format": "svg"}).headers["content-type"] == "image/svg+xml"
    assert client.get("/v1/segments").json()["run"] == client.get("/v1/metrics-sheet").json()["run"] == run
    assert client.get("/v1/prospects").json()["prospects"] == []
    assert client.get("/v1/openapi.json").json()["openapi"].startswith("3.1")
    assert client.get("/readyz").status_code == client.get("/livez").status_code == 200
    assert "Authorization: Bearer" in client.get("/").text


def test_key_is_asked_for(client: httpx.Client) -> None:
    """Without the key, no customer's data comes out."""
    routes = ("stages", "at-risk", "scores?customer_id=cdnow-0001", "model", "segments", "prospects", "changes")
    for path in (f"/v1/{route}" for route in (*routes, "metrics-sheet")):
        answer = httpx.get(f"{client.base_url}{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_new_run(client: httpx.Client, home: Path, publication: Publication) -> None:
    """A run published by another process is served at once; none of an earlier date is there to compare it with."""
    before = client.get("/v1/stages").json()["run"]["run_id"]
    run = publish(home, publication)
    assert client.get("/v1/stages").json()["run"]["run_id"] == run.run_id > before
    assert client.get("/v1/changes").status_code == 404


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
