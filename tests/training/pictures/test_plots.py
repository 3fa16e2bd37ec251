"""The plots: they render, and show the figures that the metrics compute."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from training.metrics import bin_values, decile_mape, expected_calibration_error, normalised_gini, top_decile_share
from training.pictures.plots import plot_decile_value, plot_gain, plot_reliability

P = np.random.default_rng(0).beta(1, 1.5, 2000)
Y = (np.random.default_rng(1).random(2000) < P).astype(int)
PREDICTED = np.random.default_rng(2).lognormal(3.0, 1.0, 2000)
VALUE = np.where(Y > 0, PREDICTED * 2.0, 0.0)


def _render(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _texts(figure: Figure) -> str:
    return " ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_reliability() -> None:
    """The reliability plot renders with labelled axes and names the calibration error."""
    figure = plot_reliability(P, Y)
    assert _render(figure).startswith(b"\x89PNG")
    assert f"{expected_calibration_error(Y, P):.3f}" in _texts(figure)
    assert figure.axes[0].get_ylabel()
    assert figure.axes[1].get_xlabel()


def test_gain() -> None:
    """The gain plot renders with labelled axes and names the top tenth's share."""
    figure = plot_gain(P, Y)
    assert _render(figure).startswith(b"\x89PNG")
    assert f"{top_decile_share(Y, P):.0%}" in _texts(figure)
    assert figure.axes[0].get_xlabel()
    assert figure.axes[0].get_ylabel()


def test_gain_of_value() -> None:
    """A gain plot names the mean of a value, the base rate of a yes-or-no outcome, and the Gini of both."""
    assert f"mean {VALUE.mean():,.2f} · normalised Gini {normalised_gini(VALUE, PREDICTED):.2f}" in _texts(
        plot_gain(PREDICTED, VALUE)
    )
    assert f"{Y.mean():.1%} base rate" in _texts(plot_gain(P, Y))


def test_decile_value() -> None:
    """The value plot renders, draws each tenth's means and their ratio, and names the mean error of a tenth."""
    figure = plot_decile_value(VALUE, PREDICTED)
    assert _render(figure).startswith(b"\x89PNG")
    upper, lower = figure.axes
    bins = bin_values(VALUE, PREDICTED)
    heights = [bar.get_height() for bar in upper.patches if isinstance(bar, Rectangle)]
    assert heights == pytest.approx([*(bins.observed / 200), *(bins.predicted / 200)])
    assert lower.lines[1].get_ydata() == pytest.approx(bins.predicted / bins.observed)
    assert f"2,000 customers · mean error of a tenth's total {decile_mape(VALUE, PREDICTED):.0%}" in _texts(figure)
    assert upper.get_ylabel()
    assert lower.get_xlabel()


def test_decile_value_without_orders() -> None:
    """Tenths that bought nothing have no ratio, and a picture with no ratio at all still renders."""
    observed = np.append(np.zeros(50), np.ones(50))
    figure = plot_decile_value(observed, np.arange(100.0))
    assert np.asarray(figure.axes[1].lines[1].get_xdata()).tolist() == [6, 7, 8, 9, 10]
    assert _render(plot_decile_value(np.zeros(100), np.arange(100.0))).startswith(b"\x89PNG")
