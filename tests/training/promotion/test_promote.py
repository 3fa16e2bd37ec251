"""Promotion and rollback: one file and one alias move together, or neither does."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.errors import BundleError, ModelError, SettingsError
from features.records import Records
from features.settings import Settings, load_settings
from serving.batch import write_frame
from serving.scoring import score_records
from tests.tiny_model import train_model
from tests.training.promotion.test_gate import evaluate, plain, rig
from tests.training.test_tracking import read_store
from training.bundle import load_bundle, write_bundle
from training.evaluation.findings import SUMMARY_SCHEMA
from training.models.lifecycle import LifecycleModel
from training.promotion.champion import bundles_folder, read_champion, read_history
from training.promotion.promote import promote_challenger, roll_back
from training.tracking import ModelVersion, list_models, log_training

GATE = load_settings().gate
PASSES: Mapping[str, Any] = evaluate(rig())
FAILS: Mapping[str, Any] = evaluate(rig({("churn", "bg_nbd", "log_loss"): 0.31}))
OBJECTION = "churn: loses to bg_nbd (log_loss +0.0100, 3 cutoffs, margin 0.0020)"
MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (f"2026-11-{day}T09:00:00+00:00" for day in (16, 17, 18, 19))

Offer = Callable[..., str]


@pytest.fixture(scope="module")
def offer(model: LifecycleModel) -> Offer:
    """Seal and log a challenger that values an order at a margin, as training would; return its version."""

    def log(
        home: Path,
        *,
        margin: float = 1.0,
        evaluation: Mapping[str, Any] = PASSES,
        learned: LifecycleModel = model,
        as_of: str = "1998-07-01",
        **data: Any,
    ) -> str:
        folder = write_bundle(
            bundles_folder(home),
            replace(learned, value=learned.value.model_copy(update={"margin": margin})),
            timezone="UTC",
            trained_as_of=as_of,
            data={"n_orders": 1, **data},
            evaluation=dict(evaluation),
        )
        log_training(
            home,
            manifest=load_bundle(folder).manifest,
            bundle_folder=folder,
            backtest=rig(),
            summary=pl.DataFrame(schema=SUMMARY_SCHEMA),
            parameters={},
            figures={},
            dataset_digest="d1" * 32,
            source_name="orders.csv",
            started_at=MONDAY,
        )
        return folder.name

    return log


@pytest.fixture(scope="module")
def once_trained(offer: Offer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one challenger that would pass; copy it before you change it."""
    home = tmp_path_factory.mktemp("once")
    offer(home, margin=1.0)
    return home


@pytest.fixture(scope="module")
def twice_promoted(offer: Offer, once_trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two promotions behind it; copy it before you change it."""
    home = Path(shutil.copytree(once_trained, tmp_path_factory.mktemp("twice") / "home"))
    promote_challenger(home, GATE, at=MONDAY)
    offer(home, margin=0.5)
    promote_challenger(home, GATE, at=TUESDAY)
    return home


@pytest.fixture
def home(once_trained: Path, tmp_path: Path) -> Path:
    """A home with one challenger, free to change."""
    return Path(shutil.copytree(once_trained, tmp_path / "home"))


@pytest.fixture
def served_home(twice_promoted: Path, tmp_path: Path) -> Path:
    """A home with two promotions, free to change."""
    return Path(shutil.copytree(twice_promoted, tmp_path / "served"))


def entry(home: Path, version: str) -> ModelVersion:
    """Return what the registry says of a version."""
    (found,) = [model for model in list_models(home) if model.bundle_version == version]
    return found


def champion_alias(home: Path) -> list[str]:
    """Return the versions that carry the alias `champion`."""
    return [model.bundle_version for model in list_models(home) if "champion" in model.aliases]


def tamper(home: Path, version: str) -> None:
    """Change a digit in a bundle."""
    path = bundles_folder(home) / version / "model.json"
    path.write_text(path.read_text().replace("1", "2", 1))


def test_promote(home: Path) -> None:
    """A challenger that passes serves from then on: the file names it, the alias is its, and it waits no more."""
    with pytest.raises(ModelError, match="No model serves yet"):
        read_champion(home)
    verdict = promote_challenger(home, GATE, at=TUESDAY)
    version = verdict.manifest.version
    assert verdict.decision.is_promoted
    assert read_champion(home) == bundles_folder(home) / version
    assert json.loads((home / "champion.json").read_text()) == [
        {
            "version": version,
            "at": TUESDAY,
            "reason": "passed the gate",
            "is_rollback": False,
            "is_forced": False,
            "force_reason": "",
            "objections": [],
        }
    ]
    registered = entry(home, version)
    assert (registered.aliases, registered.promoted_at) == (("champion",), TUESDAY)
    with pytest.raises(ModelError, match="No challenger waits"):
        promote_challenger(home, GATE, at=WEDNESDAY)


def test_next_champion(served_home: Path) -> None:
    """A second promotion moves file and alias, and the history keeps both, oldest first."""
    first, second = read_history(served_home)
    assert (first.at, second.at) == (MONDAY, TUESDAY)
    assert first.version != second.version
    assert read_champion(served_home).name == second.version
    assert champion_alias(served_home) == [second.version]
    assert [path.name for path in served_home.iterdir() if path.name.startswith(".")] == []


def test_refusal(home: Path, offer: Offer) -> None:
    """A refusal leaves the champion as it was, to the byte, and is recorded with its reasons and its time."""
    champion = promote_challenger(home, GATE, at=MONDAY).manifest.version
    before = (home / "champion.json").read_bytes()
    version = offer(home, margin=0.9, evaluation=FAILS)
    verdict = promote_challenger(home, GATE, at=TUESDAY)
    assert (verdict.manifest.version, verdict.decision.is_promoted) == (version, False)
    assert plain(verdict.decision.objections) == [OBJECTION]
    assert not verdict.serves
    assert (home / "champion.json").read_bytes() == before
    assert champion_alias(home) == [champion]
    refused = entry(home, version)
    assert (refused.aliases, refused.refused_at, refused.promoted_at) == (("challenger",), TUESDAY, None)
    assert plain([refused.reason]) == [OBJECTION]


def test_first_refused(home: Path, offer: Offer) -> None:
    """Where none serves yet, a refusal lets none serve."""
    offer(home, margin=0.9, evaluation=FAILS)
    assert not promote_challenger(home, GATE, at=TUESDAY).decision.is_promoted
    assert not (home / "champion.json").exists()
    assert champion_alias(home) == []


def test_wider_margin(home: Path, offer: Offer) -> None:
    """A refused challenger still waits, and passes once the settings allow what it lacked."""
    version = offer(home, margin=0.9, evaluation=FAILS)
    promote_challenger(home, GATE, at=TUESDAY)
    wider = GATE.model_copy(update={"churn_log_loss_margin": 0.02})
    assert promote_challenger(home, wider, at=WEDNESDAY).decision.is_promoted
    assert read_champion(home).name == version
    assert entry(home, version).promoted_at == WEDNESDAY


def test_no_store(tmp_path: Path) -> None:
    """Where nothing was trained, there is nothing to promote or to go back to, and no file springs up."""
    with pytest.raises(ModelError, match="No model was trained here yet"):
        promote_challenger(tmp_path, GATE, at=MONDAY)
    with pytest.raises(ModelError, match="No other model served"):
        roll_back(tmp_path, at=MONDAY)
    assert list(tmp_path.iterdir()) == []


def test_altered_challenger(home: Path) -> None:
    """A challenger whose bundle was altered is refused, and nothing moves."""
    tamper(home, list_models(home)[0].bundle_version)
    with pytest.raises(BundleError, match="not the file that was sealed"):
        promote_challenger(home, GATE, at=TUESDAY)
    assert not (home / "champion.json").exists()
    assert [model.aliases for model in list_models(home)] == [("challenger",)]


def test_damaged_history(home: Path) -> None:
    """A damaged champion file refuses a promotion before the alias moves, so that the remedy it names works."""
    (home / "champion.json").write_text("[{")
    with pytest.raises(ModelError, match="delete it and promote again"):
        promote_challenger(home, GATE, at=TUESDAY)
    assert champion_alias(home) == []
    (home / "champion.json").unlink()
    assert promote_challenger(home, GATE, at=WEDNESDAY).decision.is_promoted


def test_roll_back(
    home: Path, offer: Offer, cdnow_orders: pl.DataFrame, end_day: int, small_settings: Settings
) -> None:
    """After a rollback the earlier version serves, file and alias alike, and its score files are the same bytes."""
    first = promote_challenger(home, GATE, at=MONDAY).manifest.version
    before = _score(home, cdnow_orders, end_day)
    training = small_settings.training.model_copy(update={"seed": 7})
    reseeded = small_settings.model_copy(update={"training": training})
    offer(home, learned=train_model(Records.wrap(cdnow_orders), cutoff_day=end_day, settings=reseeded))
    second = promote_challenger(home, GATE, at=TUESDAY).manifest.version
    after = _score(home, cdnow_orders, end_day)
    assert [first.encode() in scores[".csv"] for scores in (before, after)] == [True, False]
    promotion = roll_back(home, at=WEDNESDAY)
    assert (promotion.version, promotion.at, promotion.reason) == (first, WEDNESDAY, f"rolled back from {second}")
    assert read_history(home)[-1] == promotion
    assert champion_alias(home) == [first]
    assert entry(home, first).reason == f"rolled back from {second}"
    assert _score(home, cdnow_orders, end_day) == before


def _score(home: Path, orders: pl.DataFrame, end_day: int) -> dict[str, bytes]:
    """Score with the champion, and return the bytes of the score file of each kind."""
    scores = score_records(load_bundle(read_champion(home)), Records.wrap(orders), cutoff_day=end_day)
    files = {ending: home / f"scores{ending}" for ending in (".csv", ".parquet")}
    for file in files.values():
        write_frame(scores, file)
    return {ending: file.read_bytes() for ending, file in files.items()}


def test_waiting_challenger(served_home: Path, offer: Offer) -> None:
    """A challenger that waits keeps waiting while the champion is rolled back."""
    waiting = offer(served_home, margin=0.7)
    roll_back(served_home, at=WEDNESDAY)
    assert entry(served_home, waiting).aliases == ("challenger",)


def test_nothing_before(home: Path, offer: Offer) -> None:
    """The first champion cannot be rolled back, nor can a version that was promoted twice in a row."""
    for at in (MONDAY, TUESDAY):
        champion = promote_challenger(home, GATE, at=at).manifest.version
        before = (home / "champion.json").read_bytes()
        with pytest.raises(ModelError, match="No other model served before"):
            roll_back(home, at=WEDNESDAY)
        assert (home / "champion.json").read_bytes() == before
        assert offer(home, margin=1.0) == champion


def test_two_steps_back(served_home: Path, offer: Offer) -> None:
    """Two rollbacks in a row lead two versions back, not forth to the version that was just left."""
    oldest, middle = (promotion.version for promotion in read_history(served_home))
    offer(served_home, margin=0.7)
    promote_challenger(served_home, GATE, at=WEDNESDAY)
    assert roll_back(served_home, at=THURSDAY).version == middle
    assert roll_back(served_home, at=THURSDAY).version == oldest


def test_altered_predecessor(served_home: Path) -> None:
    """A rollback to a bundle that was altered is refused, and the champion keeps serving."""
    first, second = read_history(served_home)
    tamper(served_home, first.version)
    with pytest.raises(BundleError, match="not the file that was sealed"):
        roll_back(served_home, at=WEDNESDAY)
    assert read_champion(served_home).name == second.version
    assert champion_alias(served_home) == [second.version]


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"version": "x"}]', "null"])
def test_unreadable_history(served_home: Path, text: str) -> None:
    """A champion file that is none is an error in words, for whoever reads it."""
    (served_home / "champion.json").write_text(text)
    with pytest.raises(ModelError, match=r"champion\.json is damaged"):
        read_champion(served_home)
    with pytest.raises(ModelError, match=r"champion\.json is damaged"):
        roll_back(served_home, at=WEDNESDAY)


def test_bundle_gone(served_home: Path) -> None:
    """A champion whose folder is gone is an error that names it."""
    folder = read_champion(served_home)
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match=f"{folder.name} is gone"):
        read_champion(served_home)


WHY = "The season moved, and the old model is worse."


@pytest.fixture
def forced(home: Path, offer: Offer) -> Path:
    """A home whose second champion was promoted in spite of the gate."""
    promote_challenger(home, GATE, at=MONDAY)
    offer(home, margin=0.9, evaluation=FAILS)
    promote_challenger(home, GATE, at=TUESDAY, force_reason=f"  {WHY}\n")
    return home


def test_force(forced: Path) -> None:
    """A challenger that is forced serves, and file, registry and MLflow say so, why, and what the gate objected."""
    promotion = read_history(forced)[-1]
    assert (promotion.is_forced, promotion.force_reason, plain(promotion.objections)) == (True, WHY, [OBJECTION])
    assert plain([promotion.reason]) == [f"forced: {WHY}; the gate had objected: {OBJECTION}"]
    assert read_champion(forced).name == promotion.version
    registered = entry(forced, promotion.version)
    assert (registered.aliases, registered.promoted_at, registered.refused_at) == (("champion",), TUESDAY, None)
    assert registered.reason == promotion.reason
    tags = tags_of(forced, registered.number)
    assert (tags["lifestage.forced"], tags["lifestage.force_reason"]) == ("true", WHY)
    assert plain([tags["lifestage.objections"]]) == [OBJECTION]
    assert json.loads((forced / "champion.json").read_text())[-1]["is_forced"] is True


def card_of(home: Path, version: str) -> str:
    """Return the model card as MLflow keeps it with the training of a version."""
    run = entry(home, version).run_id
    return (home / "mlartifacts" / run / "artifacts" / "model_card.md").read_text(encoding="utf-8")


def test_card_in_mlflow(forced: Path, offer: Offer) -> None:
    """The card kept with the training says how its model came to serve: by force, passed, or by rollback."""
    by_force = read_history(forced)[-1].version
    assert f"Why: {WHY} The gate had objected:" in card_of(forced, by_force)
    passed = offer(forced, margin=0.7)
    promote_challenger(forced, GATE, at=WEDNESDAY)
    assert f"Promoted at {WEDNESDAY}: passed the gate.\n" in card_of(forced, passed)
    roll_back(forced, at=THURSDAY)
    back = card_of(forced, by_force)
    assert f"Promoted at {THURSDAY}: rolled back from {passed}.\n" in back
    assert "**Promoted by force, against the gate.**" in back


def tags_of(home: Path, number: str) -> dict[str, str]:
    """Return the tags of a model version, by MLflow's own client."""
    client = read_store(home)
    return dict(client.get_model_version("lifestage", number).tags)


def test_force_unneeded(home: Path) -> None:
    """Force that the gate does not call for leaves no mark."""
    verdict = promote_challenger(home, GATE, at=TUESDAY, force_reason=WHY)
    (promotion,) = read_history(home)
    assert (verdict.is_forced, verdict.serves, promotion.is_forced) == (False, True, False)
    assert promotion.reason == "passed the gate"
    assert tags_of(home, list_models(home)[0].number)["lifestage.forced"] == "false"


@pytest.mark.parametrize(
    "reason",
    ["", "because", "two words", "12345 67890 --- !!!", "the old\nis worse", "the \x1b[2Jold is worse", "worse " * 84],
)
def test_force_needs_a_reason(home: Path, offer: Offer, reason: str) -> None:
    """Force without a reason, or with one that says too little or too much or hides something, changes nothing."""
    offer(home, margin=0.9, evaluation=FAILS)
    with pytest.raises(SettingsError, match="a reason of at least 3 words and at most 500 characters, on one line"):
        promote_challenger(home, GATE, at=TUESDAY, force_reason=reason)
    assert read_history(home) == ()
    assert all(model.refused_at is None for model in list_models(home))


def test_forced_and_back(forced: Path, offer: Offer) -> None:
    """A rollback to a version that was forced keeps its mark."""
    before = read_history(forced)[-1]
    offer(forced, margin=0.7)
    promote_challenger(forced, GATE, at=WEDNESDAY)
    after = roll_back(forced, at=THURSDAY)
    assert (after.version, after.is_rollback, after.is_forced) == (before.version, True, True)
    assert (after.force_reason, after.objections) == (WHY, before.objections)
    assert read_history(forced)[-1] == after


def test_older_data(home: Path, offer: Offer) -> None:
    """A challenger whose data end before the champion's, or long before their source, is refused as stale."""
    promote_challenger(home, GATE, at=MONDAY)
    offer(home, as_of="1998-06-01")
    older = promote_challenger(home, GATE, at=TUESDAY).decision
    assert older.objections == ("stale data: they end before 1998-06-01, the champion's before 1998-07-01",)
    offer(home, source_last_day="1999-01-31")
    left = promote_challenger(home, GATE, at=TUESDAY).decision
    assert left.objections == ("stale data: the source goes on for 214 days after 1998-07-01, at most 180 allowed",)


def test_other_shop(home: Path, offer: Offer) -> None:
    """Data of a shop's own may end before those of the demo."""
    offer(home, is_demo=True, digest="demo")
    promote_challenger(home, GATE, at=MONDAY)
    offer(home, as_of="1997-06-01", digest="own")
    assert promote_challenger(home, GATE, at=TUESDAY).decision.is_promoted
