"""Customer lifetime value as an estimator with scikit-learn's conventions; see `training.models.estimators`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from narwhals.typing import IntoDataFrame, IntoDataFrameT
from sklearn.utils.validation import check_is_fitted

from training.models.covariates import CovariateTiming
from training.models.order_frames import Customers
from training.models.parameter_error import relative_parameter_error
from training.models.purchase_estimators import (
    TIMING_COLUMNS,
    OrderValue,
    PurchaseEstimator,
    PurchaseTiming,
    name_counts,
    require_above_zero,
    require_numbers,
)
from training.models.purchase_process import Forecast, PurchaseProcess, Tied
from training.models.spread import UNMEASURED_ERROR, Spread
from training.models.summary import FloatArray, PurchaseSummary
from training.models.timing import DEFAULT_TIME_UNIT_DAYS, STATISTICS, TimingModel
from training.models.value_terms import MONTHS, YEAR_DAYS, ValueTerms

LIFETIME_COLUMNS = (
    *TIMING_COLUMNS,
    "expected_order_value",
    *("next_order_days", "next_order_days_low", "next_order_days_high"),
    *("clv_12m", "clv_12m_low", "clv_12m_high", "clv_12m_sd"),
    "residual_value",
)


class LifetimeValue(PurchaseEstimator):
    """Customer lifetime value: order timing and order value together, and the money they make.

    Reads what `PurchaseTiming` and `OrderValue` read: customers counted beforehand are those who agree in all four
    columns, `monetary_value` too. The terms of value (`margin`, `annual_discount_rate`,
    `annual_service_cost`), `horizon_days` and `interval_coverage` are read when it predicts: `set_params` changes them
    without another fit.

    Args:
        model: As in `PurchaseTiming`.
        time_unit_days: As in `PurchaseTiming`.
        penalizer: As in `PurchaseTiming`, for both models.
        covariates: As in `PurchaseTiming`; they tell apart the orders, not their value.
        margin: Share of an order's value that counts; 1 makes the value a revenue.
        annual_discount_rate: Yearly rate at which later money is worth less.
        annual_service_cost: Cost a year of serving who is still a customer, in the currency of the orders.
        horizon_days: Horizon of `p_no_order` and `expected_orders`; values are those of 12 months.
        interval_coverage: Share of outcomes that an interval should hold, in (0, 1).

    Attributes:
        timing_: The fitted `PurchaseTiming`.
        order_value_: The fitted `OrderValue`.
        common_error_: Relative standard error of the total value: what the estimated parameters leave, and what a
            total is off by where no earlier window was looked at (`UNMEASURED_ERROR`), added in squares.
        history_days_: Days of history that the fit saw, the greatest `T_days`.
        feature_names_in_: Columns that are read, in order; others may stand beside them.
        n_features_in_: How many these are.

    Example:
        >>> shop = LifetimeValue(margin=0.3).fit(summary)
        >>> shop.clv_by_month(summary).shape
        (2357, 12)
        >>> total = shop.total(summary)
        >>> total.clv_12m_low < total.clv_12m < total.clv_12m_high
        True
    """

    _statistics = (*STATISTICS, "monetary_value")

    def __init__(
        self,
        model: str = "mbg_nbd",
        time_unit_days: float = DEFAULT_TIME_UNIT_DAYS,
        penalizer: float = 0.0,
        covariates: Sequence[str] = (),
        *,
        margin: float = 1.0,
        annual_discount_rate: float = 0.10,
        annual_service_cost: float = 0.0,
        horizon_days: float = 90.0,
        interval_coverage: float = 0.8,
    ) -> None:
        self.model = model
        self.time_unit_days = time_unit_days
        self.penalizer = penalizer
        self.covariates = covariates
        self.margin = margin
        self.annual_discount_rate = annual_discount_rate
        self.annual_service_cost = annual_service_cost
        self.horizon_days = horizon_days
        self.interval_coverage = interval_coverage

    def fit(self, X: IntoDataFrame, y: object = None, sample_weight: npt.ArrayLike | None = None) -> Self:  # noqa: ARG002 - convention
        """Fit order timing and order value, each by maximum likelihood; see `PurchaseTiming.fit`."""
        self._require_settings()
        timing, order_value = self._parts()
        self.timing_ = timing.fit(X, sample_weight=sample_weight)
        self.order_value_ = order_value.fit(X, sample_weight=sample_weight)
        customers = self._read_to_fit(X, sample_weight)
        parameter_error = relative_parameter_error(
            self.timing_.fit_, self.order_value_.fit_, customers.summary, customers.weights
        )
        self.common_error_ = float(np.hypot(parameter_error, UNMEASURED_ERROR))
        self.history_days_ = float(customers.summary.T_days.max())
        self._remember_columns([*self._statistics, *self.covariates])
        return self

    def predict(self, X: IntoDataFrameT) -> IntoDataFrameT:
        """Predict orders and value. One row per row of `X`, in its order.

        Returns:
            `p_alive`, `p_no_order`, `expected_orders` as in `PurchaseTiming`; `expected_order_value`;
            `next_order_days`, median of the days to the next order, with `_low` and `_high`, NaN where it may never
            come; `clv_12m`, the discounted margin of 12 months less service, with `_low`, `_high`, `_sd`;
            `residual_value`, that of all time, NaN without a discount rate above 0; `is_extrapolated`, equal in all
            rows: the fit saw less than a year of history, so that no interval of a year was ever checked.
        """
        customers = self._read(X)
        of_all = {"is_extrapolated": self._is_extrapolated()}
        return customers.answer(LIFETIME_COLUMNS, self._ask_forecast(customers, _lifetime_columns), of_all=of_all)

    def expected_orders(self, X: IntoDataFrameT, *, horizon_days: float, after_days: float = 0.0) -> IntoDataFrameT:
        """Predict `expected_orders` from `after_days` to `horizon_days` after the cutoff. One row per row of `X`."""

        def question(timing: TimingModel, summary: PurchaseSummary) -> FloatArray:
            return timing.expected_orders(summary, horizon_days=horizon_days, after_days=after_days)

        customers = self._read(X)
        self._require_settings()
        return customers.answer(["expected_orders"], self.timing_._ask(customers, question)[:, None])

    def p_no_order_curve(self, X: IntoDataFrameT, *, ends_days: npt.ArrayLike) -> IntoDataFrameT:
        """Predict the chance of no order by each of k days after the cutoff. One row per row of `X`, in its order.

        Args:
            X: As in `predict`.
            ends_days: (k,) days, all different, such as [30, 60, 90].

        Returns:
            `p_no_order_<days>` of each, such as `p_no_order_30`.

        Raises:
            ValueError: A day is given twice, negative or not finite.
        """
        ends = np.atleast_1d(np.asarray(ends_days, dtype=np.float64))
        if ends.ndim != 1 or len(np.unique(ends)) < max(1, ends.size):
            raise ValueError(f"ends_days must be different days, at least one, got {ends.tolist()}.")
        customers = self._read(X)
        curve = self._ask(customers, lambda process, tied: process.p_no_order_curve(tied, ends_days=ends))
        return customers.answer([f"p_no_order_{end:.12g}" for end in ends], curve)

    def p_orders(self, X: IntoDataFrameT, *, max_orders: int) -> IntoDataFrameT:
        """Predict the chance of each number of orders within `horizon_days`. One row per row of `X`, in its order.

        Returns:
            `p_0` … `p_<max_orders>`; what is left to 1 is the chance of more.
        """
        names, customers = name_counts(max_orders), self._read(X)
        p = self._ask(customers, lambda process, tied: process.p_orders(tied, max_orders=max_orders))
        return customers.answer(names, p)

    def new_customer_value(self, **covariates: str) -> float:
        """Compute what a customer is worth who orders for the first time: that order, and the 12 months after it.

        Args:
            covariates: With covariates, the value of each: `new_customer_value(channel="mail")`.

        Raises:
            ValueError: A covariate is missing, not one of the fit, or has a value that the fit did not see.
        """
        check_is_fitted(self)
        self._require_settings()
        wanted, model = self.feature_names_in_[len(self._statistics) :].tolist(), self.timing_.model_
        if unknown := sorted(set(covariates).difference(wanted)):
            raise ValueError(f"the fit has covariates {', '.join(wanted) or 'none'}, got {', '.join(unknown)}.")
        if isinstance(model, CovariateTiming):
            [group] = model.covariates.design({name: [value] for name, value in covariates.items()})
            model = model.model_of(group)
        return self._process(model).new_customer_value(horizon_days=self.horizon_days, terms=self._terms())

    def clv_by_month(self, X: IntoDataFrameT) -> IntoDataFrameT:
        """Predict `clv_month_1` … `clv_month_12`, which sum to `clv_12m`. One row per row of `X`, in its order."""
        customers = self._read(X)
        by_month = self._ask_forecast(customers, lambda _, forecast: forecast.clv_by_month)
        return customers.answer([f"clv_month_{month}" for month in range(1, MONTHS + 1)], by_month)

    def total(self, X: IntoDataFrame) -> TotalValue:
        """Sum `clv_12m` over customers, with an interval.

        Note:
            Customers vary on their own, and all with `common_error_`. How much years differ only earlier time can tell,
            which one frame does not show: the interval holds a fifth of the total for it (`UNMEASURED_ERROR`).
        """
        customers = self._read(X)
        clv, sd = self._ask_forecast(customers, lambda _, f: np.column_stack([f.clv_12m, f.clv_12m_sd])).T
        n = customers.weights
        low, high = self._spread().total_interval(clv, sd, coverage=self.interval_coverage, n_customers=n)
        return TotalValue(float(n.sum()), float(n @ clv), low, high, self._is_extrapolated())

    def score(self, X: IntoDataFrame, y: object = None, sample_weight: npt.ArrayLike | None = None) -> float:  # noqa: ARG002 - as in fit
        """Compute the mean log-likelihood per customer of orders and their values together; more is better."""
        check_is_fitted(self)
        parts = (self.timing_, self.order_value_)
        return float(sum(part.score(X, sample_weight=sample_weight) for part in parts))

    def _parts(self) -> tuple[PurchaseTiming, OrderValue]:
        timing = PurchaseTiming(self.model, self.time_unit_days, self.penalizer, self.covariates)
        return timing, OrderValue(self.penalizer)

    def _terms(self) -> ValueTerms:
        return ValueTerms(self.margin, self.annual_discount_rate, self.annual_service_cost)

    def _require_settings(self) -> None:
        numbers = ("margin", "annual_discount_rate", "annual_service_cost", "interval_coverage")
        require_numbers(**{name: getattr(self, name) for name in numbers})
        require_above_zero("horizon_days", self.horizon_days)
        if not 0.0 < self.interval_coverage < 1.0:
            raise ValueError(f"interval_coverage must lie between 0 and 1, got {self.interval_coverage}.")
        self._terms()

    def _spread(self) -> Spread:
        return Spread(common_error=self.common_error_, history_days=self.history_days_)

    def _process(self, timing: TimingModel) -> PurchaseProcess:
        return PurchaseProcess(timing, self.order_value_.model_, self._spread())

    def _is_extrapolated(self) -> bool:
        return self.history_days_ < YEAR_DAYS

    def _ask_forecast(self, customers: Customers[Any], read: Callable[[Tied, Forecast], FloatArray]) -> FloatArray:
        """Ask about the forecast of customers. Answers in their order."""
        terms, coverage = self._terms(), self.interval_coverage

        def question(process: PurchaseProcess, tied: Tied) -> FloatArray:
            value = process.gamma_gamma.expected_order_value(tied.summary)
            return read(tied, process.forecast(tied, value, terms=terms, interval_coverage=coverage))

        return self._ask(customers, question)

    def _ask(self, customers: Customers[Any], read: Callable[[PurchaseProcess, Tied], FloatArray]) -> FloatArray:
        """Ask the purchase process, tied over the horizon, about customers. Answers in their order."""
        self._require_settings()

        def question(timing: TimingModel, summary: PurchaseSummary) -> FloatArray:
            process = self._process(timing)
            return read(process, process.tie(summary, horizon_days=self.horizon_days))

        return self.timing_._ask(customers, question)

    def _fitted(self) -> dict[str, Any]:
        return {
            "timing": self.timing_.to_dict(),
            "order_value": self.order_value_.to_dict(),
            "common_error": self.common_error_,
            "history_days": self.history_days_,
        }

    def _restore(self, fitted: Mapping[str, Any]) -> None:
        self.timing_ = PurchaseTiming.from_dict(fitted["timing"])
        self.order_value_ = OrderValue.from_dict(fitted["order_value"])
        self.common_error_ = float(fitted["common_error"])
        self.history_days_ = float(fitted["history_days"])


@dataclass(frozen=True, slots=True)
class TotalValue:
    """What the customers of a frame are worth together over 12 months.

    Attributes:
        n_customers: Customers counted.
        clv_12m: Sum of their values.
        clv_12m_low: Lower bound of the interval of what the year will bring.
        clv_12m_high: Upper bound.
        is_extrapolated: The fit saw less than a year of history, so that no interval of a year was ever checked.
    """

    n_customers: float
    clv_12m: float
    clv_12m_low: float
    clv_12m_high: float
    is_extrapolated: bool


def _lifetime_columns(tied: Tied, forecast: Forecast) -> FloatArray:
    wait = forecast.next_order
    return np.column_stack(
        [
            *(forecast.p_alive, 1.0 - tied.p_order, forecast.expected_orders, forecast.expected_order_value),
            *(wait.median_days, wait.low_days, wait.high_days),
            *(forecast.clv_12m, forecast.clv_12m_low, forecast.clv_12m_high, forecast.clv_12m_sd),
            forecast.residual_value,
        ]
    )
