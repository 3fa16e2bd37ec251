"""The same models fitted by lifetimes 0.11.3, archived, which our own fits are checked against: `fitter = "lifetimes"`.

lifetimes minimises the penalised mean negative log-likelihood (penalizer · Σ parameter²) by BFGS. Customers are
given to it as weighted cells of equal statistics; values are scaled to a mean of 1, as it does itself for time.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.maximum_likelihood import count_cells, refuse, require_informative
from training.models.mbg_nbd import MbgNbd
from training.models.pareto_nbd import ParetoNbd
from training.models.summary import PurchaseSummary
from training.models.timing import DEFAULT_TIME_UNIT_DAYS, STATISTICS, TimingModel

with warnings.catch_warnings():  # lifetimes warns when imported, and installs a filter for the whole process
    warnings.simplefilter("ignore")
    import lifetimes
    from lifetimes.utils import ConvergenceError as LifetimesConvergenceError

_FITTERS = {
    BgNbd: lifetimes.BetaGeoFitter,
    MbgNbd: lifetimes.ModifiedBetaGeoFitter,
    ParetoNbd: lifetimes.ParetoNBDFitter,
}
_MAX_PARAMETER = 1e5
_MIN_PARAMETER = 1e-6


def fit_timing(summary: PurchaseSummary, model: type[TimingModel], *, penalizer: float = 0.0) -> TimingModel:
    """Fit a timing model by lifetimes, in weeks.

    Raises:
        ConvergenceError: `too_few` repeat customers, or a `ridge`.
    """
    require_informative(float((summary.frequency > 0).sum()), model.name, what="with a repeat order")
    cells = count_cells(summary, None, by=STATISTICS)
    of = cells.summary
    fitter = _FITTERS[model](penalizer_coef=penalizer)
    with _quiet_lifetimes(model.name):
        fitter.fit(
            of.frequency,
            of.recency_days / DEFAULT_TIME_UNIT_DAYS,
            of.T_days / DEFAULT_TIME_UNIT_DAYS,
            weights=cells.n_customers,
        )
    return model.of(np.array(_parameters(fitter, model.name, model.parameters)), DEFAULT_TIME_UNIT_DAYS)


def fit_gamma_gamma(summary: PurchaseSummary, *, penalizer: float = 0.0) -> GammaGamma:
    """Fit Gamma-Gamma by lifetimes.

    Raises:
        ConvergenceError: `too_few` customers with a value, a `ridge`, or an `infinite_mean`.
    """
    known = summary.take(summary.monetary_is_known())
    require_informative(len(known), GammaGamma.name, what="with a repeat order of positive value")
    cells = count_cells(known, None, by=("frequency", "monetary_value"))
    scale = float(known.monetary_value.mean())
    fitter = lifetimes.GammaGammaFitter(penalizer_coef=penalizer)
    with _quiet_lifetimes(GammaGamma.name):
        fitter.fit(cells.summary.frequency, cells.summary.monetary_value / scale, weights=cells.n_customers)
    p, q, v = _parameters(fitter, GammaGamma.name, GammaGamma.parameters)
    if not q > 1.0:
        raise refuse(GammaGamma.name, "infinite_mean", f"q = {q:.3g} is not above 1, so no mean value exists")
    return GammaGamma(p, q, v * scale)


def _parameters(fitter: lifetimes.fitters.BaseFitter, name: str, names: Sequence[str]) -> list[float]:
    values = [float(fitter.params_[parameter]) for parameter in names]
    for parameter, value in zip(names, values, strict=True):
        if not _MIN_PARAMETER < value < _MAX_PARAMETER:
            raise refuse(name, "ridge", f"the likelihood has a ridge, {parameter} ran to {value:.3g}")
    return values


@contextlib.contextmanager
def _quiet_lifetimes(name: str) -> Iterator[None]:
    """Silence what lifetimes prints and warns of, and turn its ways of failing into a refusal."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            yield
        except LifetimesConvergenceError as error:
            raise refuse(name, "ridge", "lifetimes' optimiser did not converge") from error
        except np.linalg.LinAlgError as error:
            raise refuse(name, "ridge", "the likelihood is flat at lifetimes' optimum") from error
