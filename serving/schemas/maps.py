"""The base as a whole: its lifecycle map, its segments, and its metrics."""

from typing import Annotated, Any, Literal

from pydantic import Field

from serving.schemas.runs import PublishedRun
from serving.schemas.wire import BORROWED, LABEL, PLAYS, Named, Probability, ProspectStage, Size, Stage, Wire


class StageEntry(Wire):
    """All customers of one stage."""

    stage: Stage
    label: Annotated[str, Field(description=LABEL)]
    is_label_borrowed: Annotated[bool, Field(description=BORROWED)]
    customers: int
    share: Probability
    historic_value: float
    mean_p_churn: Annotated[float | None, Field(description="Null for a stage without customers.")]
    clv_12m: float
    expected_customers: Annotated[float, Field(description="Of today's customers, at the end of the horizon.")]
    plays: Annotated[list[str], Field(description=PLAYS)]


class ProspectEntry(Wire):
    """All prospects of one stage."""

    stage: ProspectStage
    label: Annotated[str, Field(description=LABEL)]
    is_label_borrowed: Annotated[bool, Field(description=BORROWED)]
    people: Annotated[int, Field(description="Customer ids without an order, or visitors, who are browsers.")]
    mean_p_first_purchase: float | None
    mean_p_registration: float | None
    plays: Annotated[list[str], Field(description=PLAYS)]


class LabelTotal(Wire):
    """All customers whose stage, or RFM code, has one label."""

    label: str
    customers: int
    share: Probability
    historic_value: float
    clv_12m: float


class StageFlow(Wire):
    """Customers who moved or stayed; `from_stage` is null for those who had not ordered before."""

    from_stage: Stage | None
    to_stage: Stage
    customers: float


class UnseenStage(Wire):
    """A stage that the data cannot show, and what it would take."""

    stage: str
    label: str
    is_label_borrowed: bool
    needs: str


class StageMap(Named):
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


class SegmentCell(Wire):
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


class SegmentFlow(Wire):
    """What is expected to move from one cell to another within the horizon."""

    from_group: str
    from_size: Size
    to_group: str
    to_size: Size
    customers: float
    historic_value: float


class Segments(Wire):
    """The grid of RFM group × size, today and expected at the end of the horizon."""

    run: PublishedRun
    language: str
    cells: list[SegmentCell]
    flows: Annotated[list[SegmentFlow], Field(description="Most customers first; those below min_flow_customers not.")]
    min_flow_customers: float
    thresholds: Annotated[dict[str, Any], Field(description="What each score and size stands for.")]
    rfm_of_group: dict[str, list[str]]


class MetricRow(Wire):
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


class MetricSheet(Named):
    """The metric sheet of the published run."""

    run: PublishedRun
    rows: list[MetricRow]
