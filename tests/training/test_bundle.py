"""The bundle: same seed, same bytes; whatever was altered or crafted is refused."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalogue import catalogue_hash
from features.errors import BundleError
from features.lifecycle.stages import STAGES
from features.records import Records
from features.settings import Settings, load_settings
from features.snapshot import Snapshot
from features.table import FEATURES, build_customer_table, features_named
from serving.scoring import score_records
from tests.tiny_model import train_model, write_model
from training.bundle import FORMAT, Bundle, load_bundle, read_files, read_manifest
from training.fitters.trees import fit_regression_trees
from training.models.inputs import input_names, model_inputs
from training.models.lifecycle import LifecycleModel
from training.models.value import ValueModel, value_inputs

FILES = ("manifest.json", "model.json", "golden.json", "churn.txt", "next_stage.txt")


@pytest.fixture
def copy(bundle_folder: Path, tmp_path: Path) -> Path:
    """A copy of the shared bundle that a test may change."""
    return Path(shutil.copytree(bundle_folder, tmp_path / bundle_folder.name))


@pytest.fixture(scope="session")
def victim(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shared bundle, one byte of which is changed and put back many times."""
    return Path(shutil.copytree(bundle_folder, tmp_path_factory.mktemp("victim") / bundle_folder.name))


def _dump(values: Any) -> str:
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


def _reseal(folder: Path, **changes: Any) -> None:
    """Do what a forger would: hash the files as they are, and seal the manifest again."""
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    manifest["files"] = {name: sha256((folder / name).read_bytes()).hexdigest() for name in manifest["files"]}
    seal = sha256(_dump(manifest | {"version": ""}).encode()).hexdigest()[:10]
    manifest["version"] = f"{manifest['trained_as_of'].replace('-', '')}-{seal}"
    (folder / "manifest.json").write_text(_dump(manifest))


def _forge(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    path = folder / name
    is_json = name.endswith(".json")
    path.write_text(_dump(change(json.loads(path.read_text()))) if is_json else change(path.read_text()))
    _reseal(folder)


def test_same_seed(
    bundle_folder: Path, cdnow_orders: pl.DataFrame, end_day: int, small_settings: Settings, tmp_path: Path
) -> None:
    """A second training, on the same orders in another row order, writes the same version and the same bytes."""
    shuffled = cdnow_orders.sample(fraction=1.0, shuffle=True, seed=7)
    again = write_model(
        tmp_path, train_model(Records.wrap(shuffled), cutoff_day=end_day, settings=small_settings), cutoff_day=end_day
    )
    assert again.name == bundle_folder.name
    assert _contents(again) == _contents(bundle_folder)


def test_version_names_contents(model: LifecycleModel, bundle_folder: Path, end_day: int, tmp_path: Path) -> None:
    """Writing an equal model changes nothing; another as-of date gives another version."""
    assert write_model(bundle_folder.parent, model, cutoff_day=end_day) == bundle_folder
    assert write_model(tmp_path, model, cutoff_day=end_day - 1).name != bundle_folder.name
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_written_at_once(model: LifecycleModel, bundle_folder: Path, end_day: int, tmp_path: Path) -> None:
    """Several who write a bundle at once, from one process even, leave one, whole, and no draft of it."""
    with ThreadPoolExecutor(3) as pool:
        written = set(pool.map(lambda _: write_model(tmp_path, model, cutoff_day=end_day), range(3)))
    assert [path.name for path in tmp_path.iterdir()] == [bundle_folder.name]
    [folder] = written
    assert read_files(folder) == read_files(bundle_folder)


def test_manifest(bundle: Bundle, bundle_folder: Path) -> None:
    """The manifest is named as its folder, and holds the hash of each file and the thresholds of the stages."""
    manifest = bundle.manifest
    assert manifest.version == bundle_folder.name
    assert (
        set(manifest.files) == set(FILES) - {"manifest.json"} == {p.name for p in bundle_folder.iterdir()} - {FILES[0]}
    )
    for name, expected in manifest.files.items():
        assert sha256((bundle_folder / name).read_bytes()).hexdigest() == expected
    assert manifest.stage_rule == bundle.model.stage_rule.to_dict()
    assert sum(manifest.drivers.values()) == pytest.approx(1.0, abs=1e-3)


def test_answers_survive(bundle: Bundle, model: LifecycleModel) -> None:
    """The loaded model has the very parameters of the trained one."""
    assert bundle.model.to_dict() == model.to_dict()
    assert (bundle.model.churn.trees, bundle.model.next_stage.trees) == (model.churn.trees, model.next_stage.trees)


def test_no_customers(bundle_folder: Path) -> None:
    """No file of a bundle holds a customer id, and all are plain text: JSON or trees."""
    for name, raw in _contents(bundle_folder).items():
        assert b"cdnow-" not in raw
        text = raw.decode("ascii")
        assert text.startswith("tree\n") if name.endswith(".txt") else json.loads(text)


@given(st.sampled_from(FILES), st.floats(0.0, 1.0, exclude_max=True), st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_any_byte(victim: Path, name: str, at_share: float, mask: int) -> None:
    """Any change of any byte of any file is refused."""
    path = victim / name
    raw = path.read_bytes()
    at = int(at_share * len(raw))
    path.write_bytes(raw[:at] + bytes([raw[at] ^ mask]) + raw[at + 1 :])
    try:
        with pytest.raises(BundleError):
            load_bundle(victim)
    finally:
        path.write_bytes(raw)


def test_other_date_in_version(copy: Path) -> None:
    """The date in the version is sealed as well."""
    path = copy / "manifest.json"
    path.write_text(path.read_text().replace('"version": "1998', '"version": "2098'))
    with pytest.raises(BundleError):
        read_manifest(copy)


def test_white_space(copy: Path) -> None:
    """A manifest that means the same in other bytes is refused."""
    path = copy / "manifest.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(BundleError):
        load_bundle(copy)


@pytest.mark.parametrize("name", FILES)
def test_missing_file(copy: Path, name: str) -> None:
    """A bundle that lacks a file is refused by the name of the bundle."""
    (copy / name).unlink()
    with pytest.raises(BundleError, match=copy.name):
        load_bundle(copy)


def test_link(copy: Path, bundle_folder: Path) -> None:
    """A link in place of a file is refused, even to the same bytes."""
    (copy / "model.json").unlink()
    (copy / "model.json").symlink_to(bundle_folder / "model.json")
    with pytest.raises(BundleError):
        load_bundle(copy)


def test_unlisted_name(copy: Path) -> None:
    """A manifest that lists another file, such as one outside the folder, is refused."""
    (copy.parent / "outside.txt").write_text("")
    manifest = json.loads((copy / "manifest.json").read_text())
    _reseal(copy, files=manifest["files"] | {"../outside.txt": ""})
    with pytest.raises(BundleError, match="unknown or missing files"):
        load_bundle(copy)


def test_other_catalogue(copy: Path) -> None:
    """A bundle for another feature catalogue is refused."""
    _reseal(copy, catalogue_hash="0" * 64)
    with pytest.raises(BundleError, match="another feature catalogue"):
        load_bundle(copy)


def test_catalogue(bundle: Bundle) -> None:
    """The manifest tells the features that the bundle reads, and what those need that the data could not support."""
    manifest = bundle.manifest
    assert [feature["name"] for feature in manifest.catalogue] == list(bundle.model.features)
    assert manifest.catalogue_hash == catalogue_hash(features_named(bundle.model.features))
    assert manifest.absent == {f.name: ", ".join(f.needs) for f in FEATURES if f.needs}
    assert manifest.absent["email_open_rate_90"] == "event:email_open, event:email_sent"


def test_older_catalogue(copy: Path, bundle: Bundle) -> None:
    """A bundle of an older catalogue, which knew fewer features and worded them otherwise, loads as it is."""
    worded = [{**feature, "meaning": "as we used to say"} for feature in bundle.manifest.catalogue]
    _reseal(copy, absent={}, catalogue=worded)
    assert load_bundle(copy).model.to_dict() == bundle.model.to_dict()


@pytest.mark.parametrize("catalogue", [None, {}, ["frequency"], [{}], [{"name": "orders_of_last_week"}], [{"name": 3}]])
def test_unknown_feature(copy: Path, catalogue: Any) -> None:
    """A bundle that reads a feature which is not in our catalogue is refused."""
    known = json.loads((copy / "manifest.json").read_text())["catalogue"]
    _reseal(copy, catalogue=known + catalogue if catalogue and isinstance(catalogue, list) else catalogue)
    with pytest.raises(BundleError, match="another feature catalogue"):
        load_bundle(copy)


def test_other_features_than_said(copy: Path, bundle: Bundle) -> None:
    """A bundle whose model reads features in another order than its manifest says, or its trees, is refused."""
    features = list(bundle.model.features)
    kept = json.loads((copy / "manifest.json").read_text())["catalogue"]
    turned = catalogue_hash(features_named(reversed(features)))
    _reseal(copy, catalogue=kept[::-1], catalogue_hash=turned)
    with pytest.raises(BundleError, match="reads other features than it says"):
        load_bundle(copy)
    _forge(copy, "model.json", lambda values: {**values, "features": features[::-1]})
    with pytest.raises(BundleError, match="in another order"):
        load_bundle(copy)


@pytest.mark.parametrize("version", [1, 2, FORMAT - 1, FORMAT + 1, str(FORMAT), None])
def test_other_format(copy: Path, version: Any) -> None:
    """A bundle of another format is refused, though its seal fits."""
    _reseal(copy, format=version)
    with pytest.raises(BundleError, match="of another format"):
        load_bundle(copy)


@pytest.mark.parametrize("files", [None, [], {"model.json": None, "golden.json": None}])
def test_forged_file_list(copy: Path, files: Any) -> None:
    """A sealed manifest whose list of files is none is refused in our own words."""
    manifest = json.loads((copy / "manifest.json").read_text()) | {"files": files, "version": ""}
    manifest["version"] = f"19980701-{sha256(_dump(manifest).encode()).hexdigest()[:10]}"
    (copy / "manifest.json").write_text(_dump(manifest))
    with pytest.raises(BundleError):
        load_bundle(copy)


def _set(*keys: str | int, to: Any) -> Callable[[Any], Any]:
    def change(values: Any) -> Any:
        if not keys:
            return to
        inner = values
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to
        return values

    return change


FORGED_MODELS = {
    "no object": _set(to=[]),
    "stage threshold in words": _set("stage_rule", "at_risk_after_days", to="long"),
    "stage threshold of another name": _set("stage_rule", "new", to=1),
    "other classes": _set("next_stage", "classes", to=[0, 1]),
    "classes that do not exist": _set("next_stage", "classes", to=[1, 2, 3, 99]),
    "edges that are no list": _set("segments", "silence_edges_days", to=3),
    "horizon below zero": _set("horizon_days", to=-5),
    "horizon in words": _set("horizon_days", to="long"),
    "weight in words": _set("churn", "process_weight", to="half"),
    "weight above one": _set("churn", "process_weight", to=7.0),
    "margin in words": _set("value", "margin", to="x"),
    "rate below zero": _set("process", "timing", "r", to=-1.0),
    "a timing model that does not exist": _set("process", "timing", "model", to="crystal_ball"),
    "parameters of another timing model": _set("process", "timing", "model", to="pareto_nbd"),
    "spread below zero": _set("process", "spread", "dispersion", to=-1.0),
    "no spread": _set("process", "spread", to=None),
    "weight of the process above one": _set("order_worth", "process_weight", to=1.5),
    "worth without a scale": _set("order_worth", to={"process_weight": 1.0}),
    "cost of service in words": _set("value", "annual_service_cost", to="much"),
    "fewer features than the trees": _set("features", to=["frequency"]),
    "a feature that does not exist": _set("features", 0, to="orders_of_last_week"),
    "features that are no list": _set("features", to=3),
    "no calibrator": _set("churn", "calibrator", to=None),
    "no next segment": _set("next_segment", to=None),
    "groups without a code": _set("next_segment", "groups", to=["champions"]),
    "moves that do not sum to one": _set("next_segment", "recency", 0, 0, to=0.9),
    "recommending above one": _set("next_stage", "p_recommends", to=7.0),
    "prospects that are a list": _set("prospects", to=[]),
    "prospects without rates": _set("prospects", to={}),
    "prospects left out": lambda values: {name: value for name, value in values.items() if name != "prospects"},
}


@pytest.mark.parametrize("fault", FORGED_MODELS)
def test_forged_model(copy: Path, fault: str) -> None:
    """A forged model whose hashes fit is refused in our own words, not by a stack trace."""
    _forge(copy, "model.json", FORGED_MODELS[fault])
    with pytest.raises(BundleError):
        load_bundle(copy)


def test_forged_number(copy: Path) -> None:
    """A number that JSON does not know is refused."""
    path = copy / "model.json"
    path.write_text(path.read_text().replace('"slope": ', '"slope": NaN, "old": '))
    _reseal(copy)
    with pytest.raises(BundleError):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("objective=binary", "objective=nonsense"),
        ("left_child=", "left_child=9"),
        ("split_feature=", "split_feature=9"),
        ("leaf_value=", "leaf_value=nan"),
        ("num_cat=0", "num_cat=1"),
        ("end of trees", ""),
    ],
)
def test_forged_trees(copy: Path, good: str, bad: str) -> None:
    """Forged trees whose hashes fit are refused."""
    _forge(copy, "churn.txt", lambda text: text.replace(good, bad, 1))
    with pytest.raises(BundleError):
        load_bundle(copy)


@pytest.mark.parametrize("number", ["1e999", "NaN", '"90"', "true", "90.0", "1" + "0" * 5000])
def test_odd_number(copy: Path, number: str) -> None:
    """A number without end, in words, or of another kind is refused, though the model could be built with it."""
    path = copy / "model.json"
    path.write_text(path.read_text().replace('"horizon_days": 90', f'"horizon_days": {number}'))
    _reseal(copy)
    with pytest.raises(BundleError):
        load_bundle(copy)


def test_double_key(copy: Path) -> None:
    """A key that stands twice, so that readers may differ on its value, is refused."""
    path = copy / "model.json"
    path.write_text(path.read_text().replace('"horizon_days": 90', '"horizon_days": 30,\n "horizon_days": 90'))
    _reseal(copy)
    with pytest.raises(BundleError):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("horizon_days", 30, "another model than its manifest says"),
        ("stage_rule", {}, "another model than its manifest says"),
        ("timezone", "../../etc/passwd", "says what no bundle says"),
        ("timezone", "Nowhere/Land", "says what no bundle says"),
        ("trained_as_of", "../1998", "says what no bundle says"),
        ("horizon_days", "90", "says what no bundle says"),
        ("absent", {"frequency": None}, "says what no bundle says"),
        ("libraries", [], "says what no bundle says"),
    ],
)
def test_odd_manifest(copy: Path, field: str, value: Any, reason: str) -> None:
    """A sealed manifest that is not of its model, or that could mislead whoever shows it, is refused."""
    _reseal(copy, **{field: value})
    with pytest.raises(BundleError, match=reason):
        load_bundle(copy)


def test_swapped_columns(copy: Path) -> None:
    """Trees that were grown on the same inputs in another order are refused, though they could be read."""
    _forge(copy, "churn.txt", lambda text: text.replace("=frequency recency_days", "=recency_days frequency", 1))
    with pytest.raises(BundleError, match="in another order"):
        load_bundle(copy)


def test_no_text(copy: Path) -> None:
    """A sealed file that is no text is refused in our own words."""
    (copy / "model.json").write_bytes(b"\xff\xfe{}")
    _reseal(copy)
    with pytest.raises(BundleError):
        load_bundle(copy)


def test_golden_rows(copy: Path) -> None:
    """A model that does not reproduce its golden rows is refused."""
    _forge(copy, "golden.json", lambda golden: {name: [p * 1.001 for p in row] for name, row in golden.items()})
    with pytest.raises(BundleError, match="golden rows"):
        load_bundle(copy)


def test_no_bundle(tmp_path: Path) -> None:
    """An empty folder, and one whose manifest is no JSON, are refused."""
    with pytest.raises(BundleError):
        load_bundle(tmp_path)
    for text in ("", "[]", "{}", "null", "[" * 100_000):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(BundleError):
            load_bundle(tmp_path)


def test_without_trees(cdnow_orders: pl.DataFrame, end_day: int, tmp_path: Path) -> None:
    """A shop with too few churners has a bundle without trees that loads, scores, and says so."""
    few = load_settings(overrides={"training": {"max_train_cutoffs": 1, "min_class_customers": 1_000_000}})
    folder = write_model(
        tmp_path, train_model(Records.wrap(cdnow_orders), cutoff_day=end_day, settings=few), cutoff_day=end_day
    )
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "model.json", "golden.json"}
    scores = score_records(load_bundle(folder), Records.wrap(cdnow_orders), cutoff_day=end_day)
    assert scores["flags"].str.contains("fallback_churn").all()
    assert scores.select(pl.sum_horizontal([f"p_next_{stage}" for stage in STAGES])).to_numpy() == pytest.approx(1.0)
    once = scores.filter(pl.col("flags").str.contains("one_order"))["p_churn"].to_numpy()
    assert once.min() > 0.3


def test_order_worth(model: LifecycleModel, cdnow_orders: pl.DataFrame, end_day: int, tmp_path: Path) -> None:
    """What was learned of the value of those who order is a file of its own, and answers as it did."""
    snapshot = Snapshot(end_day, model.horizon_days)
    table = build_customer_table(Records.wrap(cdnow_orders), snapshot, rule=model.stage_rule)
    inputs = model_inputs(table, model.features)
    process_value = np.linspace(10.0, 100.0, table.height)
    trees = fit_regression_trees(
        value_inputs(inputs, process_value),
        np.sign(inputs[:, 0] - inputs[:, 0].mean()),
        np.ones(table.height),
        names=(*input_names(model.features), "process"),
        seed=1,
        min_leaf=50,
    )
    learned = replace(model, order_worth=ValueModel(trees, 1.1, 0.5, 1000.0))
    folder = write_model(tmp_path, learned, cutoff_day=end_day)
    assert {path.name for path in folder.iterdir()} == {*FILES, "order_worth.txt"}
    loaded = load_bundle(folder).model
    assert loaded.order_worth == learned.order_worth
    worth, alone = (each.answer(table).forecast for each in (loaded, model))
    assert np.array_equal(worth.clv_12m, learned.answer(table).forecast.clv_12m)
    assert np.array_equal(worth.expected_orders, alone.expected_orders)
    assert not np.allclose(worth.clv_12m, alone.clv_12m)
    (folder / "order_worth.txt").unlink()
    with pytest.raises(BundleError, match="order_worth"):
        load_bundle(folder)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
