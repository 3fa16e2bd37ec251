"""Pictures of purchase models: do the orders come when, and as often as, they say, and whom do they give up?

Up to four models stand beside what was observed, as in Fader, Hardie and Lee (2005), "Counting Your Customers" the
Easy Way. What they expect is computed here from their parameters alone, for customers of whom nothing is known but
the day of the first order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from training.models.summary import FloatArray, IndexArray, PurchaseSummary
from training.models.timing import TimingModel
from training.pictures.plot_style import (
    GRID,
    INK,
    OBSERVED,
    SHADE,
    SHADES,
    Look,
    add_legend,
    choose_looks,
    group_thousands,
    set_title,
    style_axes,
)

Masked = np.ma.MaskedArray[Any, np.dtype[np.float64]]

_MAX_RECENCY_STEPS = 60
_BAR_GROUP_WIDTH = 0.84


def expected_repeat_orders(model: TimingModel, birth_days: FloatArray, ends_days: FloatArray) -> FloatArray:
    """Compute the repeat orders that a cohort is expected to have made before each of k days, (k,).

    Σ over customers of E[X(t − birth)]; nothing before birth.

    Args:
        model: A model of order timing.
        birth_days: (n,) day number of each customer's first order.
        ends_days: (k,) day numbers t, as a cutoff: the age of a customer is t − birth.
    """
    births, n_customers = np.unique(birth_days, return_counts=True)
    ages = np.maximum(np.asarray(ends_days, dtype=np.float64)[:, None] - births, 0.0)
    distinct, position = np.unique(ages, return_inverse=True)
    result: FloatArray = model.expected_orders_new(distinct)[position].reshape(ages.shape) @ n_customers
    return result


def expected_frequency(model: TimingModel, T_days: FloatArray, *, max_orders: int) -> FloatArray:
    """Compute how many customers are expected to have made 0, 1, … repeat orders, the last `max_orders` or more.

    Args:
        model: A model of order timing.
        T_days: (n,) age of each customer.
        max_orders: At least 1.

    Returns:
        Shape (max_orders + 1,), summing to n.
    """
    ages, n_customers = np.unique(T_days, return_counts=True)
    below = sum(
        (n * model.p_orders_new(age, max_orders=max_orders - 1) for age, n in zip(ages, n_customers, strict=True)),
        start=np.zeros(max_orders),
    )
    return np.append(below, len(T_days) - below.sum())


def observed_frequency(frequency: FloatArray, *, max_orders: int) -> IndexArray:
    """Count the customers with 0, 1, … repeat orders, the last `max_orders` or more. Shape (max_orders + 1,)."""
    capped = np.minimum(frequency, max_orders).astype(np.intp)
    return np.bincount(capped, minlength=max_orders + 1)


def plot_tracking(
    weeks: FloatArray,
    observed: FloatArray,
    expected: Mapping[str, FloatArray],
    *,
    calibration_end: float,
    n_customers: int,
    title: str = "Repeat orders, observed and expected",
) -> Figure:
    """Draw the repeat orders of a cohort over time, cumulative above and per week below.

    Args:
        weeks: (k,) ends of the spans of time, rising from above 0, in weeks since the cohort's first order.
        observed: (k,) repeat orders made until then.
        expected: Model → (k,) repeat orders expected until then (see `expected_repeat_orders`), 1 to 4 models.
        calibration_end: End of the time that the models were fitted on, in the same weeks.
        n_customers: Customers in the cohort.
        title: Of the picture.

    Raises:
        ValueError: `weeks` do not rise from above 0, or there are too many models.
    """
    spans = np.diff(weeks, prepend=0.0)
    if not np.all(spans > 0):
        raise ValueError(f"weeks must rise from above 0, got {weeks}; give the ends of spans of time, in order.")
    looks = choose_looks(expected)
    paths = {_with_error(name, weeks, observed, path, calibration_end): path for name, path in expected.items()}
    figure = Figure(figsize=(7.2, 6.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    _draw_paths(upper, weeks, observed, paths, looks=looks.values(), calibration_end=calibration_end)
    weekly = {label: np.diff(path, prepend=0.0) / spans for label, path in paths.items()}
    _draw_paths(
        lower,
        weeks,
        np.diff(observed, prepend=0.0) / spans,
        weekly,
        looks=looks.values(),
        calibration_end=calibration_end,
    )
    upper.set_ylabel("repeat orders so far")
    lower.set_ylabel("repeat orders per week")
    lower.set_xlabel("weeks since the first customer's first order")
    lower.set_xlim(0, weeks[-1])
    add_legend(upper, loc="lower right")
    span = f"calibrated on {calibration_end:.3g} of {weeks[-1]:.3g} weeks, shaded from there on"
    set_title(upper, title, f"{n_customers:,} customers · {span}")
    style_axes(upper, lower)
    return figure


def plot_frequency_fit(
    observed: FloatArray | IndexArray,
    expected: Mapping[str, FloatArray],
    *,
    title: str = "Customers by number of repeat orders",
) -> Figure:
    """Draw how many customers made 0, 1, … repeat orders, and how many were expected to.

    Args:
        observed: (k + 1,) customers with 0, 1, … repeat orders, the last k or more (see `observed_frequency`).
        expected: Model → (k + 1,) the same as expected (see `expected_frequency`), 1 to 4 models.
        title: Of the picture.

    Raises:
        ValueError: There are too many models.
    """
    looks = choose_looks(expected)
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.subplots()
    n_bins, width = len(observed), _BAR_GROUP_WIDTH / (len(expected) + 1)
    left = np.arange(n_bins) + 0.5 * (width - _BAR_GROUP_WIDTH)
    axes.bar(left, observed, width=width, color=OBSERVED, label="observed")
    for position, (name, look) in enumerate(looks.items(), start=1):
        axes.bar(left + position * width, expected[name], width=width, color=look.colour, label=name)
    axes.set_xticks(range(n_bins), [*map(str, range(n_bins - 1)), f"{n_bins - 1} or more"])
    axes.set_xlabel("repeat orders")
    axes.set_ylabel("customers")
    group_thousands(axes.yaxis)
    add_legend(axes, loc="upper right")
    set_title(axes, title, f"{np.sum(observed):,.0f} customers")
    style_axes(axes)
    axes.grid(visible=False, axis="x")
    return figure


def plot_p_alive_matrix(
    model: TimingModel,
    *,
    max_frequency: int,
    T_days: float,
    title: str = "Who is still alive, by frequency and recency",
) -> Figure:
    """Draw p_alive of customers of one age, over their repeat orders and the day of the last.

    Blank where it cannot be: more repeat order days than days. A heavy buyer's silence tells sooner than a rare one's.

    Args:
        model: A model of order timing.
        max_frequency: Most repeat orders drawn, at least 1.
        T_days: Age of all customers.
        title: Of the picture.
    """
    n_steps = max(1, min(_MAX_RECENCY_STEPS, int(T_days)))
    step_days = T_days / n_steps
    recency_days: FloatArray = np.linspace(step_days, T_days, n_steps)
    p_alive = _p_alive_matrix(model, max_frequency, recency_days, T_days)
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(
        p_alive,
        extent=(0.5, max_frequency + 0.5, 0.5 * step_days, T_days + 0.5 * step_days),
        origin="lower",
        aspect="auto",
        cmap=SHADES,
        vmin=0.0,
        vmax=1.0,
    )
    bar = figure.colorbar(image, label="probability of being alive", format="{x:.0%}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("repeat orders (frequency) · grey: more orders than days")
    axes.set_ylabel("days from first to last order (recency)")
    group_thousands(axes.yaxis)
    alone = model.p_alive(PurchaseSummary(*np.array([[0.0], [0.0], [T_days], [0.0]])))[0]
    set_title(axes, title, f"{model.name} · {T_days:,.0f} days after the first order · one order alone: {alone:.0%}")
    style_axes(axes, bar.ax)
    axes.grid(visible=False)
    axes.set_facecolor(GRID)
    return figure


def _p_alive_matrix(model: TimingModel, max_frequency: int, recency_days: FloatArray, T_days: float) -> Masked:
    """Compute p_alive for each recency (rows) and frequency (columns), masked below as many days as orders."""
    recency, x = np.meshgrid(recency_days, np.arange(1.0, max_frequency + 1.0), indexing="ij")
    n = x.size
    summary = PurchaseSummary(x.ravel(), recency.ravel(), np.full(n, T_days), np.ones(n))
    return np.ma.masked_where(recency < x, model.p_alive(summary).reshape(x.shape))


def _draw_paths(
    axes: Axes,
    weeks: FloatArray,
    observed: FloatArray,
    expected: Mapping[str, FloatArray],
    *,
    looks: Iterable[Look],
    calibration_end: float,
) -> None:
    axes.plot(weeks, observed, color=INK, linewidth=1.5, label="observed")
    for (label, path), look in zip(expected.items(), looks, strict=True):
        axes.plot(weeks, path, color=look.colour, linestyle=look.linestyle, linewidth=2, label=label)
    if calibration_end < weeks[-1]:
        axes.axvspan(calibration_end, weeks[-1], color=SHADE, linewidth=0, zorder=0)
    axes.set_ylim(bottom=0)
    group_thousands(axes.yaxis)


def _with_error(name: str, weeks: FloatArray, observed: FloatArray, path: FloatArray, calibration_end: float) -> str:
    """Add to a model's name how far off its orders after the calibration are in all, where any were observed."""
    came, said = (total[-1] - np.interp(calibration_end, weeks, total) for total in (observed, path))
    if not came > 0:
        return name
    error = f"{said / came - 1.0:+.0%}".replace("-", "−")
    return f"{name}, {error} after calibration"
