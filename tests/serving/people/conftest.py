"""A home folder with scores of a few people, in SQLite or PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.people.desk import PeopleDesk, open_desk
from serving.store.score_store import ScoreStore, sqlite_url
from serving.store.tables import METADATA
from tests.postgres import make_database
from tests.serving.score_rows import build_customers, build_prospect, build_prospects, publish_rows
from tests.serving.store.databases import change

AT = datetime(2026, 4, 1, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="session")
def people_database(postgres_url: str) -> str:
    """The URL of a PostgreSQL database with the tables of a store, which a session shares."""
    url = make_database(postgres_url)
    ScoreStore.open(url).close()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def people_url(request: pytest.FixtureRequest, home: Path) -> str:
    """The URL of an empty store."""
    if request.param == "sqlite":
        return sqlite_url(home / "scores.db")
    url = str(request.getfixturevalue("people_database"))
    change(url, f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY")
    return url


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder."""
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def people_store(people_url: str) -> Iterator[ScoreStore]:
    """A store with two runs of 40 customers, c0 to c39, who stayed where they were, and of 5 prospects, p0 to p4."""
    with ScoreStore.open(people_url) as store:
        for as_of in ("1998-01-01", "1998-02-01"):
            prospects = build_prospects(*(build_prospect(f"p{i}", as_of=as_of) for i in range(5)))
            publish_rows(store, build_customers(40, as_of=as_of), prospects, published_at=AT, keep_runs=3)
        yield store


@pytest.fixture
def desk(home: Path, people_store: ScoreStore) -> PeopleDesk:
    """The desk of that home."""
    return open_desk(home, people_store)
