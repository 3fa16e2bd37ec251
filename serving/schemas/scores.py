"""Scores, of the published run and of a request alike."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from features.lifecycle.stages import STAGES
from features.lifecycle.vocabularies import Wording
from serving.columns import SCORE_COLUMNS
from serving.reasons import tell_reasons
from serving.schemas.wire import BORROWED, CATALOGUE_HASH, LABEL, PLAYS, Probability, Size, Stage, Wire

_REASONS = (
    "The few themes behind p_churn, greatest first, in the language asked for; null where not computed: "
    "of a published run, beyond the serving.max_reason_customers with the highest value_at_risk."
)
_P_NEXT = {stage: f"p_next_{stage}" for stage in STAGES}
_FLAT = [name for name in SCORE_COLUMNS if name not in _P_NEXT.values()]
_BY_HORIZON = "The model's own horizon, and of a request those that it asks for, shortest first."


class ScoreReason(Wire):
    """One theme behind p_churn, in words."""

    theme: Annotated[str, Field(examples=["silence"], description="Its code; the same in every language.")]
    direction: Annotated[Literal["raises", "lowers"], Field(description="What it does to p_churn.")]
    effect: Annotated[
        float,
        Field(description="By how much: from the active customers' mean, or, of lateness, from the customer on time."),
    ]
    text: Annotated[str, Field(examples=["No order for 96 days; usual gap 31."])]


class AtHorizon(Wire):
    """What a customer is expected to do within a horizon, from one purchase process for all of them."""

    horizon_days: int
    p_churn: Annotated[Probability, Field(description="Probability of no order within these days.")]
    expected_orders: Annotated[float, Field(description="Expected number of order days within them.")]


class Score(Wire):
    """One customer's score."""

    customer_id: str
    as_of: Annotated[str, Field(examples=["1998-04-01"])]
    horizon_days: int
    model_version: str
    catalogue_hash: Annotated[str, Field(description=CATALOGUE_HASH)]
    run_id: Annotated[int | None, Field(description="Of the published run; null where computed from the request.")] = (
        None
    )
    stage: Stage
    stage_label: Annotated[str, Field(description=LABEL)]
    is_label_borrowed: Annotated[bool, Field(description=BORROWED)]
    stage_since: Annotated[str, Field(examples=["1998-01-12"])]
    p_churn: Annotated[Probability, Field(description="Probability of no order within the horizon.")]
    p_churn_30d: Annotated[Probability, Field(description="The same within 30 days, carried by order timing.")]
    p_churn_90d: Annotated[Probability, Field(description="The same within 90 days.")]
    p_churn_180d: Annotated[Probability, Field(description="The same within 180 days; it never rises with the days.")]
    by_horizon: Annotated[list[AtHorizon], Field(description=_BY_HORIZON)]
    p_alive: Annotated[Probability, Field(description="A diagnostic, never a churn score.")]
    p_next_stage: Annotated[
        dict[Stage, Probability], Field(description="Stage at the end of the horizon, of those observable; sums to 1.")
    ]
    p_second_purchase: Annotated[
        Probability | None, Field(description="Of first-time and won-back buyers: P(next order within the horizon).")
    ]
    p_reactivation: Annotated[
        Probability | None, Field(description="Of lost customers: P(an order within the horizon).")
    ]
    expected_orders: float
    expected_order_value: float
    next_order_on: Annotated[str | None, Field(description="ISO date, or null when none is expected.")]
    next_order_on_low: Annotated[str | None, Field(description="ISO date before which it is unlikely.")]
    next_order_on_high: Annotated[str | None, Field(description="ISO date by which it most likely came, if ever.")]
    historic_value: float
    clv_12m: float
    clv_12m_low: float
    clv_12m_high: float
    clv_12m_sd: Annotated[float, Field(description="Standard deviation of what the 12 months may bring.")]
    clv_by_month: Annotated[list[float], Field(description="Twelve months that sum to clv_12m.")]
    total_value: Annotated[float, Field(description="historic_value × margin + clv_12m.")]
    residual_value: Annotated[float | None, Field(description="Discounted value of all orders to come.")]
    rfm: Annotated[str, Field(examples=["543"])]
    size: Size
    rfm_group: Annotated[str, Field(examples=["champions"], description="Group of the RFM code.")]
    p_leave_cell: Annotated[Probability, Field(description="Of another RFM group or size at the end of the horizon.")]
    value_at_risk: Annotated[float, Field(description="p_churn × clv_12m.")]
    reasons: Annotated[list[ScoreReason] | None, Field(description=_REASONS)]
    flags: Annotated[list[str], Field(description="Codes of what to know about this score.")]
    plays: Annotated[list[str], Field(description=PLAYS)]

    @classmethod
    def from_row(
        cls,
        row: Mapping[str, Any],
        wording: Wording,
        *,
        run_id: int | None = None,
        by_horizon: Sequence[Mapping[str, Any]] = (),
    ) -> Self:
        """Nest a flat score row, and add its words.

        Args:
            row: The columns of a score.
            wording: Whose words.
            run_id: Of the published run that it comes from.
            by_horizon: The values of `AtHorizon` for each horizon; empty for the row's own alone.
        """
        flat = {name: row[name] for name in _FLAT}
        p_next = {stage: row[name] for stage, name in _P_NEXT.items()}
        label = wording.label(row["stage"], row["rfm"])
        nested = {
            "run_id": run_id,
            "by_horizon": by_horizon or [{name: row[name] for name in AtHorizon.model_fields}],
            "stage_label": label.text,
            "is_label_borrowed": label.is_borrowed,
            "p_next_stage": {stage: p for stage, p in p_next.items() if p is not None},
            "reasons": _reasons(row["reasons"], wording),
            "flags": row["flags"].split(",") if row["flags"] else [],
            "plays": list(wording.plays(row["stage"], row["rfm"])),
        }
        return cls.model_validate({**flat, **nested})


def _reasons(packed: str | None, wording: Wording) -> list[dict[str, Any]] | None:
    told = tell_reasons(packed, language=wording.language)
    return None if told is None else [reason._asdict() for reason in told]


class NotScored(Wire):
    """A customer of the request who has no score at a date, and why."""

    customer_id: str
    as_of: str
    reason: Annotated[str, Field(examples=["no order before as_of: stage not observable"])]


class ScoreResponse(Wire):
    """Scores computed from the request: by its customers, in its order, and for each by its dates."""

    as_of: Annotated[str | list[str], Field(description="As asked: one date, or the list of dates.")]
    horizon_days: Annotated[int, Field(description="The model's own horizon.")]
    model_version: str
    catalogue_hash: Annotated[str, Field(description=CATALOGUE_HASH)]
    run_id: Annotated[int | None, Field(description="Null: computed from the request, in no published run.")] = None
    flags: Annotated[list[str], Field(description="Codes of what to know about every answer of this model.")]
    scores: list[Score]
    not_scored: list[NotScored]


class NotScoredLine(NotScored):
    """The same as a line of NDJSON, which stands for itself."""

    horizon_days: int
    model_version: str
    catalogue_hash: Annotated[str, Field(description=CATALOGUE_HASH)]
    run_id: None = None
    flags: list[str]
