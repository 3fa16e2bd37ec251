"""One answer: churn, next stage and value of each customer, coherent by construction."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.lifecycle.segments import Segments
from features.lifecycle.stages import STAGES, StageRule, reachable_by_order
from features.settings import ValueSettings
from training.models.churn import ChurnModel, process_view
from training.models.horizons import HORIZONS_DAYS
from training.models.inputs import input_names, model_inputs, purchase_summary, read_stage_codes, stage_codes
from training.models.next_segment import CellForecast, NextSegmentModel
from training.models.next_stage import NextStageModel, join_branches
from training.models.prospects import ProspectModel
from training.models.purchase_process import Forecast, PurchaseProcess, Tied
from training.models.reference import Reference
from training.models.summary import PurchaseSummary
from training.models.value import ValueModel
from training.models.value_terms import ValueTerms


@dataclass(frozen=True, slots=True)
class Seen:
    """What the churn model sees of n customers, and what it says of them, in the order of the table.

    Args:
        inputs: Model matrix (see `model_inputs`), shape (n, n_inputs).
        summary: What the purchase process knows of them.
        process: What it says (see `process_view`), shape (n, 3).
        p_churn: P(no order in the horizon), shape (n,).
    """

    inputs: npt.NDArray[np.float64]
    summary: PurchaseSummary
    process: npt.NDArray[np.float64]
    p_churn: npt.NDArray[np.float64]

    def take(self, rows: npt.NDArray[np.intp] | slice) -> "Seen":
        """Return what is seen of some of the customers."""
        return Seen(self.inputs[rows], self.summary.take(rows), self.process[rows], self.p_churn[rows])


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says of n customers, in the order of the table.

    Args:
        p_churn: P(no order in the horizon), shape (n,).
        p_churn_by_horizon: P(no order within each of `HORIZONS_DAYS`), shape (n, 3), never rising from one to the next;
            `p_churn` where the horizon is one of them.
        p_next_stage: P(stage at the horizon's end), shape (n, n_stages), columns as `STAGES`.
        tied: The orders ahead, tied to `p_churn`.
        forecast: Orders and value that follow.
        cells: RFM group and size at the horizon's end, tied to `p_churn` too.
        seen: What it was said from.
    """

    p_churn: npt.NDArray[np.float64]
    p_churn_by_horizon: npt.NDArray[np.float64]
    p_next_stage: npt.NDArray[np.float64]
    tied: Tied
    forecast: Forecast
    cells: CellForecast
    seen: Seen


@dataclass(frozen=True, slots=True)
class LifecycleModel:
    """Everything needed to answer for a customer table; parameters only.

    Args:
        horizon_days: Length of the outcome window that `p_churn` speaks of.
        stage_rule: Frozen stage thresholds.
        segments: Frozen RFM bins and sizes.
        process: The purchase process behind orders and value.
        order_worth: What those who order are worth.
        churn: The root of the answer.
        next_stage: The order branch of the next stage.
        next_segment: The order branch of RFM group and size.
        value: How orders become money.
        features: Names of the features that the trees read, in their order.
        prospects: Answers for those who have not ordered; None where the shop records nothing of them.
        notes: What training had to give up on this data, in words; empty where nothing.
        search: Shapes of the churn trees that training tried, as flat JSON values.
        reference: What reasons compare customers with; None gives no reasons.
    """

    horizon_days: int
    stage_rule: StageRule
    segments: Segments
    process: PurchaseProcess
    order_worth: ValueModel
    churn: ChurnModel
    next_stage: NextStageModel
    next_segment: NextSegmentModel
    value: ValueSettings
    features: tuple[str, ...]
    prospects: ProspectModel | None = None
    notes: tuple[str, ...] = ()
    search: tuple[dict[str, Any], ...] = ()
    reference: Reference | None = None

    def answer(self, table: pl.DataFrame) -> Answer:
        """Answer for every row of a customer table built with this model's stage rule and horizon."""
        seen = self.see(table)
        p_churn, stage_code = seen.p_churn, read_stage_codes(seen.inputs)
        p_given_order = self.next_stage.p_given_order(seen.inputs, stage_code, self.is_reachable(table))
        tied = self.process.tie(seen.summary, p_churn, horizon_days=self.horizon_days)
        forecast = self.process.forecast(
            tied,
            self.order_value(seen.inputs, tied),
            terms=self.terms,
            interval_coverage=self.value.interval_coverage,
        )
        silent_code = stage_codes(table["stage_if_silent"])
        p_recommends = self.next_stage.p_recommends_if_silent(silent_code)
        p_next_stage = join_branches(p_churn, silent_code, p_given_order, p_recommends)
        cells = self.next_segment.predict(table, p_churn, segments=self.segments, horizon_days=self.horizon_days)
        return Answer(p_churn, self._churn_by_horizon(p_churn, tied), p_next_stage, tied, forecast, cells, seen)

    def see(self, table: pl.DataFrame) -> Seen:
        """Return what the churn model sees of every row of a customer table, and what it says of them."""
        inputs, summary = model_inputs(table, self.features), purchase_summary(table)
        process = self.process_view(summary)
        return Seen(inputs, summary, process, self.churn.p_churn(inputs, process))

    def _churn_by_horizon(self, p_churn: npt.NDArray[np.float64], tied: Tied) -> npt.NDArray[np.float64]:
        """Carry p_churn to other horizons through the purchase process that is tied to it, shape (n, 3)."""
        ends = np.array(HORIZONS_DAYS, dtype=np.float64)
        p_no_order = self.process.p_no_order_curve(tied, ends_days=ends)
        p_no_order[:, ends == self.horizon_days] = p_churn[:, None]
        return p_no_order

    def process_view(self, summary: PurchaseSummary) -> npt.NDArray[np.float64]:
        """Return what the purchase process says of each customer, shape (n, 3) (see `churn.process_view`)."""
        return process_view(self.process.timing, summary, horizon_days=self.horizon_days)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the columns of the model matrix."""
        return input_names(self.features)

    @property
    def terms(self) -> ValueTerms:
        """How orders become money."""
        return ValueTerms(self.value.margin, self.value.annual_discount_rate, self.value.annual_service_cost)

    @property
    def new_customer_value(self) -> float:
        """What a prospect is worth once they order: the first order and the 12 months that follow it."""
        return self.process.new_customer_value(horizon_days=self.horizon_days, terms=self.terms)

    def order_value(self, inputs: npt.NDArray[np.float64], tied: Tied) -> npt.NDArray[np.float64]:
        """Return the mean value of an order, (n,), such that orders × value within the horizon is what was learned."""
        if self.order_worth.trees is None:
            return self.process.gamma_gamma.expected_order_value(tied.summary)
        orders = tied.orders_if_ordered
        process_value = orders * self.process.gamma_gamma.expected_order_value(tied.summary)
        return self.order_worth.value_if_ordered(inputs, process_value) / orders

    def is_reachable(self, table: pl.DataFrame) -> npt.NDArray[np.bool_]:
        """Tell which stages the rule allows at the horizon's end after an order, shape (n, n_stages)."""
        allowed = np.ones((table.height, len(STAGES)), dtype=np.bool_)
        for stage, said in reachable_by_order(table, self.stage_rule, horizon_days=self.horizon_days).items():
            allowed[:, STAGES.index(stage)] = said
        return allowed

    def to_dict(self) -> dict[str, Any]:
        """Return every parameter that is not trees as JSON values."""
        return {
            "horizon_days": self.horizon_days,
            "stage_rule": self.stage_rule.to_dict(),
            "segments": self.segments.to_dict(),
            "process": self.process.to_dict(),
            "order_worth": self.order_worth.to_dict(),
            "churn": self.churn.to_dict(),
            "next_stage": self.next_stage.to_dict(),
            "next_segment": self.next_segment.to_dict(),
            "value": self.value.model_dump(),
            "features": list(self.features),
            "prospects": None if self.prospects is None else self.prospects.to_dict(),
            "notes": list(self.notes),
            "search": list(self.search),
            "reference": None if self.reference is None else self.reference.to_dict(),
        }
