"""The bundle: a model as a folder of JSON and tree text, hashed, without pickle and without customers.

manifest.json     what it is: version, sha256 of each file, catalogue, thresholds, window, evaluation
model.json        parameters
churn.txt         LightGBM text, where churn was learned
next_stage.txt    LightGBM text, where the next stage was learned
order_worth.txt   LightGBM text, where the value of those who order was learned
golden.json       answers that must come out the same when it loads
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from features.catalogue import catalogue_hash
from features.errors import BundleError
from features.lifecycle.segments import Segments
from features.lifecycle.stages import StageRule
from features.settings import ValueSettings
from features.table import FEATURES, features_named
from training.golden import agrees, golden_answers
from training.models.churn import PROCESS_INPUTS, ChurnModel
from training.models.inputs import input_names
from training.models.lifecycle import LifecycleModel
from training.models.next_segment import NextSegmentModel
from training.models.next_stage import NextStageModel
from training.models.prospects import ProspectModel
from training.models.purchase_process import PurchaseProcess
from training.models.reference import Reference
from training.models.trees import Trees
from training.models.value import ValueModel

FORMAT = 5
_MODEL, _GOLDEN, _MANIFEST = "model.json", "golden.json", "manifest.json"
_TREES = {"churn": "churn.txt", "next_stage": "next_stage.txt", "order_worth": "order_worth.txt"}
_LIBRARIES = ("numpy", "scipy", "polars", "narwhals", "lightgbm")
_REMEDY = "Train again, or promote another version (lifestage models lists them)."


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself.

    Args:
        version: `<as-of date>-<hash of the contents>`; equal versions are equal bytes.
        format: Of the bundle's layout.
        horizon_days: Of every probability it gives.
        timezone: In which the shop's days begin.
        trained_as_of: ISO date; nothing at or after it was seen.
        data: Counts, window and digest of the orders; nothing of any customer.
        catalogue: The features that it reads, in order, as the model card prints them.
        catalogue_hash: Hash of these features.
        absent: Features that the data could not support: name → what they need.
        stage_rule: Stage thresholds, readable.
        notes: What training had to give up on this data, in words.
        evaluation: The ladder of the backtest that this bundle's training ran.
        drivers: Input name → share of the churn trees' gain, greatest first.
        drivers_by_theme: Theme → mean size of its part in p_churn over the customers at training, greatest first.
        libraries: Name → version it was trained with.
        files: File name → sha256.
    """

    version: str
    format: int
    horizon_days: int
    timezone: str
    trained_as_of: str
    data: dict[str, Any]
    catalogue: list[dict[str, str]]
    catalogue_hash: str
    absent: dict[str, str]
    stage_rule: dict[str, Any]
    notes: list[str]
    evaluation: dict[str, Any]
    drivers: dict[str, float]
    drivers_by_theme: dict[str, float]
    libraries: dict[str, str]
    files: dict[str, str]

    def is_demo_of_other_orders(self, digest: str) -> bool:
        """Tell whether the demo made this bundle, and these orders are not the demo's."""
        return bool(self.data.get("is_demo")) and self.data.get("digest") != digest


@dataclass(frozen=True, slots=True)
class Bundle:
    """A loaded model and what it says of itself."""

    manifest: Manifest
    model: LifecycleModel


def write_bundle(
    folder: Path,
    model: LifecycleModel,
    *,
    timezone: str,
    trained_as_of: str,
    data: dict[str, Any],
    evaluation: dict[str, Any],
    drivers_by_theme: Mapping[str, float] | None = None,
) -> Path:
    """Write a bundle under `folder`, named by its version; an equal one that stands there is left as it is.

    Returns:
        The bundle's folder.
    """
    texts, features = _texts(model), features_named(model.features)
    manifest = Manifest(
        version="",
        format=FORMAT,
        horizon_days=model.horizon_days,
        timezone=timezone,
        trained_as_of=trained_as_of,
        data=data,
        catalogue=[feature.describe() for feature in features],
        catalogue_hash=catalogue_hash(features),
        absent={feature.name: ", ".join(feature.needs) for feature in FEATURES if feature.name not in model.features},
        stage_rule=model.stage_rule.to_dict(),
        notes=list(model.notes),
        evaluation=evaluation,
        drivers=_drivers(model),
        drivers_by_theme=dict(drivers_by_theme or {}),
        libraries={name: metadata.version(name) for name in _LIBRARIES},
        files={name: _hash(text) for name, text in texts.items()},
    )
    sealed = _seal(manifest)
    target = folder / sealed.version
    if not target.exists():
        _write_whole(target, {**texts, _MANIFEST: _dump(asdict(sealed))})
    return target


def load_bundle(folder: Path) -> Bundle:
    """Load a bundle: hashes, then structure, then golden rows; only then is it believed.

    Raises:
        BundleError: If any of these fails, or the bundle was made for another feature catalogue.
    """
    manifest = read_manifest(folder)
    allowed = {_MODEL, _GOLDEN, *_TREES.values()}
    if not {_MODEL, _GOLDEN} <= manifest.files.keys() <= allowed:
        raise BundleError(f"Bundle {folder.name} lists unknown or missing files.", remedy=_REMEDY)
    if not _knows(manifest):
        raise BundleError(f"Bundle {folder.name} was trained on another feature catalogue.", remedy="Train again.")
    texts = {name: _read_checked(folder / name, expected) for name, expected in manifest.files.items()}
    try:
        model = _build_model(_parse(texts[_MODEL]), texts)
        is_golden = agrees(_parse(texts[_GOLDEN]), golden_answers(model))
    except BundleError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a forged bundle breaks, it is a bundle to refuse
        raise BundleError(f"Bundle {folder.name} cannot be read: {type(error).__name__}.", remedy=_REMEDY) from None
    if list(model.features) != [feature["name"] for feature in manifest.catalogue]:
        raise BundleError(f"Bundle {folder.name} reads other features than it says.", remedy=_REMEDY)
    if not is_golden:
        raise BundleError(f"Bundle {folder.name} does not reproduce its golden rows here.", remedy=_REMEDY)
    return Bundle(manifest, model)


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest alone.

    Raises:
        BundleError: If there is none, it is not of this format, or its contents were altered.
    """
    try:
        text = (folder / _MANIFEST).read_text(encoding="utf-8")
        manifest = Manifest(**_parse(text))
        is_sealed = manifest == _seal(manifest) and text == _dump(asdict(manifest)) and manifest.format == FORMAT
    except Exception as error:  # noqa: BLE001 - as above
        raise BundleError(
            f"{folder.name} holds no readable manifest: {type(error).__name__}.", remedy=_REMEDY
        ) from None
    if not is_sealed or not isinstance(manifest.files, dict):
        raise BundleError(f"The manifest of {folder.name} was altered or is of another format.", remedy=_REMEDY)
    return manifest


def _knows(manifest: Manifest) -> bool:
    """Tell whether the features that the bundle reads are still those of our catalogue."""
    try:
        features = features_named(feature["name"] for feature in manifest.catalogue)
    except (KeyError, TypeError):
        return False
    return manifest.catalogue_hash == catalogue_hash(features)


def _seal(manifest: Manifest) -> Manifest:
    """Return the manifest with the version that its contents make."""
    contents = _hash(_dump(asdict(replace(manifest, version=""))))
    return replace(manifest, version=f"{manifest.trained_as_of.replace('-', '')}-{contents[:10]}")


def _parse(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant)


def _texts(model: LifecycleModel) -> dict[str, str]:
    trees = {_TREES[name]: part.text for name, part in _tree_parts(model).items() if part is not None}
    return {_MODEL: _dump(model.to_dict()), _GOLDEN: _dump(golden_answers(model)), **trees}


def _tree_parts(model: LifecycleModel) -> Mapping[str, Trees | None]:
    return {
        "churn": model.churn.trees,
        "next_stage": model.next_stage.trees,
        "order_worth": model.order_worth.trees,
    }


def _build_model(values: dict[str, Any], texts: Mapping[str, str]) -> LifecycleModel:
    features = tuple(str(name) for name in values["features"])
    n_inputs = len(input_names(features))
    # What the purchase process says comes last.
    n_columns = {
        "churn": n_inputs + len(PROCESS_INPUTS) * bool(values["churn"]["reads_process"]),
        "order_worth": n_inputs + 1,
    }
    trees = {
        name: Trees(texts[file], n_columns.get(name, n_inputs)) if file in texts else None
        for name, file in _TREES.items()
    }
    return LifecycleModel(
        horizon_days=int(values["horizon_days"]),
        stage_rule=StageRule.from_dict(values["stage_rule"]),
        segments=Segments.from_dict(values["segments"]),
        process=PurchaseProcess.from_dict(values["process"]),
        order_worth=ValueModel.from_dict(values["order_worth"], trees["order_worth"]),
        churn=ChurnModel.from_dict(values["churn"], trees["churn"]),
        next_stage=NextStageModel.from_dict(values["next_stage"], trees["next_stage"]),
        next_segment=NextSegmentModel.from_dict(values["next_segment"]),
        value=ValueSettings.model_validate(values["value"]),
        features=features,
        prospects=None if values["prospects"] is None else ProspectModel.from_dict(values["prospects"]),
        notes=tuple(str(note) for note in values["notes"]),
        search=tuple(dict(trial) for trial in values["search"]),
        reference=None
        if values["reference"] is None
        else Reference.from_dict(values["reference"], names=input_names(features)),
    )


def _drivers(model: LifecycleModel) -> dict[str, float]:
    if model.churn.trees is None:
        return {}
    names = (*input_names(model.features), *PROCESS_INPUTS)  # the latter only where the trees see them
    shares = zip(names, model.churn.trees.gain_importance().tolist(), strict=False)
    return {name: round(share, 6) for name, share in sorted(shares, key=lambda pair: -pair[1]) if share > 0}


def _read_checked(path: Path, expected: str) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path.parent.name}/{path.name} cannot be read: {error.strerror}.", remedy=_REMEDY) from None
    if path.is_symlink() or sha256(raw).hexdigest() != expected:
        raise BundleError(f"{path.parent.name}/{path.name} is not the file that was sealed.", remedy=_REMEDY)
    return raw.decode("utf-8")


def _write_whole(target: Path, texts: Mapping[str, str]) -> None:
    """Write into a folder beside the target, then rename: the target is whole or absent."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.mkdir(parents=True)
    try:
        for name, text in texts.items():
            (draft / name).write_text(text, encoding="utf-8", newline="\n")
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _dump(values: Any) -> str:
    return json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8")).hexdigest()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")
