"""Lists of people: at risk, prospects, and those who moved."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field

from features.lifecycle.vocabularies import Wording
from serving.schemas.runs import PublishedRun
from serving.schemas.scores import Score
from serving.schemas.wire import (
    BORROWED,
    LABEL,
    NEXT_CURSOR,
    PLAYS,
    Named,
    Probability,
    ProspectStage,
    Stage,
    Wire,
)


class ListTotals(Wire):
    """Sums over the customers of the page."""

    customers: int
    historic_value: float
    clv_12m: float
    clv_12m_low: Annotated[float, Field(description="Of the total: customers vary on their own, and all together.")]
    clv_12m_high: float
    value_at_risk: float


class AtRiskPage(Wire):
    """One page of the at-risk list, highest value at risk first."""

    run: PublishedRun
    customers: list[Score]
    totals: ListTotals
    matching_customers: Annotated[int, Field(description="Customers that pass the filters, on all pages together.")]
    next_cursor: Annotated[str | None, Field(description=NEXT_CURSOR)]


class Prospect(Wire):
    """One person who is known, or was seen, and has not ordered."""

    person_id: str
    is_visitor: Annotated[bool, Field(description="A browser, and not a customer id.")]
    as_of: str
    horizon_days: int
    model_version: str
    catalogue_hash: str
    stage: ProspectStage
    stage_label: Annotated[str, Field(description=LABEL)]
    is_label_borrowed: Annotated[bool, Field(description=BORROWED)]
    stage_since: str
    p_first_purchase: Probability
    p_registration: Annotated[Probability | None, Field(description="Null for who is registered or known.")]
    expected_value: Annotated[float, Field(description="p_first_purchase × the value of a new customer.")]
    plays: Annotated[list[str], Field(description=PLAYS)]

    @classmethod
    def from_row(cls, row: Mapping[str, Any], wording: Wording) -> Self:
        """Add the words to a prospect row."""
        label = wording.label(row["stage"])
        words = {"stage_label": label.text, "is_label_borrowed": label.is_borrowed}
        plays = list(wording.plays(row["stage"]))
        return cls.model_validate({**row, "is_visitor": bool(row["is_visitor"]), **words, "plays": plays})


class ProspectPage(Wire):
    """One page of the prospects, the likeliest to order first."""

    run: PublishedRun
    prospects: list[Prospect]
    next_cursor: Annotated[str | None, Field(description=NEXT_CURSOR)]


class StageChange(Wire):
    """One customer who stands in another stage than in the older run; `from_stage` is null for who is new."""

    customer_id: str
    from_stage: Stage | None
    from_label: str | None
    is_from_label_borrowed: bool
    to_stage: Stage
    to_label: str
    is_to_label_borrowed: bool
    since: str


class StageChanges(Named):
    """Who entered and left which stage between two runs."""

    from_run: PublishedRun
    to_run: PublishedRun
    n_changes: Annotated[int, Field(description="On all pages together.")]
    entered: dict[Stage, int]
    left: dict[Stage, int]
    changes: list[StageChange]
    next_cursor: Annotated[str | None, Field(description=NEXT_CURSOR)]
