"""The plots: they render, and show the figures that the metrics compute."""

import io

import numpy as np
from matplotlib.figure import Figure

from training.metrics import expected_calibration_error, top_decile_share
from training.plots import plot_gain, plot_reliability

P = np.random.default_rng(0).beta(1, 1.5, 2000)
Y = (np.random.default_rng(1).random(2000) < P).astype(int)


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
