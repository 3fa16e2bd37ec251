"""A real server with two workers: both take a promoted champion, and both keep it when a spoilt one comes."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from serving.server import running_server
from tests.serving.champion.conftest import promote
from training.promotion.champion import bundles_folder

pytestmark = pytest.mark.slow

N_IN_A_ROW = 12  # from new connections, so that both workers are among those that answered
PATIENCE_SECONDS = 60.0


@pytest.fixture
def url(home: Path) -> Iterator[str]:
    """Run two workers over the home."""
    config = home / "lifestage.toml"
    config.write_text("[serving]\nreload_check_seconds = 0.2\n", encoding="utf-8")
    with running_server(home, insecure_local=True, config=config, workers=2) as started:
        yield started


def _wait_for_all(url: str, holds: Callable[[dict[str, object]], bool]) -> None:
    deadline, n_in_a_row = time.monotonic() + PATIENCE_SECONDS, 0
    while n_in_a_row < N_IN_A_ROW:
        assert time.monotonic() < deadline, "the workers do not agree"
        n_in_a_row = n_in_a_row + 1 if holds(httpx.get(f"{url}/readyz", timeout=30).json()) else 0
        time.sleep(0.02)


def test_two_workers(url: str, home: Path, bundle_folder: Path, other_folder: Path) -> None:
    """A promotion reaches both workers; a spoilt champion is refused by both, over HTTP with its reason."""
    promote(home, other_folder.name)
    _wait_for_all(url, lambda ready: ready["model_version"] == other_folder.name)
    path = bundles_folder(home) / bundle_folder.name / "churn.txt"
    path.write_text(path.read_text(encoding="utf-8")[:-100], encoding="utf-8")
    promote(home, bundle_folder.name)
    answer = httpx.post(f"{url}/v1/admin/reload", timeout=60)
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        f"{bundle_folder.name}/churn.txt is not the file that was sealed.",
    )
    _wait_for_all(url, lambda ready: ready["refused"] is not None and ready["model_version"] == other_folder.name)
