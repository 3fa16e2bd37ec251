"""Over HTTP: a reload says what it led to, and readiness says what is so."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from features.errors import UntriedError
from serving.champion.watcher import ChampionWatcher, look_at
from serving.http.api import build_app
from serving.http.problems import MEDIA_TYPE
from serving.state import LiveState, ServingState
from tests.serving.champion.conftest import Watch, promote
from training.bundle import Bundle
from training.promotion.champion import bundles_folder

RELOAD = "/v1/admin/reload"
N_CONNECTIONS = 64  # that a store has at most


@pytest.fixture
def client(live: LiveState, home: Path, watch: Watch) -> TestClient:
    """Call a service that watches the home."""
    live.reloader = watch(live, home)
    return TestClient(build_app(live), base_url="http://127.0.0.1", client=("127.0.0.1", 50_000))


def test_reload(client: TestClient, home: Path, bundle: Bundle, other_bundle: Bundle) -> None:
    """A reload names what serves now, what served before, and whether that changed."""
    expected = {
        "model_version": bundle.manifest.version,
        "previous_version": bundle.manifest.version,
        "catalogue_hash": bundle.manifest.catalogue_hash,
        "was_changed": False,
    }
    assert client.post(RELOAD).json() == expected
    promote(home, other_bundle.manifest.version)
    told = client.post(RELOAD).json()
    assert told == {**expected, "model_version": other_bundle.manifest.version, "was_changed": True}
    assert client.get("/v1/model").json()["version"] == other_bundle.manifest.version


def test_refused(client: TestClient, home: Path, bundle: Bundle, other_bundle: Bundle) -> None:
    """A champion that is refused is a problem with its reason; what served is ready, and both cards tell of it."""
    version = other_bundle.manifest.version
    (bundles_folder(home) / version / "golden.json").unlink()
    promote(home, version)
    answer = client.post(RELOAD)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (409, MEDIA_TYPE)
    assert problem["type"] == "urn:lifestage:problem:champion-refused"
    assert problem["detail"] == f"{version}/golden.json is missing."
    assert "promote another version" in problem["remedy"]
    ready = client.get("/readyz")
    card = client.get("/v1/model").json()
    assert ready.status_code == 200
    assert ready.json()["model_version"] == card["version"] == bundle.manifest.version
    assert ready.json()["refused"] == card["refused"]
    assert card["refused"]["reason"] == problem["detail"]
    assert (card["refused"]["version"], ready.json()["remedy"]) == (version, problem["remedy"])


def test_untried(live: LiveState, home: Path, bundle: Bundle, other_bundle: Bundle) -> None:
    """A champion that could not be tried is a problem of the service, not of the champion; what served is ready."""

    def load(_: Path) -> Bundle:
        raise UntriedError("It did not load within 45 seconds.", remedy="It is tried again by itself.")

    promote(home, other_bundle.manifest.version)
    live.reloader = ChampionWatcher(live, home, seconds=60, seen=look_at(home), load=load)
    client = TestClient(build_app(live), base_url="http://127.0.0.1", client=("127.0.0.1", 50_000))
    answer = client.post(RELOAD)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:lifestage:problem:champion-untried")
    ready = client.get("/readyz").json()
    assert (ready["status"], ready["model_version"]) == ("ready", bundle.manifest.version)
    assert (ready["refused"], ready["untried"]["version"]) == (None, other_bundle.manifest.version)
    assert ready["untried"]["reason"] == answer.json()["detail"]
    assert ready["remedy"] == answer.json()["remedy"]


def test_foreign_page(client: TestClient, home: Path, bundle: Bundle, other_bundle: Bundle) -> None:
    """A page of another site that a browser on this machine shows cannot reload; one of our own can."""
    promote(home, other_bundle.manifest.version)
    for origin in ("http://shop.example", "null", "http://127.0.0.1:99", "http://["):
        assert client.post(RELOAD, headers={"Origin": origin}).status_code == 403
    assert client.get("/v1/model").json()["version"] == bundle.manifest.version
    assert client.post(RELOAD, headers={"Origin": "http://127.0.0.1"}).json()["was_changed"]


def test_ready(client: TestClient, bundle: Bundle) -> None:
    """A service with a champion and a store is ready, whether or not anything is published."""
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "model_version": bundle.manifest.version,
        "run_id": None,
        "store": "ok",
        "refused": None,
        "untried": None,
        "remedy": None,
    }


def test_no_champion(state: ServingState) -> None:
    """Without a champion it is not ready, says why and what to do; the process lives."""
    client = TestClient(build_app(LiveState(state)), base_url="http://127.0.0.1", client=("127.0.0.1", 50_000))
    answer = client.get("/readyz")
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (503, MEDIA_TYPE)
    assert "lifestage promote" in problem["remedy"]
    assert (problem["model_version"], problem["store"], problem["refused"]) == (None, "ok", None)
    assert client.get("/livez").text == "ok\n"
    assert client.post(RELOAD).status_code == 503


def test_no_store(client: TestClient, live: LiveState, bundle: Bundle, tmp_path: Path) -> None:
    """A service whose store does not answer is not ready, and says which of the two it lacks."""
    live.current.store.close()
    (tmp_path / "scores.db").unlink()
    (tmp_path / "scores.db").mkdir()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert (answer.json()["store"], answer.json()["model_version"]) == ("unavailable", bundle.manifest.version)
    assert "database" in answer.json()["remedy"]


def test_slow_store(client: TestClient, live: LiveState) -> None:
    """A store that keeps silent is unavailable after a bounded time, and available again once it speaks."""
    store = live.current.store
    with ExitStack() as held:
        for _ in range(N_CONNECTIONS):
            held.enter_context(store.reading())
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["store"]) == (503, "unavailable")
    for _ in range(100):
        if client.get("/readyz").status_code == 200:
            return
    pytest.fail("the store is still unavailable")


def test_ending(client: TestClient, live: LiveState) -> None:
    """A service that is about to end is not ready."""
    live.is_ending = lambda: True
    assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").json()["detail"] == "The service is ending."


def test_starting() -> None:
    """A service that has not started yet is not ready."""
    client = TestClient(build_app(LiveState()), base_url="http://127.0.0.1", client=("127.0.0.1", 50_000))
    assert client.get("/readyz").status_code == 503


def test_lost_champion_is_told(live: LiveState, home: Path, watch: Watch, state: ServingState) -> None:
    """A service that started with a spoilt champion is not ready, and names what it refused."""
    promote(home, "20990101-0123456789")
    live.replace(replace(state, refused=None))
    watcher = watch(live, home)
    live.reloader = watcher
    client = TestClient(build_app(live), base_url="http://127.0.0.1", client=("127.0.0.1", 50_000))
    assert client.post(RELOAD).status_code == 409
    problem = client.get("/readyz").json()
    assert problem["status"] == 503
    assert problem["refused"]["version"] == "20990101-0123456789"
    assert problem["detail"] == problem["refused"]["reason"]
