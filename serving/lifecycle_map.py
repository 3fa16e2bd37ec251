"""The lifecycle map: who stands where, what they are worth, where they came from and where they are expected to go."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import polars as pl

from features.lifecycle.stages import SCALE, STAGES, StageRule

EVIDENCE: Mapping[str, str] = {
    "unaware": "a survey of the market: whoever knows nothing of the shop leaves no trace in it",
    "reached": "impressions, e-mails, campaigns or other touches as events with a visitor_id",
    "new_visitor": "visits, carts, forms or registrations as events with a visitor_id",
    "returning_visitor": "visits, carts, forms or registrations as events with a visitor_id",
    "prospect_cold": "registrations or contacts as events with a customer_id",
    "prospect_hot": "registrations, and carts, forms or visits, as events with a customer_id",
    "ambassador": "referrals, reviews or advocacy as events with a customer_id",
}


@dataclass(frozen=True, slots=True)
class StageEntry:
    """All customers of one stage.

    Attributes:
        stage: Canonical name.
        customers: How many.
        share: Of all customers.
        historic_value: Of all their orders so far.
        mean_p_churn: None where the stage is empty.
        clv_12m: Expected value of their next 12 months.
        expected_customers: How many of today's customers are expected here at the end of the horizon.
    """

    stage: str
    customers: int
    share: float
    historic_value: float
    mean_p_churn: float | None
    clv_12m: float
    expected_customers: float


@dataclass(frozen=True, slots=True)
class ProspectEntry:
    """All prospects of one stage.

    Attributes:
        stage: Canonical name.
        people: How many: customers without an order, or visitors, who are browsers and not people.
        mean_p_first_purchase: Mean probability of an order within the horizon; None where the stage is empty.
        mean_p_registration: The same of being linked to a customer; None for who is known already.
    """

    stage: str
    people: int
    mean_p_first_purchase: float | None
    mean_p_registration: float | None


@dataclass(frozen=True, slots=True)
class Flow:
    """Customers who moved, or stayed, or are expected to; `from_stage` is None for those who had not ordered before."""

    from_stage: str | None
    to_stage: str
    customers: float


@dataclass(frozen=True, slots=True)
class NotObservable:
    """A stage that the data cannot show, and what it would take."""

    stage: str
    needs: str


@dataclass(frozen=True, slots=True)
class LifecycleMap:
    """The whole map of one run; counts of `stages` sum to all customers, flows into a stage to its customers.

    Attributes:
        stages: One per stage of customers that the data can show, in canonical order, empty ones too.
        prospects: The same of those who have not ordered; empty where the data show none.
        not_observable: The rest of the scale.
        observed_from: ISO date of the snapshot before: one horizon before the as-of date.
        observed: From there to the as-of date, those who stayed included.
        expected: From the as-of date to the end of the horizon; fractions of customers.
        thresholds: Of the stage rule.
    """

    stages: tuple[StageEntry, ...]
    prospects: tuple[ProspectEntry, ...]
    not_observable: tuple[NotObservable, ...]
    observed_from: str
    observed: tuple[Flow, ...]
    expected: tuple[Flow, ...]
    thresholds: Mapping[str, Any]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a map from its JSON values."""
        return cls(
            stages=tuple(StageEntry(**entry) for entry in values["stages"]),
            prospects=tuple(ProspectEntry(**entry) for entry in values["prospects"]),
            not_observable=tuple(NotObservable(**entry) for entry in values["not_observable"]),
            observed_from=values["observed_from"],
            observed=tuple(Flow(**flow) for flow in values["observed"]),
            expected=tuple(Flow(**flow) for flow in values["expected"]),
            thresholds=values["thresholds"],
        )


def build_lifecycle_map(
    scores: pl.DataFrame,
    prospects: pl.DataFrame,
    *,
    rule: StageRule,
    stages_before: pl.DataFrame,
    observed_from: str,
    prospect_stages: Sequence[str],
) -> LifecycleMap:
    """Build the map of one run.

    Args:
        scores: As `score_records` returns them.
        prospects: As `score_prospects` returns them; empty where there are none.
        rule: The stage rule behind both.
        stages_before: `customer_id` and `stage` of the customers known one horizon before.
        observed_from: ISO date of that snapshot.
        prospect_stages: Those of `PROSPECT_STAGES` that the data can show.
    """
    observable = (*prospect_stages, *rule.observable)
    expected = tuple(_expected_flows(scores, rule.observable))
    return LifecycleMap(
        stages=tuple(_stage_entries(scores, rule.observable, expected)),
        prospects=tuple(_prospect_entries(prospects, prospect_stages)),
        not_observable=tuple(NotObservable(stage, EVIDENCE[stage]) for stage in SCALE if stage not in observable),
        observed_from=observed_from,
        observed=tuple(_observed_flows(stages_before, scores)),
        expected=expected,
        thresholds=rule.to_dict(),
    )


def _stage_entries(scores: pl.DataFrame, stages: tuple[str, ...], expected: tuple[Flow, ...]) -> Iterator[StageEntry]:
    by_stage = {
        row["stage"]: row
        for row in scores.group_by("stage")
        .agg(
            customers=pl.len(),
            historic_value=pl.col("historic_value").sum(),
            mean_p_churn=pl.col("p_churn").mean(),
            clv_12m=pl.col("clv_12m").sum(),
        )
        .iter_rows(named=True)
    }
    empty = {"customers": 0, "historic_value": 0.0, "mean_p_churn": None, "clv_12m": 0.0}
    for stage in stages:
        row = by_stage.get(stage, {"stage": stage, **empty})
        arriving = sum(flow.customers for flow in expected if flow.to_stage == stage)
        yield StageEntry(**row, share=row["customers"] / max(scores.height, 1), expected_customers=arriving)


def _prospect_entries(prospects: pl.DataFrame, stages: Sequence[str]) -> Iterator[ProspectEntry]:
    means = {
        row["stage"]: row
        for row in prospects.group_by("stage")
        .agg(people=pl.len(), purchase=pl.col("p_first_purchase").mean(), registration=pl.col("p_registration").mean())
        .iter_rows(named=True)
    }
    for stage in stages:
        row = means.get(stage, {"people": 0, "purchase": None, "registration": None})
        yield ProspectEntry(stage, row["people"], row["purchase"], row["registration"])


def _observed_flows(before: pl.DataFrame, scores: pl.DataFrame) -> Iterator[Flow]:
    moved = (
        scores.select("customer_id", to_stage="stage")
        .join(before.rename({"stage": "from_stage"}), on="customer_id", how="left", validate="1:1")
        .group_by("from_stage", "to_stage")
        .len("customers")
    )
    counted = {(row[0], row[1]): float(row[2]) for row in moved.iter_rows()}
    yield from _in_order(counted)


def _expected_flows(scores: pl.DataFrame, stages: tuple[str, ...]) -> Iterator[Flow]:
    sums = scores.group_by("stage").agg(pl.col(f"p_next_{stage}").sum() for stage in stages)
    counted = {(row["stage"], stage): row[f"p_next_{stage}"] for row in sums.iter_rows(named=True) for stage in stages}
    yield from _in_order(counted)


def _in_order(counted: Mapping[tuple[str | None, str], float]) -> Iterator[Flow]:
    for from_stage in (None, *STAGES):
        for to_stage in STAGES:
            if customers := counted.get((from_stage, to_stage), 0.0):
                yield Flow(from_stage, to_stage, customers)
