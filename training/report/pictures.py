"""The pictures of the report: differences as dots with whiskers, and what matplotlib draws, as inline SVG."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from io import StringIO

import matplotlib as mpl
from matplotlib.figure import Figure

from training.report.readings import Reading
from training.report.standing import Standing, stand, write_difference
from training.report.words import MetricWords

_ROW_PX = 46.0
_TOP_PX = 30.0
_REACH = 5.0  # of the nearest rung's interval: what lies farther would press it onto 0
_MARGIN = 3.0  # per cent
_WIDTH_INCHES = 5.2


@dataclass(frozen=True, slots=True)
class Whisker:
    """One difference.

    Args:
        rival: Whose figure is taken off ours.
        text: The difference with its interval.
        standing: Of ours.
        y: Its top, in pixels.
        low: Lower end of the interval, per cent of the width.
        mid: The difference; None where it lies beyond an edge.
        high: Upper end.
        is_cut_left: Whether the interval goes on beyond the left edge.
        is_cut_right: Or the right one.
    """

    rival: str
    text: str
    standing: Standing
    y: float
    low: float
    mid: float | None
    high: float
    is_cut_left: bool
    is_cut_right: bool


@dataclass(frozen=True, slots=True)
class Whiskers:
    """A picture of differences.

    Args:
        rows: From the top.
        height: In pixels.
        zero: Where no difference is, per cent of the width.
        text: All of it in words.
    """

    rows: tuple[Whisker, ...]
    height: float
    zero: float
    text: str


def lay_out_whiskers(differences: Mapping[str, Reading | None], words: MetricWords) -> Whiskers:
    """Lay out ours minus each rival; 0 is in the middle, and what lies far off stands at the edge.

    Args:
        differences: Rival → ours minus theirs.
        words: Of the metric.
    """
    known = {rival: reading for rival, reading in differences.items() if reading is not None}
    reach = _find_reach(list(known.values()))
    rows = tuple(_lay_out(i, rival, reading, words, reach) for i, (rival, reading) in enumerate(known.items()))
    unknown = [f"{rival}: not measurable" for rival in differences if rival not in known]
    text = "; ".join([*(f"{row.rival}: {row.text}" for row in rows), *unknown])
    return Whiskers(rows, _TOP_PX + _ROW_PX * len(rows), 50.0, f"{words.name}, ours minus each rung. {text}.")


def draw_inline(figure: Figure, *, label: str) -> str:
    """Draw a figure as SVG to stand in a page: texts stay texts, the same figure gives the same bytes.

    Args:
        figure: It is laid out anew, without its title, and narrower, so that its texts can be read on a phone.
        label: What it shows, in words.
    """
    width, height = figure.get_size_inches()
    figure.set_size_inches(_WIDTH_INCHES, _WIDTH_INCHES * height / width)
    for axes in figure.axes:
        axes.set_title("", loc="left")
    written = StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _strip(written.getvalue(), label)


def _strip(svg: str, label: str) -> str:
    """Leave the drawing and say what it shows: no prologue, metadata, fixed size, nor a style or a name of the page."""
    opening, drawn = svg[svg.index("<svg") :].split(">", 1)
    box = "".join(re.findall(r'viewBox="[^"]*"', opening))
    drawn = re.sub(r"<(metadata|style)\b.*?</\1>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'<g id="[^"]*"', "<g", drawn).replace("xlink:href", "href")
    return f'<svg {box} role="img" aria-label="{escape(label)}">{drawn}'.strip()


def _find_reach(readings: list[Reading]) -> float:
    """Return the greatest difference to draw: all of them, but no more than some times the nearest."""
    extents = sorted(max(abs(r.value), abs(r.low or 0.0), abs(r.high or 0.0)) for r in readings)
    return min(extents[-1], _REACH * extents[0]) if extents and extents[0] > 0 else extents[-1] if extents else 0.0


def _lay_out(i: int, rival: str, reading: Reading, words: MetricWords, reach: float) -> Whisker:
    low = reading.value if reading.low is None else reading.low
    high = reading.value if reading.high is None else reading.high
    return Whisker(
        rival=rival,
        text=write_difference(reading, words),
        standing=stand(reading, words),
        y=_TOP_PX + _ROW_PX * i,
        low=_place(low, reach),
        mid=_place(reading.value, reach) if abs(reading.value) <= reach else None,
        high=_place(high, reach),
        is_cut_left=low < -reach,
        is_cut_right=high > reach,
    )


def _place(value: float, reach: float) -> float:
    """Return where a difference stands, per cent of the width, kept within it."""
    share = min(max(value / reach, -1.0), 1.0) if reach > 0 else 0.0
    return round(50.0 + (50.0 - _MARGIN) * share, 2)
