import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

from features.errors import BundleError, ModelError
from features.settings import Settings
from features.snapshot import to_day
from training.bundle import Bundle, load_bundle, write_bundle
from training.evaluation.findings import SCHEMA, SUMMARY_SCHEMA
from training.models.lifecycle import LifecycleModel
from training.pictures.plots import plot_gain, plot_reliability
from training.tracking import (
    EXPERIMENTS,
    ModelVersion,
    challenger_bundle_version,
    list_models,
    log_card,
    log_experiment,
    log_training,
    refuse,
    set_champion,
)

if TYPE_CHECKING:  # at run time, tracking imports MLflow first: it sets what MLflow reads when it is imported
    from mlflow import MlflowClient
    from mlflow.entities import Run

STARTED_AT = "2026-11-22T09:30:00+00:00"
LATER = "2026-11-22T10:00:00+00:00"
DIGEST = "d1" * 32
OLDER, YOUNGER = "1997-10-03", "1998-01-01"
BACKTEST = pl.DataFrame(
    [
        (YOUNGER, "churn", "all", "lifestage", "log_loss", 0.50, 0.48, 0.52, "", 1400, 0.001),
        (YOUNGER, "churn", "all", "bg_nbd", "log_loss", 0.54, None, None, "", 1400, None),
        (YOUNGER, "churn", "all", "lifestage", "log_loss", -0.04, -0.05, -0.03, "bg_nbd", 1400, None),
        (YOUNGER, "churn", "repeat", "lifestage", "log_loss", 0.60, 0.58, 0.62, "", 700, None),
        (YOUNGER, "value", "all", "lifestage", "relative_bias", 0.10, None, None, "", 1400, 0.002),
        (OLDER, "churn", "all", "lifestage", "log_loss", 0.60, 0.58, 0.62, "", 1300, 0.003),
        (OLDER, "value", "all", "lifestage", "relative_bias", float("nan"), None, None, "", 1300, None),
    ],
    schema=SCHEMA,
    orient="row",
)
SUMMARY = pl.DataFrame(
    [
        ("churn", "all", "lifestage", "log_loss", 0.55, 0.53, 0.57, "", 2, 2700, 0.001),
        ("churn", "all", "bg_nbd", "log_loss", 0.54, None, None, "", 1, 1400, None),
        ("churn", "all", "lifestage", "log_loss", -0.04, -0.05, -0.03, "bg_nbd", 1, 1400, None),
        ("churn", "all", "lifestage", "auc", float("nan"), None, None, "", 0, 2700, None),
        ("churn", "repeat", "lifestage", "log_loss", 0.60, 0.58, 0.62, "", 1, 700, None),
        ("value", "all", "lifestage", "relative_bias", 0.10, None, None, "", 1, 1400, 0.002),
    ],
    schema=SUMMARY_SCHEMA,
    orient="row",
)
TEXTS = {"model_card.md": "# Card\n", "backtest.html": "<h1>Backtest</h1>\n"}
FIRST_TRAINING = """
import sys
from pathlib import Path

folder, repository = Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, repository)
from tests.training.test_tracking import train_again

assert "mlflow" not in sys.modules
train_again(Path("home"), folder)

from mlflow.environment_variables import MLFLOW_ALLOW_PICKLE_DESERIALIZATION, MLFLOW_DISABLE_TELEMETRY
from mlflow.telemetry.client import get_telemetry_client

assert MLFLOW_DISABLE_TELEMETRY.get() is True
assert get_telemetry_client() is None
assert MLFLOW_ALLOW_PICKLE_DESERIALIZATION.get() is False
"""


@dataclass(frozen=True, slots=True)
class Logged:
    """A home after one training, and what MLflow's own client reads there."""

    home: Path
    number: str
    client: "MlflowClient"
    parent: "Run"
    children: "dict[str, Run]"


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    """The two pictures of a training, of made-up outcomes."""
    p, y = np.linspace(0.05, 0.95, 40), np.tile([0, 1], 20)
    return {"calibration.png": plot_reliability(p, y), "gain": plot_gain(p, y)}


@pytest.fixture(scope="module")
def logged(
    bundle: Bundle,
    bundle_folder: Path,
    figures: dict[str, Figure],
    small_settings: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Logged:
    """One training, logged from a frame that someone had joined customer ids to."""
    home = tmp_path_factory.mktemp("a home with spaces")
    number = log_training(
        home,
        manifest=bundle.manifest,
        bundle_folder=bundle_folder,
        backtest=BACKTEST.with_columns(customer_id=pl.lit("cdnow-0001")),
        summary=SUMMARY.with_columns(customer_id=pl.lit("cdnow-0001")),
        parameters=small_settings.model_dump(),
        figures=figures,
        dataset_digest=DIGEST,
        source_name="orders.csv",
        started_at=STARTED_AT,
        texts=TEXTS,
        git_commit="abc1234",
        reason="monthly retraining",
    )
    client = read_store(home)
    runs = search_runs(client)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.data.params["cutoff"]: run for run in runs if run is not parent}
    return Logged(home, number, client, parent, children)


@pytest.fixture
def home(logged: Logged, tmp_path: Path) -> Path:
    """A copy of the home after one training, free to change."""
    return Path(shutil.copytree(logged.home, tmp_path / "copied"))


def read_store(home: Path) -> "MlflowClient":
    """Open a store with MLflow's own client."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{home / 'mlflow.db'}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def search_runs(client: "MlflowClient") -> "list[Run]":
    """Return the runs of all experiments."""
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def train_again(home: Path, folder: Path, *, figures: dict[str, Figure] | None = None) -> str:
    """Log a training that ended in the given bundle."""
    return log_training(
        home,
        manifest=load_bundle(folder).manifest,
        bundle_folder=folder,
        backtest=BACKTEST,
        summary=SUMMARY,
        parameters={},
        figures=figures or {},
        dataset_digest=DIGEST,
        source_name="orders.csv",
        started_at=LATER,
    )


@pytest.fixture(scope="module")
def other_folder(model: LifecycleModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second bundle: the same model, sealed for other data."""
    return write_bundle(
        tmp_path_factory.mktemp("other"),
        model,
        timezone="UTC",
        trained_as_of="1998-07-01",
        data={"n_orders": 2},
        evaluation={},
    )


def files_under(folder: Path) -> Iterator[Path]:
    """Return every file below a folder."""
    return (path for path in folder.rglob("*") if path.is_file())


def artifacts(logged: Logged) -> Path:
    """Return the folder of the parent run's artifacts."""
    return logged.home / "mlartifacts" / str(logged.parent.info.run_id) / "artifacts"


def only(versions: list[ModelVersion], bundle_version: str) -> ModelVersion:
    """Return the one version of a bundle."""
    (found,) = [version for version in versions if version.bundle_version == bundle_version]
    return found


def test_parent_and_children(logged: Logged) -> None:
    """One training is one run with one child per test cutoff, all finished, begun when the training began."""
    assert set(logged.children) == {OLDER, YOUNGER}
    for run in (logged.parent, *logged.children.values()):
        assert run.info.status == "FINISHED"
        assert run.info.start_time == 1_795_339_800_000
    parents = {run.data.tags["mlflow.parentRunId"] for run in logged.children.values()}
    assert parents == {logged.parent.info.run_id}


def test_metrics_per_cutoff(logged: Logged) -> None:
    """A child holds the figures of its own cutoff, differences beside them, and nothing that could not be measured."""
    assert logged.children[YOUNGER].data.metrics == {
        "churn.lifestage.log_loss": 0.50,
        "churn.bg_nbd.log_loss": 0.54,
        "churn.lifestage.log_loss.against.bg_nbd": -0.04,
        "value.lifestage.relative_bias": 0.10,
    }
    assert logged.children[OLDER].data.metrics == {"churn.lifestage.log_loss": 0.60}


def test_means(logged: Logged) -> None:
    """The parent holds the means over cutoffs, of all customers, and nothing that could not be measured."""
    means = {name: value for name, value in logged.parent.data.metrics.items() if not name.startswith("by_cutoff/")}
    assert means == {
        "churn.lifestage.log_loss": 0.55,
        "churn.bg_nbd.log_loss": 0.54,
        "churn.lifestage.log_loss.against.bg_nbd": -0.04,
        "value.lifestage.relative_bias": 0.1,
    }


def test_course(logged: Logged) -> None:
    """The parent holds each figure's course over the cutoffs too, a step being the day of a cutoff."""
    run_id = logged.parent.info.run_id
    course = logged.client.get_metric_history(run_id, "by_cutoff/churn.lifestage.log_loss")
    steps = [to_day(date.fromisoformat(cutoff)) for cutoff in (OLDER, YOUNGER)]
    assert sorted((point.step, point.value) for point in course) == [(steps[0], 0.60), (steps[1], 0.50)]
    named = {name for name in logged.parent.data.metrics if name.startswith("by_cutoff/")}
    assert named == {
        "by_cutoff/churn.lifestage.log_loss",
        "by_cutoff/churn.bg_nbd.log_loss",
        "by_cutoff/value.lifestage.relative_bias",
    }


def test_parameters(logged: Logged) -> None:
    """Every setting is a parameter, named by section and key."""
    assert logged.parent.data.params["training.horizon_days"] == "90"
    assert logged.parent.data.params["orders.date_format"] == ""
    assert logged.parent.data.params["value.margin"] == "1.0"


def test_tags(logged: Logged, bundle: Bundle) -> None:
    """Data, features, code, bundle and reason of a training stand in its tags, whole."""
    tags = logged.parent.data.tags
    assert tags["lifestage.data_digest"] == DIGEST
    assert tags["lifestage.catalogue_hash"] == bundle.manifest.catalogue_hash
    assert tags["lifestage.git_commit"] == "abc1234"
    assert tags["lifestage.bundle_version"] == bundle.manifest.version
    assert tags["lifestage.reason"] == "monthly retraining"


def test_lineage(logged: Logged) -> None:
    """The orders behind a run are named by what they are called and their digest, without schema or profile."""
    assert logged.parent.inputs is not None
    (used,) = logged.parent.inputs.dataset_inputs
    assert used.dataset.name == "orders.csv"
    assert DIGEST.startswith(used.dataset.digest)
    assert not used.dataset.schema
    assert not used.dataset.profile


def test_artifacts(logged: Logged) -> None:
    """The pictures are PNG, texts are as given, and the tables read back, without the column that does not belong."""
    for name in ("calibration.png", "gain.png"):
        assert (artifacts(logged) / "plots" / name).read_bytes().startswith(b"\x89PNG\r\n")
    for name, table in (("backtest.csv", BACKTEST), ("summary.csv", SUMMARY)):
        assert pl.read_csv(artifacts(logged) / name, schema=table.schema).equals(table, null_equal=True)
    for name, text in TEXTS.items():
        assert (artifacts(logged) / name).read_text(encoding="utf-8") == text


def test_bundle_artifact(logged: Logged, bundle: Bundle) -> None:
    """The logged bundle is the bundle: it loads from the model version's own source."""
    version = logged.client.get_model_version("lifestage", logged.number)
    source = Path(logged.client.download_artifacts(logged.parent.info.run_id, "bundle"))
    assert version.source == f"runs:/{logged.parent.info.run_id}/bundle"
    assert load_bundle(source).manifest == bundle.manifest


def test_nothing_pickled(logged: Logged) -> None:
    """MLflow holds JSON, text and pictures; no pickle."""
    assert {path.suffix for path in files_under(logged.home)} == {
        ".db",
        ".json",
        ".txt",
        ".csv",
        ".png",
        ".md",
        ".html",
    }
    assert not [path for path in files_under(logged.home) if path.read_bytes().startswith((b"\x80\x04", b"\x80\x05"))]


def test_no_customers(logged: Logged) -> None:
    """No customer id reaches the store or its artifacts, even when the frame carries one."""
    assert not [path for path in files_under(logged.home) if b"cdnow-" in path.read_bytes()]


def test_stays_at_home(bundle_folder: Path, tmp_path: Path) -> None:
    """A first training with a relative home writes under it alone, prints nothing and has MLflow's telemetry off."""
    script = tmp_path / "train.py"
    script.write_text(FIRST_TRAINING)
    (tmp_path / "work" / "home").mkdir(parents=True)
    command = [sys.executable, str(script), str(bundle_folder), str(Path(__file__).parents[2])]
    # MLflow turns its telemetry off by itself when it sees a test or a CI.
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "MLFLOW_", "CI"))}
    done = subprocess.run(command, cwd=tmp_path / "work", env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["home"]
    assert {path.name for path in (tmp_path / "work" / "home").iterdir()} == {"mlflow.db", "mlartifacts"}


def test_challenger(logged: Logged, bundle: Bundle) -> None:
    """A training registers its bundle as the challenger, with what a list of models tells."""
    (version,) = list_models(logged.home)
    assert challenger_bundle_version(logged.home) == bundle.manifest.version
    assert (version.number, version.aliases, version.run_id) == ("1", ("challenger",), logged.parent.info.run_id)
    assert (version.trained_as_of, version.horizon_days) == (bundle.manifest.trained_as_of, 90)
    assert (version.reason, version.promoted_at, version.refused_at) == ("monthly retraining", None, None)


def test_promotion(home: Path, bundle: Bundle) -> None:
    """A promoted challenger is champion, no longer challenger, and says since when and why."""
    set_champion(home, bundle_version=bundle.manifest.version, reason="beats the ladder", at=LATER)
    (version,) = list_models(home)
    assert (version.aliases, version.promoted_at, version.reason) == (("champion",), LATER, "beats the ladder")
    with pytest.raises(ModelError, match="No challenger waits"):
        challenger_bundle_version(home)


def test_rollback(home: Path, bundle: Bundle, other_folder: Path) -> None:
    """There is one champion: going back moves the alias, and a challenger that waits keeps waiting."""
    older = bundle.manifest.version
    set_champion(home, bundle_version=older, reason="first", at=STARTED_AT)
    train_again(home, other_folder)
    set_champion(home, bundle_version=other_folder.name, reason="second", at=LATER)
    assert only(list_models(home), older).aliases == ()
    train_again(home, other_folder)
    set_champion(home, bundle_version=older, reason="rolled back", at=LATER)
    assert [version.aliases for version in list_models(home)] == [("challenger",), (), ("champion",)]
    assert only(list_models(home), older).reason == "rolled back"


def test_card(logged: Logged, home: Path, bundle: Bundle, other_folder: Path) -> None:
    """A later card stands with the training of its bundle, and a home that was copied leaves the old place alone."""
    train_again(home, other_folder)
    before = {path: path.read_bytes() for path in files_under(logged.home / "mlartifacts")}
    for version in (other_folder.name, bundle.manifest.version):
        log_card(home, bundle_version=version, text="# Promoted\n")
    run_id = only(list_models(home), other_folder.name).run_id
    card = home / "mlartifacts" / run_id / "artifacts" / "model_card.md"
    assert card.read_text(encoding="utf-8") == "# Promoted\n"
    assert {path: path.read_bytes() for path in files_under(logged.home / "mlartifacts")} == before
    with pytest.raises(ModelError, match="No model version 'x'"):
        log_card(home, bundle_version="x", text="")


def test_refusal(home: Path, bundle: Bundle) -> None:
    """A refusal is written down with its reasons; the challenger stays where it is."""
    refuse(home, bundle_version=bundle.manifest.version, reasons=["churn: ranks worse", "value: is biased"], at=LATER)
    (version,) = list_models(home)
    assert (version.refused_at, version.reason) == (LATER, "churn: ranks worse; value: is biased")
    assert version.aliases == ("challenger",)


def test_same_bundle_twice(home: Path, bundle: Bundle, bundle_folder: Path) -> None:
    """Training again on equal data gives a second version of one bundle; decisions go to the newest."""
    set_champion(home, bundle_version=bundle.manifest.version, reason="first", at=STARTED_AT)
    assert train_again(home, bundle_folder) == "2"
    assert [version.aliases for version in list_models(home)] == [("challenger",), ("champion",)]
    set_champion(home, bundle_version=bundle.manifest.version, reason="again", at=LATER)
    assert [(v.aliases, v.reason) for v in list_models(home)] == [(("champion",), "again"), ((), "first")]


def test_failure(home: Path, bundle_folder: Path) -> None:
    """A training that breaks while it is logged leaves a failed run, and no model version."""
    broken = Figure()
    broken.suptitle(r"$\frac{$")
    with pytest.raises(ValueError, match="frac"):
        train_again(home, bundle_folder, figures={"broken": broken})
    failed = [run for run in search_runs(read_store(home)) if run.info.status == "FAILED"]
    assert len(failed) == 1
    assert "mlflow.parentRunId" not in failed[0].data.tags
    assert [version.number for version in list_models(home)] == ["1"]


def test_another_bundle(logged: Logged, bundle: Bundle, other_folder: Path, tmp_path: Path) -> None:
    """A folder that is absent, or holds another bundle than the manifest says, is never registered."""
    for folder, message in ((tmp_path / "absent", "no readable manifest"), (other_folder, "is not bundle")):
        with pytest.raises(BundleError, match=message):
            log_training(
                logged.home,
                manifest=bundle.manifest,
                bundle_folder=folder,
                backtest=BACKTEST,
                summary=SUMMARY,
                parameters={},
                figures={},
                dataset_digest=DIGEST,
                source_name="orders.csv",
                started_at=STARTED_AT,
            )
    assert [version.number for version in list_models(logged.home)] == ["1"]


def test_moved_home(home: Path, logged: Logged, bundle_folder: Path) -> None:
    """A home that was copied elsewhere writes to its new place, and keeps its registry."""
    before = set(files_under(logged.home))
    train_again(home, bundle_folder)
    assert set(files_under(logged.home)) == before
    assert len(list((home / "mlartifacts").iterdir())) == 2
    assert [version.number for version in list_models(home)] == ["2", "1"]


def test_no_store(tmp_path: Path) -> None:
    """Where nothing was trained, every question is answered in words, and no store springs up."""
    with pytest.raises(ModelError, match="No model was trained here yet"):
        list_models(tmp_path)
    with pytest.raises(ModelError, match="No model was trained here yet"):
        challenger_bundle_version(tmp_path)
    with pytest.raises(ModelError, match="No model was trained here yet"):
        set_champion(tmp_path, bundle_version="x", reason="", at=LATER)
    assert list(tmp_path.iterdir()) == []


def test_unknown_version(home: Path) -> None:
    """A bundle version that was never registered is refused by name."""
    with pytest.raises(ModelError, match="No model version '19990101-0000000000'"):
        refuse(home, bundle_version="19990101-0000000000", reasons=["x"], at=LATER)


def test_damaged_store(tmp_path: Path) -> None:
    """A file that is no store is refused in words."""
    (tmp_path / "mlflow.db").write_text("not a database at all, but long enough to be read as one")
    with pytest.raises(ModelError, match="cannot be opened"):
        list_models(tmp_path)


def test_foreign_schema(home: Path) -> None:
    """A store that another MLflow has migrated is refused in words."""
    with sqlite3.connect(home / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '000000000000'")
    connection.close()
    with pytest.raises(ModelError, match="cannot be opened"):
        list_models(home)


def test_experiment(home: Path, figures: dict[str, Figure]) -> None:
    """An experiment's run is kept beside the trainings, with its figures and pictures, and registers nothing."""
    before, shown = list_models(home), {"decile value": figures["gain"]}
    run_id = log_experiment(
        home,
        name="who wins",
        parameters={"shop": {"name": "cdnow"}},
        metrics={"orders.bg_nbd.mae": 0.78},
        figures=shown,
        started_at=STARTED_AT,
        git_commit="abc1234",
    )
    client = read_store(home)
    run = client.get_run(run_id)
    assert (run.info.run_name, run.info.status) == ("who wins", "FINISHED")
    assert client.get_experiment(run.info.experiment_id).name == EXPERIMENTS
    assert run.data.params == {"shop.name": "cdnow"}
    assert run.data.metrics == {"orders.bg_nbd.mae": 0.78}
    assert run.data.tags["lifestage.git_commit"] == "abc1234"
    assert [file.path for file in client.list_artifacts(run_id, "plots")] == ["plots/decile value.png"]
    assert list_models(home) == before
