"""PySpark: the same bytes as DuckDB for any records, and a session that says what it lacks."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features.errors import SettingsError, SourceNotFoundError
from features.offers import EVENT
from features.records import EVENT_SCHEMA, ITEM_SCHEMA, ORDER_OPTIONS, ORDER_SCHEMA, REFUND_SCHEMA, Records
from features.snapshot import Snapshot
from features.spark import connect_spark, read_records, write_records
from features.table import (
    FEATURES,
    build_customer_table,
    build_customer_tables,
    build_feature_table,
    build_stage_tables,
)
from tests.histories import CUTOFF_DAY, SHOP_RULE, amounts, build_orders, customer_rows

N_SHOPS = 200
EVENT_TYPES = sorted({need.removeprefix(EVENT) for f in FEATURES for need in f.needs if need.startswith(EVENT)})
SCHEMAS = {
    "orders": pl.Schema({**ORDER_SCHEMA, **ORDER_OPTIONS}),
    "refunds": REFUND_SCHEMA,
    "items": ITEM_SCHEMA,
    "events": EVENT_SCHEMA,
}

Shop = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """A session on two threads, which plans for small data and compiles nothing for it."""
    pytest.importorskip("pyspark", reason="PySpark is an extra of its own: lifestage[spark]")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("PySpark needs Java")
    small = {
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.adaptive.enabled": "false",
        **_compiled(wanted=False),
    }
    with connect_spark(settings=small) as session:
        yield session


@st.composite
def shops(draw: st.DrawFn) -> Shop:
    """Draw the records of one or two customers: all four relations, before and after the cutoff."""
    shop: Shop = {}
    for customer_id in draw(st.sampled_from([["c"], ["ç", "Z"]])):
        drawn = _draw_customer(draw, customer_id)
        shop = {name: pl.concat([shop[name], frame]) if shop else frame for name, frame in drawn.items()}
    return shop


@pytest.mark.slow
def test_customer_table(
    spark: Any, engine: duckdb.DuckDBPyConnection, cdnow_orders: pl.DataFrame, end_day: int, tmp_path: Path
) -> None:
    """Features and stages of CDNOW, read as Parquet and compiled as on a cluster, are the same bytes on Spark."""
    _configure(spark, _compiled(wanted=True))
    snapshot = Snapshot(end_day - 100, 90)
    local = Records.wrap(engine.from_arrow(cdnow_orders.to_arrow()))
    write_records(local, tmp_path / "records")
    there = build_customer_table(read_records(spark, tmp_path / "records"), snapshot, rule=SHOP_RULE)
    _configure(spark, _compiled(wanted=False))
    assert _differences(there, build_customer_table(local, snapshot, rule=SHOP_RULE)) == {}


@pytest.mark.slow
def test_feature_table(spark: Any, cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """Features of CDNOW, from a frame that was never a file, are the same wherever the session says it is."""
    _configure(spark, {"spark.sql.session.timeZone": "Pacific/Auckland"})
    there = Records.wrap(spark.createDataFrame(cdnow_orders.to_arrow()))
    expected = build_feature_table(Records.wrap(cdnow_orders), Snapshot(end_day))
    assert _differences(build_feature_table(there, Snapshot(end_day)), expected) == {}


@pytest.mark.slow
def test_any_records(spark: Any, engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Every feature and stage of any orders, refunds, items and events is the same on Spark, DuckDB and Polars."""
    shop = _many_shops()
    local = Records.wrap(**{name: engine.from_arrow(frame.to_arrow()) for name, frame in shop.items()})
    write_records(local, tmp_path / "records")
    everywhere = (read_records(spark, tmp_path / "records"), Records.wrap(**shop), local)
    snapshots = (Snapshot(CUTOFF_DAY, 90), Snapshot(CUTOFF_DAY - 200, 30))
    for tables in zip(
        *(build_customer_tables(records, snapshots, rule=SHOP_RULE) for records in everywhere), strict=True
    ):
        *others, expected = tables
        assert expected.height > N_SHOPS // 2
        assert set(expected.columns) >= {feature.name for feature in FEATURES}
        assert [_differences(table, expected) for table in others] == [{}, {}]


@pytest.mark.slow
def test_stage_tables(spark: Any, cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """The stages of CDNOW at several cutoffs are the same on Spark."""
    snapshots = (Snapshot(end_day - 300), Snapshot(end_day))
    there = build_stage_tables(Records.wrap(spark.createDataFrame(cdnow_orders.to_arrow())), snapshots, rule=SHOP_RULE)
    expected = build_stage_tables(Records.wrap(cdnow_orders), snapshots, rule=SHOP_RULE)
    assert [_differences(*pair) for pair in zip(there, expected, strict=True)] == [{}, {}]


@pytest.mark.slow
def test_overflow(spark: Any) -> None:
    """A sum that leaves 64 bits is an error and never another number."""
    from pyspark.errors import ArithmeticException

    orders = spark.createDataFrame(build_orders([("c", CUTOFF_DAY - 1, 2**62)] * 2).to_arrow())
    with pytest.raises(ArithmeticException, match="OVERFLOW"):
        build_feature_table(Records.wrap(orders), Snapshot(CUTOFF_DAY))


@pytest.mark.slow
def test_second_session(spark: Any) -> None:
    """A second session is refused rather than given the settings of the first."""
    with pytest.raises(SettingsError, match="already runs"):
        connect_spark(master="local[1]")


@pytest.mark.slow
def test_no_orders(spark: Any, tmp_path: Path) -> None:
    """A folder without orders is refused by name; one without the other relations reads as none recorded."""
    with pytest.raises(SourceNotFoundError, match=r"no orders\.parquet in"):
        read_records(spark, tmp_path)
    write_records(Records.wrap(build_orders([("c", CUTOFF_DAY, 1)])), tmp_path / "records")
    records = read_records(spark, tmp_path / "records")
    assert (records.refunds, records.items, records.events) == (None, None, None)


def test_write_to_old_folder(tmp_path: Path) -> None:
    """Records are never written where something stands already."""
    with pytest.raises(SettingsError, match="is there already"):
        write_records(Records.wrap(build_orders([("c", CUTOFF_DAY, 1)])), tmp_path)


def test_no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without Java, the session says so, and which Java to install."""
    pytest.importorskip("pyspark", reason="PySpark is an extra of its own: lifestage[spark]")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SettingsError, match=r"none where JAVA_HOME points\. Install Java"):
        connect_spark()


def test_no_pyspark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PySpark, the session names the extra to install."""
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(SettingsError, match=r"lifestage\[spark\]"):
        connect_spark()


def _compiled(*, wanted: bool) -> dict[str, str]:
    return {
        "spark.sql.codegen.wholeStage": str(wanted).lower(),
        "spark.sql.codegen.factoryMode": "FALLBACK" if wanted else "NO_CODEGEN",
    }


def _configure(spark: Any, values: dict[str, str]) -> None:
    for name, value in values.items():
        spark.conf.set(name, value)


def _draw_customer(draw: st.DrawFn, customer_id: str) -> Shop:
    bought = draw(customer_rows(customer_id, max_orders=8))
    channels, categories = st.sampled_from([None, "web", "shop"]), st.sampled_from([None, "books", "music"])
    maybe_micros = st.none() | amounts()
    events = st.tuples(
        st.just(customer_id),
        st.integers(CUTOFF_DAY - 500, CUTOFF_DAY + 100),
        st.sampled_from(EVENT_TYPES),
        st.none() | st.integers(-10, 10).map(lambda value: value * 500_000),
        channels,
    )
    options = pl.DataFrame([(draw(channels), draw(maybe_micros)) for _ in bought], schema=ORDER_OPTIONS, orient="row")
    rows: dict[str, list[Any]] = {
        "refunds": [_draw_refund(draw, *row) for row in draw(st.lists(st.sampled_from(bought), unique=True))],
        "items": [(*row[:2], draw(categories), draw(st.integers(1, 3)), draw(maybe_micros)) for row in bought],
        "events": draw(st.lists(events, max_size=8)),
    }
    frames = {name: pl.DataFrame(found, schema=SCHEMAS[name], orient="row") for name, found in rows.items()}
    return {"orders": pl.concat([build_orders(bought), options], how="horizontal"), **frames}


def _draw_refund(draw: st.DrawFn, customer_id: str, day: int, micros: int) -> tuple[str, int, int | None, int, int]:
    given_back = draw(st.integers(0, micros) | st.just(micros))
    came_on = day + draw(st.integers(0, 100))
    return (
        (customer_id, came_on, day, given_back, given_back)
        if draw(st.booleans())
        else (customer_id, came_on, None, given_back, 0)
    )


def _many_shops() -> Shop:
    """Draw many shops, and set them side by side as customers of one."""
    drawn: list[Shop] = []

    @given(shops())
    @settings(max_examples=N_SHOPS, deadline=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck])
    def collect(shop: Shop) -> None:
        prefix = pl.lit(f"{len(drawn):03}-")
        drawn.append(
            {name: frame.with_columns(customer_id=prefix + pl.col("customer_id")) for name, frame in shop.items()}
        )

    collect()
    return {name: pl.concat([shop[name] for shop in drawn]) for name in SCHEMAS}


def _differences(table: pl.DataFrame, expected: pl.DataFrame) -> dict[str, list[str]]:
    """Return the first value that differs, in each column that does, and what it should be; "" is the shape."""
    if (table.schema, table.height) != (expected.schema, expected.height):
        return {"": [repr((frame.schema, frame.height)) for frame in (table, expected)]}
    columns = {name: zip(_texts(table[name]), _texts(expected[name]), strict=True) for name in table.columns}
    unequal = {name: [list(pair) for pair in pairs if pair[0] != pair[1]] for name, pairs in columns.items()}
    return {name: pairs[0] for name, pairs in unequal.items() if pairs}


def _texts(values: pl.Series) -> list[str]:
    """Write values down to the last digit and the sign of zero."""
    return [repr(value) for value in values.to_list()]
