"""Whatever a call looks like that the description allows, or just does not: an answer that the description names."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.access.keys import create_key, keys_path
from serving.batch import Publication, publish_scores
from serving.champion.watcher import ChampionWatcher, look_at
from serving.environment import HOME_VARIABLE, STORE_URL_VARIABLE
from serving.http.api import build_app
from serving.http.openapi import OPENAPI_PATH
from serving.state import LiveState, open_state
from serving.store.score_store import ScoreStore
from tests.postgres import make_database
from tests.serving.http.drawn_calls import OPERATIONS, Case, draw_calls, names
from tests.serving.score_rows import WORDING
from training.bundle import Bundle

N_CALLS = {"sqlite": 100, "postgresql": 15}


@pytest.fixture(scope="module", params=list(N_CALLS))
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database that holds the store."""
    return str(request.param)


@pytest.fixture(scope="module")
def store_url(kind: str, publications: tuple[Publication, Publication], request: pytest.FixtureRequest) -> str:
    """The URL of a PostgreSQL database with the visited shop's runs; empty for the file in the home folder."""
    if kind == "sqlite":
        return ""
    url = make_database(request.getfixturevalue("postgres_url"))
    with ScoreStore.open(url) as store:
        for each in publications:
            publish_scores(each, store, published_at=datetime(2026, 1, 2, tzinfo=UTC), keep_runs=3, wording=WORDING)
    return url


@pytest.fixture(scope="module")
def service(
    visited_home: Path,
    store_url: str,
    visited_bundle: Bundle,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TestClient]:
    """Call a service over a copy of the visited shop's home, with a key that opens everything, as fast as one likes."""
    home = Path(shutil.copytree(visited_home, tmp_path_factory.mktemp("drawn") / "home"))
    key = create_key(keys_path(home), name="all", created_at=datetime(2026, 1, 2, tzinfo=UTC), scopes=("admin",))
    state = open_state({HOME_VARIABLE: str(home), STORE_URL_VARIABLE: store_url})
    unhurried = {"requests_per_second": 1e6, "burst_requests": 1_000_000}
    live = LiveState(replace(state, settings=state.settings.model_copy(update=unhurried)))
    # What is loaded is what was loaded: a process apart for each call would take minutes.
    live.reloader = ChampionWatcher(live, home, seconds=60, seen=look_at(home), load=lambda _: visited_bundle)
    with state.store:
        yield TestClient(build_app(live), headers={"Authorization": f"Bearer {key}"}, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def document(service: TestClient) -> dict[str, Any]:
    """The description of that service."""
    return dict(service.get(OPENAPI_PATH).json())


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_operation(service: TestClient, document: dict[str, Any], operation_id: str, kind: str) -> None:
    """Calls of an operation never end in a server error, and in nothing that is not described."""

    def send(case: Case) -> Any:
        return case.call(app=service.app, headers=dict(service.headers))

    draw_calls(document, operation_id, send, n_calls=N_CALLS[kind])


def test_all_operations(document: dict[str, Any]) -> None:
    """No operation is left out."""
    assert set(names(document)) == set(OPERATIONS)
