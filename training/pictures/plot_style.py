"""How the pictures look, in one place: colours that the colour-blind tell apart, titles, axes, legends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import StrMethodFormatter

INK = "#1f2933"
MUTED = "#7b8794"
GRID = "#e4e7eb"
MODEL = "#1d6fa5"
OBSERVED = "#aab4c0"
SHADE = "#eef1f4"
SHADES = "Blues"


class Look(NamedTuple):
    """How one of several models is drawn: never by colour alone."""

    colour: str
    linestyle: str | tuple[int, tuple[int, ...]]


# After Okabe and Ito (2008), Color Universal Design.
LOOKS = (
    Look(MODEL, "-"),
    Look("#d55e00", (0, (6, 2))),
    Look("#009e73", (0, (6, 2, 1, 2))),
    Look("#cc79a7", (0, (2, 1))),
)


def choose_looks(models: Iterable[str]) -> dict[str, Look]:
    """Give each model a look, in order.

    Raises:
        ValueError: There is no model, or more than can be told apart.
    """
    names = list(models)
    if not 1 <= len(names) <= len(LOOKS):
        raise ValueError(f"A picture compares 1 to {len(LOOKS)} models, got {len(names)}; draw several pictures.")
    return dict(zip(names, LOOKS, strict=False))


def set_title(axes: Axes, title: str, subtitle: str) -> None:
    """Write a title above a quieter line that says what it was drawn from."""
    axes.set_title(f"{title}\n", loc="left", color=INK, fontsize=13, fontweight="bold")
    axes.annotate(
        subtitle, (0.0, 1.0), xycoords="axes fraction", xytext=(0, 7), textcoords="offset points", color=MUTED
    )


def style_axes(*panels: Axes) -> None:
    """Quieten grid, ticks and frame of each panel."""
    for axes in panels:
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=MUTED, length=0, which="both")
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        for spine in axes.spines.values():
            spine.set_visible(False)


def add_legend(axes: Axes, *, loc: Literal["upper left", "upper right", "lower right"]) -> None:
    """Name what is drawn, without a box."""
    axes.legend(loc=loc, frameon=False, labelcolor=INK)


def group_thousands(axis: Axis) -> None:
    """Write an axis's numbers in full, with a comma between the thousands."""
    axis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
