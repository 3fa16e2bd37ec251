"""The bundle: a model as a folder of JSON and tree text, hashed, without pickle and without customers.

manifest.json     what it is: version, sha256 of each file, catalogue, thresholds, window, evaluation
model.json        parameters
churn.txt         LightGBM text, where churn was learned
next_stage.txt    LightGBM text, where the next stage was learned
order_worth.txt   LightGBM text, where the value of those who order was learned
golden.json       answers that must come out the same when it loads
"""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from features.catalogue import catalogue_hash
from features.errors import BundleError
from features.files import MEGABYTE, draft_of, sync_folder, write_whole
from features.table import FEATURES, features_named
from training.bundle_files import REMEDY, read_bundle_file, read_bundle_files
from training.bundle_model import TREE_FILES, build_model, tree_parts
from training.golden import agrees, golden_answers
from training.models.churn import PROCESS_INPUTS
from training.models.inputs import input_names
from training.models.lifecycle import LifecycleModel

FORMAT = 5
_MODEL, _GOLDEN, _MANIFEST = "model.json", "golden.json", "manifest.json"
_LIBRARIES = ("numpy", "scipy", "polars", "narwhals", "lightgbm")
# A hundred times what a large shop's bundle holds; nothing larger is read, let alone parsed.
MOST_BYTES = {
    _MANIFEST: 5 * MEGABYTE,
    _MODEL: 20 * MEGABYTE,
    _GOLDEN: 5 * MEGABYTE,
    **dict.fromkeys(TREE_FILES.values(), 64 * MEGABYTE),
}


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
    return build_bundle(read_files(folder), name=folder.name)


def read_files(folder: Path) -> dict[str, bytes]:
    """Read the files of a bundle once, to be checked and loaded from memory.

    Raises:
        BundleError: If the folder holds anything but plain files of a bundle, of a bounded size.
    """
    return read_bundle_files(folder, most_bytes=MOST_BYTES)


def manifest_hash(files: Mapping[str, bytes]) -> str:
    """Return the sha256 of a bundle's manifest, which holds those of all other files; empty where there is none."""
    return sha256(files[_MANIFEST]).hexdigest() if _MANIFEST in files else ""


def build_bundle(files: Mapping[str, bytes], *, name: str) -> Bundle:
    """Build a bundle from the bytes of its files, as `load_bundle` does.

    Args:
        files: File name → contents.
        name: Of the folder, for messages.

    Raises:
        BundleError: As `load_bundle`.
    """
    manifest = check_seal(files, name=name)
    try:
        texts = {file: files[file].decode("utf-8") for file in manifest.files}
        model = build_model(_parse(texts[_MODEL]), texts)
        fault = _find_fault(manifest, model, texts)
    except (BundleError, MemoryError):  # the latter says nothing of the bundle
        raise
    except Exception as error:  # noqa: BLE001 - whatever a forged bundle breaks, it is a bundle to refuse
        raise BundleError(f"Bundle {name} cannot be read: {type(error).__name__}.", remedy=REMEDY) from None
    if fault:
        raise BundleError(f"Bundle {name} {fault}.", remedy=REMEDY)
    return Bundle(manifest, model)


def check_seal(files: Mapping[str, bytes], *, name: str) -> Manifest:
    """Check that the bytes of a bundle are those that its manifest lists, and return the manifest.

    Raises:
        BundleError: If they are not, or the manifest is not of this format or of another feature catalogue.
    """
    if _MANIFEST not in files:
        raise BundleError(f"{name} holds no readable manifest: it is missing.", remedy=REMEDY)
    manifest = _parse_manifest(files[_MANIFEST], name)
    _check_manifest(manifest, name)
    for file in sorted(files.keys() ^ {*manifest.files, _MANIFEST}):
        fault = "is not in its manifest" if file in files else "is missing"
        raise BundleError(f"{name}/{file} {fault}.", remedy=REMEDY)
    for file, expected in manifest.files.items():
        if sha256(files[file]).hexdigest() != expected:
            raise BundleError(f"{name}/{file} is not the file that was sealed.", remedy=REMEDY)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest alone.

    Raises:
        BundleError: If there is none, it is not of this format, or its contents were altered.
    """
    return _parse_manifest(read_bundle_file(folder, _MANIFEST, most_bytes=MOST_BYTES[_MANIFEST]), folder.name)


def _parse_manifest(raw: bytes, name: str) -> Manifest:
    try:
        text = raw.decode("utf-8")
        manifest = Manifest(**_parse(text))
        is_sealed = manifest == _seal(manifest) and text == _dump(asdict(manifest))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        raise BundleError(f"{name} holds no readable manifest: {type(error).__name__}.", remedy=REMEDY) from None
    is_ours = type(manifest.format) is int and manifest.format == FORMAT
    if not (is_sealed and is_ours and isinstance(manifest.files, dict)):
        raise BundleError(f"The manifest of {name} was altered or is of another format.", remedy=REMEDY)
    return manifest


def _check_manifest(manifest: Manifest, name: str) -> None:
    if not {_MODEL, _GOLDEN} <= manifest.files.keys() <= {_MODEL, _GOLDEN, *TREE_FILES.values()}:
        raise BundleError(f"Bundle {name} lists unknown or missing files.", remedy=REMEDY)
    if not _knows(manifest):
        raise BundleError(f"Bundle {name} was trained on another feature catalogue.", remedy="Train again.")
    if not _is_wellformed(manifest):
        raise BundleError(f"The manifest of {name} says what no bundle says of itself.", remedy=REMEDY)


def _is_wellformed(manifest: Manifest) -> bool:
    """Tell whether each field has its type, and date and time zone are such."""
    texts = (manifest.absent, manifest.libraries, manifest.files, *manifest.catalogue)
    shares = (manifest.drivers, manifest.drivers_by_theme)
    try:
        date.fromisoformat(manifest.trained_as_of)
        ZoneInfo(manifest.timezone)
        return (
            type(manifest.horizon_days) is int
            and all(isinstance(value, dict) for value in (manifest.data, manifest.stage_rule, manifest.evaluation))
            and all(isinstance(value, str) for values in texts for value in values.values())
            and all(isinstance(value, int | float) for values in shares for value in values.values())
            and all(isinstance(note, str) for note in manifest.notes)
        )
    except (AttributeError, KeyError, OSError, TypeError, ValueError):
        return False


def _find_fault(manifest: Manifest, model: LifecycleModel, texts: Mapping[str, str]) -> str:
    """Say how a model that could be built is not the one that was sealed; nothing where it is."""
    if list(model.features) != [feature["name"] for feature in manifest.catalogue]:
        return "reads other features than it says"
    told = (manifest.horizon_days, manifest.stage_rule, manifest.notes)
    if told != (model.horizon_days, model.stage_rule.to_dict(), list(model.notes)):
        return "is another model than its manifest says"
    if _dump(model.to_dict()) != texts[_MODEL]:
        return "is written otherwise than bundles are"
    if not agrees(_parse(texts[_GOLDEN]), golden_answers(model)):
        return "does not reproduce its golden rows here"
    return ""


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
    """Parse JSON of finite numbers and keys that differ, as `_dump` writes it."""
    return json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return values


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _texts(model: LifecycleModel) -> dict[str, str]:
    trees = {TREE_FILES[name]: part.text for name, part in tree_parts(model).items() if part is not None}
    return {_MODEL: _dump(model.to_dict()), _GOLDEN: _dump(golden_answers(model)), **trees}


def _drivers(model: LifecycleModel) -> dict[str, float]:
    if model.churn.trees is None:
        return {}
    names = (*input_names(model.features), *PROCESS_INPUTS)  # the latter only where the trees see them
    shares = zip(names, model.churn.trees.gain_importance().tolist(), strict=False)
    return {name: round(share, 6) for name, share in sorted(shares, key=lambda pair: -pair[1]) if share > 0}


def _write_whole(target: Path, texts: Mapping[str, str]) -> None:
    """Write into a folder beside the target, then rename: the target is whole or absent."""
    draft = draft_of(target)
    draft.mkdir(parents=True)
    try:
        for name, text in texts.items():
            write_whole(draft / name, text)
        draft.rename(target)
        sync_folder(target.parent)
    except OSError:
        if not target.is_dir():  # or another run, of the same data, was faster
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _dump(values: Any) -> str:
    return json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8")).hexdigest()


def _refuse(text: str) -> float:
    raise ValueError(f"{text[:20]} is no finite number")
