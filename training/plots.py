"""Two pictures of a model on later time: are its probabilities right, and does it find the right customers?"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.metrics import CALIBRATION_BINS, Array, bin_probabilities, expected_calibration_error, gain_curve

INK = "#1f2933"
MUTED = "#7b8794"
GRID = "#e4e7eb"
MODEL = "#1d6fa5"


def plot_reliability(p: Array, y: Array, *, title: str = "Reliability of the churn probability") -> Figure:
    """Draw predicted against observed shares in 10 equal-width bins, above a histogram of the predictions."""
    bins = bin_probabilities(y, p)
    figure = Figure(figsize=(6.4, 6.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    upper.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1, label="exact probabilities")
    upper.plot(bins.mean_p, bins.share, color=MODEL, marker="o", linewidth=2, label="model")
    upper.set_ylabel("observed share")
    upper.set_ylim(-0.02, 1.02)
    upper.legend(loc="upper left", frameon=False, labelcolor=INK)
    _title(upper, title, f"{len(y):,} customers · expected calibration error {expected_calibration_error(y, p):.3f}")
    edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)
    lower.hist(np.asarray(p, dtype=np.float64), bins=edges.tolist(), color=MODEL, alpha=0.75, rwidth=0.92)
    lower.set_xlabel("predicted probability")
    lower.set_ylabel("customers")
    lower.set_xlim(-0.02, 1.02)
    for axes in (upper, lower):
        _style(axes)
    return figure


def plot_gain(score: Array, y: Array, *, title: str = "Churners found, by share of customers contacted") -> Figure:
    """Draw the share of the outcome caught against the share of customers taken in order of score."""
    customers, caught = gain_curve(y, score)
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1, label="customers at random")
    best_customers, best_caught = gain_curve(y, y)
    axes.plot(best_customers, best_caught, color=MUTED, linewidth=1, linestyle=":", label="perfect order")
    axes.plot(customers, caught, color=MODEL, linewidth=2, label="model")
    top = float(np.interp(0.1, customers, caught))
    axes.plot([0.1], [top], color=MODEL, marker="o")
    axes.annotate(f"top tenth: {top:.0%}", (0.1, top), xytext=(16, -24), textcoords="offset points", color=INK)
    axes.set_xlabel("share of customers, highest score first")
    axes.set_ylabel("share of the outcome found")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower right", frameon=False, labelcolor=INK)
    _title(axes, title, f"{len(y):,} customers · {np.mean(y):.1%} base rate")
    _style(axes)
    return figure


def _title(axes: Axes, title: str, subtitle: str) -> None:
    axes.set_title(f"{title}\n", loc="left", color=INK, fontsize=13, fontweight="bold")
    axes.text(0.0, 1.025, subtitle, transform=axes.transAxes, color=MUTED, fontsize=10)


def _style(axes: Axes) -> None:
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
