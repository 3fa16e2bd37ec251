import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.errors import ModelError
from features.settings import load_settings
from serving.state import ServingState
from serving.store import ScoreStore, sqlite_url
from training.champion import Promotion, append_promotion, bundles_folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ScoreStore]:
    """Open an empty store on a real SQLite file, `scores.db` in tmp_path."""
    with ScoreStore.open(sqlite_url(tmp_path / "scores.db")) as opened:
        yield opened


@pytest.fixture
def state(store: ScoreStore) -> ServingState:
    """Describe an insecure-local service over the store, without a champion."""
    no_champion = ModelError("No model was promoted yet.", remedy="Run lifestage promote.")
    return ServingState(settings=load_settings().serving, store=store, champion=no_champion, keys=None)


@pytest.fixture(scope="module")
def champion_home(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a home folder of which the shared model is the champion."""
    home = tmp_path_factory.mktemp("champion")
    shutil.copytree(bundle_folder, bundles_folder(home) / bundle_folder.name)
    append_promotion(home, Promotion(version=bundle_folder.name, at="1998-07-01T00:00:00+00:00", reason="first"))
    return home
