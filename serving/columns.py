"""The columns of a score: the one list from which files, the store, the API and the documents are derived.

Money is in the currency of the orders; days are days of the shop's time zone. A score frame has
one row per customer and these columns, in this order.
"""

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from features.lifecycle.stages import STAGES
from training.models.horizons import HORIZONS_DAYS


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    NUMBERS = "numbers"


@dataclass(frozen=True, slots=True)
class ScoreColumn:
    """One column of a score.

    Attributes:
        name: The public, stable name.
        kind: What it holds; NUMBERS is a list, written as JSON text where a cell must be flat.
        meaning: One line for people.
        nullable: Whether a score may lack it.
        per_run: Whether all scores of one run share its value.
    """

    name: str
    kind: Kind
    meaning: str
    nullable: bool = False
    per_run: bool = False


def _p_next(stage: str) -> ScoreColumn:
    meaning = f"probability of being {stage} at the end of the horizon"
    if stage == "ambassador":  # takes events in which customers recommend
        return ScoreColumn(f"p_next_{stage}", Kind.NUMBER, f"{meaning}; nothing where not observable", nullable=True)
    return ScoreColumn(f"p_next_{stage}", Kind.NUMBER, meaning)


COLUMNS = (
    ScoreColumn("customer_id", Kind.TEXT, "the shop's own id of the customer"),
    ScoreColumn("as_of", Kind.TEXT, "ISO date; only orders before it were used", per_run=True),
    ScoreColumn("horizon_days", Kind.INTEGER, "length of the outcome, in days from as_of", per_run=True),
    ScoreColumn("model_version", Kind.TEXT, "version of the bundle that computed the score", per_run=True),
    ScoreColumn("catalogue_hash", Kind.TEXT, "hash of the features that the model reads", per_run=True),
    ScoreColumn("stage", Kind.TEXT, "lifecycle stage at as_of"),
    ScoreColumn("stage_since", Kind.TEXT, "ISO date on which the customer entered the stage"),
    ScoreColumn("p_churn", Kind.NUMBER, "probability of no order within the horizon"),
    *(
        ScoreColumn(f"p_churn_{days}d", Kind.NUMBER, f"the same within {days} days of as_of, carried by order timing")
        for days in HORIZONS_DAYS
    ),
    ScoreColumn(
        "p_alive", Kind.NUMBER, "probability of being an active customer at as_of; a diagnostic, no churn score"
    ),
    *(_p_next(stage) for stage in STAGES),
    ScoreColumn(
        "p_second_purchase",
        Kind.NUMBER,
        "of first-time and won-back buyers: probability of the next order within the horizon",
        nullable=True,
    ),
    ScoreColumn(
        "p_reactivation",
        Kind.NUMBER,
        "of lost customers: probability of an order within the horizon",
        nullable=True,
    ),
    ScoreColumn("expected_orders", Kind.NUMBER, "expected number of order days within the horizon"),
    ScoreColumn("expected_order_value", Kind.NUMBER, "expected value of one order day"),
    ScoreColumn("next_order_on", Kind.TEXT, "ISO date of the expected next order, if one is expected", nullable=True),
    ScoreColumn(
        "next_order_on_low",
        Kind.TEXT,
        "ISO date before which the next order is unlikely: lower end of its interval, if it has one",
        nullable=True,
    ),
    ScoreColumn(
        "next_order_on_high",
        Kind.TEXT,
        "ISO date by which it has most likely come; nothing where it may well never come",
        nullable=True,
    ),
    ScoreColumn("historic_value", Kind.NUMBER, "sum of all order amounts before as_of"),
    ScoreColumn(
        "clv_12m",
        Kind.NUMBER,
        "expected discounted value of the next 12 months, × margin (default 1: revenue), less the cost of service",
    ),
    ScoreColumn("clv_12m_low", Kind.NUMBER, "lower end of the interval of clv_12m"),
    ScoreColumn("clv_12m_high", Kind.NUMBER, "upper end of the interval of clv_12m"),
    ScoreColumn("clv_12m_sd", Kind.NUMBER, "standard deviation of what the 12 months may bring"),
    ScoreColumn("clv_by_month", Kind.NUMBERS, "clv_12m, month by month: 12 numbers that sum to it"),
    ScoreColumn("total_value", Kind.NUMBER, "historic_value × margin + clv_12m"),
    ScoreColumn(
        "residual_value",
        Kind.NUMBER,
        "expected discounted value of all orders to come; nothing without a discount rate above 0",
        nullable=True,
    ),
    ScoreColumn("rfm", Kind.TEXT, "recency, frequency and value bins, best is highest, such as 543"),
    ScoreColumn("size", Kind.TEXT, "large, medium or small, by share of historic value"),
    ScoreColumn("rfm_group", Kind.TEXT, "group of the RFM code, in the RFM vocabulary that training froze"),
    ScoreColumn("p_leave_cell", Kind.NUMBER, "probability of another RFM group or size at the end of the horizon"),
    ScoreColumn("value_at_risk", Kind.NUMBER, "p_churn × clv_12m; ranks the at-risk list, the undecided first"),
    ScoreColumn(
        "reasons",
        Kind.TEXT,
        "why p_churn is above or below an ordinary customer's: sentences in a file, JSON text of codes and figures in "
        "the store; nothing where not computed: beyond serving.max_reason_customers, highest value_at_risk first",
        nullable=True,
    ),
    ScoreColumn("flags", Kind.TEXT, "comma-joined codes of what to know about this score; empty when nothing"),
)

PROSPECT_COLUMNS = (
    ScoreColumn("person_id", Kind.TEXT, "the shop's own id of the customer, or of the visitor"),
    ScoreColumn("is_visitor", Kind.INTEGER, "1 for a visitor, who is a browser and not a person; 0 for a customer id"),
    ScoreColumn("as_of", Kind.TEXT, "ISO date; only events before it were used", per_run=True),
    ScoreColumn("horizon_days", Kind.INTEGER, "length of the outcome, in days from as_of", per_run=True),
    ScoreColumn("model_version", Kind.TEXT, "version of the bundle that computed the score", per_run=True),
    ScoreColumn("catalogue_hash", Kind.TEXT, "hash of the features that the model reads", per_run=True),
    ScoreColumn("stage", Kind.TEXT, "stage before the first order, at as_of"),
    ScoreColumn("stage_since", Kind.TEXT, "ISO date on which the stage was entered"),
    ScoreColumn("p_first_purchase", Kind.NUMBER, "probability of an order within the horizon"),
    ScoreColumn(
        "p_registration",
        Kind.NUMBER,
        "of visitors: probability of being linked to a customer within the horizon",
        nullable=True,
    ),
    ScoreColumn(
        "expected_value", Kind.NUMBER, "p_first_purchase × the value of a new customer: first order and 12 months"
    ),
)

SCORE_COLUMNS = tuple(column.name for column in COLUMNS)

_POLARS_TYPES: dict[Kind, pl.DataType] = {
    Kind.TEXT: pl.String(),
    Kind.INTEGER: pl.Int64(),
    Kind.NUMBER: pl.Float64(),
    Kind.NUMBERS: pl.List(pl.Float64()),
}
SCORE_SCHEMA = pl.Schema({column.name: _POLARS_TYPES[column.kind] for column in COLUMNS})
PROSPECT_SCHEMA = pl.Schema({column.name: _POLARS_TYPES[column.kind] for column in PROSPECT_COLUMNS})
