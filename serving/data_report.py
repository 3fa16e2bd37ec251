"""What became of a shop's rows, as one page to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment

from features.intake.report import RefundEffect
from features.intake.shop import Shop
from serving.batch import write_text
from serving.data_words import (
    Part,
    column_lines,
    event_counts,
    event_parts,
    event_refusals,
    find_support,
    money,
    order_parts,
    order_refusals,
    refund_lines,
    share,
)
from serving.templating import build_environment

_SHOWN_SOURCES = 50
_PLOT_LEFT = 9.0  # per cent of the width
_PLOT_TOP, _PLOT_HEIGHT = 14.0, 190.0  # pixels
_MOST_TICKS = 4
_MOST_MONTH_LABELS = 5
_LAST_LABEL_AT = 93.0  # per cent: further right, it would be cut on a phone


@dataclass(frozen=True, slots=True)
class Column:
    """One month of the chart: `x` and `width` are per cent of the width, `y` and `height` pixels."""

    month: str
    n_orders: int
    x: float
    width: float
    y: float
    height: float
    is_labelled: bool


@dataclass(frozen=True, slots=True)
class MonthChart:
    """Orders per month as columns, with grid lines at `y`, orders."""

    columns: tuple[Column, ...]
    ticks: tuple[tuple[float, int], ...]


def write_data_report(shop: Shop, path: Path) -> None:
    """Write the report on a shop's data as one HTML file that needs nothing else, in place of any file of that name.

    Raises:
        OSError: If the file cannot be written; a file of that name then stays as it was.
    """
    write_text(render_data_report(shop), path)


def render_data_report(shop: Shop) -> str:
    """Render the page. It is the same to the byte whenever the data are the same."""
    report, events = shop.report, shop.events
    return (
        _environment()
        .get_template("data_report.html")
        .render(
            report=report,
            order_notes=(*column_lines(report.by_source), *report.notes),
            event_notes=() if events is None else (*column_lines(events.report.by_source), *events.report.notes),
            parts=order_parts(report),
            refusals=order_refusals(shop.orders),
            value_parts=_value_parts(report.refunds),
            refund_lines=refund_lines(report.refunds),
            months=_chart_months(report.orders_by_month) if report.orders_by_month else None,
            events=None if events is None else events.report,
            event_parts=() if events is None else event_parts(events.report),
            event_counts=() if events is None else event_counts(events.report),
            event_refusals=() if events is None else event_refusals(events),
            support=find_support(shop.records),
            shown_sources=_SHOWN_SOURCES,
        )
    )


def _value_parts(effect: RefundEffect) -> tuple[Part, ...]:
    return (
        Part("main", "Stays", effect.value_after_micros, "the value of orders after refunds"),
        Part("bad", "Taken back", effect.taken_micros, "by refunds, of what the orders still held"),
    )


def _chart_months(by_month: Sequence[tuple[str, int]]) -> MonthChart:
    """Lay out the columns; the greatest fills the height."""
    peak = max(n for _, n in by_month)
    every = _step(len(by_month), _MOST_MONTH_LABELS, (1, 2, 3, 6, 12, 24, 60, 120, 240))
    step = _step(peak, _MOST_TICKS, [digit * 10**power for power in range(15) for digit in (1, 2, 5)])
    pitch = (100 - _PLOT_LEFT) / len(by_month)
    starts = [_PLOT_LEFT + pitch * i for i in range(len(by_month))]
    labelled = {starts[i] for i in range(0, len(by_month), every) if starts[i] + pitch / 2 < _LAST_LABEL_AT}
    columns = tuple(
        Column(month, n, round(start, 3), round(0.8 * pitch, 3), *_bar(n, peak), start in labelled)
        for (month, n), start in zip(by_month, starts, strict=True)
    )
    return MonthChart(columns, tuple((_bar(n, peak)[0], n) for n in range(0, peak + 1, step)))


def _bar(n: int, peak: int) -> tuple[float, float]:
    """Return where a column begins and its height."""
    height = round(_PLOT_HEIGHT * n / peak, 1)
    return round(_PLOT_TOP + _PLOT_HEIGHT - height, 1), height


def _step(total: int, most: int, steps: Sequence[int]) -> int:
    """Return the first step of which no more than `most` go into the total."""
    return next((step for step in steps if total <= most * step), steps[-1])


@cache
def _environment() -> Environment:
    environment = build_environment()
    written = {"count": "{:,}".format, "money": money}
    environment.globals.update(written)
    environment.filters.update(written, share=share)
    return environment
