"""How far outcomes lie from expectations: measured on windows whose truth is known, and carried to a list's total."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.settings import load_settings
from tests.cdnow import load_summary
from training.fitters.spread import Window, fit_spread
from training.models.gamma_gamma import GammaGamma
from training.models.mbg_nbd import MbgNbd
from training.models.purchase_process import PurchaseProcess
from training.models.spread import Spread
from training.models.summary import FloatArray

SETTINGS = load_settings()
HORIZON_DAYS = float(SETTINGS.training.horizon_days)
PROCESS = PurchaseProcess(MbgNbd(0.525, 6.183, 0.891, 1.614), GammaGamma(6.25, 3.74, 15.44))


def _draw_window(*, dispersion: float = 1.0, factor: float = 1.0, seed: int) -> Window:
    """Draw what the CDNOW customers bring, from the process with this dispersion, times a factor."""
    rng, summary = np.random.default_rng(seed), load_summary()
    process = PurchaseProcess(PROCESS.timing, PROCESS.gamma_gamma, Spread(dispersion, window_days=HORIZON_DAYS))
    tied = process.tie(summary, horizon_days=HORIZON_DAYS)
    mean = tied.expected_orders * process.gamma_gamma.expected_order_value(summary)
    found = process.value_distribution(tied, mean, end=-1)
    shape = 1.0 / found.relative_variance
    brought = found.if_ordered.mean / shape * rng.gamma(shape)
    return Window(summary, factor * np.where(rng.random(len(summary)) < found.p_order, brought, 0.0))


def _fit(*windows: Window) -> Spread:
    return fit_spread(PROCESS, windows, history_days=273.0, settings=SETTINGS)


@pytest.mark.parametrize("dispersion", [0.5, 1.0, 2.0])
def test_dispersion(dispersion: float) -> None:
    """The dispersion that outcomes were drawn with is found again."""
    found = _fit(*(_draw_window(dispersion=dispersion, seed=seed) for seed in range(4)))
    assert found.dispersion == pytest.approx(dispersion, rel=0.2)
    assert found.common_error == pytest.approx(0.2 * np.sqrt(2 / 6), abs=0.03)  # the two windows that are imagined
    assert found.history_days == 273.0


def test_common_error() -> None:
    """A window that brought twice what was expected is an error that all its customers shared."""
    found = _fit(_draw_window(seed=1), _draw_window(factor=2.0, seed=2))
    assert found.common_error == pytest.approx(np.sqrt((1.0 + 2 * 0.2**2) / 4), rel=0.15)
    assert _fit(_draw_window(factor=50.0, seed=2)).common_error == 1.0


def test_bounds() -> None:
    """Outcomes that are ever the same, or off by a thousand, give a spread that is still one."""
    sure = _draw_window(dispersion=1e-4, seed=1)
    assert _fit(sure).dispersion == 0.2
    wild = np.random.default_rng(1).lognormal(0.0, 4.0, len(sure.value))
    assert _fit(Window(sure.summary, wild * sure.value)).dispersion == 5.0


def test_little_to_measure_on() -> None:
    """Without windows, or with a handful of customers, nothing is measured and the process is left as it is."""
    few = np.nonzero(_draw_window(seed=1).value > 0)[0][:9]
    window = Window(load_summary().take(few), _draw_window(seed=1).value[few])
    for found in (_fit(), _fit(window)):
        assert found.dispersion == 1.0
        assert found.common_error == pytest.approx(0.2)
    known = _draw_window(factor=1.5, seed=3)
    assert _fit(known, window).common_error == pytest.approx(_fit(known).common_error)


def test_currency() -> None:
    """In another currency the spread is the same."""
    window, rate = _draw_window(seed=5), 1000.0
    priced = Window(
        type(window.summary)(
            window.summary.frequency,
            window.summary.recency_days,
            window.summary.T_days,
            rate * window.summary.monetary_value,
        ),
        rate * window.value,
    )
    process = PurchaseProcess(PROCESS.timing, GammaGamma(6.25, 3.74, rate * 15.44))
    there, here = fit_spread(process, [priced], history_days=273.0, settings=SETTINGS), _fit(window)
    assert there.dispersion == pytest.approx(here.dispersion, rel=0.01)
    assert there.common_error == pytest.approx(here.common_error, rel=1e-6)


@given(st.floats(0.1, 10.0), st.floats(0.0, 2.0), st.lists(st.floats(0.0, 10.0), min_size=1).map(np.array))
def test_widen(dispersion: float, common_error: float, variance: FloatArray) -> None:
    """Of a customer both make the variance more: the own is multiplied, and the common error comes on top."""
    found = Spread(dispersion, 90.0, common_error).widen(variance, days=90.0)
    assert (found >= dispersion * variance - 1e-12).all()
    assert (found >= common_error**2 - 1e-12).all()
    np.testing.assert_allclose(Spread().widen(variance, days=365.25), variance, rtol=1e-9, atol=1e-12)


def _total_interval(n: int, *, common_error: float, own: float) -> tuple[float, float]:
    """Return the interval of n customers of value 1, relative to their total."""
    deviation = np.full(n, np.sqrt(own**2 + common_error**2))
    low, high = Spread(common_error=common_error).total_interval(np.ones(n), deviation, coverage=0.8)
    return low / n, high / n


@given(st.integers(1, 1000), st.floats(0.01, 0.5), st.floats(0.1, 1.0))
def test_total(n: int, common_error: float, own: float) -> None:
    """Customers' own chances even out in a total, as 1/√n; the error that they share does not."""
    low, high = _total_interval(n, common_error=common_error, own=own)
    assert 0 <= low <= 1 <= high
    deviation = np.sqrt(own**2 / n + common_error**2)
    assert 0.5 * (high - low) == pytest.approx(1.2816 * deviation, rel=0.05 if deviation < 0.5 else 0.2)
    lower, higher = _total_interval(4 * n, common_error=common_error, own=own)
    assert higher - lower <= (high - low) * (1 + 1e-9)
    assert higher - lower >= 2 * common_error


@given(
    st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=5).map(np.array), st.floats(0.0, 100.0), st.floats(0.01, 0.99)
)
def test_total_is_held(mean: FloatArray, relative: float, coverage: float) -> None:
    """The interval holds the total however unlikely an order is, and never goes below 0 where the total does not."""
    low, high = Spread(common_error=0.1).total_interval(mean, relative * mean, coverage=coverage)
    assert 0 <= low <= mean.sum() <= high < np.inf


def test_total_of_losses() -> None:
    """A list that costs more than it brings has an interval about its loss."""
    low, high = Spread(common_error=0.1).total_interval(np.full(4, -5.0), np.full(4, 2.0), coverage=0.8)
    assert low < -20.0 < high
    assert low + high == pytest.approx(-40.0)


@pytest.mark.parametrize("common_error", [0.0, 0.3])
def test_total_draws(common_error: float) -> None:
    """The interval of a total holds four fifths of the totals drawn."""
    rng, n_lists = np.random.default_rng(8), 20_000
    mean, own = rng.uniform(10.0, 200.0, 40), 0.8
    shared = 1.0 + common_error * rng.normal(size=(n_lists, 1))
    value = mean * shared * rng.gamma(1 / own**2, own**2, (n_lists, 40))
    deviation = mean * np.sqrt(Spread(common_error=common_error).widen(np.full(40, own**2), days=90.0))
    low, high = Spread(common_error=common_error).total_interval(mean, deviation, coverage=0.8)
    total = value.sum(axis=1)
    assert ((total >= low) & (total <= high)).mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("bad", [{"dispersion": 0.0}, {"dispersion": np.inf}, {"common_error": -0.1}])
def test_refusals(bad: dict[str, float]) -> None:
    """A spread that cannot be one is refused."""
    with pytest.raises(ValueError, match="spread needs"):
        Spread(**bad)
