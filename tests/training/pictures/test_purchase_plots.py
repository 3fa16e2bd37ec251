"""The pictures of purchase models: they show what the models say, and their text fits."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from training.models.bg_nbd import BgNbd
from training.models.mbg_nbd import MbgNbd
from training.models.pareto_nbd import ParetoNbd
from training.models.summary import FloatArray, PurchaseSummary
from training.models.timing import TimingModel
from training.pictures.plot_style import LOOKS
from training.pictures.purchase_plots import (
    expected_frequency,
    expected_repeat_orders,
    observed_frequency,
    plot_frequency_fit,
    plot_p_alive_matrix,
    plot_tracking,
)

MODELS: tuple[TimingModel, ...] = (
    BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426),
    MbgNbd(r=0.525, alpha=6.183, a=0.891, b=1.614),
    ParetoNbd(r=0.553, alpha=10.578, s=0.606, beta=11.669),
)
NAMES = ("BG/NBD with a long name", "MBG/NBD", "Pareto/NBD", "the standing champion's")
WEEKS: FloatArray = np.arange(1.0, 79.0)
OBSERVED: FloatArray = 60.0 * WEEKS - 0.1 * WEEKS**2


def _tracking(n_models: int, *, calibration_end: float = 39.0) -> Figure:
    expected = {name: OBSERVED * (0.9 + 0.05 * number) for number, name in enumerate(NAMES[:n_models])}
    return plot_tracking(WEEKS, OBSERVED, expected, calibration_end=calibration_end, n_customers=2357)


def _frequency_fit(n_models: int) -> Figure:
    observed = np.array([1411, 439, 214, 100, 62, 131])
    expected = {name: observed * (0.9 + 0.05 * number) for number, name in enumerate(NAMES[:n_models])}
    return plot_frequency_fit(observed, expected)


def _oldest() -> Figure:
    return plot_p_alive_matrix(MODELS[2], max_frequency=30, T_days=1234.0)


def _bars(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def _shown(figure: Figure) -> np.ma.MaskedArray[Any, np.dtype[np.float64]]:
    (image,) = figure.axes[0].images
    return np.ma.masked_array(image.get_array())


def _legend(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def _texts(figure: Figure) -> str:
    return " ".join(text.get_text() for axes in figure.axes for text in axes.texts)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_expected_path(model: TimingModel) -> None:
    """The expected path is the sum over customers of what each was expected to order by that age, 0 before birth."""
    births, ends = np.array([10.0, 0.0, 10.0, 37.0, 400.0]), np.array([0.0, 7.0, 30.0, 365.0])
    by_customer = [[float(model.expected_orders_new(np.array([max(t - b, 0.0)]))[0]) for b in births] for t in ends]
    path = expected_repeat_orders(model, births, ends)
    assert path == pytest.approx([math.fsum(orders) for orders in by_customer], rel=1e-9)
    assert path[0] == 0.0


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_expected_frequency(model: TimingModel) -> None:
    """The expected counts sum customers' distributions, and the last bin holds all that is left."""
    ages = np.array([0.0, 90.0, 90.0, 272.0])
    whole = np.sum([model.p_orders_new(age, max_orders=60) for age in ages], axis=0)
    expected = expected_frequency(model, ages, max_orders=3)
    assert expected[:3] == pytest.approx(whole[:3])
    assert expected[3] == pytest.approx(whole[3:].sum(), rel=1e-3)
    assert expected.sum() == pytest.approx(len(ages))


def test_observed_frequency() -> None:
    """Customers are counted by repeat orders, the last bin taking all beyond, empty bins kept."""
    assert observed_frequency(np.array([0.0, 0.0, 1.0, 9.0, 4.0]), max_orders=4).tolist() == [2, 1, 0, 0, 2]


def test_tracking() -> None:
    """The tracking picture draws both paths, cumulative and per week, and shades what came after the calibration."""
    figure = _tracking(1)
    upper, lower = figure.axes
    assert [line.get_ydata() for line in upper.lines] == [pytest.approx(OBSERVED), pytest.approx(0.9 * OBSERVED)]
    per_week = np.append(OBSERVED[0], np.diff(OBSERVED))
    assert [line.get_ydata() for line in lower.lines] == [pytest.approx(per_week), pytest.approx(0.9 * per_week)]
    assert [(band.get_x(), band.get_width()) for band in _bars(upper)] == [(39.0, 39.0)]
    assert _legend(figure) == ["observed", "BG/NBD with a long name, −10% after calibration"]
    assert "2,357 customers" in _texts(figure)


def test_tracking_in_longer_spans() -> None:
    """Orders per week are orders ÷ weeks of the span, whatever its length."""
    figure = plot_tracking(
        np.array([2.0, 6.0]), np.array([6.0, 8.0]), {"m": np.array([4.0, 8.0])}, calibration_end=2.0, n_customers=3
    )
    assert [line.get_ydata() for line in figure.axes[1].lines] == [pytest.approx([3.0, 0.5]), pytest.approx([2.0, 1.0])]


def test_tracking_without_later_orders() -> None:
    """Where nothing was observed after the calibration no error is claimed, and nothing is shaded."""
    figure = _tracking(1, calibration_end=78.0)
    assert _legend(figure) == ["observed", NAMES[0]]
    assert not figure.axes[0].patches


@pytest.mark.parametrize("weeks", [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
def test_tracking_refuses_weeks(weeks: list[float]) -> None:
    """Weeks that do not rise from above 0 are refused."""
    with pytest.raises(ValueError, match="must rise"):
        plot_tracking(np.array(weeks), np.ones(2), {"m": np.ones(2)}, calibration_end=1.0, n_customers=1)


def test_frequency_fit() -> None:
    """The frequency picture holds one bar per count for the observed and each model, the last named as open."""
    figure = _frequency_fit(2)
    (axes,) = figure.axes
    heights = [bar.get_height() for bar in _bars(axes)]
    observed = np.array([1411, 439, 214, 100, 62, 131])
    assert heights == pytest.approx([*observed, *(0.9 * observed), *(0.95 * observed)])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2", "3", "4", "5 or more"]
    assert _legend(figure) == ["observed", *NAMES[:2]]
    assert "2,357 customers" in _texts(figure)


def test_bars_do_not_overlap() -> None:
    """With four models the bars of a count stand beside each other, and apart from those of the next."""
    bars = sorted(_bars(_frequency_fit(4).axes[0]), key=lambda bar: bar.get_x())
    gaps = np.array([right.get_x() - left.get_x() - left.get_width() for left, right in pairwise(bars)])
    assert gaps.min() > -1e-9
    assert (gaps > 0.1).sum() == 5


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_p_alive_matrix(model: TimingModel) -> None:
    """The matrix shows p_alive at each frequency and recency, blank where there are more orders than days."""
    figure = plot_p_alive_matrix(model, max_frequency=4, T_days=30.0)
    shown = _shown(figure)
    assert shown.shape == (30, 4)
    for frequency, recency in ((1, 1), (1, 30), (4, 30), (3, 12)):
        customer = PurchaseSummary(*np.array([[frequency], [recency], [30.0], [1.0]]))
        assert shown[recency - 1, frequency - 1] == pytest.approx(model.p_alive(customer)[0])
    assert np.ma.getmaskarray(shown).sum() == 0 + 1 + 2 + 3
    assert model.name in _texts(figure)


def test_p_alive_matrix_of_an_old_cohort() -> None:
    """A long time is drawn in steps, the last of which is an order at the cutoff."""
    shown = _shown(plot_p_alive_matrix(MODELS[0], max_frequency=2, T_days=1000.0))
    today = PurchaseSummary(*np.array([[2.0], [1000.0], [1000.0], [1.0]]))
    assert shown.shape == (60, 2)
    assert shown[-1, -1] == pytest.approx(MODELS[0].p_alive(today)[0])


@pytest.mark.parametrize("n_models", [0, 5])
def test_number_of_models(n_models: int) -> None:
    """No model, and more than can be told apart, are refused."""
    expected = {str(number): WEEKS for number in range(n_models)}
    with pytest.raises(ValueError, match="1 to 4 models"):
        plot_frequency_fit(WEEKS, expected)
    with pytest.raises(ValueError, match="1 to 4 models"):
        plot_tracking(WEEKS, WEEKS, expected, calibration_end=1.0, n_customers=1)


def test_told_apart() -> None:
    """No two models share a colour, a line style or the observed line's colour."""
    lines = _tracking(4).axes[0].lines
    assert len({str(line.get_color()) for line in lines}) == 1 + len(LOOKS)
    assert len({look.linestyle for look in LOOKS}) == len(LOOKS)


@pytest.mark.parametrize("draw", [partial(_tracking, 4), partial(_frequency_fit, 4), _oldest])
def test_text_fits(draw: Callable[[], Figure]) -> None:
    """Every word of a drawn picture lies within it."""
    figure = draw()
    figure.savefig(io.BytesIO(), dpi=figure.dpi)
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 >= 0.0
    assert drawn.y0 >= 0.0
    assert drawn.x1 <= width
    assert drawn.y1 <= height
