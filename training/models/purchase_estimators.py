"""Order timing and order value as estimators with scikit-learn's conventions; see `training.models.estimators`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import numpy.typing as npt
from narwhals.typing import IntoDataFrame, IntoDataFrameT
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from training.models.covariates import Covariates, CovariateTiming, fit_with_covariates
from training.models.gamma_gamma import GammaGamma
from training.models.maximum_likelihood import Fit
from training.models.order_frames import Customers, read_customers
from training.models.purchase_process import TIMING_MODELS
from training.models.summary import FloatArray, PurchaseSummary
from training.models.timing import DEFAULT_TIME_UNIT_DAYS, STATISTICS, TimingModel, require_count

TIMING_COLUMNS = ("p_alive", "p_no_order", "expected_orders")

TModel = TypeVar("TModel")
Question = Callable[[TimingModel, PurchaseSummary], FloatArray]


def require_numbers(**settings: object) -> None:
    """Refuse settings that are no numbers, by name."""
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} must be a number, got {value!r}.")


def require_not_negative(name: str, value: float) -> float:
    """Return a setting that is finite and at least 0, or refuse it by name."""
    require_numbers(**{name: value})
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {value}.")
    return value


def require_above_zero(name: str, value: float) -> float:
    """Return a setting that is finite and above 0, or refuse it by name."""
    require_numbers(**{name: value})
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be finite and above 0, got {value}.")
    return value


class PurchaseEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """What the estimators share: which columns they read, and JSON in place of a pickle."""

    _statistics: ClassVar[tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted estimator as JSON types: settings and parameters, no customer.

        Raises:
            NotFittedError: It is not fitted.
        """
        check_is_fitted(self)
        return {
            "estimator": type(self).__name__,
            "settings": self.get_params(deep=False),
            "columns": self.feature_names_in_.tolist(),
            "fitted": self._fitted(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Restore a fitted estimator from `to_dict`.

        Raises:
            ValueError: The dictionary is that of another estimator.
        """
        if values.get("estimator") != cls.__name__:
            raise ValueError(f"This is no {cls.__name__}, but {values.get('estimator')!r}; use its own from_dict.")
        result = cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values["settings"].items()})
        result._restore(values["fitted"])
        result._remember_columns(values["columns"])
        return result

    def _fitted(self) -> dict[str, Any]:
        raise NotImplementedError

    def _restore(self, fitted: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _read_to_fit(self, X: IntoDataFrame, sample_weight: npt.ArrayLike | None) -> Customers[Any]:
        covariates = getattr(self, "covariates", ())
        if isinstance(covariates, str):
            raise TypeError(f"covariates must be a sequence of columns, got {covariates!r}; write [{covariates!r}].")
        return read_customers(X, self._statistics, covariates, sample_weight)

    def _read(self, X: IntoDataFrameT, sample_weight: npt.ArrayLike | None = None) -> Customers[IntoDataFrameT]:
        check_is_fitted(self)
        return read_customers(
            X, self._statistics, self.feature_names_in_[len(self._statistics) :].tolist(), sample_weight
        )

    def _remember_columns(self, names: Sequence[str]) -> None:
        self.feature_names_in_ = np.array(names, dtype=object)
        self.n_features_in_ = len(names)


class PurchaseTiming(PurchaseEstimator):
    """Order timing: who is still a customer, and how many orders come.

    Reads `frequency`, `recency_days`, `T_days`, the covariates, and `n_customers` where rows were counted before.

    Args:
        model: "mbg_nbd", "bg_nbd" or "pareto_nbd".
        time_unit_days: Unit of the parameters; answers are the same in any, log-likelihoods shift by a constant.
        penalizer: Weight of a prior that draws the parameters to plain ones; 0 is maximum likelihood.
        covariates: Columns of words, such as the channel of the first order, that tell fast customers from slow ones.

    Attributes:
        model_: The fitted model of `training.models`; with covariates, a `CovariateTiming`.
        fit_: The `Fit`: `log_likelihood`, `aic`, `bic`, `standard_errors`.
        feature_names_in_: Columns that are read, in order; others may stand beside them.
        n_features_in_: How many these are.

    Example:
        >>> timing = PurchaseTiming("bg_nbd").fit(summary)
        >>> {name: round(value, 2) for name, value in timing.model_.to_dict().items()}
        {'r': 0.24, 'alpha': 4.39, 'a': 0.81, 'b': 2.48, 'time_unit_days': 7.0}
        >>> timing.predict(summary, horizon_days=90).columns
        ['p_alive', 'p_no_order', 'expected_orders']
    """

    _statistics = STATISTICS

    def __init__(
        self,
        model: str = "mbg_nbd",
        time_unit_days: float = DEFAULT_TIME_UNIT_DAYS,
        penalizer: float = 0.0,
        covariates: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.time_unit_days = time_unit_days
        self.penalizer = penalizer
        self.covariates = covariates

    def fit(self, X: IntoDataFrame, y: object = None, sample_weight: npt.ArrayLike | None = None) -> Self:  # noqa: ARG002 - convention
        """Fit by maximum likelihood.

        Args:
            X: One row per customer, or per cell of equal customers.
            y: Ignored.
            sample_weight: (n,) customers of each row, in place of a column `n_customers`.

        Raises:
            ConvergenceError: The data have no usable fit.
            InputError: A column is missing, or holds what it must not.
            TypeError: A setting that should be is no number.
            ValueError: A setting is out of range, or statistics are none that orders can give.
        """
        kind, customers = self._kind(), self._read_to_fit(X, sample_weight)
        self.fit_ = self._fit(kind, customers)
        self.model_ = self.fit_.model
        self._remember_columns([*self._statistics, *customers.covariates])
        return self

    def predict(self, X: IntoDataFrameT, *, horizon_days: float) -> IntoDataFrameT:
        """Predict the orders of the horizon. One row per row of `X`, in its order.

        Returns:
            `p_alive`, the chance to be alive at the cutoff: a diagnostic, no churn score; `p_no_order`, the chance of
            no order within the horizon; `expected_orders`, the mean number of orders within it.
        """

        def columns(model: TimingModel, summary: PurchaseSummary) -> FloatArray:
            p_no_order = model.p_no_order(summary, horizon_days=horizon_days)
            orders = model.expected_orders(summary, horizon_days=horizon_days)
            return np.column_stack([model.p_alive(summary), p_no_order, orders])

        customers = self._read(X)
        return customers.answer(TIMING_COLUMNS, self._ask(customers, columns))

    def p_orders(self, X: IntoDataFrameT, *, horizon_days: float, max_orders: int) -> IntoDataFrameT:
        """Predict the chance of each number of orders within the horizon. One row per row of `X`, in its order.

        Returns:
            `p_0` … `p_<max_orders>`; what is left to 1 is the chance of more.
        """

        def columns(model: TimingModel, summary: PurchaseSummary) -> FloatArray:
            return model.p_orders(summary, horizon_days=horizon_days, max_orders=max_orders)

        customers = self._read(X)
        return customers.answer(name_counts(max_orders), self._ask(customers, columns))

    def score(self, X: IntoDataFrame, y: object = None, sample_weight: npt.ArrayLike | None = None) -> float:  # noqa: ARG002 - as in fit
        """Compute the mean log-likelihood per customer; more is better. Compare in one `time_unit_days` only."""
        customers = self._read(X, sample_weight)
        log_likelihood = self._ask(customers, lambda model, summary: model.log_likelihood(summary))
        return float(np.average(log_likelihood, weights=customers.weights))

    def _ask(self, customers: Customers[Any], question: Question) -> FloatArray:
        """Ask the model, or with covariates that of each group, about customers. Answers in their order."""
        if isinstance(self.model_, CovariateTiming):
            return self.model_.ask(customers.covariates, customers.summary, question)
        return question(self.model_, customers.summary)

    def _fit(self, kind: type[TimingModel], customers: Customers[Any]) -> Fit[Any]:
        unit, penalizer = self.time_unit_days, require_not_negative("penalizer", self.penalizer)
        summary, counts = customers.summary, customers.n_customers
        if not customers.covariates:
            return kind.fit(summary, n_customers=counts, time_unit_days=unit, penalizer=penalizer)
        return fit_with_covariates(
            kind, summary, customers.covariates, n_customers=counts, time_unit_days=unit, penalizer=penalizer
        )

    def _kind(self) -> type[TimingModel]:
        if self.model not in TIMING_MODELS:
            raise ValueError(f"model must be one of {', '.join(TIMING_MODELS)}, got {self.model!r}.")
        require_above_zero("time_unit_days", self.time_unit_days)
        return TIMING_MODELS[self.model]

    def _fitted(self) -> dict[str, Any]:
        model, covariates = self.model_, {}
        if isinstance(model, CovariateTiming):
            levels = {name: list(words) for name, words in model.covariates.levels.items()}
            model, covariates = model.base, {"levels": levels, "coefficients": model.coefficients.tolist()}
        return {
            "model": next(name for name, kind in TIMING_MODELS.items() if kind is type(model)),
            "parameters": model.to_dict(),
            "covariates": covariates,
            "fit": _fit_to_dict(self.fit_),
        }

    def _restore(self, fitted: Mapping[str, Any]) -> None:
        self.model_, covariates = TIMING_MODELS[fitted["model"]].from_dict(fitted["parameters"]), fitted["covariates"]
        if covariates:
            levels = {name: tuple(words) for name, words in covariates["levels"].items()}
            self.model_ = CovariateTiming(self.model_, Covariates(levels), np.array(covariates["coefficients"]))
        self.fit_ = _fit_from_dict(fitted["fit"], self.model_)


class OrderValue(PurchaseEstimator):
    """Order value: what an order of each customer is worth, by the Gamma-Gamma model.

    Reads `frequency`, `monetary_value`, and `n_customers` where rows were counted before.

    Args:
        penalizer: Weight of a prior that draws the parameters to plain ones; 0 is maximum likelihood.

    Attributes:
        model_: The fitted `GammaGamma`.
        fit_: The `Fit`: `log_likelihood`, `aic`, `bic`, `standard_errors`.
        feature_names_in_: Columns that are read, in order; others may stand beside them.
        n_features_in_: How many these are.

    Example:
        >>> value = OrderValue().fit(summary)
        >>> round(value.model_.population_mean, 2)
        35.17
        >>> value.predict(summary).columns
        ['expected_order_value']
    """

    _statistics = ("frequency", "monetary_value")

    def __init__(self, penalizer: float = 0.0) -> None:
        self.penalizer = penalizer

    def fit(self, X: IntoDataFrame, y: object = None, sample_weight: npt.ArrayLike | None = None) -> Self:  # noqa: ARG002 - convention
        """Fit by maximum likelihood; see `PurchaseTiming.fit`."""
        penalizer, customers = require_not_negative("penalizer", self.penalizer), self._read_to_fit(X, sample_weight)
        self.fit_ = GammaGamma.fit(customers.summary, n_customers=customers.n_customers, penalizer=penalizer)
        self.model_ = self.fit_.model
        self._remember_columns([*self._statistics, *customers.covariates])
        return self

    def predict(self, X: IntoDataFrameT) -> IntoDataFrameT:
        """Predict `expected_order_value`, the mean value of an order. One row per row of `X`, in its order."""
        customers = self._read(X)
        value: FloatArray = self.model_.expected_order_value(customers.summary)
        return customers.answer(["expected_order_value"], value[:, None])

    def score(self, X: IntoDataFrame, y: object = None, sample_weight: npt.ArrayLike | None = None) -> float:  # noqa: ARG002 - as in fit
        """Compute the mean log-likelihood per customer, 0 where no value is known; more is better."""
        customers = self._read(X, sample_weight)
        log_likelihood = self.model_.log_likelihood(customers.summary)
        return float(np.average(log_likelihood, weights=customers.weights))

    def _fitted(self) -> dict[str, Any]:
        return {"parameters": self.model_.to_dict(), "fit": _fit_to_dict(self.fit_)}

    def _restore(self, fitted: Mapping[str, Any]) -> None:
        self.model_ = GammaGamma.from_dict(fitted["parameters"])
        self.fit_ = _fit_from_dict(fitted["fit"], self.model_)


def name_counts(max_orders: int) -> list[str]:
    """Return the columns `p_0` … of numbers of orders."""
    require_count(max_orders)
    return [f"p_{n}" for n in range(max_orders + 1)]


def _fit_to_dict(fit: Fit[Any]) -> dict[str, Any]:
    return {
        "names": list(fit.names),
        "estimates": fit.estimates.tolist(),
        "covariance": fit.covariance.tolist(),
        "log_likelihood": fit.log_likelihood,
        "n_customers": fit.n_customers,
        "penalizer": fit.penalizer,
    }


def _fit_from_dict(values: Mapping[str, Any], model: TModel) -> Fit[TModel]:
    return Fit(
        model=model,
        names=tuple(values["names"]),
        estimates=np.array(values["estimates"]),
        covariance=np.array(values["covariance"]),
        log_likelihood=values["log_likelihood"],
        n_customers=values["n_customers"],
        penalizer=values["penalizer"],
    )
