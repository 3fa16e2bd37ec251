"""Maximum likelihood, for every model of this room: several starts, then Newton steps on the whole data.

Parameters are positive and are sought as logarithms, in units in which the data are near 1, so that no unit of time or
money changes the path. A likelihood gives its value, gradient and Hessian; the steps are those of a trust region with
an exact sub-problem (Moré and Sorensen 1983, Computing a trust region step). The Hessian at the end is the observed
information, whose inverse is the covariance of the estimates (Efron and Hinkley 1978, Biometrika 65, 457-487).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from scipy.optimize import minimize

from features.errors import ConvergenceError, ConvergenceReason
from training.models.summary import BoolArray, FloatArray, IndexArray, PurchaseSummary, find_cells

TModel = TypeVar("TModel")

MIN_INFORMATIVE = 10
MAX_LOG_PARAMETER = float(np.log(1e5))
MAX_DECREMENT = 1e-2  # twice the log-likelihood that another Newton step would gain
MAX_STANDARD_ERROR = 5.0  # of a log parameter along the flattest direction: a factor of 150
_MORE_DATA = "Give it a longer order history or more customers."
_MORE_DATA_OR_PRIOR = "Give it a longer order history or more customers, or set a penalizer, such as 0.01."
_CURED_BY_PRIOR: tuple[ConvergenceReason, ...] = ("ridge", "infinite_mean")
_THINNED_CELLS = 20_000  # starts are compared on about so many cells
_SEED = 20240101


@dataclass(frozen=True, slots=True)
class Derivatives:
    """A log-likelihood, summed over customers, in k log parameters.

    Attributes:
        value: The log-likelihood.
        gradient: (k,) its slope.
        hessian: (k, k) its curvature.
    """

    value: float
    gradient: FloatArray
    hessian: FloatArray


Likelihood = Callable[[FloatArray], Derivatives]


@dataclass(frozen=True, slots=True)
class Fit(Generic[TModel]):
    """A fitted model and how sure it is.

    Attributes:
        model: The model.
        names: Its k free parameters.
        estimates: (k,) their values; all but the coefficients of covariates are positive.
        covariance: (k, k) of the estimates.
        log_likelihood: Unpenalised, summed over customers.
        n_customers: Customers it was fitted on.
        penalizer: That this fit was made with; 0 is plain maximum likelihood.
    """

    model: TModel
    names: tuple[str, ...]
    estimates: FloatArray
    covariance: FloatArray
    log_likelihood: float
    n_customers: int
    penalizer: float = 0.0

    @property
    def standard_errors(self) -> dict[str, float]:
        """Standard error of each parameter, in its own unit."""
        errors = np.sqrt(np.diag(self.covariance))
        return dict(zip(self.names, errors.tolist(), strict=True))

    @property
    def aic(self) -> float:
        """Akaike's information criterion, 2k − 2 log L (Akaike 1974); less is better."""
        return 2.0 * len(self.names) - 2.0 * self.log_likelihood

    @property
    def bic(self) -> float:
        """Bayesian information criterion, k log n − 2 log L (Schwarz 1978); less is better."""
        return len(self.names) * float(np.log(self.n_customers)) - 2.0 * self.log_likelihood


@dataclass(frozen=True, slots=True)
class CustomerCells:
    """Distinct customers, and how many there are of each.

    Attributes:
        summary: One element per cell.
        n_customers: (n_cells,) customers in each, above 0.
        group: (n_cells,) number of the group of equal covariates; all 0 without any.
    """

    summary: PurchaseSummary
    n_customers: FloatArray
    group: IndexArray

    @property
    def total(self) -> int:
        """Customers in all cells together."""
        return round(float(self.n_customers.sum()))

    def take(self, rows: IndexArray | BoolArray) -> CustomerCells:
        """Select cells by number or mask."""
        return CustomerCells(self.summary.take(rows), self.n_customers[rows], self.group[rows])


def count_cells(
    summary: PurchaseSummary,
    n_customers: FloatArray | None,
    *,
    by: Sequence[str],
    group: IndexArray | None = None,
) -> CustomerCells:
    """Count customers who agree in the columns `by`; rows that were counted before are taken as they are.

    Args:
        summary: One element per customer, or per cell where `n_customers` is given.
        n_customers: (n,) customers of each row, as a group-by returns them; None where each row is one customer.
        by: The statistics that the likelihood reads.
        group: (n,) number of the group of equal covariates; None where there are none.

    Raises:
        ValueError: `n_customers` has the wrong shape, or is not finite and above 0 everywhere.
    """
    groups = np.zeros(len(summary), dtype=np.intp) if group is None else group
    if n_customers is not None:
        counts = np.asarray(n_customers, dtype=np.float64)
        if counts.shape != (len(summary),) or not bool((np.isfinite(counts) & (counts > 0)).all()):
            raise ValueError(f"n_customers must be one number above 0 for each of the {len(summary)} rows.")
        return CustomerCells(summary, counts, groups)
    columns = [getattr(summary, name) for name in by] + ([] if group is None else [group.astype(np.float64)])
    found = find_cells(*columns)
    return CustomerCells(summary.take(found.first), found.counts.astype(np.float64), groups[found.first])


def require_informative(n: float, name: str, *, what: str) -> None:
    """Refuse to fit where too few customers say anything.

    Raises:
        ConvergenceError: With the reason `too_few`.
    """
    if n < MIN_INFORMATIVE:
        raise ConvergenceError(
            f"{name} needs at least {MIN_INFORMATIVE} customers {what} and got {n:.0f}.",
            remedy=_MORE_DATA,
            reason="too_few",
        )


def refuse(name: str, reason: ConvergenceReason, why: str) -> ConvergenceError:
    """Return the error for a fit that cannot be meant."""
    remedy = _MORE_DATA_OR_PRIOR if reason in _CURED_BY_PRIOR else _MORE_DATA
    return ConvergenceError(f"{name} has no usable fit on this data: {why}.", remedy=remedy, reason=reason)


def maximise(
    likelihood_of: Callable[[CustomerCells], Likelihood],
    cells: CustomerCells,
    starts: FloatArray,
    *,
    name: str,
    names: Sequence[str],
    penalizer: float = 0.0,
) -> tuple[FloatArray, FloatArray, float]:
    """Find the log parameters of greatest likelihood.

    Args:
        likelihood_of: Builds the likelihood of some cells.
        cells: The data.
        starts: (n_starts, k) log parameters to start from; the best end counts.
        name: Of the model, for errors.
        names: Of its parameters.
        penalizer: Weight of Σ (log parameter − log start)², subtracted from the mean log-likelihood: a prior that draws
            each parameter, in the units of the search, to the first start.

    Returns:
        Log parameters (k,), their covariance (k, k), and the log-likelihood without the penalty.

    Raises:
        ConvergenceError: With the reason `ridge`, where the likelihood has no peak or hardly any.
    """
    thinned = _thin(cells)
    prior = _Prior(starts[0], penalizer)
    rough = [_climb(likelihood_of(thinned), start, n=thinned.total, prior=prior) for start in starts]
    best = min(rough, key=lambda found: found[1])[0]
    whole = likelihood_of(cells)
    peak, _ = _climb(whole, best, n=cells.total, prior=prior)
    at = whole(peak)
    information = -at.hessian + 2.0 * penalizer * cells.total * np.eye(len(peak))
    covariance = _invert(information, peak, name=name, names=names)
    slope = at.gradient - 2.0 * penalizer * cells.total * (peak - starts[0])
    if float(slope @ covariance @ slope) > MAX_DECREMENT:
        raise refuse(name, "ridge", "the search ended before it came to a peak of the likelihood")
    return peak + covariance @ slope, covariance, at.value  # one more Newton step: the last digits cost nothing here


@dataclass(frozen=True, slots=True)
class _Prior:
    centre: FloatArray
    weight: float


def _climb(likelihood: Likelihood, start: FloatArray, *, n: int, prior: _Prior) -> tuple[FloatArray, float]:
    """Maximise the penalised mean log-likelihood; returns the log parameters and minus that mean."""
    latest: list[tuple[bytes, Derivatives]] = []

    def at(theta: FloatArray) -> Derivatives:
        key = theta.tobytes()
        if not latest or latest[0][0] != key:
            latest[:] = [(key, likelihood(np.clip(theta, -2 * MAX_LOG_PARAMETER, 2 * MAX_LOG_PARAMETER)))]
        return latest[0][1]

    found = minimize(
        lambda theta: prior.weight * float(np.sum((theta - prior.centre) ** 2)) - at(theta).value / n,
        start,
        jac=lambda theta: 2.0 * prior.weight * (theta - prior.centre) - at(theta).gradient / n,
        hess=lambda theta: 2.0 * prior.weight * np.eye(len(theta)) - at(theta).hessian / n,
        method="trust-exact",
        options={"gtol": 1e-9, "maxiter": 100, "initial_trust_radius": 1.0, "max_trust_radius": 3.0},
    )
    return np.asarray(found.x, dtype=np.float64), float(found.fun)


def _invert(information: FloatArray, peak: FloatArray, *, name: str, names: Sequence[str]) -> FloatArray:
    runaway = int(np.argmax(np.abs(peak)))
    if abs(peak[runaway]) > MAX_LOG_PARAMETER:
        where = "out of bounds" if peak[runaway] > 0 else "to 0"
        raise refuse(name, "ridge", f"the likelihood has a ridge along which {names[runaway]} runs {where}")
    values, vectors = np.linalg.eigh(information)
    if not values[0] > MAX_STANDARD_ERROR**-2:
        along = names[int(np.argmax(np.abs(vectors[:, 0])))]
        raise refuse(name, "ridge", f"the likelihood has a ridge: it says next to nothing of {along}")
    covariance: FloatArray = (vectors / values) @ vectors.T
    return covariance


def _thin(cells: CustomerCells) -> CustomerCells:
    """Draw about 20,000 cells, large ones surely and small ones at equal chances, and keep the totals unbiased."""
    if len(cells.summary) <= _THINNED_CELLS:
        return cells
    threshold = float(cells.total) / _THINNED_CELLS
    chance = np.minimum(1.0, cells.n_customers / threshold)
    is_drawn = np.random.default_rng(_SEED).random(len(chance)) < chance
    return replace(cells, n_customers=np.maximum(cells.n_customers, threshold)).take(is_drawn)
