"""Running an experiment: read a shop, measure, print the tables, write the report, log the run."""

import argparse
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.figure import Figure

from experiments.tables import Tables, to_markdown, to_metrics, write_report
from features.engine import connect
from features.errors import LifestageError
from features.intake.cdnow import write_cdnow_csv
from features.intake.shop import read_shop
from features.records import Records
from features.settings import Settings, load_settings
from features.snapshot import Snapshot
from training.labels import build_labels
from training.learn import Advance, Past
from training.tracking import current_commit, log_experiment
from training.train import find_window

CDNOW = "cdnow"

Measure = Callable[["Log", Mapping[str, Any], Settings, Advance], Tables]


@dataclass(frozen=True, slots=True)
class Log:
    """The validated records of a shop.

    Args:
        records: Orders.
        first_day: Day number of the first order.
        end_day: First day number after the last one.
        digest: Hash of the orders; empty where nothing was read.
    """

    records: Records
    first_day: int
    end_day: int
    digest: str = ""


def over(settings: Settings, **training: Any) -> Settings:
    """Return the settings with some of the section `training` changed."""
    return settings.model_copy(update={"training": settings.training.model_copy(update=training)})


def observe_churn(log: Log, past: Past, snapshot: Snapshot) -> npt.NDArray[np.int64]:
    """Return 1 for each customer at the cutoff who ordered nothing within the horizon, (n,)."""
    return build_labels(log.records, snapshot, rule=past.rule)["is_churned"].to_numpy().astype(np.int64)


@contextmanager
def read_log(orders: str | None, settings: Settings) -> Iterator[Log]:
    """Read a shop's orders; without a path, the CDNOW log."""
    connection = connect(memory_limit=settings.engine.memory_limit, threads=settings.engine.threads)
    try:
        with tempfile.TemporaryDirectory(prefix="lifestage-experiment-") as folder:
            path = orders or str(write_cdnow_csv(Path(folder)))
            shop = read_shop([path], [], settings, connection=connection)
            window = find_window(shop.report, None)
            yield Log(shop.records, window.first_day, window.end_day, shop.report.digest)
    finally:
        connection.close()


def sample_log(orders: pl.DataFrame) -> Log:
    """Wrap validated orders."""
    days = orders["day"].to_numpy()
    return Log(Records.wrap(orders), int(days.min()), int(days.max()) + 1)


def load_config(folder: Path) -> dict[str, Any]:
    """Read what an experiment asks."""
    return tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))


def load_trial_settings(config: Mapping[str, Any]) -> Settings:
    """Return the defaults, with the sections that the configuration changes."""
    return load_settings(overrides=config.get("settings", {}))


def answer(folder: Path, measure: Measure, arguments: Sequence[str] | None = None) -> None:
    """Ask the question of an experiment's folder: measure, print, write the report, and log the run.

    Tables of a shop that the report does not show are printed and logged only.
    """
    asked = name_shop(build_parser(load_config(folder)["question"]).parse_args(arguments))
    with exiting():
        _answer(folder, measure, asked)


def _answer(folder: Path, measure: Measure, asked: argparse.Namespace) -> None:
    started_at, config = datetime.now(tz=UTC).isoformat(), load_config(folder)
    settings = load_trial_settings(config)
    with read_log(asked.orders, settings) as log:
        tables = measure(log, config, settings, say)
        digest = log.digest
    show(asked.shop, tables)
    write_report(folder / "report.md", asked.shop, tables)
    if not asked.no_log:
        parameters = {**config, "shop": asked.shop, "data_digest": digest, "training": settings.training.model_dump()}
        log_run(asked, tables, name=folder.name, parameters=parameters, started_at=started_at)


def show(shop: str, tables: Tables) -> None:
    """Print the tables."""
    for name, table in tables.items():
        print(f"\n{shop}.{name}\n\n{to_markdown(table)}", end="")


def log_run(
    asked: argparse.Namespace,
    tables: Tables,
    *,
    name: str,
    parameters: Mapping[str, Any],
    started_at: str,
    figures: Mapping[str, Figure] | None = None,
) -> None:
    """Log a run to the MLflow store of the home."""
    say("logging to MLflow")
    asked.home.mkdir(parents=True, exist_ok=True)
    log_experiment(
        asked.home,
        name=f"{name} {asked.shop}",
        parameters=parameters,
        metrics=to_metrics(tables),
        figures=figures or {},
        started_at=started_at,
        git_commit=current_commit(),
    )


def build_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of the flags that every experiment takes."""
    form = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=form)
    parser.add_argument("--orders", help="a shop's order file, as lifestage reads it; without it the CDNOW log")
    parser.add_argument("--shop", help="what the report calls it", default=CDNOW)
    parser.add_argument("--home", type=Path, default=Path(".lifestage"), help="folder of the MLflow store")
    parser.add_argument("--no-log", action="store_true", help="leave MLflow alone")
    return parser


def name_shop(asked: argparse.Namespace) -> argparse.Namespace:
    """Call a shop that was given without a name `other`, so that it never passes for the CDNOW log."""
    shop = "other" if asked.orders and asked.shop == CDNOW else asked.shop
    return argparse.Namespace(**{**vars(asked), "shop": shop})


@contextmanager
def exiting() -> Iterator[None]:
    """Turn a refusal into its words and its exit code."""
    try:
        yield
    except LifestageError as error:
        say(str(error))
        sys.exit(error.exit_code)


def say(step: str) -> None:
    """Tell the step on the standard error."""
    print(step, file=sys.stderr, flush=True)
