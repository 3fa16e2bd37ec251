"""The lifecycle map as a picture: the stages as boxes, and arrows for the customers who changed theirs.

Who has not ordered stands on the left. The main line runs to the right above; who falls silent comes down on the right,
and goes left below it, to come up again on the left as won back.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from features.lifecycle.vocabularies import Wording
from serving.lifecycle_map import Flow, LifecycleMap, ProspectEntry, StageEntry
from serving.pictures.layout import (
    LEAST_SIZE,
    MARGIN,
    Drawing,
    Group,
    Path,
    Rect,
    Text,
    fit_text,
    measure,
    render_drawing,
    shrink_text,
    wrap_text,
)
from serving.pictures.lifecycle_sheet import MAP_WORDS, MapSheet, describe_map, hidden_prospects, write_notes
from serving.pictures.routes import (
    CHANNEL,
    GAP,
    Link,
    Node,
    choose_links,
    draw_arrow,
    draw_links,
    lanes_height,
    lay_lanes,
)
from serving.pictures.words import NUMERALS, speak

_MOST_ARROWS, _SURE_ARROWS = 14, 8
_LEAST_SHARE = 0.01
_UPPER = ("first_time_buyer", "repeat", "loyal", "ambassador")
_LOWER = ("won_back", "lost", "at_risk")
_BOX_WIDTH, _PAD = 220.0, 12.0
_PANEL_WIDTHS = {True: 212.0, False: 188.0}  # with prospects, and without
_TITLE_HEIGHT = 76.0
_LABEL, _LINE = 16.0, 20.0
_BODY = 140.0  # of a box, below its label
_SMALL = 14.0
_BAR = 6.0


def draw_lifecycle_map(lifecycle_map: LifecycleMap, *, as_of: str, horizon_days: int, wording: Wording) -> str:
    """Draw the map as a standalone SVG document. It is the same to the byte whenever the map is the same.

    Args:
        lifecycle_map: The map of one run.
        as_of: ISO date of the run.
        horizon_days: Days from there to what is expected.
        wording: How stages are named, and in which language all else is said.

    Raises:
        SettingsError: If there are no words for pictures in the language.
    """
    words, numerals = speak(MAP_WORDS, wording.language), speak(NUMERALS, wording.language)
    sheet = MapSheet(lifecycle_map, as_of, horizon_days, wording, words, numerals)
    return render_drawing(_lay_out(sheet), template="lifecycle_map.svg", language=wording.language)


def _lay_out(sheet: MapSheet) -> Drawing:
    head = _header_height(sheet)
    columns = [stage for stage in _UPPER if stage in _stages(sheet)]
    n_columns = max(len(columns), 3)
    left = MARGIN + _PANEL_WIDTHS[bool(sheet.map.prospects)] + GAP
    width = left + n_columns * _BOX_WIDTH + (n_columns - 1) * GAP + MARGIN
    box_height = head + _BODY
    rough = _place_nodes(sheet, n_columns, box_height, top=0.0)
    chosen = choose_links(_links(sheet, rough), most=_MOST_ARROWS, sure=_SURE_ARROWS, least_share=_LEAST_SHARE)
    top = MARGIN + _TITLE_HEIGHT + lanes_height(lay_lanes(chosen, is_upper=True))
    nodes = _place_nodes(sheet, n_columns, box_height, top=top)
    kept = {link.flow for link in chosen}
    links = tuple(link for link in _links(sheet, nodes) if link.flow in kept)
    bottom = top + 2 * box_height + CHANNEL + lanes_height(lay_lanes(links, is_upper=False))
    footer, end = _draw_footer(sheet, links, bottom + 44.0, width)
    by_stage = {node.stage: node for node in nodes if node.stage is not None}
    boxes = (_draw_stage(sheet, entry, by_stage[entry.stage], head) for entry in sheet.map.stages)
    return Drawing(
        width=width,
        height=end + MARGIN,
        title=f"{sheet.words.title}, {sheet.words.as_of.format(sheet.as_of)}",
        desc=describe_map(sheet),
        groups=(
            _draw_title(sheet),
            _draw_panel(sheet, top, 2 * box_height + CHANNEL),
            *boxes,
            *draw_links(links, sheet.numerals),
            *footer,
        ),
    )


def _stages(sheet: MapSheet) -> frozenset[str]:
    return frozenset(entry.stage for entry in sheet.map.stages)


def _place_nodes(sheet: MapSheet, n_columns: int, height: float, *, top: float) -> tuple[Node, ...]:
    panel = _PANEL_WIDTHS[bool(sheet.map.prospects)]
    left, pitch = MARGIN + panel + GAP, _BOX_WIDTH + GAP
    low = top + height + CHANNEL
    shift = pitch * (n_columns - len(_LOWER)) / 2
    upper = [stage for stage in _UPPER if stage in _stages(sheet)]
    lower = [(i, stage) for i, stage in enumerate(_LOWER) if stage in _stages(sheet)]
    outside, box = (panel, height), (_BOX_WIDTH, height)
    return (
        Node(None, -1, MARGIN, top, *outside, is_upper=True),
        Node(None, -1, MARGIN, low, *outside, is_upper=False),
        *(Node(stage, i, left + pitch * i, top, *box, is_upper=True) for i, stage in enumerate(upper)),
        *(Node(stage, i, left + shift + pitch * i, low, *box, is_upper=False) for i, stage in lower),
    )


def _links(sheet: MapSheet, nodes: Iterable[Node]) -> tuple[Link, ...]:
    by_stage = {(node.stage, node.is_upper): node for node in nodes}
    placed = {stage: node for (stage, _), node in by_stage.items() if stage is not None}
    return tuple(
        Link(flow, _source(flow, placed, by_stage), placed[flow.to_stage])
        for flow in sheet.moves()
        if flow.to_stage in placed and (flow.from_stage is None or flow.from_stage in placed)
    )


def _source(flow: Flow, placed: dict[str, Node], nodes: dict[tuple[str | None, bool], Node]) -> Node:
    return nodes[None, placed[flow.to_stage].is_upper] if flow.from_stage is None else placed[flow.from_stage]


def _label_lines(sheet: MapSheet, stage: str, width: float) -> tuple[Text, ...]:
    """Return label and plain name as texts from 0, 0 down: of two lines in all."""
    label, plain = sheet.names(stage)
    lines, size = fit_text(label, width, size=_LABEL, most_lines=1 if plain else 2, is_bold=True)
    texts = [Text(0.0, _LINE * i, line, size, is_bold=True) for i, line in enumerate(lines)]
    if plain:
        (under,), small = fit_text(plain, width, size=_SMALL, most_lines=1)
        texts.append(Text(0.0, _LINE, under, small, "soft"))
    return tuple(texts)


def _header_height(sheet: MapSheet) -> float:
    most = max((len(_label_lines(sheet, e.stage, _BOX_WIDTH - 2 * _PAD)) for e in sheet.map.stages), default=1)
    return _PAD + _LINE * most


def _moved(texts: Iterable[Text], x: float, y: float) -> Iterator[Text]:
    for text in texts:
        yield Text(x + text.x, y + text.y, text.text, text.size, text.kind, is_bold=text.is_bold)


def _draw_title(sheet: MapSheet) -> Group:
    words = sheet.words
    parts = (
        words.as_of.format(sheet.as_of),
        words.customers.format(sheet.numerals.count(sheet.customers)),
        words.horizon.format(sheet.horizon_days),
    )
    return Group(
        texts=(
            Text(MARGIN, MARGIN + 22.0, words.title, 24.0, is_bold=True),
            Text(MARGIN, MARGIN + 46.0, " · ".join(parts), 15.0, "soft"),
        )
    )


def _draw_stage(sheet: MapSheet, entry: StageEntry, node: Node, head: float) -> Group:
    numerals, words, inner = sheet.numerals, sheet.words, node.width - 2 * _PAD
    x, end, y = node.x + _PAD, node.x + node.width - _PAD, node.y + head
    is_empty = entry.customers == 0
    count = Text(
        x,
        y + 26.0,
        numerals.count(entry.customers),
        22.0,
        is_bold=True,
        tail=f" → {numerals.expected(entry.expected_customers)}",
        tail_size=15.0,
    )
    churn = Text(end, y + 82.0, numerals.share(entry.mean_p_churn), _SMALL, anchor="end")
    return Group(
        title=sheet.name(entry.stage),
        rects=(
            Rect(node.x, node.y, node.width, node.height, "quiet" if is_empty else "box", radius=8.0),
            *_meter(x, y + 54.0, inner, entry.share, "shared"),
            *_meter(x, y + 90.0, inner, entry.mean_p_churn or 0.0, "churn"),
        ),
        texts=(
            *_moved(_label_lines(sheet, entry.stage, inner), x, node.y + _PAD + 14.0),
            shrink_text(count, inner),
            Text(x, y + 47.0, words.of_customers.format(numerals.share(entry.share)), _SMALL, "soft"),
            Text(x, y + 82.0, words.churn, _SMALL, "soft"),
            churn,
            Text(x, y + 122.0, words.value, _SMALL, "soft"),
            Text(end, y + 122.0, numerals.short(entry.clv_12m), _SMALL, anchor="end"),
        ),
    )


def _meter(x: float, y: float, width: float, share: float, kind: str) -> tuple[Rect, ...]:
    whole, part = Rect(x, y, width, _BAR, "track", 3.0), Rect(x, y, max(width * share, 3.0), _BAR, kind, 3.0)
    return (whole, part) if share > 0 else (whole,)


def _draw_panel(sheet: MapSheet, top: float, height: float) -> Group:
    """Draw who has not ordered, or that they cannot be seen; the arrows of new customers start here."""
    width = _PANEL_WIDTHS[bool(sheet.map.prospects)]
    x, inner = MARGIN + _PAD, width - 2 * _PAD
    heading, size = fit_text(sheet.words.before, inner, size=_LABEL, most_lines=3, is_bold=True)
    texts = [Text(x, top + _PAD + 14.0 + _LINE * i, line, size, is_bold=True) for i, line in enumerate(heading)]
    y = top + _PAD + _LINE * len(heading)
    frame = Rect(MARGIN, top, width, height, "box" if sheet.map.prospects else "quiet", radius=8.0)
    if not sheet.map.prospects:
        return Group(rects=(frame,), texts=(*texts, *_unseen(sheet, x, y, inner)))
    pitch = (height - (y - top) - 10.0) / len(sheet.map.prospects)
    rows = [_draw_prospect(sheet, e, x, y + 10.0 + pitch * i, inner) for i, e in enumerate(sheet.map.prospects)]
    return Group(
        rects=(frame, *chain.from_iterable(row.rects for row in rows)),
        paths=tuple(chain.from_iterable(row.paths for row in rows)),
        texts=(*texts, *chain.from_iterable(row.texts for row in rows)),
    )


def _unseen(sheet: MapSheet, x: float, y: float, width: float) -> Iterator[Text]:
    """Say how many came, and as what they cannot be seen before."""
    new = sum(flow.customers for flow in sheet.moves() if flow.from_stage is None)
    yield shrink_text(Text(x, y + 38.0, sheet.numerals.count(new), 22.0, is_bold=True), width)
    yield Text(x, y + 58.0, sheet.words.new, LEAST_SIZE, "soft")
    yield Text(x, y + 75.0, sheet.words.since.format(sheet.map.observed_from), LEAST_SIZE, "soft")
    yield Text(x, y + 114.0, f"{sheet.words.not_observable}{sheet.words.colon}", LEAST_SIZE, "soft")
    names = list(dict.fromkeys(sheet.wording.label(stage).text for stage in hidden_prospects(sheet)))
    y += 114.0
    for name in names:
        lines, size = fit_text(name, width, size=_SMALL, most_lines=2)
        y += 8.0
        for line in lines:
            y += 17.0
            yield Text(x, y, line, size, "soft")


def _draw_prospect(sheet: MapSheet, entry: ProspectEntry, x: float, y: float, width: float) -> Group:
    numerals, p = sheet.numerals, entry.mean_p_first_purchase
    labels = _label_lines(sheet, entry.stage, width)
    down = y + 4.0 + _LINE * len(labels)
    return Group(
        rects=_meter(x, down + 47.0, width, p or 0.0, "shared"),
        paths=(Path(f"M{x:.1f} {y:.1f}h{width:.1f}", "rule", 1.0),),
        texts=(
            *_moved(labels, x, y + 22.0),
            shrink_text(Text(x, down + 20.0, numerals.count(entry.people), 18.0, is_bold=True), width),
            Text(x, down + 41.0, sheet.words.first_order, LEAST_SIZE, "soft"),
            Text(x + width, down + 41.0, numerals.share(p), LEAST_SIZE, anchor="end"),
        ),
    )


def _draw_footer(sheet: MapSheet, links: Sequence[Link], y: float, width: float) -> tuple[tuple[Group, ...], float]:
    """Draw the legend, and what is not drawn; return where it ends too."""
    groups = [_arrow_legend(sheet, y)]
    x, room = MARGIN, width - 2 * MARGIN
    texts: list[Text] = []
    for line in chain.from_iterable(
        wrap_text(note, room, size=_SMALL) for note in write_notes(sheet, {link.flow for link in links})
    ):
        y += 22.0
        texts.append(Text(x, y, line, _SMALL, "soft"))
    return (*groups, Group(texts=tuple(texts))), y


def _arrow_legend(sheet: MapSheet, y: float) -> Group:
    words, x = sheet.words, MARGIN
    paths: list[Path] = []
    texts: list[Text] = []
    for tone, word in (("onward", words.onward), ("leaving", words.leaving), ("returning", words.returning)):
        paths += draw_arrow(f"M{x:.1f} {y - 5:.1f}h22", (x + 34.0, y - 5.0), (1, 0), 4.0, tone).paths
        texts.append(Text(x + 42.0, y, word, _SMALL))
        x += 42.0 + measure(word, _SMALL) + 22.0
    texts.append(Text(x, y, words.observed.format(sheet.map.observed_from), _SMALL, "soft"))
    return Group(paths=tuple(paths), texts=tuple(texts))
