"""All MLflow access: a run per training, a child run per test cutoff, and the registry with its two aliases.

The store is `<home>/mlflow.db` with `<home>/mlartifacts` beside it; nothing leaves the machine, and no customer enters
it: settings, counts, metrics, pictures and the bundle. Opening it costs seconds, so serving never does.
"""

import json
import logging
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from matplotlib.figure import Figure

from features.errors import BundleError, ModelError
from features.snapshot import to_day
from training.bundle import Manifest, read_manifest
from training.evaluation.findings import SCHEMA, SUMMARY_SCHEMA
from training.evaluation.slices import ALL

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as RegistryEntry

EXPERIMENT = "lifestage"
EXPERIMENTS = "experiments"
MODEL = "lifestage"
CHAMPION, CHALLENGER = "champion", "challenger"
_STORE, _ARTIFACTS = "mlflow.db", "mlartifacts"
_ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
_BUNDLE_VERSION, _REASON = "lifestage.bundle_version", "lifestage.reason"
_GIT_COMMIT = "lifestage.git_commit"
_PROMOTED_AT, _REFUSED_AT = "lifestage.promoted_at", "lifestage.refused_at"
_CARD = "model_card.md"
_FORCED, _FORCE_REASON, _OBJECTIONS = "lifestage.forced", "lifestage.force_reason", "lifestage.objections"
_TRIAL_METRICS = ("log_loss", "gain", "gain_error")
_COURSE = "by_cutoff"  # begins the names of figures that have a step for each cutoff
_LONGEST_DIGEST = 36  # of a data set, in MLflow's schema; the tag carries it whole


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One entry of the registry.

    Args:
        number: Of the model version in MLflow.
        bundle_version: The bundle it stands for; training twice on equal data gives two numbers for one bundle.
        aliases: `champion`, `challenger`, both or none.
        created_at: When it was registered, in UTC.
        trained_as_of: ISO date; nothing at or after it was seen.
        horizon_days: Of its probabilities.
        reason: Of the last decision about it, in words.
        run_id: The MLflow run that trained it.
        promoted_at: ISO 8601 time of its last promotion, or None.
        refused_at: ISO 8601 time at which the gate last refused it, or None.
    """

    number: str
    bundle_version: str
    aliases: tuple[str, ...]
    created_at: datetime
    trained_as_of: str
    horizon_days: int
    reason: str
    run_id: str
    promoted_at: str | None
    refused_at: str | None


def log_training(
    home: Path,
    *,
    manifest: Manifest,
    bundle_folder: Path,
    backtest: pl.DataFrame,
    summary: pl.DataFrame,
    parameters: Mapping[str, Any],
    figures: Mapping[str, Figure],
    dataset_digest: str,
    source_name: str,
    started_at: str,
    trials: Sequence[Mapping[str, Any]] = (),
    texts: Mapping[str, str] | None = None,
    git_commit: str | None = None,
    reason: str = "trained",
) -> str:
    """Record one training and register its bundle as the challenger.

    The run holds the means over the cutoffs, and of each figure its course: a step is the day number of a cutoff, so
    that MLflow draws a line over time, on which trainings can be compared. Slices stand in the files alone.

    Args:
        home: Folder of all state.
        manifest: Of the bundle.
        bundle_folder: Folder that holds the bundle.
        backtest: One row per cutoff, task, slice, model and metric, as `training.evaluation.backtest` returns it.
        summary: Its means over the cutoffs.
        parameters: Settings, nested or flat.
        figures: File name → picture; logged as PNG under `plots/`.
        trials: What the search for the trees' shape tried: parameters, `log_loss`, `gain`, `gain_error`, `is_chosen`.
        texts: File name → text, such as a report; None where there is none.
        dataset_digest: Hash of the orders.
        source_name: What the orders are called; a name, without a folder or a password.
        started_at: ISO 8601 time, with its offset, at which training began.
        git_commit: Of the code, where it is known.
        reason: Why it was trained, in words.

    Returns:
        The number of the model version.

    Raises:
        BundleError: If the folder does not hold that bundle; MLflow itself would log an absent folder as empty.
        ModelError: If the store cannot be opened.
    """
    if read_manifest(bundle_folder) != manifest:
        raise BundleError(f"{bundle_folder.name} is not bundle {manifest.version}.", remedy="Train again.")
    client = _open(home)
    experiment = _ensure_experiment(client, home)
    table, means = backtest.select(list(SCHEMA)), summary.select(list(SUMMARY_SCHEMA))
    began = _milliseconds(started_at)
    tags = _describe(manifest, dataset_digest=dataset_digest, git_commit=git_commit, reason=reason)
    with _running(client, experiment, manifest.version, tags, began) as run_id:
        _log_numbers(client, run_id, _of_all(means), parameters, began)
        _log_lineage(client, run_id, source_name, dataset_digest)
        for (cutoff,), rows in table.group_by("cutoff", maintain_order=True):
            child = {**tags, "mlflow.parentRunId": run_id}
            with _running(client, experiment, f"cutoff {cutoff}", child, began) as child_id:
                _log_numbers(client, child_id, _of_all(rows), {"cutoff": cutoff}, began)
            course = {f"{_COURSE}/{name}": value for name, value in _of_all(rows.filter(against="")).items()}
            _log_numbers(client, run_id, course, {}, began, step=to_day(date.fromisoformat(str(cutoff))))
        for number, trial in enumerate(trials):
            child = {**tags, "mlflow.parentRunId": run_id}
            with _running(client, experiment, f"trial {number}", child, began) as child_id:
                shape = {name: value for name, value in trial.items() if name not in _TRIAL_METRICS}
                _log_numbers(client, child_id, {name: float(trial[name]) for name in _TRIAL_METRICS}, shape, began)
        _log_figures(client, run_id, figures)
        files = {**(texts or {}), "backtest.csv": table.write_csv(), "summary.csv": means.write_csv()}
        for name, text in files.items():
            client.log_text(run_id, text, name)
        client.log_artifacts(run_id, str(bundle_folder), "bundle")
        return _register(client, run_id, tags)


def log_experiment(
    home: Path,
    *,
    name: str,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    figures: Mapping[str, Figure],
    started_at: str,
    git_commit: str | None = None,
) -> str:
    """Record one run of an experiment, beside the trainings and apart from them; nothing is registered.

    Args:
        home: Folder of all state.
        name: Of the run.
        parameters: Of the run, nested or flat.
        metrics: Name → finite figure.
        figures: File name → picture; logged as PNG under `plots/`.
        started_at: ISO 8601 time, with its offset, at which it began.
        git_commit: Of the code, where it is known.

    Returns:
        The id of the MLflow run.

    Raises:
        ModelError: If the store cannot be opened.
    """
    client = _open(home)
    tags, began = {} if git_commit is None else {_GIT_COMMIT: git_commit}, _milliseconds(started_at)
    with _running(client, _ensure_experiment(client, home, EXPERIMENTS), name, tags, began) as run_id:
        _log_numbers(client, run_id, metrics, parameters, began)
        _log_figures(client, run_id, figures)
    return run_id


def current_commit() -> str | None:
    """Return the git commit of the code, or None where it does not run from a checkout."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - fixed words
    except (OSError, subprocess.CalledProcessError):
        return None


def set_champion(
    home: Path, *, bundle_version: str, reason: str, at: str, force: tuple[str, Sequence[str]] | None = None
) -> None:
    """Move the alias `champion` to a bundle, and write down when and why; a challenger that won is none any more.

    Args:
        home: Folder of all state.
        bundle_version: The bundle that serves from now on.
        reason: Why, in words.
        at: ISO 8601 time.
        force: Why the gate was overruled, and what it had objected; None where it was not.

    Raises:
        ModelError: If there is no store, or no such version.
    """
    client = _open_existing(home)
    chosen = _find(client, bundle_version)
    marks = {_FORCED: "false"}
    if force is not None:
        marks = {_FORCED: "true", _FORCE_REASON: force[0], _OBJECTIONS: "; ".join(force[1])}
    _decide(client, chosen, {_PROMOTED_AT: at, _REASON: reason, **marks})
    client.set_registered_model_alias(MODEL, CHAMPION, chosen.number)
    if CHALLENGER in chosen.aliases:
        client.delete_registered_model_alias(MODEL, CHALLENGER)


def log_card(home: Path, *, bundle_version: str, text: str) -> None:
    """Put a model card in place of that of the run that trained a bundle.

    In a home that was moved, the runs of before still point to the old place, where nothing is written any more.

    Args:
        home: Folder of all state.
        bundle_version: The bundle it tells of.
        text: The card, in Markdown.

    Raises:
        ModelError: If there is no store, or no such version.
    """
    client = _open_existing(home)
    run_id = _find(client, bundle_version).run_id
    if str(client.get_run(run_id).info.artifact_uri).startswith(f"{(home.resolve() / _ARTIFACTS).as_uri()}/"):
        client.log_text(run_id, text, _CARD)


def refuse(home: Path, *, bundle_version: str, reasons: Sequence[str], at: str) -> None:
    """Write down when and why the gate refused a bundle; its aliases stay as they are.

    Raises:
        ModelError: If there is no store, or no such version.
    """
    client = _open_existing(home)
    _decide(client, _find(client, bundle_version), {_REFUSED_AT: at, _REASON: "; ".join(reasons)})


def list_models(home: Path) -> list[ModelVersion]:
    """List the registered model versions, newest first.

    Raises:
        ModelError: If there is no store; after a first training that failed, the list is empty instead.
    """
    return _list(_open_existing(home))


def challenger_bundle_version(home: Path) -> str:
    """Return the bundle version that waits for promotion.

    Raises:
        ModelError: If there is no store, or no challenger.
    """
    for version in list_models(home):
        if CHALLENGER in version.aliases:
            return version.bundle_version
    raise ModelError("No challenger waits for promotion.", remedy="Train one with lifestage train.")


def _open_existing(home: Path) -> "MlflowClient":
    if not (home / _STORE).is_file():
        raise ModelError("No model was trained here yet.", remedy="Run lifestage train, or give another --home.")
    return _open(home)


def _open(home: Path) -> "MlflowClient":
    os.environ.update(_ENVIRONMENT)  # MLflow reads them when it is imported
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DatabaseError

    for name in ("mlflow", "alembic"):
        # The first opening reports dozens of migrations at INFO; warnings still pass.
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger(name).level))
    uri = f"sqlite:///{(home.resolve() / _STORE).as_posix()}"
    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_registered_models(max_results=1)
    except (MlflowException, DatabaseError) as error:
        raise ModelError(
            f"The training records in {_STORE} cannot be opened: {str(error).splitlines()[0]}",
            remedy=f"Restore {_STORE} from a backup, or move it away and train again; what serves does not need it.",
        ) from None
    return client


def _ensure_experiment(client: "MlflowClient", home: Path, name: str = EXPERIMENT) -> str:
    location = (home.resolve() / _ARTIFACTS).as_uri()
    standing = client.get_experiment_by_name(name)
    if standing is not None and standing.artifact_location == location:
        return str(standing.experiment_id)
    if standing is not None:
        # An experiment keeps its artifact folder for good: in a home that was moved, it would write to the old place.
        client.rename_experiment(standing.experiment_id, f"{name}-{standing.experiment_id}")
    return str(client.create_experiment(name, artifact_location=location))


@contextmanager
def _running(client: "MlflowClient", experiment: str, name: str, tags: Mapping[str, str], began: int) -> Iterator[str]:
    run = client.create_run(experiment, start_time=began, tags=dict(tags), run_name=name)
    run_id = str(run.info.run_id)
    try:
        yield run_id
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


def _log_numbers(
    client: "MlflowClient",
    run_id: str,
    values: Mapping[str, float],
    parameters: Mapping[str, Any],
    at: int,
    *,
    step: int = 0,
) -> None:
    from mlflow.entities import Metric, Param

    metrics = [Metric(name, value, at, step=step) for name, value in values.items()]
    client.log_batch(run_id, metrics=metrics, params=[Param(*pair) for pair in _flatten(parameters).items()])


def _log_figures(client: "MlflowClient", run_id: str, figures: Mapping[str, Figure]) -> None:
    for name, figure in figures.items():
        client.log_figure(run_id, figure, f"plots/{Path(name).stem}.png")


def _log_lineage(client: "MlflowClient", run_id: str, source_name: str, digest: str) -> None:
    """Name the orders behind a run: what they are called and their hash, without a schema, a profile or a row."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": source_name})
    dataset = Dataset(name=source_name, digest=digest[:_LONGEST_DIGEST], source_type="local", source=source)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _register(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> str:
    if not client.search_registered_models(f"name = '{MODEL}'"):
        client.create_registered_model(MODEL)
    entry = client.create_model_version(MODEL, f"runs:/{run_id}/bundle", run_id, tags=dict(tags))
    client.set_registered_model_alias(MODEL, CHALLENGER, entry.version)
    return str(entry.version)


def _decide(client: "MlflowClient", version: ModelVersion, tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        client.set_model_version_tag(MODEL, version.number, key, value)


def _find(client: "MlflowClient", bundle_version: str) -> ModelVersion:
    for version in _list(client):
        if version.bundle_version == bundle_version:
            return version
    raise ModelError(f"No model version {bundle_version!r}.", remedy="lifestage models lists those that there are.")


def _list(client: "MlflowClient") -> list[ModelVersion]:
    entries = client.search_model_versions(f"name = '{MODEL}'", order_by=["version_number DESC"])
    ours = [entry for entry in entries if _BUNDLE_VERSION in entry.tags]
    if not ours:
        return []
    # The search leaves the aliases of its entries empty on SQLite.
    aliases = client.get_registered_model(MODEL).aliases
    return [_read_entry(entry, aliases) for entry in ours]


def _read_entry(entry: "RegistryEntry", aliases: Mapping[str, Any]) -> ModelVersion:
    number, tags = str(entry.version), entry.tags
    return ModelVersion(
        number=number,
        bundle_version=tags[_BUNDLE_VERSION],
        aliases=tuple(sorted(alias for alias, target in aliases.items() if str(target) == number)),
        created_at=datetime.fromtimestamp(entry.creation_timestamp / 1000, tz=UTC),
        trained_as_of=tags["lifestage.trained_as_of"],
        horizon_days=int(tags["lifestage.horizon_days"]),
        reason=tags[_REASON],
        run_id=str(entry.run_id),
        promoted_at=tags.get(_PROMOTED_AT),
        refused_at=tags.get(_REFUSED_AT),
    )


def _describe(manifest: Manifest, *, dataset_digest: str, git_commit: str | None, reason: str) -> dict[str, str]:
    tags = {
        _BUNDLE_VERSION: manifest.version,
        _REASON: reason,
        "lifestage.trained_as_of": manifest.trained_as_of,
        "lifestage.horizon_days": str(manifest.horizon_days),
        "lifestage.data_digest": dataset_digest,
        "lifestage.catalogue_hash": manifest.catalogue_hash,
    }
    return tags if git_commit is None else {**tags, _GIT_COMMIT: git_commit}


def _of_all(rows: pl.DataFrame) -> dict[str, float]:
    """Name each finite figure of all customers: `<task>.<model>.<metric>`[`.against.<model>`]."""
    versus = pl.when(pl.col("against") == "").then(pl.lit("")).otherwise(pl.lit(".against.") + pl.col("against"))
    name = pl.concat_str("task", "model", "metric", separator=".") + versus
    measured = rows.filter(pl.col("slice") == ALL, pl.col("value").is_finite())
    return dict(measured.select(name.alias("name"), "value").iter_rows())


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": str(value)}
    return flat


def _milliseconds(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1000)
