"""A store of either kind: each test that asks for `store_url` or `store` runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.store.score_store import ScoreStore, sqlite_url
from serving.store.tables import METADATA
from tests.postgres import make_database
from tests.serving.store.databases import change

KINDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def migrated_url(postgres_url: str) -> str:
    """The URL of a PostgreSQL database with the tables of a store, which a session shares."""
    url = make_database(postgres_url)
    ScoreStore.open(url).close()
    return url


@pytest.fixture(params=KINDS)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "scores.db")
    url = str(request.getfixturevalue("migrated_url"))
    change(url, f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY")
    return url


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "scores.db")
    return make_database(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(store_url: str) -> Iterator[ScoreStore]:
    """Open an empty store."""
    with ScoreStore.open(store_url) as opened:
        yield opened
