"""Maximum likelihood: its derivatives, what a fit does not depend on, and the data it refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConvergenceError
from tests.cdnow import load_summary
from tests.training.models.simulate import Simulated, simulate_orders
from training.models import maximum_likelihood
from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma_likelihood import GammaGammaLikelihood
from training.models.maximum_likelihood import CustomerCells, Fit, Likelihood, count_cells
from training.models.mbg_nbd import MbgNbd
from training.models.pareto_nbd import ParetoNbd
from training.models.summary import FloatArray, PurchaseSummary
from training.models.timing import STATISTICS, TimingModel

MODELS: list[type[TimingModel]] = [BgNbd, MbgNbd, ParetoNbd]
TRUTHS: list[Simulated] = [BgNbd(1.0, 10.0, 0.5, 1.5), MbgNbd(1.0, 10.0, 0.5, 1.5), ParetoNbd(1.0, 10.0, 0.5, 1.5)]
N_CUSTOMERS = 500

every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


@pytest.fixture(scope="module")
def fits() -> dict[str, Fit[TimingModel]]:
    """Each model fitted to the CDNOW sample, in weeks."""
    return {model.name: model.fit(load_summary()) for model in MODELS}


def _sample() -> PurchaseSummary:
    return load_summary().take(np.arange(0, 2357, 20))


def _timing_likelihood(model: type[TimingModel]) -> Callable[[], Likelihood]:
    return lambda: model.likelihood(count_cells(_sample(), None, by=STATISTICS), scale_days=200.0)


def _value_likelihood() -> Likelihood:
    known = _sample().take(_sample().monetary_is_known())
    return GammaGammaLikelihood(count_cells(known, None, by=("frequency", "monetary_value")), scale=35.0)


def _central_differences(function: Callable[[FloatArray], FloatArray], at: FloatArray, step: float) -> FloatArray:
    steps = step * np.eye(len(at))
    return np.array([(function(at + each) - function(at - each)) / (2 * step) for each in steps])


@pytest.mark.parametrize(
    ("build", "n_parameters"),
    [(_timing_likelihood(model), 4) for model in MODELS] + [(_value_likelihood, 3)],
    ids=[*(model.name for model in MODELS), "Gamma-Gamma"],
)
@given(data=st.data())
def test_derivatives(build: Callable[[], Likelihood], n_parameters: int, data: st.DataObject) -> None:
    """The gradient and the Hessian are what central differences of the value and the gradient come to."""
    likelihood, log_parameter = build(), st.floats(min_value=-3.0, max_value=3.0)
    theta = np.array(data.draw(st.lists(log_parameter, min_size=n_parameters, max_size=n_parameters)))
    found = likelihood(theta)
    gradient = _central_differences(lambda at: np.array(likelihood(at).value), theta, 1e-4)
    hessian = _central_differences(lambda at: likelihood(at).gradient, theta, 1e-5)
    np.testing.assert_allclose(found.gradient, gradient, rtol=1e-5, atol=1e-6 * abs(found.value))
    np.testing.assert_allclose(found.hessian, hessian, rtol=1e-5, atol=1e-7 * np.abs(found.hessian).max())
    np.testing.assert_allclose(found.hessian, found.hessian.T, rtol=1e-9)


@every_model
def test_value_is_the_sum(fits: dict[str, Fit[TimingModel]], model: type[TimingModel]) -> None:
    """The log-likelihood of a fit is the sum of the customers' own."""
    fit = fits[model.name]
    assert fit.log_likelihood == pytest.approx(fit.model.log_likelihood(load_summary()).sum(), rel=1e-12)


@every_model
def test_is_a_peak(fits: dict[str, Fit[TimingModel]], model: type[TimingModel]) -> None:
    """No step of a standard error in any parameter gives a likelihood as high."""
    fit = fits[model.name]
    for name, error in fit.standard_errors.items():
        for step in (-0.2, 0.2):
            parameters = fit.model.to_dict()
            parameters[name] += step * error
            beside = model.from_dict(parameters).log_likelihood(load_summary()).sum()
            assert beside < fit.log_likelihood - 0.01


@every_model
@pytest.mark.parametrize("time_unit_days", [1.0, 365.25])
def test_time_unit(fits: dict[str, Fit[TimingModel]], model: type[TimingModel], time_unit_days: float) -> None:
    """In days and in years: the same probabilities, and the log-likelihood of the same data in that unit."""
    summary, weeks = load_summary(), fits[model.name]
    fit = model.fit(summary, time_unit_days=time_unit_days)
    change = np.log(time_unit_days / 7) * summary.frequency.sum()
    assert fit.log_likelihood == pytest.approx(weeks.log_likelihood + change, rel=1e-10)
    assert fit.log_likelihood == pytest.approx(fit.model.log_likelihood(summary).sum(), rel=1e-10)
    np.testing.assert_allclose(fit.model.p_alive(summary), weeks.model.p_alive(summary), rtol=1e-6)
    ours, theirs = (m.expected_orders(summary, horizon_days=90.0) for m in (fit.model, weeks.model))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@every_model
def test_counted_cells(fits: dict[str, Fit[TimingModel]], model: type[TimingModel]) -> None:
    """A table of cells, as a group-by returns it, gives the fit of its customers in whatever order they stand."""
    summary, fit = load_summary(), fits[model.name]
    cells = count_cells(summary, None, by=STATISTICS)
    counted = model.fit(cells.summary, n_customers=cells.n_customers)
    shuffled = model.fit(summary.take(np.random.default_rng(1).permutation(len(summary))))
    for other in (counted, shuffled):
        assert other.n_customers == fit.n_customers
        assert other.log_likelihood == pytest.approx(fit.log_likelihood, rel=1e-12)
        np.testing.assert_allclose(other.estimates, fit.estimates, rtol=1e-6)
        ours, theirs = (m.expected_orders(summary, horizon_days=90.0) for m in (other.model, fit.model))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@every_model
def test_twice_the_customers(fits: dict[str, Fit[TimingModel]], model: type[TimingModel]) -> None:
    """Each customer twice: the same model, half the variance, twice the log-likelihood; AIC and BIC follow."""
    summary, fit = load_summary(), fits[model.name]
    twice = model.fit(summary, n_customers=np.full(len(summary), 2.0))
    np.testing.assert_allclose(twice.estimates, fit.estimates, rtol=1e-6)
    np.testing.assert_allclose(twice.covariance, fit.covariance / 2, rtol=1e-4)
    assert twice.log_likelihood == pytest.approx(2 * fit.log_likelihood, rel=1e-12)
    assert twice.aic == pytest.approx(8 - 2 * twice.log_likelihood)
    assert twice.bic == pytest.approx(4 * np.log(2 * 2357) - 2 * twice.log_likelihood)


def test_many_cells(monkeypatch: pytest.MonkeyPatch, fits: dict[str, Fit[TimingModel]]) -> None:
    """Where starts are compared on a part of the cells, the fit is still that of all of them."""
    monkeypatch.setattr(maximum_likelihood, "_THINNED_CELLS", 300)
    np.testing.assert_allclose(BgNbd.fit(load_summary()).estimates, fits["BG/NBD"].estimates, rtol=1e-6)


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: truth.name)
def test_heavy_buyer(truth: Simulated) -> None:
    """One who ordered 10,000 times among others does not keep them from a fit."""
    summary = simulate_orders(truth, ages_days=np.full(N_CUSTOMERS, 300.0), rng=np.random.default_rng(0))
    heavy = PurchaseSummary(
        np.append(summary.frequency, 10_000.0),
        np.append(summary.recency_days, 10_000.0),
        np.append(summary.T_days, 10_001.0),
        np.append(summary.monetary_value, 1.0),
    )
    fit = type(truth).fit(heavy)
    assert np.isfinite(fit.estimates).all()
    assert np.isfinite(fit.covariance).all()


def _all_alike(frequency: float, recency_days: float, age_days: float) -> PurchaseSummary:
    same = np.ones(N_CUSTOMERS)
    return PurchaseSummary(frequency * same, recency_days * same, age_days * same, np.sign(frequency) * same)


@every_model
@pytest.mark.parametrize("n", [1, 9, N_CUSTOMERS])
def test_too_few(model: type[TimingModel], n: int) -> None:
    """Fewer than 10 repeat customers are too few, however many ordered once."""
    summary = _all_alike(0, 0, 300) if n == N_CUSTOMERS else _all_alike(3, 200, 300).take(np.arange(n))
    with pytest.raises(ConvergenceError, match=f"{model.name} needs at least 10") as refusal:
        model.fit(summary)
    assert refusal.value.reason == "too_few"
    assert "penalizer" not in refusal.value.remedy


@every_model
@pytest.mark.parametrize(
    "customer", [(10, 280, 300), (10, 300, 300), (300, 300, 300), (1, 1, 1)], ids=["paused", "due", "daily", "new"]
)
def test_clockwork(model: type[TimingModel], customer: tuple[float, float, float]) -> None:
    """Customers all of one rhythm have no spread of rates: a ridge by name, and a model only where one is asked for."""
    summary = _all_alike(*customer)
    with pytest.raises(ConvergenceError, match="ridge") as refusal:
        model.fit(summary)
    assert refusal.value.reason == "ridge"
    assert refusal.value.remedy.endswith("or set a penalizer, such as 0.01.")
    penalised = model.fit(summary, penalizer=0.01)
    assert penalised.penalizer == 0.01
    expected = penalised.model.expected_orders(summary, horizon_days=30.0)[0]
    assert 0 < expected < 2 * 30 * (customer[0] + 1) / customer[2]


@every_model
def test_penalizer(fits: dict[str, Fit[TimingModel]], model: type[TimingModel]) -> None:
    """A heavier prior lies further from the peak, nearer to where the search starts, and claims less error."""
    fit, summary = fits[model.name], load_summary()
    light, heavy = (model.fit(summary, penalizer=penalizer) for penalizer in (1e-4, 1e-2))
    assert fit.log_likelihood > light.log_likelihood > heavy.log_likelihood
    assert heavy.log_likelihood == pytest.approx(heavy.model.log_likelihood(summary).sum(), rel=1e-12)
    log_error = [np.sqrt(np.diag(found.covariance)) / found.estimates for found in (fit, light, heavy)]
    assert log_error[0].max() > log_error[1].max() > log_error[2].max()


@pytest.mark.parametrize("bad", [np.ones(3), np.zeros(2357), np.full(2357, -1.0), np.full(2357, np.nan)])
def test_count_refusals(bad: FloatArray) -> None:
    """Numbers of customers that are missing, none, negative or no numbers are refused."""
    with pytest.raises(ValueError, match="n_customers"):
        BgNbd.fit(load_summary(), n_customers=bad)


def test_cells_are_distinct() -> None:
    """Counting cells keeps each customer in exactly one."""
    cells: CustomerCells = count_cells(load_summary(), None, by=STATISTICS)
    assert cells.total == len(load_summary())
    rows = np.column_stack([getattr(cells.summary, name) for name in STATISTICS])
    assert len(np.unique(rows, axis=0)) == len(rows)
