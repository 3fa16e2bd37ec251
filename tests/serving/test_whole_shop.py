"""A shop that records everything: its base, read from files, and its requests, sent as JSON, are scored alike."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import httpx
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from starlette.testclient import TestClient

from features.intake.shop import Shop
from features.lifecycle.stages import STAGES
from features.records import Records
from features.snapshot import to_day
from features.table import FEATURE_NAMES
from serving.batch import score_base
from serving.columns import SCORE_SCHEMA
from serving.schemas import Score
from serving.scoring import score_records
from serving.state import ServingState
from tests.histories import CUTOFF_DAY, build_records, exact_bytes, later_shops, shops
from tests.histories import Shop as Relations
from tests.serving.local_client import build_client
from tests.serving.score_rows import WORDING
from tests.whole_shop import AS_OF, WholeShop, whole_settings
from training.bundle import Bundle


@pytest.fixture(scope="module")
def base(whole_shop: Shop, whole_bundle: Bundle) -> pl.DataFrame:
    """Scores of the base."""
    return score_base(whole_shop, whole_bundle, as_of=AS_OF, settings=whole_settings()).scores


@pytest.fixture
def client(state: ServingState, whole_bundle: Bundle) -> TestClient:
    """Call a service whose champion was trained on everything."""
    return build_client(replace(state, champion=whole_bundle))


def ask(client: TestClient, customers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ask for the scores of some customers."""
    answer: httpx.Response = client.post("/v1/score", json={"as_of": AS_OF.isoformat(), "customers": list(customers)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["not_scored"] == []
    return list(answer.json()["scores"])


def as_json(scores: pl.DataFrame) -> list[dict[str, Any]]:
    """Write scores as the service does."""
    return [Score.from_row(row, WORDING).model_dump() for row in scores.iter_rows(named=True)]


def without(customer: dict[str, Any], *columns: str) -> dict[str, Any]:
    """Leave some columns out of all orders of a customer."""
    return {**customer, "orders": [{k: v for k, v in row.items() if k not in columns} for row in customer["orders"]]}


def untold(rows: WholeShop) -> pl.DataFrame:
    """Find the customers of whom no channel, no cost, no category or no quantity is known. One row per customer."""
    columns = pl.col("channel", "cost", "category", "quantity")
    told = rows.before(AS_OF).orders.group_by("customer_id").agg(columns.is_not_null().any())
    return told.filter(~pl.all_horizontal(pl.exclude("customer_id")))


def test_everything_is_read(whole_bundle: Bundle, whole_shop: Shop) -> None:
    """The model reads the whole catalogue; its data have refunds with and without an order, and each type of event."""
    assert whole_bundle.model.features == FEATURE_NAMES
    assert whole_bundle.manifest.absent == {}
    refunds = whole_shop.report.refunds
    assert min(refunds.n_matched, refunds.n_unmatched, refunds.n_orders_emptied) > 0
    assert whole_shop.events is not None
    assert min(whole_shop.events.report.n_repeats, whole_shop.events.report.n_purchases) > 0


def test_all_stages_are_observable(whole_bundle: Bundle, base: pl.DataFrame) -> None:
    """With reviews and referrals, some are ambassadors, and each customer is told the chance to be one."""
    assert whole_bundle.model.stage_rule.observable == STAGES
    assert base.filter(stage="ambassador").height > 0
    assert base["p_next_ambassador"].null_count() == 0
    assert base["p_next_ambassador"].n_unique() > base.height / 2
    sums = base.select(pl.sum_horizontal(f"p_next_{stage}" for stage in STAGES)).to_numpy()
    np.testing.assert_allclose(sums, 1.0, rtol=0, atol=1e-12)


def test_request_equals_batch(client: TestClient, whole_rows: WholeShop, base: pl.DataFrame) -> None:
    """Refunds, goods and events included, a request gets exactly the scores of the batch, in every column."""
    assert base.height > 200
    assert ask(client, map(whole_rows.customer, base["customer_id"])) == as_json(base)


def test_one_at_a_time(client: TestClient, whole_rows: WholeShop, base: pl.DataFrame) -> None:
    """Who else is in a request changes no score, not even of a customer of whom no channel, cost or goods are known."""
    sample = pl.concat([base.sample(20, seed=2), base.join(untold(whole_rows), on="customer_id", how="semi").head(10)])
    assert sample.height > 23
    alone = [ask(client, [whole_rows.customer(customer_id)])[0] for customer_id in sample["customer_id"]]
    assert alone == as_json(sample)


@pytest.mark.parametrize("column", ["channel", "cost", "category", "quantity"])
def test_later_columns(client: TestClient, column: str) -> None:
    """What only a later order tells, such as a channel, changes nothing, not even a flag."""
    told = {"channel": "web", "cost": 3, "category": "books", "quantity": 2}
    known = {name: value for name, value in told.items() if name != column}
    orders = [{"ordered_at": day, "amount": 20, **known} for day in ("2023-05-01", "2024-01-05")]
    customer = {"customer_id": "a", "orders": orders, "events": []}
    later = {"ordered_at": AS_OF.isoformat(), "amount": 9, **told}
    assert ask(client, [{**customer, "orders": [*orders, later]}]) == ask(client, [customer])


def test_row_order(client: TestClient, whole_rows: WholeShop, base: pl.DataFrame) -> None:
    """The sequence of orders and events in a request changes no score."""
    customers = [whole_rows.customer(customer_id) for customer_id in base["customer_id"]]
    turned = ({**c, "orders": c["orders"][::-1], "events": c["events"][::-1]} for c in customers)
    assert ask(client, turned) == as_json(base)


def test_file_order(
    whole_rows: WholeShop,
    whole_bundle: Bundle,
    base: pl.DataFrame,
    tmp_path: Path,
    engine: duckdb.DuckDBPyConnection,
) -> None:
    """The sequence of rows in the files changes no score."""
    shuffled = WholeShop(
        *(rows.sample(fraction=1.0, shuffle=True, seed=4) for rows in (whole_rows.orders, whole_rows.events))
    )
    again = score_base(
        shuffled.read(tmp_path, connection=engine), whole_bundle, as_of=AS_OF, settings=whole_settings()
    ).scores
    assert exact_bytes(again) == exact_bytes(base)


def test_no_later_row(
    client: TestClient,
    whole_rows: WholeShop,
    whole_bundle: Bundle,
    base: pl.DataFrame,
    tmp_path: Path,
    engine: duckdb.DuckDBPyConnection,
) -> None:
    """Orders, refunds and events at or after the as-of date change no score, of the base or of a request."""
    known = whole_rows.before(AS_OF)
    assert (known.orders.height, known.events.height) < (whole_rows.orders.height, whole_rows.events.height)
    again = score_base(
        known.read(tmp_path, connection=engine), whole_bundle, as_of=AS_OF, settings=whole_settings()
    ).scores
    assert exact_bytes(again) == exact_bytes(base)
    assert ask(client, map(known.customer, base["customer_id"])) == as_json(base)


def test_every_input_counts(client: TestClient, whole_rows: WholeShop, base: pl.DataFrame) -> None:
    """The answers do depend on refunds, goods, costs, channels and events: the tests of equality compare something."""
    customers = [whole_rows.customer(customer_id) for customer_id in base["customer_id"]]
    changed = {
        "refunds": [{**c, "orders": [row for row in c["orders"] if row["amount"] >= 0]} for c in customers],
        "events": [{**c, "events": []} for c in customers],
        **{column: [without(c, column) for c in customers] for column in ("category", "quantity", "cost", "channel")},
    }
    expected = as_json(base)
    assert [name for name, told in changed.items() if ask(client, told) == expected] == []


def test_missing_events(
    client: TestClient, whole_rows: WholeShop, whole_shop: Shop, whole_bundle: Bundle, base: pl.DataFrame
) -> None:
    """Without the events it was trained with, the model answers, coherently, and says so; to a request as well."""
    well_known = base.join(untold(whole_rows), on="customer_id", how="anti")
    assert not well_known["flags"].str.contains("missing_inputs").any()
    scores = score_base(replace(whole_shop, events=None), whole_bundle, as_of=AS_OF, settings=whole_settings()).scores
    assert scores["flags"].str.contains("missing_inputs").all()
    assert np.isfinite(scores.select("p_churn", "clv_12m", "expected_orders").to_numpy()).all()
    np.testing.assert_allclose(scores.select(pl.sum_horizontal(pl.col("^p_next_.*$"))).to_numpy(), 1.0, atol=1e-12)
    customers = [whole_rows.customer(customer_id) for customer_id in base["customer_id"]]
    told = ask(client, ({name: c[name] for name in ("customer_id", "orders")} for c in customers))
    assert told == as_json(scores)


@pytest.mark.parametrize("columns", [("channel",), ("cost",), ("category", "quantity")])
def test_missing_columns(whole_shop: Shop, whole_bundle: Bundle, columns: tuple[str, ...]) -> None:
    """Orders without a column that the model reads are scored, and the scores say so."""
    records = whole_shop.records
    orders = records.orders.drop([name for name in records.orders.collect_schema().names() if name.startswith(columns)])
    items = None if "category" in columns else records.items
    scores = score_records(whole_bundle, replace(records, orders=orders, items=items), cutoff_day=to_day(AS_OF))
    assert scores["flags"].str.contains("missing_inputs").all()


@pytest.mark.parametrize("columns", [("channel",), ("cost",), ("category", "quantity")])
def test_missing_columns_of_a_request(
    client: TestClient,
    whole_rows: WholeShop,
    whole_bundle: Bundle,
    columns: tuple[str, ...],
    tmp_path: Path,
    engine: duckdb.DuckDBPyConnection,
) -> None:
    """A request without a column that the model reads gets the scores, and the flag, of a file without it."""
    rows = WholeShop(whole_rows.orders.drop(columns), whole_rows.events)
    scores = score_base(
        rows.read(tmp_path, connection=engine), whole_bundle, as_of=AS_OF, settings=whole_settings()
    ).scores
    assert ask(client, map(rows.customer, scores["customer_id"])) == as_json(scores)


def test_no_refunds(whole_shop: Shop, whole_bundle: Bundle) -> None:
    """A base in which nobody was refunded lacks nothing: there simply was no refund."""
    refunded, without_refunds = whole_shop.records, replace(whole_shop.records, refunds=None)
    flagged = [
        score_records(whole_bundle, records, cutoff_day=to_day(AS_OF))["flags"].str.contains("missing_inputs")
        for records in (refunded, without_refunds)
    ]
    assert flagged[0].equals(flagged[1])
    assert not flagged[1].all()


@pytest.mark.slow
@given(shops(), later_shops())
@settings(deadline=None)
def test_no_leakage(whole_bundle: Bundle, shop: Relations, later: Relations) -> None:
    """Whatever is recorded at or after the as-of date, in any row order, leaves every score byte-identical."""
    history = {name: rows.filter(pl.col("day") < CUTOFF_DAY) for name, rows in shop.items()}
    grown = {name: pl.concat([later[name], shop[name].reverse()]) for name in shop}
    before = _score(whole_bundle, build_records(history))
    assert exact_bytes(_score(whole_bundle, build_records(grown))) == exact_bytes(before)
    assert before.schema == SCORE_SCHEMA


@pytest.mark.slow
@given(shops())
@settings(deadline=None, max_examples=10)
def test_database_is_memory(whole_bundle: Bundle, engine: duckdb.DuckDBPyConnection, shop: Relations) -> None:
    """A base in the database has, to the last bit, the scores of the same base, and of one of its own, in memory."""
    scores = _score(whole_bundle, build_records(shop, engine))
    assert exact_bytes(_score(whole_bundle, build_records(shop))) == exact_bytes(scores)
    own = {name: rows.filter(pl.col("customer_id") == "c0") for name, rows in shop.items()}
    alone = _score(whole_bundle, build_records(own))
    assert exact_bytes(alone) == exact_bytes(scores.filter(pl.col("customer_id") == "c0"))


def _score(bundle: Bundle, records: Records) -> pl.DataFrame:
    return score_records(bundle, records, cutoff_day=CUTOFF_DAY)
