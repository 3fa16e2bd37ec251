"""The metric sheet: figures by hand, by brute force and on both engines; identities; a future that changes nothing."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.catalogue import MICROS
from features.errors import InputError, SettingsError
from features.intake.shop import Shop as ReadShop
from features.lifecycle.metric_sheet import (
    FLAGS,
    MAX_PERIOD_DAYS,
    METRICS,
    SHEET_SCHEMA,
    SLICE_KINDS,
    STATUSES,
    build_metric_sheet,
)
from features.lifecycle.metrics import count_traffic, simple_clv
from features.lifecycle.stages import STAGES
from features.records import CONTACT_SCHEMA, Records
from features.snapshot import Snapshot, to_date, to_day
from tests.histories import CUTOFF_DAY, Shop, build_records, build_shop, exact_bytes, later_shops, shops
from tests.whole_shop import AS_OF

SNAPSHOT = Snapshot(CUTOFF_DAY)
YEAR_DAYS = 365
COST_SCHEMA = pl.Schema({"day": pl.Int64(), "channel": pl.String(), "value_micros": pl.Int64()})
# Sums over these slices give the numerator of "all", and their denominators too.
ADDITIVE = {
    "stage": {"average_order_value", "transaction_frequency"},
    "cohort": {"average_order_value", "transaction_frequency", "second_purchase_rate"},
}

CostRow = tuple[int, str | None, int]
ContactRow = tuple[str | None, str | None, int, str, str | None]

_CHANNEL = st.sampled_from([None, "web", "shop", "phone"])
_TYPES = ("visit", "email_sent", "email_bounced", "email_open", "engagement", "cart")
_WHO = st.tuples(st.sampled_from(["c0", "c1"]), st.none()) | st.tuples(
    st.sampled_from([None, "c0", "c1"]), st.sampled_from(["c0", "v1", "v2"])
)


def _ago(days: int) -> int:
    return CUTOFF_DAY - days


def _costs(rows: Sequence[CostRow]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=COST_SCHEMA, orient="row")


def _contacts(rows: Sequence[ContactRow]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=CONTACT_SCHEMA, orient="row")


def _customers(shop: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Build a stage and a CLV for each customer who ordered before the cutoff, in turns."""
    ids = sorted(set(shop["orders"].filter(pl.col("day") < CUTOFF_DAY)["customer_id"].to_list()))
    rows = [(customer_id, STAGES[i % len(STAGES)], 12.5 * i) for i, customer_id in enumerate(ids)]
    return pl.DataFrame(
        rows, schema={"customer_id": pl.String, "stage": pl.String, "clv_12m": pl.Float64}, orient="row"
    )


def _sheet(
    shop: Mapping[str, pl.DataFrame],
    *,
    costs: pl.DataFrame | None = None,
    connection: duckdb.DuckDBPyConnection | None = None,
    period_days: int = YEAR_DAYS,
    **options: Any,
) -> pl.DataFrame:
    options.setdefault("customers", _customers(shop))
    records = build_records(shop, connection)
    return build_metric_sheet(records, SNAPSHOT, period_days=period_days, costs=costs, **options)


def _at(sheet: pl.DataFrame, metric: str, kind: str = "all", name: str = "all") -> dict[str, Any]:
    [row] = sheet.filter(metric=metric, slice_kind=kind, slice=name).to_dicts()
    return row


def _ratio(sheet: pl.DataFrame, metric: str, kind: str = "all", name: str = "all") -> tuple[Any, Any, Any]:
    row = _at(sheet, metric, kind, name)
    return row["numerator"], row["denominator"], row["value"]


def _slices(sheet: pl.DataFrame, metric: str, kind: str) -> list[str]:
    return sheet.filter(metric=metric, slice_kind=kind)["slice"].to_list()


# In the last year `new` came by web, ordered twice, and got 5 of 40 back; `old` came before, and ordered once by phone.
ORDERS = [
    ("new", _ago(100), 40 * MICROS, "web", None),
    ("new", _ago(1), 20 * MICROS, "phone", None),
    ("old", _ago(366), 70 * MICROS, "web", None),
    ("old", _ago(365), 30 * MICROS, "phone", None),
    ("new", _ago(0), 999 * MICROS, "web", None),
]
REFUNDS = [
    ("new", _ago(50), _ago(100), 5 * MICROS, 5 * MICROS),
    ("new", _ago(0), _ago(100), 5 * MICROS, 5 * MICROS),
    ("old", _ago(50), _ago(366), 5 * MICROS, 5 * MICROS),
]
COSTS = [
    (_ago(366), "web", 500 * MICROS),
    (_ago(365), "web", 30 * MICROS),
    (_ago(100), "web", 10 * MICROS),
    (_ago(100), None, 20 * MICROS),
    (_ago(1), "e-mail", 2 * MICROS),
    (_ago(0), "web", 500 * MICROS),
]
CONTACTS: list[ContactRow] = [
    (None, "v", _ago(9), "visit", "web"),
    ("new", "v", _ago(9), "visit", "web"),
    ("new", "v", _ago(9), "visit", "phone"),
    ("new", "v", _ago(8), "visit", None),
    (None, "w", _ago(8), "visit", "web"),
    *[("new", None, _ago(5), "email_sent", "e-mail")] * 20,
    *[("new", None, _ago(5), "email_bounced", "e-mail")] * 2,
    *[("new", None, _ago(4), "email_open", "e-mail")] * 10,
    *[("new", None, _ago(4), "engagement", "gram")] * 3,
    ("new", "v", _ago(0), "visit", "web"),
    ("new", "v", _ago(366), "visit", "web"),
]


def _by_hand(**options: Any) -> pl.DataFrame:
    shop = {**build_shop({"orders": ORDERS, "refunds": REFUNDS}), "contacts": _contacts(CONTACTS)}
    customers = pl.DataFrame({"customer_id": ["new", "old"], "stage": ["repeat", "lost"], "clv_12m": [15.5, 1.0]})
    given: dict[str, Any] = {"costs": _costs(COSTS), "customers": customers, "followers": {"gram": 2}}
    return _sheet(shop, **(given | options))


BY_HAND: dict[tuple[str, str, str], tuple[float | None, float | None, float | None]] = {
    ("cost_per_acquisition", "all", "all"): (62.0, 1.0, 62.0),
    ("cost_per_acquisition", "channel", "web"): (40.0, 1.0, 40.0),
    ("cost_per_acquisition", "channel", "e-mail"): (2.0, 0.0, None),
    ("cost_per_impression", "all", "all"): (62.0, 10.0, 6.2),
    ("cost_per_impression", "channel", "e-mail"): (2.0, 10.0, 0.2),
    ("conversion_rate", "all", "all"): (3.0, 5.0, 0.6),
    ("conversion_rate", "channel", "web"): (1.0, 3.0, 1 / 3),
    ("conversion_rate", "channel", "phone"): (2.0, 1.0, 2.0),
    ("second_purchase_rate", "all", "all"): (2.0, 2.0, 1.0),
    ("average_order_value", "all", "all"): (90.0, 3.0, 30.0),
    ("average_order_value", "stage", "repeat"): (60.0, 2.0, 30.0),
    ("average_order_value", "stage", "lost"): (30.0, 1.0, 30.0),
    ("average_order_value", "channel", "phone"): (50.0, 2.0, 25.0),
    ("transaction_frequency", "all", "all"): (3.0, 2.0, 1.5),
    ("transaction_frequency", "channel", "phone"): (2.0, 2.0, 1.0),
    ("engagement_rate", "channel", "gram"): (3.0, 2.0, 150.0),
    ("clv_12m_to_cpa", "all", "all"): (15.5, 62.0, 0.25),
    ("clv_12m_to_cpa", "channel", "web"): (15.5, 40.0, 15.5 / 40),
    ("clv_12m_to_cpa", "channel", "e-mail"): (None, None, None),
    ("value_and_clv_12m_to_cpa", "all", "all"): (15.5 + 55.0, 62.0, 70.5 / 62),
    ("visitors", "all", "all"): (3.0, 1.0, 3.0),
    ("visitors", "channel", "web"): (2.0, 1.0, 2.0),
    ("visits", "all", "all"): (5.0, 1.0, 5.0),
}


@pytest.fixture(scope="module")
def by_hand() -> pl.DataFrame:
    """The sheet of the shop above."""
    return _by_hand()


@pytest.mark.parametrize("row", BY_HAND, ids="-".join)
def test_by_hand(by_hand: pl.DataFrame, row: tuple[str, str, str]) -> None:
    """Every figure of a small shop is the one worked out by hand, to the edges of the period."""
    assert _ratio(by_hand, *row) == BY_HAND[row]


def test_simple_clv() -> None:
    """Simple CLV is orders per year × average order value × years, of the customers who ordered."""
    expected = simple_clv(1.5 * 365.25 / YEAR_DAYS, 30.0, 8).value
    assert _ratio(_by_hand(years=8), "simple_clv")[2] == expected
    assert "over 8 years" in _at(_by_hand(years=8), "simple_clv")["numerator_name"]


def test_margin() -> None:
    """The value so far counts by the margin that the predicted CLV was made with."""
    assert _ratio(_by_hand(margin=0.5), "value_and_clv_12m_to_cpa")[0] == 15.5 + 27.5


def test_loss(by_hand: pl.DataFrame) -> None:
    """A CLV below the cost of acquisition is flagged as a loss; what came in so far may make up for it."""
    assert _at(by_hand, "clv_12m_to_cpa")["flag"] == "loss"
    assert _at(by_hand, "value_and_clv_12m_to_cpa")["flag"] == ""


def test_short_period() -> None:
    """A pace taken from less than a year is flagged."""
    assert [_at(_by_hand(period_days=days), "simple_clv")["flag"] for days in (365, 364)] == ["", "short_period"]


def test_costs_taken_back() -> None:
    """Where more cost was taken back than spent, the ratios are undefined, and say so."""
    sheet = _by_hand(costs=_costs([(_ago(5), "web", -3 * MICROS)]))
    for metric in ("cost_per_acquisition", "cost_per_impression", "clv_12m_to_cpa"):
        row = _at(sheet, metric)
        assert (row["value"], row["status"], row["flag"]) == (None, "undefined", "negative_cost")


def test_free_acquisition() -> None:
    """A cost of nothing acquires for 0, and a CLV compared with it is undefined."""
    sheet = _by_hand(costs=_costs([(_ago(5), "web", 0)]))
    assert _ratio(sheet, "cost_per_acquisition") == (0.0, 1.0, 0.0)
    assert _ratio(sheet, "clv_12m_to_cpa") == (15.5, 0.0, None)


def test_no_channel(by_hand: pl.DataFrame) -> None:
    """Costs without a channel are in `all` alone, and spread over no channel."""
    spent = by_hand.filter(metric="cost_per_acquisition", slice_kind="channel")["numerator"].to_list()
    assert _slices(by_hand, "cost_per_acquisition", "channel") == ["e-mail", "web"]
    assert _ratio(by_hand, "cost_per_acquisition")[0] - sum(spent) == 20.0


def test_channel_of_first_order() -> None:
    """A customer was acquired by the channel of the first order, also where others follow on that day."""
    orders = build_shop({"orders": [("c", _ago(9), MICROS, "web", None), ("c", _ago(9), MICROS, "app", None)]})[
        "orders"
    ]
    at = pl.when(pl.col("channel") == "app").then(pl.duration(hours=5)).otherwise(pl.duration(hours=1))
    shop = {"orders": orders.with_columns(ordered_at=(pl.col("ordered_at") + at).cast(pl.Datetime("us")))}
    sheet = _sheet(shop, costs=_costs([(_ago(9), channel, MICROS) for channel in ("web", "app")]))
    acquired = {name: _ratio(sheet, "cost_per_acquisition", "channel", name)[1] for name in ("web", "app")}
    assert acquired == {"web": 1.0, "app": 0.0}


def test_channel_at_one_instant() -> None:
    """Of several first orders at one instant, one that names its channel decides."""
    orders = [("c", _ago(9), MICROS, channel, None) for channel in (None, "web", "app")]
    sheet = _sheet(build_shop({"orders": orders}), costs=_costs([(_ago(9), name, MICROS) for name in ("web", "app")]))
    acquired = {name: _ratio(sheet, "cost_per_acquisition", "channel", name)[1] for name in ("web", "app")}
    assert acquired == {"web": 0.0, "app": 1.0}


def test_channels_that_meet(by_hand: pl.DataFrame) -> None:
    """A ratio of two logs is listed for the channels that both of them name."""
    assert _slices(by_hand, "cost_per_impression", "channel") == ["e-mail"]
    visits: list[ContactRow] = [(None, "v", _ago(9), "visit", channel) for channel in ("web", "search")]
    sheet = _sheet({**build_shop({"orders": ORDERS}), "contacts": _contacts(visits)})
    assert _slices(sheet, "conversion_rate", "channel") == ["web"]
    assert _slices(sheet, "visits", "channel") == ["search", "web"]


@pytest.mark.parametrize(("as_of", "cohort"), [("2014-07-01", "2011-Q3"), ("2014-07-02", "earlier")])
def test_first_day_of_a_quarter(as_of: str, cohort: str) -> None:
    """On the first day of a quarter nobody can belong to it: the last twelve cohorts end before."""
    customers = pl.DataFrame({"customer_id": ["c"], "stage": ["lost"], "clv_12m": [0.0]})
    records = build_records(build_shop({"orders": [("c", to_day(date(2011, 7, 1)), MICROS, None, None)]}))
    snapshot = Snapshot(to_day(date.fromisoformat(as_of)))
    sheet = build_metric_sheet(records, snapshot, period_days=9, costs=None, customers=customers)
    assert _slices(sheet, "second_purchase_rate", "cohort") == [cohort]


def test_cohorts() -> None:
    """The last twelve quarters of first orders stand alone, older ones together, each with the days it tells of."""
    as_of = date(2014, 5, 10)
    firsts = [date(2010, 7, 1), date(2011, 6, 30), date(2011, 7, 1), date(2014, 4, 1)]
    rows = [(f"c{i}", to_day(day), MICROS, None, None) for i, day in enumerate(firsts)]
    customers = pl.DataFrame({"customer_id": [f"c{i}" for i in range(4)], "stage": ["lost"] * 4, "clv_12m": [0.0] * 4})
    sheet = build_metric_sheet(
        build_records(build_shop({"orders": rows})),
        Snapshot(to_day(as_of)),
        period_days=YEAR_DAYS,
        costs=_costs([(to_day(day), None, MICROS) for day in (date(2013, 5, 10), date(2014, 5, 9))]),
        customers=customers,
    )
    assert _slices(sheet, "second_purchase_rate", "cohort") == ["earlier", "2011-Q3", "2014-Q2"]
    assert _ratio(sheet, "second_purchase_rate", "cohort", "earlier") == (0.0, 2.0, 0.0)
    days = {
        (metric, name): (row["period_from"], row["period_to"])
        for metric in ("second_purchase_rate", "cost_per_acquisition")
        for name in _slices(sheet, metric, "cohort")
        for row in [_at(sheet, metric, "cohort", name)]
    }
    assert days == {
        ("second_purchase_rate", "earlier"): ("2010-07-01", "2014-05-10"),
        ("second_purchase_rate", "2011-Q3"): ("2011-07-01", "2014-05-10"),
        ("second_purchase_rate", "2014-Q2"): ("2014-04-01", "2014-05-10"),
        ("cost_per_acquisition", "2013-Q2"): ("2013-05-10", "2013-07-01"),
        ("cost_per_acquisition", "2014-Q2"): ("2014-04-01", "2014-05-10"),
    }


@pytest.mark.parametrize(
    ("options", "metric", "needs"),
    [
        ({"costs": None}, "cost_per_acquisition", "marketing_cost events in the period"),
        ({"costs": _costs([(_ago(366), "web", 1)])}, "clv_12m_to_cpa", "marketing_cost events in the period"),
        ({"costs": None}, "cost_per_impression", "marketing_cost events in the period"),
        ({"followers": None}, "engagement_rate", "the number of followers of each channel"),
        ({"period_days": 3}, "visits", "visit events in the period"),
        ({"period_days": 3}, "conversion_rate", "visit events in the period"),
        ({"period_days": 3}, "cost_per_impression", "email_sent and email_open events in the period"),
    ],
)
def test_not_observable(options: dict[str, Any], metric: str, needs: str) -> None:
    """What lacks its evidence is listed once, says what it needs, and has no value."""
    rows = _by_hand(**options).filter(metric=metric)
    assert rows.select("slice", "status", "needs", "value").rows() == [("all", "not observable", needs, None)]


def test_orders_alone() -> None:
    """Orders alone show what orders tell; every other metric is there and says what it needs."""
    sheet = _sheet(
        build_shop({"orders": ORDERS}) | {"orders": build_shop({"orders": ORDERS})["orders"].drop("channel")}
    )
    whole = sheet.filter(slice_kind="all")
    assert whole["metric"].to_list() == [metric.name for metric in METRICS]
    observed = whole.filter(status="measured")["metric"].to_list()
    assert observed == ["second_purchase_rate", "average_order_value", "transaction_frequency", "simple_clv"]
    assert set(sheet["slice_kind"].to_list()) == {"all", "stage", "cohort"}


def test_known_customers_only() -> None:
    """Without contacts, visits are those of known customers, and each name that counts them says so."""
    events = [("new", _ago(9), "visit", None, "web")] * 2 + [("old", _ago(9), "visit", None, "web")]
    sheet = _sheet(build_shop({"orders": ORDERS, "events": events}))
    assert (_ratio(sheet, "visits")[0], _ratio(sheet, "visitors")[0]) == (3.0, 2.0)
    assert _at(sheet, "conversion_rate")["denominator_name"] == "visits, known customers only"
    assert _at(sheet, "visits")["numerator_name"] == "visits, known customers only"


def test_opened_twice() -> None:
    """No more e-mails are opened than arrived, however often each is; none where more bounced than were sent."""
    for n_bounced, opened in ((1, 2.0), (3, 0.0), (4, 0.0)):
        rows: list[ContactRow] = [("new", None, _ago(5), "email_sent", None)] * 3
        rows += [("new", None, _ago(5), "email_bounced", None)] * n_bounced
        rows += [("new", None, _ago(5), "email_open", None)] * 9
        sheet = _sheet({**build_shop({"orders": ORDERS}), "contacts": _contacts(rows)}, costs=_costs(COSTS))
        assert _ratio(sheet, "cost_per_impression")[1] == opened


def test_nobody() -> None:
    """A shop without orders before the cutoff has a sheet, in which all that orders tell is undefined."""
    sheet = _sheet(build_shop({"orders": ORDERS[-1:]}))
    assert set(sheet["status"].to_list()) == {"undefined", "not observable"}
    assert sheet["value"].null_count() == sheet.height == len(METRICS)


def test_beyond_64_bits() -> None:
    """Revenue that no 64 bits hold adds up."""
    orders = [(f"c{i}", _ago(5), 5 * 10**18, None, None) for i in range(8)]
    assert _ratio(_sheet(build_shop({"orders": orders})), "average_order_value") == (4e13, 8.0, 5e12)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Shop, pl.DataFrame]:
    """Draw a shop with contacts (now and then without), and its costs, before and after the cutoff."""
    shop = draw(shops())
    if draw(st.integers(0, 3)):
        shop = {**shop, "contacts": draw(_contact_frames(_ago(400), _ago(-50)))}
    return shop, draw(_cost_frames(_ago(400), _ago(-50)))


def _contact_frames(first_day: int, last_day: int) -> st.SearchStrategy[pl.DataFrame]:
    rows = st.tuples(_WHO, st.integers(first_day, last_day), st.sampled_from(_TYPES), _CHANNEL)
    return st.lists(rows.map(lambda row: (*row[0], *row[1:])), max_size=15).map(_contacts)


def _cost_frames(first_day: int, last_day: int) -> st.SearchStrategy[pl.DataFrame]:
    rows = st.tuples(st.integers(first_day, last_day), _CHANNEL, st.integers(-(10**7), 10**9))
    return st.lists(rows, max_size=8).map(_costs)


periods = st.sampled_from([1, 30, 90, 365, 1000])
FOLLOWERS = {"web": 7, "shop": 0}


def _of(world: tuple[Shop, pl.DataFrame], period_days: int, **options: Any) -> pl.DataFrame:
    shop, costs = world
    return _sheet(shop, costs=costs, period_days=period_days, followers=FOLLOWERS, **options)


@given(worlds(), periods)
@settings(deadline=None)
def test_tidy(world: tuple[Shop, pl.DataFrame], period_days: int) -> None:
    """Every row is one metric of one slice, named, dated, finite and a quotient; stages and cohorts add up to all."""
    sheet = _of(world, period_days)
    assert sheet.schema == SHEET_SCHEMA
    assert sheet.select("metric", "slice_kind", "slice").is_unique().all()
    assert set(sheet["metric"].to_list()) == {metric.name for metric in METRICS}
    names = ("metric", "slice_kind", "slice", "numerator_name", "denominator_name", "unit", "period_from", "period_to")
    assert all(row[name] for row in sheet.iter_rows(named=True) for name in names)
    assert sheet.filter(pl.col("period_from") >= pl.col("period_to")).is_empty()
    assert sheet["period_to"].max() == to_date(CUTOFF_DAY).isoformat()
    for row in sheet.iter_rows(named=True):
        _check_row(row)
    for kind, metrics in ADDITIVE.items():
        for metric in metrics:
            _adds_up(sheet, metric, kind, ("numerator", "denominator"))
    if _at(sheet, "cost_per_acquisition")["status"] != "not observable":
        _adds_up(sheet, "cost_per_acquisition", "cohort", ("numerator",))


def _check_row(row: dict[str, Any]) -> None:
    numbers = [row[name] for name in ("numerator", "denominator", "value") if row[name] is not None]
    assert all(math.isfinite(number) for number in numbers)
    assert row["slice_kind"] in SLICE_KINDS
    assert row["status"] in STATUSES
    assert row["flag"] in {"", *FLAGS}
    assert (row["status"] == "measured") == (row["value"] is not None)
    assert (row["status"] == "not observable") == bool(row["needs"])
    if row["value"] is not None:
        quotient = row["numerator"] / row["denominator"] * (100 if row["unit"] == "percent" else 1)
        assert math.isclose(row["value"], quotient, rel_tol=1e-12)


@given(worlds(), periods, st.integers(0, 9))
@settings(deadline=None)
def test_engines(
    engine: duckdb.DuckDBPyConnection, world: tuple[Shop, pl.DataFrame], period_days: int, seed: int
) -> None:
    """A database and frames in memory give equal sheets, to the last digit, in whatever order the rows are."""
    shop, costs = world
    mixed = {name: frame.sample(fraction=1, shuffle=True, seed=seed) for name, frame in shop.items()}
    options = {"customers": _customers(shop).reverse(), "connection": engine}
    assert exact_bytes(_of((mixed, costs.reverse()), period_days, **options)) == exact_bytes(_of(world, period_days))


@given(worlds(), st.data(), periods)
@settings(deadline=None)
def test_future(world: tuple[Shop, pl.DataFrame], data: st.DataObject, period_days: int) -> None:
    """Whatever comes at or after the cutoff changes nothing."""
    shop, costs = world
    later = {**data.draw(later_shops()), "contacts": data.draw(_contact_frames(CUTOFF_DAY, CUTOFF_DAY + 9))}
    grown = {name: pl.concat([frame, later[name]]) for name, frame in shop.items()}
    more = pl.concat([costs, data.draw(_cost_frames(CUTOFF_DAY, CUTOFF_DAY + 9))])
    assert exact_bytes(_of((grown, more), period_days)) == exact_bytes(_of(world, period_days))


def _adds_up(sheet: pl.DataFrame, metric: str, kind: str, columns: Sequence[str]) -> None:
    parts = sheet.filter(metric=metric, slice_kind=kind)
    for column in columns:
        assert math.isclose(parts[column].sum(), _at(sheet, metric)[column], rel_tol=1e-12, abs_tol=1e-6)


@given(worlds(), periods)
@settings(deadline=None)
def test_brute_force(world: tuple[Shop, pl.DataFrame], period_days: int) -> None:
    """Orders, revenue, customers, acquisitions, visits and visitors of every slice are those counted row by row."""
    shop, _ = world
    sheet = _of(world, period_days)
    known = [row for row in shop["orders"].iter_rows(named=True) if row["day"] < CUTOFF_DAY]
    firsts: dict[str, int] = {}
    for row in known:
        firsts[row["customer_id"]] = min(row["day"], firsts.get(row["customer_id"], row["day"]))
    stages = dict(_customers(shop).select("customer_id", "stage").iter_rows())
    of_row: dict[str, Callable[[dict[str, Any]], str | None]] = {
        "all": lambda _: "all",
        "stage": lambda row: stages[row["customer_id"]],
        "cohort": lambda row: f"{to_date(firsts[row['customer_id']]):%Y}-Q{_quarter(firsts[row['customer_id']])}",
        "channel": lambda row: row["channel"],
    }
    for kind, name in sheet.filter(metric="average_order_value").select("slice_kind", "slice").iter_rows():
        rows = [row for row in known if row["day"] >= _ago(period_days) and of_row[kind](row) == name]
        revenue, customers = sum(row["amount_micros"] for row in rows), {row["customer_id"] for row in rows}
        assert _ratio(sheet, "average_order_value", kind, name)[:2] == (revenue / MICROS, len(rows))
        assert _ratio(sheet, "transaction_frequency", kind, name)[:2] == (len(rows), len(customers))
    n_acquired = sum(first >= _ago(period_days) for first in firsts.values())
    assert _at(sheet, "cost_per_acquisition")["denominator"] in {None, float(n_acquired)}
    _check_traffic(shop, sheet, period_days)


def _check_traffic(shop: Shop, sheet: pl.DataFrame, period_days: int) -> None:
    seen = shop["contacts"] if "contacts" in shop else shop["events"].with_columns(visitor_id=pl.lit(None, pl.String))
    visits = seen.filter(pl.col("event_type") == "visit", pl.col("day").is_between(_ago(period_days), _ago(1)))
    for row in sheet.filter(pl.col("metric") == "visitors", pl.col("status") == "measured").iter_rows(named=True):
        of_slice = visits if row["slice_kind"] == "all" else visits.filter(channel=row["slice"])
        traffic = count_traffic(
            (day, f"v {visitor}" if visitor else f"c {customer}")
            for day, visitor, customer in of_slice.select("day", "visitor_id", "customer_id").iter_rows()
        )
        n_visits = _ratio(sheet, "visits", row["slice_kind"], row["slice"])[2]
        assert (row["value"], n_visits) == (traffic.visitors, traffic.visits)
        assert row["value"] <= n_visits


def _quarter(day: int) -> int:
    return (to_date(day).month + 2) // 3


def test_whole_shop(whole_shop: ReadShop) -> None:
    """A shop read from files, with anonymous visitors and costs of all kinds, has a sheet; all is observable in it."""
    assert whole_shop.events is not None
    cutoff = to_day(AS_OF)
    orders = whole_shop.records.orders.collect("polars").to_native()
    ids = orders.filter(pl.col("day") < cutoff)["customer_id"].unique().sort()
    customers = pl.DataFrame({"customer_id": ids}).with_columns(stage=pl.lit("repeat"), clv_12m=pl.lit(20.0))
    costs = whole_shop.events.marketing_costs.pl()
    built = [
        build_metric_sheet(
            records, Snapshot(cutoff), period_days=YEAR_DAYS, costs=costs, customers=customers, followers={"web": 40}
        )
        for records in (whole_shop.records, _in_memory(whole_shop.records))
    ]
    assert_frame_equal(*built, check_exact=True)
    assert "not observable" not in built[0]["status"].to_list()
    assert _at(built[0], "visits")["period_from"] == (AS_OF - timedelta(days=YEAR_DAYS)).isoformat()


def _in_memory(records: Records) -> Records:
    parts = {name: getattr(records, name) for name in ("orders", "refunds", "items", "events", "contacts")}
    return Records.wrap(
        **{name: part.collect("polars").to_native() for name, part in parts.items() if part is not None}
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"period_days": 0}, "period_days is 0"),
        ({"period_days": MAX_PERIOD_DAYS + 1}, "period_days is 36526"),
        ({"years": 0.0}, "years is 0"),
        ({"years": math.nan}, "years is nan"),
        ({"margin": 1.5}, "margin is 1.5"),
        ({"followers": {"gram": -1}}, "followers of channel 'gram' are -1"),
        ({"followers": {"": 1}}, "followers of channel ''"),
    ],
)
def test_bad_numbers(options: dict[str, Any], message: str) -> None:
    """A number out of range is refused by name."""
    with pytest.raises(SettingsError, match=message):
        _by_hand(**options)


_GOOD: dict[str, list[Any]] = {"customer_id": ["new", "old"], "stage": ["repeat", "lost"], "clv_12m": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("customers", "message"),
    [
        ({"customer_id": ["new", "old"], "stage": ["lost", "lost"]}, "lack clv_12m"),
        (
            {"customer_id": ["new"], "stage": ["repeat"], "clv_12m": [1.0]},
            "1 rows of customers, of which 1 match the 2",
        ),
        ({**_GOOD, "customer_id": ["new", "other"]}, "2 rows of customers, of which 1 match the 2"),
        ({**_GOOD, "customer_id": ["new", "new"]}, "2 rows of customers, of which 2 match the 2"),
        ({**_GOOD, "stage": ["lost", None]}, "1 customers have no stage"),
        ({**_GOOD, "clv_12m": [None, 1.0]}, "1 customers have no stage"),
        ({**_GOOD, "clv_12m": [math.nan, -1.0]}, "2 customers have no stage"),
    ],
)
def test_bad_customers(customers: dict[str, list[Any]], message: str) -> None:
    """Customers who are not those of the orders, or lack a stage or a CLV, are refused without naming one."""
    with pytest.raises(InputError, match=message) as caught:
        _by_hand(customers=pl.DataFrame(customers))
    assert "other" not in str(caught.value)


def test_documented() -> None:
    """The page on metrics has every metric, status and flag, and says of a flag what the code says."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert [metric.name for metric in METRICS if f"`{metric.name}`" not in page] == []
    assert [status for status in STATUSES if f"`{status}`" not in page] == []
    assert [code for code, meaning in FLAGS.items() if f"| `{code}` | {meaning} |" not in page] == []


def test_metrics() -> None:
    """Each metric has a name of its own, a unit, and a title in English and French that no other has."""
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert {m.unit for m in METRICS} == {"currency", "share", "percent", "orders per customer", "ratio", "count"}
    for language in ("en", "fr"):
        assert len({metric.title(language) for metric in METRICS} - {""}) == len(METRICS)
