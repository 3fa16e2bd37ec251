"""What benchmarks share, made when the first of them asks for it, in a folder that goes at the end."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb
import polars as pl

from features.records import Records
from features.settings import load_settings
from features.snapshot import Snapshot
from features.table import build_customer_table, features_named
from serving.state import open_store
from tests.bench.orders import CUTOFF_DAY, ORDERS_PER_CUSTOMER, SEED, generate_orders
from tests.bench.table import say
from tests.tiny_model import train_model, write_model
from training.bundle import Bundle, load_bundle
from training.promotion.champion import Promotion, append_promotion, bundles_folder

N_TRAINING_CUSTOMERS = 10_000
NOW = "2023-01-01T00:00:00+00:00"


@dataclass(frozen=True)
class Workspace:
    """Sizes, and the data made to them.

    Args:
        folder: Empty at first.
        n_orders: Orders of the feature table.
        n_customers: Customers of the other benchmarks.
        seconds: Length of an HTTP measurement.
        memory_limit: Cap of the query engine for the feature table; None for its default.
    """

    folder: Path
    n_orders: int
    n_customers: int
    seconds: float
    memory_limit: str | None

    def order_file(self, n_orders: int) -> Path:
        """Write exactly so many orders to a Parquet file, and return its path."""
        path = self.folder / f"orders-{n_orders}.parquet"
        if not path.exists():
            say(f"  generating {n_orders:,} orders")
            drawn = generate_orders(n_orders // (ORDERS_PER_CUSTOMER - 1))  # a few more than are kept
            drawn.sample(n_orders, seed=SEED).sort("ordered_at", "customer_id").write_parquet(path)
        return path

    @cached_property
    def customer_orders(self) -> Path:
        """A Parquet file with the orders of `n_customers` customers."""
        say(f"  generating the orders of {self.n_customers:,} customers")
        path = self.folder / "customers.parquet"
        generate_orders(self.n_customers).write_parquet(path)
        return path

    @cached_property
    def customer_table(self) -> pl.DataFrame:
        """The customer table of these orders. One row per customer."""
        say("  building the customer table")
        model = self.bundle.model
        with duckdb.connect() as connection:
            records = Records.wrap(connection.read_parquet(str(self.customer_orders)))
            snapshot = Snapshot(CUTOFF_DAY, model.horizon_days)
            features = features_named(model.features)
            return build_customer_table(records, snapshot, rule=model.stage_rule, features=features)

    @cached_property
    def home(self) -> Path:
        """A home folder with a champion, trained on other customers of the same shop."""
        say(f"  training on {N_TRAINING_CUSTOMERS:,} customers")
        home = self.folder / "home"
        orders = generate_orders(N_TRAINING_CUSTOMERS, seed=SEED + 1)
        model = train_model(Records.wrap(orders), cutoff_day=CUTOFF_DAY, settings=load_settings())
        bundle = write_model(bundles_folder(home), model, cutoff_day=CUTOFF_DAY)
        append_promotion(home, Promotion(version=bundle.name, at=NOW, reason="benchmark"))
        open_store(home).close()
        return home

    @cached_property
    def bundle(self) -> Bundle:
        """The champion."""
        (folder,) = bundles_folder(self.home).iterdir()
        return load_bundle(folder)
