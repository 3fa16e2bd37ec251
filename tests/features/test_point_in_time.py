"""What was known at a cutoff depends on nothing that came at or after it, nor on how it lies about."""

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalogue import MICROS
from features.intake.orders import read_orders
from features.lifecycle.prospects import ProspectRule, build_prospects, learn_prospect_rule
from features.lifecycle.stages import PROSPECT_STAGES, learn_stage_rule
from features.offers import find_offers
from features.order_days import build_order_days
from features.records import Records
from features.settings import load_settings
from features.snapshot import Snapshot, to_date
from features.table import FEATURES, build_customer_table, build_feature_table
from tests.histories import CUTOFF_DAY, SHOP_RULE, Shop, build_records, cents, exact_bytes, later_shops, shops

SNAPSHOT = Snapshot(CUTOFF_DAY, 90)
SETTINGS = load_settings()
PROSPECT_RULE = ProspectRule(hot_within_days=30, hot_min_visit_days=2, observable=PROSPECT_STAGES)
RAW_COLUMNS = (
    "customer_id",
    "ordered_at",
    "amount",
    "order_id",
    "refund_of",
    "channel",
    "category",
    "quantity",
    "cost",
)
RAW_SCHEMA = dict.fromkeys(RAW_COLUMNS, pl.String)

MANY = settings(max_examples=max(100, settings().max_examples), deadline=None)


@given(shops(), later_shops(), st.randoms(use_true_random=False))
@MANY
def test_no_leakage(shop: Shop, later: Shop, rng: Random) -> None:
    """Orders, refunds, items, events and contacts at or after the cutoff leave all three tables byte-identical."""
    before, after = build_records(_known(shop)), build_records(_grown(shop, later, rng))
    expected = build_customer_table(before, SNAPSHOT, rule=SHOP_RULE, features=FEATURES)
    features = build_feature_table(after, SNAPSHOT)
    assert _customers(after) == exact_bytes(expected)
    assert exact_bytes(features) == exact_bytes(expected.select(features.columns))
    assert _prospects(after) == _prospects(before)


@pytest.mark.slow
@given(shops(), later_shops(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_no_leakage_in_database(engine: duckdb.DuckDBPyConnection, shop: Shop, later: Shop, rng: Random) -> None:
    """The same holds in DuckDB, where the later rows are read with the earlier ones."""
    grown, known = build_records(_grown(shop, later, rng), engine), build_records(_known(shop))
    assert _customers(grown) == _customers(known)
    assert _prospects(grown) == _prospects(known)


@given(shops(), later_shops(), st.randoms(use_true_random=False))
@MANY
def test_nothing_learned_from_later(shop: Shop, later: Shop, rng: Random) -> None:
    """Neither the stage rules nor what the data offers are learned from rows at or after the cutoff."""
    before, after = build_records(_known(shop)), build_records(_grown(shop, later, rng))
    offers = find_offers(before, SNAPSHOT)
    assert find_offers(after, SNAPSHOT) == offers
    rules = [
        learn_stage_rule(build_order_days(records, SNAPSHOT), SETTINGS.stages, offers=find_offers(records, SNAPSHOT))
        for records in (before, after)
    ]
    assert rules[0] == rules[1]
    of_prospects = [learn_prospect_rule(records, SNAPSHOT, SETTINGS.stages) for records in (before, after)]
    assert of_prospects[0] == of_prospects[1]


@pytest.mark.slow
@given(shops(), st.randoms(use_true_random=False), st.integers(1, 4))
@settings(deadline=None)
def test_scattered(engine: duckdb.DuckDBPyConnection, shop: Shop, rng: Random, n_parts: int) -> None:
    """Rows in any sequence, and in any number of frames put together, give the same bytes on both engines."""
    expected = _customers(build_records(shop)), _prospects(build_records(shop))
    parts = {name: _scatter(frame, n_parts, rng) for name, frame in shop.items()}
    together = build_records({name: pl.concat(found) for name, found in parts.items()})
    assert (_customers(together), _prospects(together)) == expected
    unions = {name: _union([engine.from_arrow(part.to_arrow()) for part in found]) for name, found in parts.items()}
    united = Records.wrap(**unions)
    assert (_customers(united), _prospects(united)) == expected


@pytest.mark.slow
@given(shops(max_customers=2, money=cents()), st.sampled_from(["orders", "lines"]), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_files(engine: duckdb.DuckDBPyConnection, shop: Shop, rows_are: str, rng: Random) -> None:
    """Split over CSV and Parquet files that overlap, shuffled, and read again, orders give the same bytes."""
    rows = _raw_rows(shop, rng, n_lines=1 if rows_are == "orders" else 3)
    read_as = load_settings(overrides={"orders": {"rows": rows_are}}).orders
    with TemporaryDirectory() as folder:
        whole = _write(rows, Path(folder) / "whole.csv")
        several = _write_several(rows, Path(folder), rng)
        expected = _features(read_orders([whole], read_as, connection=engine).records)
        assert _features(read_orders(several, read_as, connection=engine).records) == expected


def _customers(records: Records) -> bytes:
    return exact_bytes(build_customer_table(records, SNAPSHOT, rule=SHOP_RULE, features=FEATURES))


def _prospects(records: Records) -> bytes:
    return exact_bytes(build_prospects(records, SNAPSHOT, rule=PROSPECT_RULE))


def _features(records: Records) -> bytes:
    return exact_bytes(build_feature_table(records, SNAPSHOT, features=FEATURES))


def _known(shop: Shop) -> Shop:
    return {name: frame.filter(pl.col("day") < CUTOFF_DAY) for name, frame in shop.items()}


def _grown(shop: Shop, later: Shop, rng: Random) -> Shop:
    return {name: _shuffle(pl.concat([shop[name], later[name]]), rng) for name in shop}


def _shuffle(frame: pl.DataFrame, rng: Random) -> pl.DataFrame:
    return frame[rng.sample(range(frame.height), frame.height)]


def _scatter(frame: pl.DataFrame, n_parts: int, rng: Random) -> list[pl.DataFrame]:
    """Deal the rows out to so many frames, some of which may be empty."""
    part = pl.Series([rng.randrange(n_parts) for _ in range(frame.height)], dtype=pl.Int64)
    return [_shuffle(frame.filter(part == i), rng) for i in range(n_parts)]


def _write_several(rows: pl.DataFrame, folder: Path, rng: Random) -> list[Path]:
    """Deal the rows out to files of both kinds; within a kind, some rows stand again, in their file or in another.

    Rows without an order id that are alike count once within a kind, but cannot be recognised in the other.
    """
    files = []
    for kind, dealt in zip(("csv", "parquet"), _scatter(rows.unique(maintain_order=True), 2, rng), strict=True):
        parts = [part for part in _scatter(dealt, rng.randint(1, 3), rng) if not part.is_empty()]
        for i, part in enumerate(parts):
            again = dealt[[rng.randrange(dealt.height) for _ in range(rng.randint(0, 3))]]
            files.append(_write(_shuffle(pl.concat([part, again]), rng), folder / f"part-{i}.{kind}"))
    return rng.sample(files, len(files))


def _union(relations: list[duckdb.DuckDBPyRelation]) -> duckdb.DuckDBPyRelation:
    first, *others = relations
    for other in others:
        first = first.union(other)
    return first


def _raw_rows(shop: Shop, rng: Random, *, n_lines: int) -> pl.DataFrame:
    """Write orders and refunds as a shop exports them: text, refunds below 0, some naming their order."""
    orders, refunds = (shop[name].iter_rows(named=True) for name in ("orders", "refunds"))
    sold = [
        {
            "order_id": f"n{i // n_lines}",
            "ordered_at": f"{to_date(order['day'])}T{rng.randrange(24):02}:{rng.randrange(60):02}",
            "amount": _money(order["amount_micros"]),
            "cost": _money(order["cost_micros"]),
            "category": rng.choice(["books", "music", None]),
            "quantity": rng.choice(["1", "2", "0.5", None]),
            **{name: order[name] for name in ("customer_id", "channel")},
        }
        for i, order in enumerate(orders)
    ]
    returned = [
        {
            "customer_id": refund["customer_id"],
            "ordered_at": str(to_date(refund["day"])),
            "amount": f"-{_money(refund['amount_micros'])}",
            "refund_of": rng.choice([None, f"n{rng.randrange(9)}"]),
        }
        for refund in refunds
    ]
    return pl.DataFrame([*sold, *returned], schema=RAW_SCHEMA)


def _money(micros: int | None) -> str | None:
    return None if micros is None else f"{micros // MICROS}.{micros % MICROS:06}"


def _write(rows: pl.DataFrame, file: Path) -> Path:
    if file.suffix == ".csv":
        rows.write_csv(file)
    else:
        rows.write_parquet(file)
    return file
