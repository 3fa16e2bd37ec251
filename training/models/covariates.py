"""Static covariates: customers of different channels or countries order, and die, at different rates.

Fader and Hardie (2007), Incorporating Time-Invariant Covariates into the Pareto/NBD and BG/NBD Models,
brucehardie.com/notes/019: a customer's rates are multiplied by exp(γ'z), so that the scale parameters become
alpha·exp(−γ'z), and beta·exp(−γ'z) where there is one. Customers of equal z share one likelihood, and the derivatives
by γ are those by the logarithm of the scale times −z; so every timing model takes covariates in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from training.models.maximum_likelihood import CustomerCells, Derivatives, Fit, Likelihood, count_cells, maximise
from training.models.summary import FloatArray, IndexArray, PurchaseSummary
from training.models.timing import DEFAULT_TIME_UNIT_DAYS, STATISTICS, TimingModel, log_unit_change

_VALUES_NAMED = 3

TTiming = TypeVar("TTiming", bound=TimingModel)


@dataclass(frozen=True, slots=True)
class Covariates:
    """Which covariates customers are told apart by.

    Attributes:
        levels: Name of a covariate → its values, the reference first, whose coefficient is 0.
    """

    levels: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, columns: Mapping[str, npt.ArrayLike]) -> Covariates:
        """Take the values found in columns (n,) of words; the most frequent is the reference.

        Raises:
            ValueError: A column has one value only, and tells nobody apart.
        """
        found = {}
        for name, column in columns.items():
            values, counts = np.unique(np.asarray(column, dtype=np.str_), return_counts=True)
            if len(values) < 2:
                raise ValueError(f"covariate {name} has one value only; leave it out.")
            found[name] = tuple(values[np.lexsort((values, -counts))].tolist())
        return cls(found)

    @property
    def names(self) -> tuple[str, ...]:
        """The k coefficients: `<covariate>=<value>` for each value but the reference."""
        return tuple(f"{name}={value}" for name, values in self.levels.items() for value in values[1:])

    def design(self, columns: Mapping[str, npt.ArrayLike]) -> FloatArray:
        """Return the indicators z of n customers, (n, k).

        Raises:
            ValueError: A covariate is missing, or has a value that was not there when these were taken.
        """
        parts = []
        for name, values in self.levels.items():
            if name not in columns:
                raise ValueError(f"covariate {name} is missing; give a column of it.")
            column = np.asarray(columns[name], dtype=np.str_)
            is_unseen = ~np.isin(column, values)
            if is_unseen.any():
                raise ValueError(
                    f"covariate {name} has values in {int(is_unseen.sum())} rows that the fit did not see: "
                    f"{_some(column[is_unseen])}. Replace them, or fit with customers who have them."
                )
            parts.append(column[:, None] == np.array(values[1:])[None, :])
        return np.hstack(parts).astype(np.float64)


@dataclass(frozen=True, slots=True)
class CovariateTiming(Generic[TTiming]):
    """A timing model whose rates depend on static covariates.

    Attributes:
        base: The model of the reference group.
        covariates: What tells groups apart.
        coefficients: (n_scales, k) γ of each scale parameter: above 0, the group orders (or dies) faster.
    """

    base: TTiming
    covariates: Covariates
    coefficients: FloatArray

    def model_of(self, z: FloatArray) -> TTiming:
        """Return the model of the group with indicators z, (k,)."""
        factors = np.exp(-self.coefficients @ z)
        scales = {name: getattr(self.base, name) * f for name, f in zip(self.base.scales, factors, strict=True)}
        return replace(self.base, **scales)

    def ask(
        self,
        columns: Mapping[str, npt.ArrayLike],
        summary: PurchaseSummary,
        question: Callable[[TTiming, PurchaseSummary], FloatArray],
    ) -> FloatArray:
        """Ask each group's model about its customers, and return the answers in the order of the customers.

        Args:
            columns: Covariates of the n customers.
            summary: What was known of them.
            question: For example `lambda model, summary: model.expected_orders(summary, horizon_days=90)`.
        """
        groups, number = np.unique(self.covariates.design(columns), axis=0, return_inverse=True)
        answers: list[tuple[IndexArray, FloatArray]] = []
        for group, z in enumerate(groups):
            (rows,) = np.nonzero(number == group)
            answers.append((rows, question(self.model_of(z), summary.take(rows))))
        result = np.empty((len(summary), *answers[0][1].shape[1:]))
        for rows, answer in answers:
            result[rows] = answer
        return result


def fit_with_covariates(
    model: type[TTiming],
    summary: PurchaseSummary,
    columns: Mapping[str, npt.ArrayLike],
    *,
    n_customers: FloatArray | None = None,
    time_unit_days: float = DEFAULT_TIME_UNIT_DAYS,
    penalizer: float = 0.0,
) -> Fit[CovariateTiming[TTiming]]:
    """Fit a timing model and the coefficients of static covariates together, by maximum likelihood.

    Args:
        model: Class of the model.
        summary: As in `TimingModel.fit`.
        columns: Name → (n,) words of a covariate, such as the channel or country of the first order.
        n_customers: As in `TimingModel.fit`.
        time_unit_days: As in `TimingModel.fit`.
        penalizer: As in `TimingModel.fit`; it draws coefficients to 0.

    Raises:
        ConvergenceError: `too_few` repeat customers, or a `ridge`: for example a value with hardly any customer.
    """
    covariates = Covariates.of(columns)
    groups, number = np.unique(covariates.design(columns), axis=0, return_inverse=True)
    cells = count_cells(summary, n_customers, by=STATISTICS, group=number)
    scale_days, n_scales, k = model.scale_of(cells), len(model.scales), groups.shape[1]
    names = (*model.parameters, *(f"{scale}:{name}" for scale in model.scales for name in covariates.names))
    peak, covariance, log_likelihood = maximise(
        partial(_likelihood, model=model, groups=groups, scale_days=scale_days),
        cells,
        np.hstack([np.log(model.starts), np.zeros((len(model.starts), n_scales * k))]),
        name=f"{model.name} with covariates",
        names=names,
        penalizer=penalizer,
    )
    n_base = len(model.parameters)
    base = model.in_units(np.exp(peak[:n_base]), scale_days / time_unit_days)
    by_log = np.append(base, np.ones(n_scales * k))
    return Fit(
        model=CovariateTiming(model.of(base, time_unit_days), covariates, peak[n_base:].reshape(n_scales, k)),
        names=names,
        estimates=np.append(base, peak[n_base:]),
        covariance=covariance * np.outer(by_log, by_log),
        log_likelihood=log_likelihood + log_unit_change(cells, scale_days / time_unit_days),
        n_customers=cells.total,
        penalizer=penalizer,
    )


def _likelihood(cells: CustomerCells, *, model: type[TimingModel], groups: FloatArray, scale_days: float) -> Likelihood:
    """Sum the groups' likelihoods; each has its own scales, a linear function of all log parameters and γ."""
    parts = [
        (_group_map(model, z), model.likelihood(cells.take(cells.group == number), scale_days=scale_days))
        for number, z in enumerate(groups)
        if (cells.group == number).any()
    ]

    def total(theta: FloatArray) -> Derivatives:
        found = [(to_group, likelihood(to_group @ theta)) for to_group, likelihood in parts]
        return Derivatives(
            sum(at.value for _, at in found),
            sum((to_group.T @ at.gradient for to_group, at in found), np.zeros(len(theta))),
            sum((to_group.T @ at.hessian @ to_group for to_group, at in found), np.zeros((len(theta),) * 2)),
        )

    return total


def _some(values: npt.NDArray[np.str_]) -> str:
    """Name the first of the distinct values."""
    distinct = np.unique(values).tolist()
    return ", ".join(map(repr, distinct[:_VALUES_NAMED])) + (" …" if len(distinct) > _VALUES_NAMED else "")


def _group_map(model: type[TimingModel], z: FloatArray) -> FloatArray:
    """Return the matrix from all log parameters and γ to the group's log parameters."""
    n_base, k = len(model.parameters), len(z)
    result = np.hstack([np.eye(n_base), np.zeros((n_base, len(model.scales) * k))])
    for position, scale in enumerate(model.scales):
        start = n_base + position * k
        result[model.parameters.index(scale), start : start + k] = -z
    return result
