import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from starlette.testclient import TestClient

from features.errors import ModelError
from features.intake.shop import Shop
from features.settings import load_settings
from features.snapshot import to_day
from serving import terminal
from serving.batch import Publication, publish_scores, score_base
from serving.state import ServingState, open_store
from serving.store.score_store import ScoreStore, sqlite_url
from tests.command_line import Outcome, Run, run_main
from tests.serving.local_client import build_client
from tests.serving.score_rows import WORDING
from tests.serving.visited_shop import EARLIER, SETTINGS, add_visitors, visited_settings
from tests.tiny_model import train_model, write_model
from tests.whole_shop import AS_OF, TIMEZONE, WholeShop
from training.bundle import Bundle, load_bundle
from training.promotion.champion import Promotion, append_promotion, bundles_folder, read_champion


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ScoreStore]:
    """Open an empty store on a real SQLite file, `scores.db` in tmp_path."""
    with ScoreStore.open(sqlite_url(tmp_path / "scores.db")) as opened:
        yield opened


@pytest.fixture
def state(store: ScoreStore) -> ServingState:
    """Describe an insecure-local service over the store, without a champion."""
    no_champion = ModelError("No model was promoted yet.", remedy="Run lifestage promote.")
    settings = load_settings()
    return ServingState(settings.serving, settings.lifecycle, WORDING, store, champion=no_champion, keys=None)


@pytest.fixture(scope="module")
def champion_home(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a home folder of which the shared model is the champion."""
    home = tmp_path_factory.mktemp("champion")
    shutil.copytree(bundle_folder, bundles_folder(home) / bundle_folder.name)
    append_promotion(home, Promotion(version=bundle_folder.name, at="1998-07-01T00:00:00+00:00", reason="first"))
    return home


@pytest.fixture(scope="session")
def visited_rows(whole_rows: WholeShop) -> WholeShop:
    """The rows of the shop that records everything, with visitors and people who only registered."""
    return add_visitors(whole_rows)


@pytest.fixture(scope="session")
def visited_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for its `orders.csv` and `events.csv`, which `visited_shop` writes."""
    return tmp_path_factory.mktemp("visited-shop")


@pytest.fixture(scope="session")
def visited_shop(visited_folder: Path, visited_rows: WholeShop, engine: duckdb.DuckDBPyConnection) -> Shop:
    """The same, read from CSV files."""
    return visited_rows.read(visited_folder, connection=engine)


@pytest.fixture(scope="session")
def visited_home(visited_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder whose champion was trained on that shop, to be read, and copied before it is changed."""
    home, day = tmp_path_factory.mktemp("visited-home"), to_day(AS_OF)
    model = train_model(visited_shop.records, cutoff_day=day, settings=visited_settings())
    folder = write_model(bundles_folder(home), model, cutoff_day=day, timezone=TIMEZONE)
    append_promotion(home, Promotion(version=folder.name, at="2024-04-01T00:00:00+00:00", reason="first"))
    return home


@pytest.fixture(scope="session")
def visited_bundle(visited_home: Path) -> Bundle:
    """That champion."""
    return load_bundle(read_champion(visited_home))


@pytest.fixture(scope="session")
def publications(visited_shop: Shop, visited_home: Path, visited_bundle: Bundle) -> tuple[Publication, Publication]:
    """Two runs of that shop, two months apart, as they are published in that home."""
    older, newer = (
        score_base(visited_shop, visited_bundle, as_of=day, settings=visited_settings()) for day in (EARLIER, AS_OF)
    )
    at = datetime(2026, 1, 2, tzinfo=UTC)
    with open_store(visited_home) as opened:
        for publication in (older, newer):
            publish_scores(publication, opened, published_at=at, keep_runs=3, wording=WORDING)
    return older, newer


@pytest.fixture(scope="session")
def visited_store(visited_home: Path, publications: tuple[Publication, Publication]) -> Iterator[ScoreStore]:
    """The store of that home, with both runs."""
    with open_store(visited_home) as opened:
        yield opened


@pytest.fixture(scope="session")
def visited_state(visited_store: ScoreStore, visited_bundle: Bundle) -> ServingState:
    """An insecure-local service over it, with its champion."""
    settings = visited_settings()
    return ServingState(
        settings.serving, settings.lifecycle, WORDING, visited_store, champion=visited_bundle, keys=None
    )


@pytest.fixture(scope="session")
def visited(visited_state: ServingState) -> TestClient:
    """Call that service."""
    return build_client(visited_state)


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run commands over a `home`, in a folder with that shop's settings, on a terminal that folds nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIFESTAGE_HOME", str(home))
    for console in (terminal.out, terminal.err):  # where COLUMNS is set from the start, a console keeps to it
        monkeypatch.setattr(console, "_width", 1000)
    (tmp_path / "lifestage.toml").write_text(SETTINGS, encoding="utf-8")

    def call(*words: str) -> Outcome:
        return run_main(monkeypatch, capsys, *words)

    return call


@pytest.fixture
def files(visited_shop: Shop, visited_folder: Path) -> tuple[str, ...]:
    """The flags that name that shop's files."""
    assert visited_shop.events is not None
    return ("--orders", str(visited_folder / "orders.csv"), "--events", str(visited_folder / "events.csv"))
