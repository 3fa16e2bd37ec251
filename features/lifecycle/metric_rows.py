"""The rows of the metric sheet, a function a theme; what the evidence does not tell is *not observable*, never 0."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import polars as pl

from features.catalogue import MICROS
from features.lifecycle.metric_catalogue import (
    AVERAGE_ORDER_VALUE,
    CLV_TO_CPA,
    CONVERSION_RATE,
    COST_PER_ACQUISITION,
    COST_PER_IMPRESSION,
    ENGAGEMENT_RATE,
    NEEDS_COSTS,
    NEEDS_EMAILS,
    NEEDS_ENGAGEMENTS,
    NEEDS_FOLLOWERS,
    NEEDS_VISITS,
    SECOND_PURCHASE_RATE,
    SIMPLE_CLV,
    TRANSACTION_FREQUENCY,
    VISITORS,
    VISITS,
    WORTH_TO_CPA,
    Metric,
)
from features.lifecycle.metric_contacts import Contacts
from features.lifecycle.metric_evidence import Evidence
from features.lifecycle.metric_slices import ALL, SLICE_KINDS, Slice, Tally, add_up
from features.lifecycle.metrics import (
    Ratio,
    average_order_value,
    clv_to_cpa,
    conversion_rate,
    cost_per_acquisition,
    cost_per_impression,
    emails_opened,
    engagement_rate,
    is_loss,
    orders_per_year,
    simple_clv,
    transaction_frequency,
)
from features.snapshot import to_date

Row = dict[str, Any]

_ACQUIRED = {
    "n_customers": pl.len(),
    "clv_micros": pl.col("clv_micros").sum(),
    "net_micros": pl.col("revenue_micros").sum() - pl.col("taken_micros").sum(),
}
_NOBODY: Tally = dict.fromkeys(_ACQUIRED, 0)
_RETURNED = {"n_customers": pl.len(), "n_again": (pl.col("last_day") > pl.col("first_day")).sum()}
_ORDERED = {
    "n_customers": (pl.col("n_orders") > 0).sum(),
    "n_orders": pl.col("n_orders").sum(),
    "revenue_micros": pl.col("revenue_micros").sum(),
}


def build_rows(evidence: Evidence) -> Iterator[Row]:
    """Build the rows of all metrics, theme by theme: a row per metric and slice, with the columns of the sheet."""
    parts = (_cost_rows, _impression_rows, _conversion_rows, _return_rows, _order_rows, _engagement_rows, _traffic_rows)
    for part in parts:
        yield from part(evidence)


def _cost_rows(evidence: Evidence) -> Iterator[Row]:
    """Tell what acquiring cost, and what those acquired bring; a slice is listed where it has costs of its own."""
    if evidence.costs.is_empty():
        yield from (
            _missing(metric, evidence.whole, NEEDS_COSTS) for metric in (COST_PER_ACQUISITION, CLV_TO_CPA, WORTH_TO_CPA)
        )
        return
    newcomers = evidence.customers.filter("is_acquired")
    for kind in ("all", "cohort", "channel"):
        acquired = add_up(newcomers, kind, _ACQUIRED)
        for name, cost_micros in _costs_by(evidence, kind).items():
            at = evidence.acquisitions(kind, name)
            yield from _cost_rows_of(at, cost_micros, acquired.get(name, _NOBODY), margin=evidence.margin)


def _cost_rows_of(at: Slice, cost_micros: int, acquired: Tally, *, margin: float) -> Iterator[Row]:
    n_customers = acquired["n_customers"]
    cpa = _of_cost(cost_per_acquisition, cost_micros, n_customers)
    flag = "negative_cost" if cost_micros < 0 else ""
    yield _row(COST_PER_ACQUISITION, at, cpa, flag=flag)
    clv_micros = acquired["clv_micros"]
    for metric, micros in ((CLV_TO_CPA, clv_micros), (WORTH_TO_CPA, clv_micros + margin * acquired["net_micros"])):
        compared = clv_to_cpa(micros / n_customers / MICROS if n_customers else None, cpa.value)
        yield _row(metric, at, compared, flag="loss" if is_loss(compared) else flag)


def _impression_rows(evidence: Evidence) -> Iterator[Row]:
    """Tell what an opened e-mail cost; a channel is listed where it has costs and e-mails of its own."""
    contacts, whole = evidence.contacts, evidence.whole
    has_emails = contacts.count("email_sent", whole) and contacts.count("email_open", whole)
    needs = [need for need, is_met in ((NEEDS_COSTS, evidence.costs.height), (NEEDS_EMAILS, has_emails)) if not is_met]
    if needs:
        yield _missing(COST_PER_IMPRESSION, whole, *needs)
        return
    denominator = COST_PER_IMPRESSION.denominator + contacts.of_whom
    mailed = {ALL, *contacts.channels("email_sent")}
    for kind in ("all", "channel"):
        for name, cost_micros in _costs_by(evidence, kind).items():
            at = evidence.slice_of(kind, name)
            if kind == "all" or name in mailed:
                cost = _of_cost(cost_per_impression, cost_micros, _opened(contacts, at))
                flag = "negative_cost" if cost_micros < 0 else ""
                yield _row(COST_PER_IMPRESSION, at, cost, flag=flag, denominator=denominator)


def _opened(contacts: Contacts, at: Slice) -> float:
    """Return the e-mails opened: an e-mail opened twice is two openings, and there are no more than arrived."""
    sent, bounced, openings = (contacts.count(kind, at) for kind in ("email_sent", "email_bounced", "email_open"))
    arrived = max(0, sent - bounced)
    return emails_opened(sent, bounced=sent - arrived, unopened=max(0, arrived - openings))


def _conversion_rows(evidence: Evidence) -> Iterator[Row]:
    """Tell how many orders came of visits; a channel is listed where both orders and visits name it."""
    contacts, whole = evidence.contacts, evidence.whole
    if not contacts.count("visit", whole):
        yield _missing(CONVERSION_RATE, whole, NEEDS_VISITS)
        return
    denominator = CONVERSION_RATE.denominator + contacts.of_whom
    for kind in ("all", "channel"):
        for name, ordered in _orders_by(evidence, kind).items():
            at = evidence.slice_of(kind, name)
            if kind == "all" or name in contacts.channels("visit"):
                rate = conversion_rate(ordered["n_orders"], contacts.count("visit", at))
                yield _row(CONVERSION_RATE, at, rate, denominator=denominator)


def _return_rows(evidence: Evidence) -> Iterator[Row]:
    """Tell how many customers ordered on a second day, from their first order up to the cutoff."""
    for kind in ("all", "cohort"):
        for name, returned in add_up(evidence.customers, kind, _RETURNED).items():
            rate = conversion_rate(returned["n_again"], returned["n_customers"])
            yield _row(SECOND_PURCHASE_RATE, evidence.lives(kind, name), rate)


def _order_rows(evidence: Evidence) -> Iterator[Row]:
    """Tell what orders are worth and how often they come."""
    for kind in SLICE_KINDS:
        for name, ordered in _orders_by(evidence, kind).items():
            at = evidence.slice_of(kind, name)
            n_orders, n_customers = ordered["n_orders"], ordered["n_customers"]
            order_value = average_order_value(ordered["revenue_micros"] / MICROS, n_orders)
            yield _row(AVERAGE_ORDER_VALUE, at, order_value)
            yield _row(TRANSACTION_FREQUENCY, at, transaction_frequency(n_orders, n_customers))
            if kind != "channel":
                yield _simple_clv_row(evidence, at, n_orders, n_customers, order_value)


def _simple_clv_row(evidence: Evidence, at: Slice, n_orders: int, n_customers: int, order_value: Ratio) -> Row:
    """Tell the simple CLV of a customer: that of all who ordered, shared among them."""
    period_days = min(evidence.period_days, at.end_day - evidence.lives("all", ALL).first_day)  # no orders before them
    of_one = transaction_frequency(n_orders, n_customers).value
    yearly = None if of_one is None else orders_per_year(of_one, period_days=period_days)
    clv = simple_clv(yearly, order_value.value, evidence.years)
    of_all = None if clv.value is None else clv.value * n_customers
    numerator = f"revenue before refunds, over {evidence.years:g} years at the pace of the period"
    flag = "short_period" if period_days < 365 else ""
    at = replace(at, first_day=at.end_day - period_days)
    return _row(SIMPLE_CLV, at, Ratio(of_all, n_customers, clv.value), flag=flag, numerator=numerator)


def _engagement_rows(evidence: Evidence) -> Iterator[Row]:
    """Tell how much followers react, platform by platform: who follows two platforms must not count twice."""
    contacts, whole, followers = evidence.contacts, evidence.whole, evidence.followers
    n_engagements = contacts.count("engagement", whole)
    needs = [n for n, is_met in ((NEEDS_ENGAGEMENTS, n_engagements), (NEEDS_FOLLOWERS, followers)) if not is_met]
    if needs:
        yield _missing(ENGAGEMENT_RATE, whole, *needs)
        return
    for channel, n_followers in followers.items():
        at = evidence.slice_of("channel", channel)
        rate = engagement_rate(contacts.count("engagement", at), n_followers)
        yield _row(ENGAGEMENT_RATE, at, rate, numerator=ENGAGEMENT_RATE.numerator + contacts.of_whom)


def _traffic_rows(evidence: Evidence) -> Iterator[Row]:
    """Count visits, and visitors added up day by day."""
    contacts, whole = evidence.contacts, evidence.whole
    if not contacts.count("visit", whole):
        yield from (_missing(metric, whole, NEEDS_VISITS) for metric in (VISITORS, VISITS))
        return
    slices = [whole, *(evidence.slice_of("channel", channel) for channel in contacts.channels("visit"))]
    for at in slices:
        visitors = contacts.n_visitors if at.kind == "all" else contacts.visitors[at.name]
        for metric, n in ((VISITORS, visitors), (VISITS, contacts.count("visit", at))):
            yield _row(metric, at, Ratio(n, 1, n), numerator=metric.numerator + contacts.of_whom)


def _costs_by(evidence: Evidence, kind: str) -> dict[str, int]:
    """Return micros by slice; costs without a channel are in no channel."""
    tallies = add_up(evidence.costs, kind, {"micros": pl.col("cost_micros").sum()})
    return {name: int(tally["micros"]) for name, tally in tallies.items()}


def _orders_by(evidence: Evidence, kind: str) -> dict[str, Tally]:
    return add_up(evidence.orders if kind == "channel" else evidence.customers, kind, _ORDERED)


def _of_cost(formula: Callable[[float, float], Ratio], cost_micros: int, per: float) -> Ratio:
    """Divide a cost by what came of it; undefined where more was taken back than spent."""
    cost = cost_micros / MICROS
    return formula(cost, per) if cost >= 0 else Ratio(cost, per, None)


def _row(metric: Metric, at: Slice, ratio: Ratio, *, flag: str = "", numerator: str = "", denominator: str = "") -> Row:
    return {
        "metric": metric.name,
        "slice_kind": at.kind,
        "slice": at.name,
        "numerator_name": numerator or metric.numerator,
        "numerator": ratio.numerator,
        "denominator_name": denominator or metric.denominator,
        "denominator": ratio.denominator,
        "value": ratio.value,
        "unit": metric.unit,
        "status": "undefined" if ratio.value is None else "measured",
        "needs": "",
        "flag": flag,
        "period_from": to_date(at.first_day).isoformat(),
        "period_to": to_date(at.end_day).isoformat(),
    }


def _missing(metric: Metric, at: Slice, *needs: str) -> Row:
    return _row(metric, at, Ratio(None, None, None)) | {"status": "not observable", "needs": "; ".join(needs)}
