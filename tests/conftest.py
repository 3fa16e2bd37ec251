"""What many tests share: a real purchase log, and a small real model trained on it once."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from features.engine import connect
from features.intake.cdnow import load_cdnow_sample
from features.settings import Settings, load_settings
from tests.tiny_model import train_model, write_model
from training.bundle import Bundle, load_bundle
from training.models.lifecycle import LifecycleModel

N_CUSTOMERS = 1500


@pytest.fixture(scope="session")
def cdnow_orders() -> pl.DataFrame:
    """Validated orders of 1,500 CDNOW customers, by the ids `cdnow-0001` to `cdnow-1500`. One row per order."""
    orders = load_cdnow_sample().filter(pl.col("customer_id").cast(pl.Int64) <= N_CUSTOMERS)
    return orders.with_columns(customer_id=pl.lit("cdnow-") + pl.col("customer_id"))


@pytest.fixture(scope="session")
def end_day(cdnow_orders: pl.DataFrame) -> int:
    """The day after the last order: the as-of date that the shared model was trained for."""
    return int(cdnow_orders["day"].to_numpy().max()) + 1


@pytest.fixture(scope="session")
def small_settings() -> Settings:
    """The defaults, with three training cutoffs and few examples asked of a class."""
    return load_settings(overrides={"training": {"max_train_cutoffs": 3, "min_class_customers": 10}})


@pytest.fixture(scope="session")
def model(cdnow_orders: pl.DataFrame, end_day: int, small_settings: Settings) -> LifecycleModel:
    """A model trained on the shared orders."""
    return train_model(cdnow_orders, cutoff_day=end_day, settings=small_settings)


@pytest.fixture(scope="session")
def bundle_folder(model: LifecycleModel, end_day: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the shared model's bundle; copy it before you change it."""
    return write_model(tmp_path_factory.mktemp("home") / "bundles", model, cutoff_day=end_day)


@pytest.fixture(scope="session")
def bundle(bundle_folder: Path) -> Bundle:
    """The shared model, loaded from its bundle."""
    return load_bundle(bundle_folder)


@pytest.fixture(scope="session")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database that a whole session shares."""
    with connect() as opened:
        yield opened
