"""Pictures: whole, within their frame, in two languages, and the same to the byte."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, product
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import SettingsError
from features.lifecycle.segments import SIZES
from features.lifecycle.stages import PROSPECT_STAGES, SCALE, STAGES
from features.lifecycle.vocabularies import SHIPPED, Wording, load_shipped_vocabulary, load_wording
from features.lifecycle.vocabulary import Vocabulary
from serving.lifecycle_map import Flow, LifecycleMap, NotObservable, ProspectEntry, StageEntry
from serving.pictures.layout import fit_text, measure
from serving.pictures.lifecycle_map import draw_lifecycle_map
from serving.pictures.rfm_grid import draw_rfm_grid
from serving.pictures.routes import arrow_width
from serving.pictures.words import NUMERALS
from serving.rfm_grid import CellFlow, GridCell, RfmGrid

AS_OF = "1998-07-01"
BEFORE = "1998-04-01"
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</text><script>alert("1")</script> & <b>\x0b\ufffe'
COUNTS = {"first_time_buyer": 312, "repeat": 2507, "loyal": 801, "at_risk": 2303, "lost": 17009, "won_back": 471}
MOVES = {
    (None, "first_time_buyer"): 280.0,
    ("first_time_buyer", "repeat"): 410.0,
    ("repeat", "loyal"): 160.0,
    ("repeat", "at_risk"): 620.0,
    ("at_risk", "lost"): 1450.0,
    ("at_risk", "repeat"): 330.0,
    ("lost", "won_back"): 390.0,
    ("lost", "lost"): 13000.0,
}
Moves = Mapping[tuple[str | None, str], float]
Box = tuple[float, float, float, float]


def make_map(counts: Mapping[str, int], moves: Moves, prospects: Mapping[str, int] | None = None) -> LifecycleMap:
    """Make a map of so many customers per stage, moves and prospects; what is not named is not observable."""
    people = prospects or {}
    total = max(sum(counts.values()), 1)
    return LifecycleMap(
        stages=tuple(
            StageEntry(stage, n, n / total, 80.0 * n, 0.37 if n else None, 55.5 * n, 0.9 * n)
            for stage, n in counts.items()
        ),
        prospects=tuple(ProspectEntry(stage, n, 0.04 if n else None, None) for stage, n in people.items()),
        not_observable=tuple(NotObservable(stage, "-") for stage in SCALE if stage not in {*counts, *people}),
        observed_from=BEFORE,
        observed=tuple(Flow(a, b, n) for (a, b), n in moves.items()),
        expected=(),
        thresholds={},
    )


def make_grid(customers: Mapping[tuple[str, str], int], groups: tuple[str, ...]) -> RfmGrid:
    """Make a grid of so many customers per cell."""
    total = sum(customers.values())
    return RfmGrid(
        as_of=AS_OF,
        horizon_days=91,
        customers=total,
        cells=tuple(make_cell(group, size, customers.get((group, size), 0), total) for group, size in names(groups)),
        flows=(CellFlow(groups[0], "small", groups[-1], "large", 12.3, 456.0),) if total else (),
        min_flow_customers=0.5,
        thresholds={
            "size": [
                {"size": "large", "from": 512.4, "below": None, "words": ""},
                {"size": "medium", "from": 87.5, "below": 512.4, "words": ""},
                {"size": "small", "from": None, "below": 87.5, "words": ""},
            ]
        },
        rfm_of_group={},
    )


def make_cell(group: str, size: str, n: int, total: int) -> GridCell:
    """Make a cell; nothing is known of an empty one."""
    return GridCell(
        group=group,
        size=size,
        customers=n,
        share=n / total if total else 0.0,
        historic_value=80.0 * n,
        clv_12m=55.5 * n,
        mean_p_churn=0.37 if n else None,
        p_leave=0.21 if n else None,
        expected_customers=0.9 * n,
        expected_value_in=7.0 * n,
        expected_value_out=9.0 * n,
    )


def names(groups: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield group and size of all cells."""
    return product(groups, SIZES)


def draw_map(lifecycle_map: LifecycleMap, wording: Wording | None = None) -> str:
    """Draw a map with this date and horizon."""
    return draw_lifecycle_map(lifecycle_map, as_of=AS_OF, horizon_days=91, wording=wording or load_wording())


def draw_grid(grid: RfmGrid, language: str, labels: Mapping[str, str]) -> str:
    """Draw a grid with this date and horizon."""
    return draw_rfm_grid(grid, as_of=AS_OF, horizon_days=91, language=language, labels=labels)


def shopify_labels(language: str) -> dict[str, str]:
    """Return Shopify's labels by code."""
    return {label.code: label.text for label in load_shipped_vocabulary("shopify_rfm").labels(language=language)}


def shopify_grid(least: int = 1) -> RfmGrid:
    """Make a grid of Shopify's groups, each cell with another number of customers, the first row without any."""
    groups = tuple(code for code in shopify_labels("en") if code != "prospects")
    counts = {name: 0 if i < len(SIZES) else least * (1001 + 37 * i) for i, name in enumerate(names(groups))}
    return make_grid(counts, groups)


def parse(svg: str) -> ElementTree.Element:
    """Read our own SVG."""
    return ElementTree.fromstring(svg)  # noqa: S314  # our own output, made in this process


def visible(svg: str) -> list[str]:
    """Return the texts that are drawn."""
    return ["".join(text.itertext()) for text in parse(svg).iter(f"{SVG}text")]


def text_box(text: ElementTree.Element) -> Box:
    """Return left, top, right and bottom of a text with its tail."""
    x, y, size = (float(text.attrib[name]) for name in ("x", "y", "font-size"))
    width = measure(text.text or "", size, is_bold="bold" in text.attrib["class"])
    width += sum(measure(tail.text or "", float(tail.attrib["font-size"])) for tail in text)
    left = x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[text.attrib.get("text-anchor", "start")]
    return left, y - 0.8 * size, left + width, y + 0.22 * size


def overlap(one: Box, other: Box) -> bool:
    """Return whether two boxes share more than an edge."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def check_places(svg: str) -> None:
    """Hold a picture to it that no text leaves its frame or box, or lies on another."""
    root = parse(svg)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for group in root.iter(f"{SVG}g"):
        frame = group.find(f"{SVG}rect")
        room = (0.0, 0.0, width, height) if frame is None else rect_box(frame)
        assert not [text.text for text in group.iter(f"{SVG}text") if not is_inside(text_box(text), room)]
    texts = [(text_box(text), text.text) for text in root.iter(f"{SVG}text")]
    assert not [(one, other) for (a, one), (b, other) in combinations(texts, 2) if overlap(a, b)]


def rect_box(rect: ElementTree.Element) -> Box:
    """Return left, top, right and bottom of a rectangle."""
    x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def is_inside(box: Box, room: Box) -> bool:
    """Return whether a box lies within another."""
    return box[0] >= room[0] and box[1] >= room[1] and box[2] <= room[2] and box[3] <= room[3]


def both(language: str) -> tuple[str, str]:
    """Draw one map and one grid in a language."""
    wording = load_wording(language=language)
    return draw_map(make_map(COUNTS, MOVES), wording), draw_grid(shopify_grid(), language, shopify_labels(language))


@pytest.mark.parametrize("language", ["en", "fr"])
def test_self_contained(language: str) -> None:
    """A picture is valid XML with a role, a title and a description, and neither script nor address outside."""
    for svg in both(language):
        root = parse(svg)
        ids = {element.get("id"): element.text or "" for element in root if element.get("id")}
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-labelledby"].split() == list(ids)
        assert all(AS_OF in text for text in ids.values())
        assert not re.search(r"<script|<image|href|url\(|@import|@font-face", svg)
        assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]


@pytest.mark.parametrize("language", ["en", "fr"])
def test_same_bytes(language: str) -> None:
    """The same map and the same grid give the same bytes."""
    assert both(language) == both(language)


def test_map_figures() -> None:
    """Every stage's count, its share and its expected count are drawn and told, and so is every drawn move."""
    svg = draw_map(make_map(COUNTS, MOVES))
    drawn, told = visible(svg), parse(svg).findtext(f"{SVG}desc") or ""
    for n in COUNTS.values():
        today = f"{n:,} → {0.9 * n:,.0f}"
        assert today in drawn
        assert today in told
    assert f"{312 / 23403:.1%} of customers" in drawn
    assert {"280", "410", "160", "620", "1,450", "330", "390"} <= set(drawn)
    assert "13,000" not in drawn
    assert "Customer at risk to Lost customer 1,450" in told


def test_grid_figures() -> None:
    """Every cell's count and expected count are drawn and told, and so are the sums of rows and columns."""
    grid = shopify_grid()
    svg = draw_grid(grid, "en", shopify_labels("en"))
    drawn, told = visible(svg), parse(svg).findtext(f"{SVG}desc") or ""
    for n in (cell.customers for cell in grid.cells if cell.customers):
        assert f"{n:,} → {0.9 * n:,.0f}" in drawn
        assert f"{n:,} → {0.9 * n:,.0f}" in told
    for sizes in (grid.cells, *([c for c in grid.cells if c.size == size] for size in SIZES)):
        total = sum(cell.customers for cell in sizes)
        assert f"{total:,} → {0.9 * total:,.0f}" in drawn
    assert drawn.count("0 → 0") == 4
    assert "21.0%" in drawn


def test_grid_rows() -> None:
    """Rows stand in the order of the labels, and no row for a label without a group."""
    drawn = visible(draw_grid(shopify_grid(), "en", shopify_labels("en")))
    labels = [label for code, label in shopify_labels("en").items() if code != "prospects"]
    assert [text for text in drawn if text in shopify_labels("en").values()] == labels


def test_french() -> None:
    """French pictures speak French, numbers included: narrow blanks between thousands, a comma before decimals."""
    lifecycle, grid = (" ".join(visible(svg)) for svg in both("fr"))
    assert "Valeur à 12 mois" in lifecycle
    assert "17\u202f009 → 15\u202f308" in lifecycle
    assert "10,7\u202f% des clients" in lifecycle
    assert "Gros clients" in grid
    assert "valeur de 87,50 à 512" in grid


@pytest.mark.parametrize("language", ["en", "fr"])
def test_unknown(language: str) -> None:
    """What is unknown or empty is a dash or 0, never None or NaN, in a map and a grid without a single customer."""
    lifecycle_map = make_map(dict.fromkeys(STAGES, 0), {}, dict.fromkeys(PROSPECT_STAGES, 0))
    pictures = (
        draw_map(lifecycle_map, load_wording(language=language)),
        draw_map(make_map({}, {}), load_wording(language=language)),
        draw_grid(make_grid({}, ("champions", "loyal")), language, shopify_labels(language)),
    )
    for svg in pictures:
        told = parse(svg).findtext(f"{SVG}desc") or ""
        assert not re.search(r"\b(none|nan|inf)\b", " ".join((*visible(svg), told)).lower())
        check_places(svg)


def test_not_observable() -> None:
    """Stages that the data cannot show are named, and prospects are drawn once they can be seen."""
    without = " ".join(visible(draw_map(make_map(COUNTS, MOVES))))
    assert "Not observable: Unaware, Ambassador" in without
    assert "Hot prospect" in without
    whole = visible(draw_map(make_map({**COUNTS, "ambassador": 64}, MOVES, dict.fromkeys(PROSPECT_STAGES, 8123))))
    assert whole.count("8,123") == len(PROSPECT_STAGES)
    assert "Not observable: Unaware" in whole


def test_shared_labels() -> None:
    """Where a vocabulary has one label for several stages, each box says which of them it is."""
    drawn = visible(draw_map(make_map(COUNTS, MOVES), load_wording(vocabulary="visitor_to_regular")))
    assert drawn.count("Regular customer") == 2
    assert {"Repeat customer", "Loyal customer"} <= set(drawn)


def test_hostile_labels() -> None:
    """Markup and forbidden characters in labels become text, and break neither picture nor layout."""
    plain = load_shipped_vocabulary("lifestage")
    entries = {
        code: type(entry)(code, {"en": HOSTILE + code}, entry.plays, entry.notes, entry.is_unused)
        for code, entry in plain.entries.items()
    }
    vocabulary = Vocabulary("own", "stages", {"en": "Own"}, entries, plain.stages, plain.borrowed, None)
    pictures = (
        draw_map(make_map(COUNTS, MOVES), Wording(vocabulary, "en")),
        draw_grid(make_grid({("a", "small"): 5}, ("a", "b")), "en", {"a": HOSTILE, "b": "b" * 400}),
    )
    for svg in pictures:
        assert not list(parse(svg).iter(f"{SVG}script"))
        assert "&lt;script&gt;" in svg
        assert "\x0b" not in svg
        check_places(svg)


@pytest.mark.parametrize("vocabulary", SHIPPED)
@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("scale", [1, 200])
def test_places_of_map(vocabulary: str, language: str, scale: int) -> None:
    """In every vocabulary, with few customers or millions, no text of a map leaves the frame or lies on another."""
    counts = {stage: n * scale for stage, n in {**COUNTS, "ambassador": 64}.items()}
    moves = {ends: n * scale for ends, n in MOVES.items()}
    people = dict.fromkeys(PROSPECT_STAGES, 182000 * scale)
    wording = load_wording(vocabulary=vocabulary, language=language)
    check_places(draw_map(make_map(counts, moves, people), wording))
    check_places(draw_map(make_map(COUNTS, MOVES), wording))


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("least", [1, 90, 900])
def test_places_of_grid(language: str, least: int) -> None:
    """With few customers or millions, no text of a grid leaves the frame or lies on another."""
    check_places(draw_grid(shopify_grid(least), language, shopify_labels(language)))


ends = st.tuples(st.sampled_from([None, *STAGES]), st.sampled_from(STAGES))
flows = st.dictionaries(ends, st.integers(1, 3_000_000).map(float), max_size=49)


@given(flows, st.lists(st.integers(0, 3_000_000), min_size=len(STAGES), max_size=len(STAGES)), st.booleans())
@settings(deadline=None)
def test_any_moves(moves: Moves, counts: list[int], sees_prospects: bool) -> None:
    """Whatever moves there are, numbers lie on no other text; and those drawn and those said to be left out are all."""
    people = dict.fromkeys(PROSPECT_STAGES, 1_234_567) if sees_prospects else None
    svg = draw_map(make_map(dict(zip(STAGES, counts, strict=True)), moves, people))
    check_places(svg)
    n_arrows = len(re.findall(r'class="head-', svg)) - 3  # the legend has one of each kind
    others = re.search(r"Other moves, not drawn: (\d+)", svg)
    assert n_arrows + int(others[1] if others else 0) == sum(a != b for a, b in moves)


@given(st.lists(st.floats(0.001, 1e7), min_size=2, unique=True))
def test_widths(customers: list[float]) -> None:
    """More customers make a wider arrow, and none vanishes."""
    widths = [arrow_width(n, max(customers)) for n in sorted(customers)]
    assert widths == sorted(widths)
    assert widths[0] >= 1.5


def test_drawn_widths() -> None:
    """The arrows of a map are as wide as their customers are many."""
    svg = draw_map(make_map(COUNTS, MOVES))
    strokes = re.findall(r'<path class="(?:onward|leaving|returning)"[^>]*stroke-width="([\d.]+)"', svg)
    drawn = [float(width) for width in strokes if width != "4.00"]
    moves = sorted((n for (a, b), n in MOVES.items() if a != b), reverse=True)
    assert drawn == [round(arrow_width(n, moves[0]), 2) for n in moves]


@pytest.mark.parametrize(
    "text", ["Clients", "Clients réguliers et très satisfaits de nous", "x" * 500, "顧客" * 40, ""]
)
@pytest.mark.parametrize("most_lines", [1, 2])
def test_fit_text(text: str, most_lines: int) -> None:
    """A text of any length fits into its lines, by smaller letters first and then by leaving some out."""
    lines, size = fit_text(text, 190.0, size=16.0, most_lines=most_lines, is_bold=True)
    assert 1 <= len(lines) <= most_lines
    assert all(measure(line, size, is_bold=True) <= 190.0 for line in lines)
    assert 13.0 <= size <= 16.0


EN, FR = NUMERALS["en"], NUMERALS["fr"]


@pytest.mark.parametrize(
    ("write", "value", "expected"),
    [
        (EN.count, 1204, "1,204"),
        (FR.count, 1204567, "1\u202f204\u202f567"),
        (EN.count, -0.2, "0"),
        (EN.expected, 0.04, "0"),
        (EN.expected, 3.24, "3.2"),
        (EN.expected, 9.97, "10"),
        (FR.expected, 2_874_000, "2,87\u202fM"),
        (EN.short, 999_999, "999,999"),
        (EN.short, 12_345_678_901, "12.3bn"),
        (FR.short, 152_400_000, "152\u202fM"),
        (EN.short, float("nan"), "–"),
        (EN.change, -45_678.0, "−45.7k"),
        (EN.change, 0.0, "0"),
        (EN.share, 0.0001, "<0.1%"),
        (FR.share, 0.99999, ">99,9\u202f%"),
        (EN.share, 1.0, "100.0%"),
        (EN.share, None, "–"),
    ],
)
def test_numerals(write: Callable[[float | None], str], value: float | None, expected: str) -> None:
    """Numbers are written as the language does, and never rounded to nothing or to all."""
    assert write(value) == expected


def test_refusals() -> None:
    """A group without a label and a language without words are refused, and the message says what to do."""
    with pytest.raises(SettingsError, match="no label for the RFM groups champions, loyal"):
        draw_grid(make_grid({}, ("champions", "loyal")), "en", {})
    with pytest.raises(SettingsError, match="'de'"):
        draw_grid(make_grid({}, ("champions", "loyal")), "de", shopify_labels("en"))
