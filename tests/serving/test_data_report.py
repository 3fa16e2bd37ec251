import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

from features.intake.shop import Shop, read_shop
from features.settings import load_settings
from features.table import FEATURES
from serving.data_report import render_data_report, write_data_report
from serving.data_words import event_parts, find_support, order_lines, order_parts, share, word_needs
from tests.serving.http.test_pages import Outline

SECRET = "s3cret"  # noqa: S105  # stands for whatever a customer's cell may hold
ORDERS = f"""customer_id,ordered_at,amount,channel
a,2024-01-05,10,web
a,2024-03-05,2000,web
a,2024-03-06,-500,web
,2024-03-05,7,web
b,2024-03-05,30,shop
b,2024-03-05,30,shop
c,2024-04-01,{SECRET},web
c,{SECRET},5,web
"""
EVENTS = f"""customer_id,visitor_id,occurred_at,event_type,value
a,v1,2024-03-01,visit,
a,v1,2024-03-01,visit,
b,v2,2024-03-02,page_view,
b,v2,2024-03-02,{SECRET}<i>,
,v9,2024-03-02,visit,
a,,2024-03-05,purchase,10
,,2024-03-05,marketing_cost,100
b,,{SECRET},visit,
"""


def read_files(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    *,
    orders: Mapping[str, str],
    events: Mapping[str, str] | None = None,
    types: Mapping[str, str] | None = None,
) -> Shop:
    """Write files by name, and read them as a shop."""
    given = events or {}
    for name, text in {**orders, **given}.items():
        (folder / name).write_text(text, encoding="utf-8")
    settings = load_settings(overrides={"events": {"types": types}})
    return read_shop([folder / n for n in orders], [folder / n for n in given], settings, connection=connection)


@pytest.fixture
def shop(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> Shop:
    """Read orders and events of every fate."""
    return read_files(engine, tmp_path, orders={"orders.csv": ORDERS}, events={"events.csv": EVENTS})


@pytest.fixture
def orders_alone(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> Shop:
    """Read two orders, of which there is nothing to say."""
    text = "customer_id,ordered_at,amount\na,2024-01-05,10\nb,2024-01-06,10\n"
    return read_files(engine, tmp_path, orders={"orders.csv": text})


def words(page: str) -> str:
    """Return the texts of a page, with white space made single."""
    return " ".join(" ".join(Outline(page).texts).split())


def test_parts(shop: Shop) -> None:
    """Every row stands in exactly one part, and the parts make up the input."""
    orders = {part.name: part.size for part in order_parts(shop.report)}
    assert orders == {"Orders and refunds": 4, "Guests": 1, "Repeats": 1, "Other events": 0, "Quarantined": 2}
    assert sum(orders.values()) == shop.report.n_input
    assert shop.events is not None
    events = {part.name: part.size for part in event_parts(shop.events.report)}
    assert list(events.values()) == [3, 1, 1, 1, 1, 1]
    assert sum(events.values()) == shop.events.report.n_input


def test_refund_lines(shop: Shop) -> None:
    """What refunds take is said in money, with what they leave unchanged."""
    said = " ".join(order_lines(shop.report))
    assert "Refunds: 1, to 1 customers; 1 belong to an earlier order, 0 to none that is known." in said
    assert "give back 500.00, of which the orders still held 500.00" in said
    assert "worth 2,040.00 before them and 1,540.00 after, 24.5% less" in said
    assert "Orders left with nothing: 0. Frequency and recency are unchanged" in said


def test_nothing_to_say(orders_alone: Shop) -> None:
    """Of plain orders nothing is said beyond the first line, and the page has no section on what is not there."""
    assert order_lines(orders_alone.report) == ()
    page = render_data_report(orders_alone)
    text = words(page)
    assert "Every row could be read; nothing was quarantined." in text
    assert "What refunds take" not in text
    assert "row of events" not in text


@pytest.mark.parametrize(
    ("part", "whole", "written"),
    [(0, 10, "0.0%"), (1, 10_000, "<0.1%"), (9_999, 10_000, ">99.9%"), (10, 10, "100.0%"), (0, 0, "–")],
)
def test_share(part: int, whole: int, written: str) -> None:
    """A share is never rounded to nothing or to all."""
    assert share(part, whole) == written


def test_support(shop: Shop) -> None:
    """Features count as supported where the data have what they need, and every other stands by what it lacks."""
    support = find_support(shop.records)
    assert ("channel", 4, 4) in support.groups
    assert sum(n for _, _, n in support.groups) == len(FEATURES)
    lacking = [name for names in support.absent.values() for name in names]
    assert len(lacking) == len(set(lacking)) == sum(declared - n for _, n, declared in support.groups)
    assert support.absent["a cost column"] == ("margin_so_far", "margin_share")
    assert not any("visit events" in needs for needs in support.absent)
    assert "reviews" in support.absent["review events (reviewed a product or the shop)"]


def test_every_need() -> None:
    """Whatever a feature may need can be said in words."""
    for feature in FEATURES:
        said = word_needs(feature.needs)
        assert bool(said) == bool(feature.needs)
        assert "event:" not in said


def test_page(shop: Shop) -> None:
    """The page has the figures, the reasons with their remedies and examples, and the features."""
    text = words(render_data_report(shop))
    for expected in (
        "25.0% of the rows of orders and 12.5% of the rows of events cannot be used",
        "Guests valid, but without a customer: in nobody's history 1 12.5%",
        "Together 8 100.0%",
        "1 × the amount is not a plain number",
        "What to do: Write amounts as 1234.50",
        "orders.csv , line 8, amount: number with text",
        "events.csv , line 9, occurred_at: text",
        "visit a visit of the site or the app 2",
        "unknown types read by no feature 1",
        "channel 4 of 4",
        "a cost column : margin_so_far, margin_share",
    ):
        assert expected in text


def test_no_values(shop: Shop) -> None:
    """No cell of a customer stands on the page."""
    assert SECRET not in render_data_report(shop)


def test_charts(shop: Shop) -> None:
    """The parts of a bar fill it, months without orders have a column, and each chart says in words what it shows."""
    page = render_data_report(shop)
    bars = re.findall(r'<svg class="whole".*?</svg>', page, re.DOTALL)
    assert len(bars) == 3
    for bar in bars:
        widths = [float(width) for width in re.findall(r'width="([0-9.]+)%"', bar)]
        assert sum(widths) == pytest.approx(100)
    assert "Orders and refunds: 4, 50.0%; Guests: 1, 12.5%; Repeats: 1, 12.5%; Other events: 0, 0.0%;" in bars[0]
    months = [(month, n) for month, n in re.findall(r"<title>(\d{4}-\d\d): (\d+)</title>", page)]
    assert months == [("2024-01", "1"), ("2024-02", "0"), ("2024-03", "2")]
    described = set(re.findall(r'aria-labelledby="(\S+-title \S+-text)"', page))
    assert len(described) == 4
    assert all(f'id="{name}"' in page for pair in described for name in pair.split())


def test_long_history(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """However long the history, a few months are labelled, and every column lies within the chart."""
    rows = "".join(f"a,{1970 + i}-06-01,10\n" for i in range(50))
    page = render_data_report(read_files(engine, tmp_path, orders={"o.csv": f"customer_id,ordered_at,amount\n{rows}"}))
    chart = re.findall(r'<svg height="228".*?</svg>', page, re.DOTALL)[0]
    columns = [(float(x), float(width)) for x, width in re.findall(r'<rect x="(\S+)%" width="(\S+)%"', chart)]
    assert len(columns) == 49 * 12 + 1
    assert all(0 < x and x + width <= 100 for x, width in columns)
    assert 2 <= len(re.findall(r">\d{4}-\d\d</text>", chart)) <= 5


def test_self_contained(shop: Shop) -> None:
    """The page refers to nothing, runs nothing, and is the same to the byte each time."""
    page = render_data_report(shop)
    outline = Outline(page)
    assert outline.references == []
    assert not {"script", "link", "iframe", "img", "object"} & set(outline.tags)
    assert not re.search(r"url\(|@import|https?:", page)
    assert '<html lang="en">' in page
    assert render_data_report(shop) == page


def test_headings(shop: Shop) -> None:
    """Headings go down one level at a time, and every header of a table says what it heads."""
    page = render_data_report(shop)
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all("scope=" in header for header in re.findall(r"<th[ >][^>]*", page))


def test_hostile_names(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Names of files and of types that are markup are shown as text."""
    name = "<img src=x onerror=alert(1)>&.csv"
    shop = read_files(
        engine,
        tmp_path,
        orders={name: ORDERS},
        events={f"e{name}": EVENTS.replace("page_view", "<script>alert(2)")},
        types={"<script>alert(2)": "visit"},
    )
    page = render_data_report(shop)
    assert not {"img", "script"} & set(Outline(page).tags)
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;.csv" in page
    assert "&lt;script&gt;alert(2)" in page


def test_many_sources(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """A long list of sources ends with how many more there are."""
    text = "customer_id,ordered_at,amount\na,2024-01-05,10\n"
    shop = read_files(engine, tmp_path, orders={f"{i:02}.csv": text for i in range(53)})
    assert "… and 3 more." in words(render_data_report(shop))


def test_writing(shop: Shop, orders_alone: Shop, tmp_path: Path) -> None:
    """A file is replaced whole, and no draft stays behind."""
    out = tmp_path / "out" / "report.html"
    out.parent.mkdir()
    for given in (shop, orders_alone):
        write_data_report(given, out)
        assert out.read_text(encoding="utf-8") == render_data_report(given)
    assert list(out.parent.iterdir()) == [out]


def test_not_writable(orders_alone: Shop, tmp_path: Path) -> None:
    """A report that cannot take its place leaves nothing behind."""
    out = tmp_path / "out" / "report.html"
    out.mkdir(parents=True)
    with pytest.raises(OSError, match=r"report\.html"):
        write_data_report(orders_alone, out)
    assert list(out.parent.iterdir()) == [out]
