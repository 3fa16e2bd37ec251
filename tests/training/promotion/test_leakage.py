"""Leakage: an honest training is clean, and each way to know the answer beforehand is named."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from features.intake.shop import Shop
from features.records import Records
from features.snapshot import Snapshot, to_day
from features.table import build_customer_table
from tests.whole_shop import AS_OF, FIRST_DAY, whole_settings
from training.fitters.lifecycle import Examples
from training.learn import Past, build_past
from training.promotion.leakage import (
    Leakage,
    check_leakage,
    compare_with_other_future,
    find_broken_windows,
    find_telling_inputs,
    mirror_future,
)
from training.splits import Fold, rolling_folds

END_DAY = to_day(AS_OF)
FIRST = to_day(FIRST_DAY)
SETTINGS = whole_settings()


@pytest.fixture(scope="module")
def past(whole_shop: Shop) -> Past:
    """What is known at the as-of date of the shop that records everything."""
    fold = Fold(END_DAY, (END_DAY - 90, END_DAY - 120))
    return build_past(whole_shop.records, fold, settings=SETTINGS)


def test_clean(whole_shop: Shop, past: Past) -> None:
    """An honest training is clean: later orders, refunds, items and events change no column of the customer table."""
    folds = rolling_folds(first_day=FIRST, end_day=END_DAY, settings=SETTINGS.training)
    found = check_leakage(whole_shop.records, folds, past, first_day=FIRST, settings=SETTINGS.training)
    assert found == Leakage((AS_OF - timedelta(days=90)).isoformat(), found.n_customers, (), (), {})
    assert found.is_clean
    assert found.n_customers > 100
    record = found.to_record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["is_clean"]


def test_neighbours(whole_shop: Shop, past: Past) -> None:
    """Of a larger base a stretch of neighbours is compared, with their own rows alone."""
    snapshot = Snapshot(END_DAY - 90, 90)
    seen: list[pl.DataFrame] = []

    def build(records: Records) -> pl.DataFrame:
        seen.append(build_customer_table(records, snapshot, rule=past.rule))
        return seen[-1]

    assert compare_with_other_future(whole_shop.records, snapshot, build, max_customers=40) == (40, ())
    whole = build_customer_table(whole_shop.records, snapshot, rule=past.rule)
    assert seen[0].equals(whole.filter(pl.col("customer_id").is_in(seen[0]["customer_id"].implode())))


def test_later_orders_read(whole_shop: Shop, past: Past) -> None:
    """A table that reads beyond its cutoff is found out, column by column."""
    snapshot, later = Snapshot(END_DAY - 90, 90), Snapshot(END_DAY - 60, 90)

    def build(records: Records) -> pl.DataFrame:
        ids = build_customer_table(records, snapshot, rule=past.rule).select("customer_id")
        return ids.join(build_customer_table(records, later, rule=past.rule), on="customer_id", how="left")

    compared, differing = compare_with_other_future(whole_shop.records, snapshot, build)
    assert compared > 100
    assert {"n_orders", "days_since_last_order", "visits_within_30", "refunded_value"} <= set(differing)
    assert "customer_id" not in differing


def test_other_future(whole_shop: Shop) -> None:
    """The other future begins at the cutoff, leaves the past as it is, and has each row of it once more."""
    snapshot = Snapshot(END_DAY)
    past, other = snapshot.known_records(whole_shop.records), mirror_future(whole_shop.records, snapshot)
    assert other.events is not None
    assert past.events is not None
    for known, mirrored in ((past.orders, other.orders), (past.events, other.events)):
        days, both = (frame.select("day").collect("polars")["day"].to_numpy() for frame in (known, mirrored))
        later = both[both >= END_DAY]
        assert sorted(both[both < END_DAY]) == sorted(days)
        assert sorted(2 * END_DAY - 1 - later) == sorted(days)


@pytest.mark.parametrize(
    ("fold", "words"),
    [
        (Fold(400, (310, 280)), ()),
        (Fold(400, (311,)), ("the outcome of 1970-11-08 over 90 days was not known on 1971-02-05",)),
        (Fold(400, (310, 100)), ("the training cutoff 1970-04-11 lies before any order",)),
    ],
)
def test_windows(fold: Fold, words: tuple[str, ...]) -> None:
    """A training cutoff whose outcome was not known yet is named, and so is one before any order."""
    assert tuple(find_broken_windows([fold], first_day=100, horizon_days=90)) == words


def rig_past(past: Past, name: str, *, noise: float = 0.0, is_null: bool = False) -> Past:
    """Write the outcome into a column of the training examples, but for a share of the rows."""
    rng = np.random.default_rng(3)

    def rig(example: Examples) -> Examples:
        wrong = rng.random(example.table.height) < noise
        told = pl.Series(name, example.labels["is_churned"].to_numpy() ^ wrong)
        values = told.cast(pl.Float64).replace(1.0, None) if is_null else -told.cast(pl.Float64)
        return replace(example, table=example.table.with_columns(values))

    return replace(past, examples=tuple(rig(example) for example in past.examples))


@pytest.mark.parametrize("is_null", [True, False])
def test_telling_input(past: Past, is_null: bool) -> None:
    """An input that knows the outcome is named with its AUC, whichever way it tells, and even by being null."""
    found = find_telling_inputs(rig_past(past, "tickets_within_90", is_null=is_null), SETTINGS.training)
    assert found == {"tickets_within_90": 1.0}
    assert find_telling_inputs(past, SETTINGS.training) == {}


def test_hardly_telling(past: Past) -> None:
    """An input that is often wrong is no leak."""
    rigged = rig_past(past, "tickets_within_90", noise=0.1)
    assert find_telling_inputs(rigged, SETTINGS.training) == {}


def test_clockwork(past: Past) -> None:
    """Where the orders alone tell as much, no other input is suspected, nor are the orders."""
    regular = rig_past(rig_past(past, "days_since_last_order"), "tickets_within_90")
    assert find_telling_inputs(regular, SETTINGS.training) == {}


def test_too_few(past: Past) -> None:
    """With too few of an outcome to learn from, no input is suspected."""
    many = SETTINGS.training.model_copy(update={"min_class_customers": 10_000})
    assert find_telling_inputs(rig_past(past, "tickets_within_90"), many) == {}


def test_words() -> None:
    """Findings are recorded as JSON, and one is enough to be unclean."""
    found = Leakage("2024-01-01", 5, (), (), {"tickets_within_90": 1.0})
    assert not found.is_clean
    assert found.to_record() == {
        "is_clean": False,
        "point_in_time": {"cutoff": "2024-01-01", "n_customers": 5, "differing": []},
        "windows": [],
        "telling_inputs": {"tickets_within_90": 1.0},
    }
