import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.access.keys import SCOPES, create_key, keys_path
from serving.server import running_server
from serving.state import open_store
from tests.serving.score_rows import build_customers, publish_rows
from training.promotion.champion import Promotion, append_promotion, bundles_folder

MAX_BODY_BYTES = 50_000


@dataclass(frozen=True, slots=True)
class Served:
    """A real server with a champion and a published run.

    Attributes:
        url: Its base URL.
        home: Its home folder.
        keys: Scope → a key with this scope alone.
    """

    url: str
    home: Path
    keys: dict[str, str]


@pytest.fixture(scope="session")
def served(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a real server, with keys, on a socket."""
    home, at = tmp_path_factory.mktemp("served"), datetime(2026, 1, 2, tzinfo=UTC)
    shutil.copytree(bundle_folder, bundles_folder(home) / bundle_folder.name)
    append_promotion(home, Promotion(version=bundle_folder.name, at=at.isoformat(), reason="first"))
    with open_store(home) as store:
        publish_rows(store, build_customers(20), published_at=at, keep_runs=2)
    keys = {scope: create_key(keys_path(home), name=f"only-{scope}", scopes=[scope], created_at=at) for scope in SCOPES}
    config = home / "lifestage.toml"
    config.write_text(f"[serving]\nmax_body_bytes = {MAX_BODY_BYTES}\nburst_requests = 5000\n", encoding="utf-8")
    with running_server(home, config=config) as url:
        yield Served(url, home, keys)
