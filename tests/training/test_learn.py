"""Learning at a cutoff: the features that the data supported then, and nothing that came later."""

from dataclasses import replace
from pathlib import Path

import duckdb
import narwhals as nw
import polars as pl
import pytest

from features.intake.shop import Shop
from features.records import Records
from features.snapshot import to_day
from features.table import FEATURES
from tests.tiny_model import train_model
from tests.whole_shop import AS_OF, WholeShop, whole_settings
from training.bundle import Bundle
from training.models.lifecycle import LifecycleModel

CUTOFF_DAY = to_day(AS_OF)


def learn(records: Records) -> LifecycleModel:
    """Learn as of the shop's date."""
    return train_model(records, cutoff_day=CUTOFF_DAY, settings=whole_settings())


def features_without(*needs: str) -> tuple[str, ...]:
    """Name the features that need none of these."""
    return tuple(feature.name for feature in FEATURES if not any(n.startswith(needs) for n in feature.needs))


def as_values(model: LifecycleModel) -> tuple[object, ...]:
    """Return all that a model has learned."""
    return model.to_dict(), model.churn.trees, model.next_stage.trees


def test_orders_alone(model: LifecycleModel) -> None:
    """A shop that records orders alone has a model of the features that need nothing else."""
    assert model.features == tuple(feature.name for feature in FEATURES if not feature.needs)


def test_late_records(whole_shop: Shop) -> None:
    """Where refunds and a type of event began at the cutoff, they were no part of what could be learned."""
    records = whole_shop.records
    assert records.refunds is not None
    assert records.events is not None
    late = replace(
        records,
        refunds=records.refunds.filter(nw.col("day") >= CUTOFF_DAY),
        events=records.events.filter((nw.col("event_type") != "visit") | (nw.col("day") >= CUTOFF_DAY)),
    )
    assert learn(late).features == features_without("refunds", "event:visit")


@pytest.mark.slow
def test_no_leakage(
    whole_rows: WholeShop, whole_bundle: Bundle, engine: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """Whatever was ordered, refunded or done at or after the cutoff, no parameter and no tree is learned otherwise."""
    known, later = whole_rows.before(AS_OF), whole_rows.after(AS_OF)
    twisted = WholeShop(
        pl.concat([known.orders, later.orders.with_columns(amount=-7 * pl.col("amount"), channel=pl.lit("moon"))]),
        pl.concat([later.events.with_columns(event_type=pl.lit("visit")), known.events]),
    )
    assert min(later.orders.height, later.events.height) > 100
    for number, rows in enumerate((known, twisted)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert as_values(learn(rows.read(folder, connection=engine).records)) == as_values(whole_bundle.model)
