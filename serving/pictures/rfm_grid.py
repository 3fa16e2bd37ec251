"""The grid of RFM group × size as a picture: the fuller a cell, the darker it is."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from features.errors import SettingsError
from features.lifecycle.segments import SIZES
from serving.pictures.layout import MARGIN, Drawing, Group, Rect, Text, fit_text, render_drawing, shrink_text, wrap_text
from serving.pictures.rfm_sheet import (
    GRID_WORDS,
    GridSheet,
    Total,
    band_words,
    describe_grid,
    moving_words,
    sum_cells,
    write_notes,
)
from serving.pictures.words import NUMERALS, speak
from serving.rfm_grid import GridCell, RfmGrid

_GROUP_WIDTH, _CELL_WIDTH, _TOTAL_WIDTH = 176.0, 260.0, 226.0
_GAP, _PAD = 6.0, 12.0
_TITLE_HEIGHT, _HEAD_HEIGHT = 84.0, 52.0
_FULL, _EMPTY = 94.0, 44.0
_LABEL, _SMALL, _NUMBER = 16.0, 14.0, 18.0
_LEAST_SHADE, _MOST_SHADE = 0.04, 0.3  # darker, and soft text would be hard to read on it
_COUNT_WIDTH = _CELL_WIDTH - 2 * _PAD - 60.0  # a share stands beside it


def draw_rfm_grid(grid: RfmGrid, *, as_of: str, horizon_days: int, language: str, labels: Mapping[str, str]) -> str:
    """Draw the grid as a standalone SVG document. It is the same to the byte whenever the grid is the same.

    Args:
        grid: The grid of one run.
        as_of: ISO date of the run.
        horizon_days: Days from there to what is expected.
        language: In which all but the labels is said.
        labels: RFM group → its label, in the order of the rows; of groups that the grid lacks, there is no row.

    Raises:
        SettingsError: If a group has no label, or there are no words for pictures in the language.
    """
    words, numerals = speak(GRID_WORDS, language), speak(NUMERALS, language)
    groups = _order_groups(grid, labels)
    cells = {(cell.group, cell.size): cell for cell in grid.cells}
    sheet = GridSheet(grid, as_of, horizon_days, groups, cells, words, numerals)
    return render_drawing(_lay_out(sheet), template="rfm_grid.svg", language=language)


def _order_groups(grid: RfmGrid, labels: Mapping[str, str]) -> Mapping[str, str]:
    groups = {cell.group for cell in grid.cells}
    if nameless := sorted(groups - labels.keys()):
        raise SettingsError(
            f"There is no label for the RFM groups {', '.join(nameless)}.",
            remedy="Give the labels of the vocabulary that the grid was built with.",
        )
    return {group: label for group, label in labels.items() if group in groups}


def _lay_out(sheet: GridSheet) -> Drawing:
    top = MARGIN + _TITLE_HEIGHT + _HEAD_HEIGHT
    heights = [_row_height(sheet, group) for group in sheet.groups]
    tops = [top + sum(heights[:i]) + _GAP * i for i in range(len(heights) + 1)]
    lefts = _lefts()
    width = lefts[-1] + _TOTAL_WIDTH + MARGIN
    rows = (_draw_row(sheet, group, y, lefts) for group, y in zip(sheet.groups, tops, strict=False))
    notes, end = _draw_notes(sheet, tops[-1] + _FULL + 16.0, width)
    return Drawing(
        width=width,
        height=end + MARGIN,
        title=f"{sheet.words.title}, {sheet.words.as_of.format(sheet.as_of)}",
        desc=describe_grid(sheet),
        groups=(
            _draw_head(sheet, lefts),
            *chain.from_iterable(rows),
            *_draw_totals(sheet, tops[-1], lefts),
            notes,
        ),
    )


def _row_height(sheet: GridSheet, group: str) -> float:
    return _FULL if any(cell.customers for cell in sheet.row(group)) else _EMPTY


def _lefts() -> tuple[float, ...]:
    """Return where the columns of the sizes begin, and that of the totals."""
    first = MARGIN + _GROUP_WIDTH + _GAP
    return tuple(first + (_CELL_WIDTH + _GAP) * i for i in range(len(SIZES) + 1))


def _draw_head(sheet: GridSheet, lefts: Sequence[float]) -> Group:
    words, y = sheet.words, MARGIN + _TITLE_HEIGHT
    customers = words.customers.format(sheet.numerals.count(sheet.grid.customers))
    parts = (words.as_of.format(sheet.as_of), customers, words.horizon.format(sheet.horizon_days))
    texts = [
        Text(MARGIN, MARGIN + 22.0, words.title, 24.0, is_bold=True),
        Text(MARGIN, MARGIN + 46.0, " · ".join(parts), 15.0, "soft"),
        Text(lefts[-1] + _PAD, y + 16.0, words.all, _LABEL, is_bold=True),
    ]
    bands = {band["size"]: band for band in sheet.grid.thresholds.get("size", ())}
    for size, left in zip(SIZES, lefts, strict=False):
        texts.append(Text(left + _PAD, y + 16.0, words.sizes[size], _LABEL, is_bold=True))
        if size in bands:
            (note,), small = fit_text(band_words(sheet, bands[size]), _CELL_WIDTH - 2 * _PAD, size=_SMALL, most_lines=1)
            texts.append(Text(left + _PAD, y + 36.0, note, small, "soft"))
    return Group(texts=tuple(texts))


def _draw_row(sheet: GridSheet, group: str, y: float, lefts: Sequence[float]) -> Iterator[Group]:
    height = _row_height(sheet, group)
    label = sheet.groups[group]
    lines, size = fit_text(
        label, _GROUP_WIDTH - _PAD, size=_LABEL, most_lines=4 if height == _FULL else 2, is_bold=True
    )
    first = y + height / 2 + 5.5 - 9.5 * (len(lines) - 1)
    texts = (Text(MARGIN, first + 19.0 * i, line, size, is_bold=True) for i, line in enumerate(lines))
    yield Group(texts=tuple(texts), title=label)
    for cell, x in zip(sheet.row(group), lefts, strict=False):
        yield _draw_cell(sheet, cell, x, y, height)
    yield _draw_total(sheet, sum_cells(sheet.row(group)), _box(lefts[-1], y, _TOTAL_WIDTH, height))


def _draw_totals(sheet: GridSheet, y: float, lefts: Sequence[float]) -> Iterator[Group]:
    yield Group(texts=(Text(MARGIN, y + _FULL / 2 + 5.5, sheet.words.all, _LABEL, is_bold=True),))
    for size, x in zip(SIZES, lefts, strict=False):
        yield _draw_total(sheet, sum_cells(sheet.column(size)), _box(x, y, _CELL_WIDTH, _FULL))
    yield _draw_total(sheet, sum_cells(sheet.cells.values()), _box(lefts[-1], y, _TOTAL_WIDTH, _FULL))


def _draw_cell(sheet: GridSheet, cell: GridCell, left: float, y: float, height: float) -> Group:
    numerals, words = sheet.numerals, sheet.words
    x, end, inner = left + _PAD, left + _CELL_WIDTH - _PAD, _CELL_WIDTH - 2 * _PAD
    title = f"{sheet.groups[cell.group]} · {words.sizes[cell.size]}"
    if not cell.customers:
        frame = Rect(left, y, _CELL_WIDTH, height, "quiet", radius=6.0)
        return Group(rects=(frame,), texts=(_count(sheet, cell, x, y + 28.0, kind="soft"),), title=title)
    leaving = cell.p_leave or 0.0
    meter = (
        Rect(x, y + 58.0, inner, 5.0, "track", 2.5),
        Rect(x, y + 58.0, max(inner * leaving, 3.0), 5.0, "churn", 2.5),
    )
    return Group(
        rects=(
            Rect(left, y, _CELL_WIDTH, height, "shade", radius=6.0, strength=_shade(sheet, cell.share)),
            *(meter if leaving > 0 else meter[:1]),
        ),
        texts=(
            _count(sheet, cell, x, y + 28.0),
            Text(end, y + 28.0, numerals.share(cell.share), _SMALL, anchor="end"),
            Text(x, y + 51.0, words.moves, _SMALL, "soft"),
            Text(end, y + 51.0, numerals.share(cell.p_leave), _SMALL, anchor="end"),
            Text(x, y + 82.0, f"{words.value} {numerals.short(cell.historic_value)}", _SMALL),
            Text(end, y + 82.0, moving_words(sheet, cell), _SMALL, "soft", anchor="end"),
        ),
        title=title,
    )


def _count(sheet: GridSheet, cell: GridCell | Total, x: float, y: float, *, kind: str = "ink") -> Text:
    numerals = sheet.numerals
    tail = f" → {numerals.expected(cell.expected_customers)}"
    text = Text(x, y, numerals.count(cell.customers), _NUMBER, kind, is_bold=True, tail=tail, tail_size=_SMALL)
    return shrink_text(text, _COUNT_WIDTH)


def _shade(sheet: GridSheet, share: float) -> float:
    """Return how dark a cell is: as the square root, so that small cells still differ beside a huge one."""
    most = max((cell.share for cell in sheet.cells.values()), default=0.0)
    return _LEAST_SHADE + (_MOST_SHADE - _LEAST_SHADE) * math.sqrt(share / most) if most > 0 else _LEAST_SHADE


def _box(x: float, y: float, width: float, height: float) -> Rect:
    return Rect(x, y, width, height, "box", radius=6.0)


def _draw_total(sheet: GridSheet, total: Total, frame: Rect) -> Group:
    numerals, words = sheet.numerals, sheet.words
    x, end, y, height = frame.x + _PAD, frame.x + frame.width - _PAD, frame.y, frame.height
    count = _count(sheet, total, x, y + (25.0 if height == _FULL else 28.0))
    if height < _FULL:
        return Group(rects=(frame,), texts=(count,))
    return Group(
        rects=(frame,),
        texts=(
            count,
            Text(x, y + 45.0, words.of_customers.format(numerals.share(total.share)), _SMALL, "soft"),
            Text(x, y + 64.0, words.year_value, _SMALL, "soft"),
            Text(end, y + 64.0, numerals.short(total.clv_12m), _SMALL, anchor="end"),
            Text(x, y + 83.0, words.value, _SMALL, "soft"),
            Text(end, y + 83.0, numerals.short(total.historic_value), _SMALL, anchor="end"),
        ),
    )


def _draw_notes(sheet: GridSheet, y: float, width: float) -> tuple[Group, float]:
    """Draw the legend, and return where it ends too."""
    lines = [line for note in write_notes(sheet) for line in wrap_text(note, width - 2 * MARGIN, size=_SMALL)]
    texts = tuple(Text(MARGIN, y + 22.0 * (i + 1), line, _SMALL, "soft") for i, line in enumerate(lines))
    return Group(texts=texts), y + 22.0 * len(lines)
