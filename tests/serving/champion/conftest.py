import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from serving.champion.belief import believe
from serving.champion.watcher import ChampionWatcher, look_at
from serving.state import LiveState, ServingState
from tests.tiny_model import write_model
from training.bundle import Bundle, load_bundle, read_files
from training.models.lifecycle import LifecycleModel
from training.promotion.champion import Promotion, append_promotion, bundles_folder, read_champion

Watch = Callable[[LiveState, Path], ChampionWatcher]


@pytest.fixture(scope="session")
def other_folder(model: LifecycleModel, end_day: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of another bundle of the same shop, whose probabilities of churn are all higher."""
    calibrator = replace(model.churn.calibrator, intercept=model.churn.calibrator.intercept + 1.0)
    other = replace(model, churn=replace(model.churn, calibrator=calibrator))
    return write_model(tmp_path_factory.mktemp("other"), other, cutoff_day=end_day)


@pytest.fixture(scope="session")
def other_bundle(other_folder: Path) -> Bundle:
    """That bundle, loaded."""
    return load_bundle(other_folder)


@pytest.fixture
def home(bundle_folder: Path, other_folder: Path, tmp_path: Path) -> Path:
    """A home with both bundles, of which the first serves."""
    made = tmp_path / "home"
    for folder in (bundle_folder, other_folder):
        shutil.copytree(folder, bundles_folder(made) / folder.name)
    append_promotion(made, Promotion(bundle_folder.name, at="1998-07-01T00:00:00+00:00", reason="first"))
    return made


@pytest.fixture
def live(state: ServingState, bundle: Bundle) -> LiveState:
    """A service that answers with the first."""
    return LiveState(replace(state, champion=bundle))


@pytest.fixture
def watch() -> Watch:
    """Begin to watch a home, and load in this process: what is loaded is checked all the same."""
    return lambda live, home: ChampionWatcher(live, home, seconds=60, seen=look_at(home), load=load_here)


def load_here(home: Path) -> Bundle:
    """Load the champion of a home as the service does, but for the process apart."""
    folder = read_champion(home)
    return believe(read_files(folder), folder.name)


def promote(home: Path, version: str) -> None:
    """Let a version serve, whatever it is."""
    entries = [{"version": version, "at": "1998-07-02T00:00:00+00:00", "reason": "passed the gate"}]
    draft = home / "draft.json"
    draft.write_text(json.dumps(entries), encoding="utf-8")
    draft.replace(home / "champion.json")
