"""What many tests share: a real purchase log, and a small real model trained on it once."""

import gc
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import settings as hypothesis_settings

from features.engine import connect
from features.intake.cdnow import load_cdnow_sample
from features.intake.shop import Shop
from features.records import Records
from features.settings import Settings, load_settings
from features.snapshot import to_day
from tests.postgres import running_postgres
from tests.tiny_model import train_model, write_model
from tests.whole_shop import AS_OF, TIMEZONE, WholeShop, make_up_shop, whole_settings
from training.bundle import Bundle, load_bundle
from training.models.lifecycle import LifecycleModel

N_CUSTOMERS = 1500

hypothesis_settings.register_profile("tests", max_examples=30, deadline=None)
hypothesis_settings.load_profile("tests")  # `make soak` loads one of a thousand


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold slow tests: one that came last would keep a single process busy."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what was imported, and look through the rest less often.

    It would take a tenth of the time: what is imported stays to the end.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


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
    return train_model(Records.wrap(cdnow_orders), cutoff_day=end_day, settings=small_settings)


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


@pytest.fixture(scope="session")
def whole_rows() -> WholeShop:
    """The rows of a made-up shop that records everything."""
    return make_up_shop()


@pytest.fixture(scope="session")
def whole_shop(
    whole_rows: WholeShop, engine: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory
) -> Shop:
    """The same, read from CSV files."""
    return whole_rows.read(tmp_path_factory.mktemp("whole-shop"), connection=engine)


@pytest.fixture(scope="session")
def whole_bundle(whole_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model trained on all of it, loaded from its bundle."""
    model = train_model(whole_shop.records, cutoff_day=to_day(AS_OF), settings=whole_settings())
    folder = tmp_path_factory.mktemp("whole-bundle")
    return load_bundle(write_model(folder, model, cutoff_day=to_day(AS_OF), timezone=TIMEZONE))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a real PostgreSQL server that a session shares; its user may do anything."""
    with running_postgres() as url:
        yield url
