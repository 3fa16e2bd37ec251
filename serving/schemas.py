"""What goes over the wire: requests, answers and problems, with the examples of the OpenAPI document."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)

from features.intake.values.texts import BLANKS
from features.intake.values.zones import FIRST_DAY, LAST_DAY
from features.lifecycle.stages import STAGES
from features.lifecycle.vocabularies import Wording
from serving.reasons import tell_reasons

MAX_AMOUNT = 1e9

_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

Stage = Literal["first_time_buyer", "repeat", "loyal", "at_risk", "lost", "won_back", "ambassador"]
ProspectStage = Literal["reached", "new_visitor", "returning_visitor", "prospect_cold", "prospect_hot"]
Size = Literal["small", "medium", "large"]
Day = TypeVar("Day", bound=date)
Probability = Annotated[float, Field(json_schema_extra={"minimum": 0.0, "maximum": 1.0})]


def _date(value: Any) -> date:
    """Read a date as ISO 8601 writes it; pydantic itself would read 20260101 as seconds since 1970."""
    if not isinstance(value, str) or not _ISO_DATE.fullmatch(value):
        raise ValueError("must be a date such as 2026-01-31")
    return _in_range(date.fromisoformat(value))


def _stripped(customer_id: str) -> str:
    """Strip what the intake of files strips, so that one customer has one id."""
    stripped = customer_id.strip(BLANKS)
    if not stripped:
        raise ValueError("must not be empty")
    return stripped


def _moment(value: Any) -> datetime:
    """Read a time stamp; a date alone is its midnight."""
    if not isinstance(value, str) or not _ISO_DATE.match(value):
        raise ValueError("must be a date or time stamp such as 2026-01-31 or 2026-01-31T14:05:00+01:00")
    return _in_range(datetime.fromisoformat(value))


def _in_range(day: Day) -> Day:
    if not FIRST_DAY.year <= day.year <= LAST_DAY.year:
        raise ValueError(f"must lie in the years {FIRST_DAY.year} to {LAST_DAY.year}")
    return day


_DATE_SCHEMA = {"type": "string", "format": "date"}
_MOMENT_SCHEMA = {"anyOf": [_DATE_SCHEMA, {"type": "string", "format": "date-time"}]}
IsoDate = Annotated[date, PlainValidator(_date), WithJsonSchema(_DATE_SCHEMA)]
IsoMoment = Annotated[datetime, PlainValidator(_moment), WithJsonSchema(_MOMENT_SCHEMA)]


CustomerId = Annotated[
    str,
    StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$"),
    AfterValidator(_stripped),
]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Number = Annotated[float, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT, allow_inf_nan=False, strict=True)]


class OrderIn(_Wire):
    """One order of a customer, one line of it, or, with an amount below 0, a refund."""

    ordered_at: Annotated[
        IsoMoment,
        Field(description="ISO 8601 date or time stamp; without an offset it is in the shop's time zone."),
    ]
    amount: Annotated[Number, Field(description="In the shop's currency; below 0 for what was refunded.")]
    order_id: Annotated[Text | None, Field(description="Rows of one order and day add up.")] = None
    refund_of: Annotated[Text | None, Field(description="The order_id of the order that was refunded.")] = None
    channel: Annotated[Text | None, Field(description="Where it was ordered.")] = None
    category: Annotated[Text | None, Field(description="Of the goods.")] = None
    quantity: Annotated[Number | None, Field(description="Number of goods.")] = None
    cost: Annotated[Number | None, Field(description="What the goods cost the shop.")] = None


class EventIn(_Wire):
    """One web or marketing event of a customer."""

    occurred_at: Annotated[IsoMoment, Field(description="As ordered_at.")]
    event_type: Annotated[Text, Field(examples=["visit"])]
    value: Annotated[Number | None, Field(description="The answer of a survey, the stars of a review, …")] = None
    channel: Text | None = None


class CustomerIn(_Wire):
    """One customer with all orders known, and events where the model was trained with them."""

    customer_id: CustomerId
    orders: list[OrderIn]
    events: list[EventIn] | None = None


class ScoreRequest(_Wire):
    """Customers to score from the orders in the request; nothing is stored."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "as_of": "1998-04-01",
                    "customers": [
                        {
                            "customer_id": "c-17",
                            "orders": [
                                {"ordered_at": "1997-01-04", "amount": 29.33},
                                {"ordered_at": "1997-03-22T14:05:00", "amount": 29.73},
                            ],
                        }
                    ],
                }
            ]
        },
    )

    as_of: Annotated[IsoDate, Field(description="Only orders before the start of this day are used.")]
    customers: Annotated[list[CustomerIn], Field(min_length=1)]

    @field_validator("customers")
    @classmethod
    def _each_once(cls, customers: list[CustomerIn]) -> list[CustomerIn]:
        if len({customer.customer_id for customer in customers}) != len(customers):
            raise ValueError("each customer_id may stand only once")
        return customers


_LABEL = "The stage in the words of the vocabulary, in the language asked for."
_BORROWED = "Whether the vocabulary has no word for the stage, and lends its nearest one."
_REASONS = (
    "The few themes behind p_churn, greatest first, in the language asked for; null where not computed: "
    "of a published run, beyond the serving.max_reason_customers with the highest value_at_risk."
)
_PLAYS = "What the sources recommend for the stage, or the shop's own plays."


class ScoreReason(_Wire):
    """One theme behind p_churn, in words."""

    theme: Annotated[str, Field(examples=["silence"], description="Its code; the same in every language.")]
    direction: Annotated[Literal["raises", "lowers"], Field(description="What it does to p_churn.")]
    effect: Annotated[
        float,
        Field(description="By how much: from the active customers' mean, or, of lateness, from the customer on time."),
    ]
    text: Annotated[str, Field(examples=["No order for 96 days; usual gap 31."])]


class Score(_Wire):
    """One customer's score."""

    customer_id: str
    as_of: Annotated[str, Field(examples=["1998-04-01"])]
    horizon_days: int
    model_version: str
    stage: Stage
    stage_label: Annotated[str, Field(description=_LABEL)]
    is_label_borrowed: Annotated[bool, Field(description=_BORROWED)]
    stage_since: Annotated[str, Field(examples=["1998-01-12"])]
    p_churn: Annotated[Probability, Field(description="Probability of no order within the horizon.")]
    p_churn_30d: Annotated[Probability, Field(description="The same within 30 days, carried by order timing.")]
    p_churn_90d: Annotated[Probability, Field(description="The same within 90 days.")]
    p_churn_180d: Annotated[Probability, Field(description="The same within 180 days; it never rises with the days.")]
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
    plays: Annotated[list[str], Field(description=_PLAYS)]

    @classmethod
    def from_row(cls, row: Mapping[str, Any], wording: Wording) -> Self:
        """Nest a flat score row, and add its words."""
        flat = {name: value for name, value in row.items() if not name.startswith("p_next_")}
        p_next = {stage: row[f"p_next_{stage}"] for stage in STAGES}
        label = wording.label(row["stage"], row["rfm"])
        nested = {
            "stage_label": label.text,
            "is_label_borrowed": label.is_borrowed,
            "p_next_stage": {stage: p for stage, p in p_next.items() if p is not None},
            "reasons": _reasons(row["reasons"], wording),
            "flags": row["flags"].split(",") if row["flags"] else [],
            "plays": list(wording.plays(row["stage"], row["rfm"])),
        }
        return cls.model_validate({**flat, **nested})


def _reasons(packed: str | None, wording: Wording) -> list[ScoreReason] | None:
    told = tell_reasons(packed, language=wording.language)
    return None if told is None else [ScoreReason.model_validate(reason._asdict()) for reason in told]


class NotScored(_Wire):
    """A customer of the request who has no score, and why."""

    customer_id: str
    reason: Annotated[str, Field(examples=["no order before as_of: stage not observable"])]


class ScoreResponse(_Wire):
    """Scores computed from the request, in its order."""

    as_of: str
    horizon_days: int
    model_version: str
    scores: list[Score]
    not_scored: list[NotScored]


class PublishedRun(_Wire):
    """Which published run an answer comes from."""

    run_id: int
    as_of: str
    horizon_days: int
    model_version: str
    n_customers: int
    published_at: str


class ListTotals(_Wire):
    """Sums over the customers of the page."""

    customers: int
    historic_value: float
    clv_12m: float
    clv_12m_low: Annotated[float, Field(description="Of the total: customers vary on their own, and all together.")]
    clv_12m_high: float
    value_at_risk: float


class AtRiskPage(_Wire):
    """One page of the at-risk list, highest value at risk first."""

    run: PublishedRun
    customers: list[Score]
    totals: ListTotals
    matching_customers: Annotated[int, Field(description="Customers that pass the filters, on all pages together.")]
    next_cursor: Annotated[str | None, Field(description="Pass as cursor for the next page; null on the last.")]


class _Named(_Wire):
    """What is told in the words of a vocabulary."""

    vocabulary: Annotated[str, Field(examples=["lifestage"])]
    language: Annotated[str, Field(examples=["en"])]


class StageEntry(_Wire):
    """All customers of one stage."""

    stage: Stage
    label: Annotated[str, Field(description=_LABEL)]
    is_label_borrowed: Annotated[bool, Field(description=_BORROWED)]
    customers: int
    share: Probability
    historic_value: float
    mean_p_churn: Annotated[float | None, Field(description="Null for a stage without customers.")]
    clv_12m: float
    expected_customers: Annotated[float, Field(description="Of today's customers, at the end of the horizon.")]
    plays: Annotated[list[str], Field(description=_PLAYS)]


class ProspectEntry(_Wire):
    """All prospects of one stage."""

    stage: ProspectStage
    label: Annotated[str, Field(description=_LABEL)]
    is_label_borrowed: Annotated[bool, Field(description=_BORROWED)]
    people: Annotated[int, Field(description="Customer ids without an order, or visitors, who are browsers.")]
    mean_p_first_purchase: float | None
    mean_p_registration: float | None
    plays: Annotated[list[str], Field(description=_PLAYS)]


class LabelTotal(_Wire):
    """All customers whose stage, or RFM code, has one label."""

    label: str
    customers: int
    share: Probability
    historic_value: float
    clv_12m: float


class StageFlow(_Wire):
    """Customers who moved or stayed; `from_stage` is null for those who had not ordered before."""

    from_stage: Stage | None
    to_stage: Stage
    customers: float


class UnseenStage(_Wire):
    """A stage that the data cannot show, and what it would take."""

    stage: str
    label: str
    is_label_borrowed: bool
    needs: str


class StageMap(_Named):
    """The lifecycle map of the published run; the counts of `stages` sum to all customers."""

    run: PublishedRun
    stages: list[StageEntry]
    prospects: list[ProspectEntry]
    not_observable: list[UnseenStage]
    labels: Annotated[list[LabelTotal], Field(description="The customers by label: they sum to all customers too.")]
    observed_from: Annotated[str, Field(description="ISO date of the snapshot before, one horizon back.")]
    observed_flows: Annotated[list[StageFlow], Field(description="From there to as_of, those who stayed included.")]
    expected_flows: Annotated[list[StageFlow], Field(description="From as_of to the end of the horizon.")]
    thresholds: Annotated[dict[str, Any], Field(description="Of the stage rule that the model learned.")]


class SegmentCell(_Wire):
    """One cell of RFM group × size."""

    group: str
    group_label: str
    size: Size
    customers: int
    share: Probability
    historic_value: float
    clv_12m: float
    mean_p_churn: float | None
    p_leave: Annotated[float | None, Field(description="Expected share that stands elsewhere at the horizon's end.")]
    expected_customers: float
    expected_value_in: float
    expected_value_out: float


class SegmentFlow(_Wire):
    """What is expected to move from one cell to another within the horizon."""

    from_group: str
    from_size: Size
    to_group: str
    to_size: Size
    customers: float
    historic_value: float


class Segments(_Wire):
    """The grid of RFM group × size, today and expected at the end of the horizon."""

    run: PublishedRun
    language: str
    cells: list[SegmentCell]
    flows: Annotated[list[SegmentFlow], Field(description="Most customers first; those below min_flow_customers not.")]
    min_flow_customers: float
    thresholds: Annotated[dict[str, Any], Field(description="What each score and size stands for.")]
    rfm_of_group: dict[str, list[str]]


class MetricRow(_Wire):
    """One metric of one slice, with everything that it is made of."""

    metric: str
    title: str
    slice_kind: Literal["all", "stage", "cohort", "channel"]
    slice: str
    slice_label: Annotated[str, Field(description="The stage in the words of the vocabulary; otherwise as slice.")]
    numerator_name: str
    numerator: float | None
    denominator_name: str
    denominator: float | None
    value: Annotated[float | None, Field(description="Null where undefined or not observable, never 0 instead.")]
    unit: str
    status: Literal["measured", "undefined", "not observable"]
    needs: str
    flag: str
    period_from: str
    period_to: Annotated[str, Field(description="The first day that is not in the period.")]


class MetricSheet(_Named):
    """The metric sheet of the published run."""

    run: PublishedRun
    rows: list[MetricRow]


class Prospect(_Wire):
    """One person who is known, or was seen, and has not ordered."""

    person_id: str
    is_visitor: Annotated[bool, Field(description="A browser, and not a customer id.")]
    as_of: str
    horizon_days: int
    model_version: str
    stage: ProspectStage
    stage_label: Annotated[str, Field(description=_LABEL)]
    is_label_borrowed: Annotated[bool, Field(description=_BORROWED)]
    stage_since: str
    p_first_purchase: Probability
    p_registration: Annotated[Probability | None, Field(description="Null for who is registered or known.")]
    expected_value: Annotated[float, Field(description="p_first_purchase × the value of a new customer.")]
    plays: Annotated[list[str], Field(description=_PLAYS)]

    @classmethod
    def from_row(cls, row: Mapping[str, Any], wording: Wording) -> Self:
        """Add the words to a prospect row."""
        label = wording.label(row["stage"])
        words = {"stage_label": label.text, "is_label_borrowed": label.is_borrowed}
        plays = list(wording.plays(row["stage"]))
        return cls.model_validate({**row, "is_visitor": bool(row["is_visitor"]), **words, "plays": plays})


class ProspectPage(_Wire):
    """One page of the prospects, the likeliest to order first."""

    run: PublishedRun
    prospects: list[Prospect]
    next_cursor: Annotated[str | None, Field(description="Pass as cursor for the next page; null on the last.")]


class StageChange(_Wire):
    """One customer who stands in another stage than in the older run; `from_stage` is null for who is new."""

    customer_id: str
    from_stage: Stage | None
    from_label: str | None
    is_from_label_borrowed: bool
    to_stage: Stage
    to_label: str
    is_to_label_borrowed: bool
    since: str


class StageChanges(_Named):
    """Who entered and left which stage between two runs."""

    from_run: PublishedRun
    to_run: PublishedRun
    n_changes: Annotated[int, Field(description="On all pages together.")]
    entered: dict[Stage, int]
    left: dict[Stage, int]
    changes: list[StageChange]
    next_cursor: Annotated[str | None, Field(description="Pass as cursor for the next page; null on the last.")]


class FieldProblem(_Wire):
    """One field that is wrong, and what to do about it."""

    field: Annotated[str, Field(examples=["customers[0].orders[1].amount"])]
    remedy: Annotated[str, Field(examples=["Must be a finite number."])]


class Problem(_Wire):
    """An error, as application/problem+json (RFC 9457)."""

    type: Annotated[str, Field(examples=["urn:lifestage:problem:invalid-request"])]
    title: str
    status: int
    detail: str
    remedy: str
    errors: list[FieldProblem] = []
