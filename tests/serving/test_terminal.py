from io import StringIO
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

from features.catalogue import GROUPS
from features.table import FEATURES
from serving import terminal
from tests.serving.test_data_report import EVENTS, ORDERS, SECRET, read_files

KEPT = [Path("home/quarantine.parquet"), Path("home/quarantine-events.parquet")]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Console:
    """Print to a console that records, so wide that nothing is folded."""
    console = Console(record=True, width=500, file=StringIO())
    monkeypatch.setattr(terminal, "out", console)
    return console


def said(console: Console) -> str:
    """Return all that was printed, with white space made single."""
    return " ".join(console.export_text(clear=False).split())


def test_shop(screen: Console, engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Every fate of orders and events is told with its number; quarantined rows with reason, remedy and place."""
    shop = read_files(engine, tmp_path, orders={"orders.csv": ORDERS}, events={"events.csv": EVENTS})
    terminal.print_shop(shop, KEPT)
    text = said(screen)
    for expected in (
        "8 rows read: 6 accepted, 2 quarantined; 3 orders from 2024-01-05 to 2024-03-05.",
        "Guests: 1 (valid, but without a customer: in nobody's history).",
        "Repeats: 1 (",
        "Refunds: 1, to 1 customers;",
        "the amount is not a plain number",
        "Write amounts as 1234.50",
        "line 8, amount: number with text",
        "8 rows of events read: 7 accepted, 1 quarantined; 3 events of known customers from 2024-03-01 to 2024-03-02.",
        "By type: visit 2; unknown types 1.",
        "Marketing costs of no known customer: 1.",
        "line 9, occurred_at: text",
        "Quarantined rows are kept in home/quarantine-events.parquet.",
    ):
        assert expected in text
    assert shop.events is not None
    assert all(" ".join(note.split()) in text for note in (*shop.report.notes, *shop.events.report.notes))
    assert SECRET not in text


def test_plain_shop(screen: Console, engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Where there is nothing to say, the count and the columns are all."""
    text = "customer_id,ordered_at,amount\n" + "".join(f"c{i},2024-01-05,10\n" for i in range(1200))
    terminal.print_shop(read_files(engine, tmp_path, orders={"orders.csv": text}), [])
    assert said(screen) == (
        "1,200 rows read: 1,200 accepted, 0 quarantined; 1,200 orders from 2024-01-05 to 2024-01-05. "
        "Read: customer_id, ordered_at, amount."
    )


def test_no_orders(screen: Console, engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Where every row is quarantined, there is no first and last day to name."""
    shop = read_files(engine, tmp_path, orders={"orders.csv": "customer_id,ordered_at,amount\na,2024-01-05,?\n"})
    terminal.print_shop(shop, [])
    assert said(screen).startswith("1 rows read: 0 accepted, 1 quarantined; 0 orders.")


def test_many_sources(screen: Console, engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Each of several sources has its line; a long list ends with how many more there are."""
    text = "customer_id,ordered_at,amount\na,2024-01-05,10\n,2024-01-05,10\n"
    terminal.print_shop(read_files(engine, tmp_path, orders={f"{i:02}.csv": text for i in range(15)}), [])
    printed = said(screen)
    assert "00.csv: 2 rows, 0 quarantined, 1 without a customer." in printed
    assert "12.csv" not in printed
    assert "… and 3 more" in printed


def test_many_examples(screen: Console, engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Of many rows that are refused for one reason, two are shown, and how many more there are."""
    text = "customer_id,ordered_at,amount\n" + f"a,2024-01-05,{SECRET}\n" * 1500
    terminal.print_shop(read_files(engine, tmp_path, orders={"orders.csv": text}), [])
    printed = said(screen)
    assert "line 2, amount" in printed
    assert "line 3, amount" in printed
    assert "line 4, amount" not in printed
    assert "… and 1,498 more" in printed


def test_hostile_name(screen: Console, engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """A name that is markup, or that would move the cursor, is shown as text."""
    shop = read_files(engine, tmp_path, orders={"[red]\x1b[2J.csv": ORDERS, "other.csv": ORDERS})
    terminal.print_shop(shop, [])
    assert "[red]�[2J.csv: 8 rows" in said(screen)


@pytest.mark.parametrize("width", [20, 40, 72, 80])
def test_narrow(monkeypatch: pytest.MonkeyPatch, engine: duckdb.DuckDBPyConnection, tmp_path: Path, width: int) -> None:
    """On a narrow terminal everything is folded, and nothing is cut."""
    shop = read_files(engine, tmp_path, orders={"orders.csv": ORDERS}, events={"events.csv": EVENTS})
    printed = []
    for columns in (width, 400):
        console = Console(record=True, width=columns, file=StringIO())
        monkeypatch.setattr(terminal, "out", console)
        terminal.print_shop(shop, [])
        terminal.print_support(shop.records)
        terminal.print_catalogue([feature.describe() for feature in FEATURES])
        printed.append(console.export_text())
    assert max(len(line) for line in printed[0].splitlines()) <= width
    narrow, wide = (sorted("".join(text.replace("─", "").split())) for text in printed)
    assert narrow == wide


def test_support(screen: Console, engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Each group says how many of its features the data support, and each absent feature what it needs."""
    shop = read_files(engine, tmp_path, orders={"orders.csv": ORDERS}, events={"events.csv": EVENTS})
    terminal.print_support(shop.records)
    text = said(screen)
    assert "channel 4 of 4" in text
    assert "a cost column margin_so_far, margin_share" in text
    assert "review events (reviewed a product or the shop) reviews, mean_review_rating" in text


def test_catalogue(screen: Console) -> None:
    """Every feature is listed under its group, with unit, meaning, needs and null rule."""
    terminal.print_catalogue([feature.describe() for feature in FEATURES])
    text = said(screen)
    titles = [line.strip() for line in screen.export_text(clear=False).splitlines() if line.strip() in GROUPS]
    assert titles == list(GROUPS)
    assert all(f"{feature.name} {feature.unit} {feature.meaning}" in text for feature in FEATURES)
    assert (
        "days_since_last_visit days since the last visit needs visit events (a visit of the site or the app)"
        " null: no visit"
    ) in text


def test_one_group(screen: Console) -> None:
    """Of one group, only that table is printed."""
    terminal.print_catalogue([feature.describe() for feature in FEATURES if feature.group == "tenure"])
    text = said(screen)
    assert text.startswith("tenure name unit meaning")
    assert "channel" not in text
