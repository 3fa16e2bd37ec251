"""Pictures of a model on later time: are its probabilities and values right, does it find the right customers?"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from training.metrics import (
    CALIBRATION_BINS,
    VALUE_BINS,
    Array,
    ValueBins,
    bin_probabilities,
    bin_values,
    decile_mape,
    expected_calibration_error,
    gain_curve,
    normalised_gini,
)
from training.models.summary import IndexArray
from training.pictures.plot_style import INK, MODEL, MUTED, OBSERVED, add_legend, group_thousands, set_title, style_axes


def plot_reliability(p: Array, y: Array, *, title: str = "Reliability of the churn probability") -> Figure:
    """Draw predicted against observed shares in 10 equal-width bins, above a histogram of the predictions."""
    bins = bin_probabilities(y, p)
    figure = Figure(figsize=(6.4, 6.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    upper.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1, label="exact probabilities")
    upper.plot(bins.mean_p, bins.share, color=MODEL, marker="o", linewidth=2, label="model")
    upper.set_ylabel("observed share")
    upper.set_ylim(-0.02, 1.02)
    add_legend(upper, loc="upper left")
    set_title(upper, title, f"{len(y):,} customers · expected calibration error {expected_calibration_error(y, p):.3f}")
    edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)
    lower.hist(np.asarray(p, dtype=np.float64), bins=edges.tolist(), color=MODEL, alpha=0.75, rwidth=0.92)
    lower.set_xlabel("predicted probability")
    lower.set_ylabel("customers")
    lower.set_xlim(-0.02, 1.02)
    group_thousands(lower.yaxis)
    style_axes(upper, lower)
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
    add_legend(axes, loc="lower right")
    set_title(
        axes, title, f"{len(y):,} customers · {_mean_outcome(y)} · normalised Gini {normalised_gini(y, score):.2f}"
    )
    style_axes(axes)
    return figure


def plot_decile_value(
    observed: Array, predicted: Array, *, title: str = "Value per customer, by tenth of predicted value"
) -> Figure:
    """Draw mean observed and predicted value per tenth of predicted value, above their ratio.

    The ratio compares the tenths whose bars are too low for it; it is left out where either is not above 0.

    Args:
        observed: (n,) values, in currency units.
        predicted: (n,) what they were predicted to be.
        title: Of the picture.
    """
    bins, tenth = bin_values(observed, predicted), np.arange(1, VALUE_BINS + 1)
    n_per_bin = len(observed) / VALUE_BINS
    figure = Figure(figsize=(6.4, 6.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[5, 2])
    upper.bar(tenth - 0.2, bins.observed / n_per_bin, width=0.4, color=OBSERVED, label="observed")
    upper.bar(tenth + 0.2, bins.predicted / n_per_bin, width=0.4, color=MODEL, label="predicted")
    upper.set_ylabel("mean value per customer")
    group_thousands(upper.yaxis)
    add_legend(upper, loc="upper left")
    error = decile_mape(observed, predicted)
    set_title(upper, title, f"{len(observed):,} customers · mean error of a tenth's total {error:.0%}")
    _draw_ratio(lower, tenth, bins)
    lower.set_xlabel("tenth of customers, highest predicted value last")
    lower.set_xticks(tenth)
    style_axes(upper, lower)
    upper.grid(visible=False, axis="x")
    return figure


def _draw_ratio(axes: Axes, tenth: IndexArray, bins: ValueBins) -> None:
    """Draw predicted ÷ observed on a scale on which twice and half are equally far off."""
    has_ratio = (bins.observed > 0) & (bins.predicted > 0)
    ratio = bins.predicted[has_ratio] / bins.observed[has_ratio]
    reach = 1.3 * float(np.max(np.concatenate([[2.0], ratio, 1.0 / ratio])))
    axes.axhline(1.0, color=MUTED, linestyle="--", linewidth=1)
    axes.plot(tenth[has_ratio], ratio, color=MODEL, marker="o", linewidth=2)
    axes.set_yscale("log")
    axes.set_ylim(1.0 / reach, reach)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if reach < 12.0 else (1.0,)))
    axes.yaxis.set_minor_locator(NullLocator())
    group_thousands(axes.yaxis)
    axes.set_ylabel("predicted ÷ observed")


def _mean_outcome(y: Array) -> str:
    """Name the mean: of an outcome of 0 and 1 a rate, of a value an amount."""
    is_binary = bool(np.isin(y, (0, 1)).all())
    return f"{np.mean(y):.1%} base rate" if is_binary else f"mean {np.mean(y):,.2f}"
