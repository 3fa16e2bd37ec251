import re
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path

import duckdb
import numpy as np
import pytest
from rich.console import Console

from features.catalogue import GROUPS
from features.lifecycle.stages import STAGES
from features.settings import load_settings
from features.table import FEATURES
from serving import terminal
from serving.schemas import AtRiskPage, ListTotals, PublishedRun, Score
from serving.store.score_store import RunInfo
from tests.serving.score_rows import WORDING, build_customers
from tests.serving.test_data_report import EVENTS, ORDERS, SECRET, read_files
from training.evaluation.findings import Finding, pool
from training.evaluation.judging import Case, judge
from training.evaluation.ladder import OURS, RUNGS, Predictions
from training.evaluation.verdicts import CHAMPION, DECIDING

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


def judge_cutoff(*rivals: str, n: int = 400, reaches: float = 0.9, worth: float = 30.0) -> tuple[Finding, ...]:
    """Judge made-up customers and prospects, of whom ours knows more than each rival, or less where `reaches` is low.

    Args:
        rivals: Names of other models.
        n: Customers.
        reaches: The probability that ours gives to what came; a rival's is 0.7.
        worth: Value of the orders of those who ordered.
    """
    rng = np.random.default_rng(1)
    churned = (rng.random(n) < 0.6).astype(np.int64)
    came, value = np.where(churned, STAGES.index("lost"), STAGES.index("loyal")), (1.0 - churned) * worth

    def answer(p_true: float) -> Predictions:
        p_churn = np.where(churned, p_true, 1.0 - p_true)
        p_stage = np.zeros((n, len(STAGES)))
        p_stage[:, STAGES.index("lost")], p_stage[:, STAGES.index("loyal")] = p_churn, 1.0 - p_churn
        p_ordered = 1.0 - p_churn
        return Predictions(p_churn, p_stage, p_ordered * worth, p_first_purchase=p_ordered, p_registration=p_ordered)

    answers = {**{rival: answer(0.7) for rival in rivals}, OURS: answer(reaches)}
    ordered = 1 - churned
    of_prospects = {"first_purchase": ordered, "registration": ordered}
    outcomes = {"churn": churned, "next_stage": came, "value": value, **of_prospects}
    return judge(Case(answers, outcomes), load_settings(overrides={"training": {"bootstrap_samples": 20}}))


def test_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ladder fits a hundred columns: what decides with intervals, what else is told, and who wins, in words."""
    console = Console(record=True, width=100, file=StringIO())
    monkeypatch.setattr(terminal, "out", console)
    summary = pool([judge_cutoff("recency_rule", CHAMPION), judge_cutoff("recency_rule")])
    terminal.print_ladder(summary, DECIDING)
    text = console.export_text(clear=False)
    assert max(map(len, text.splitlines())) <= 100
    churn, stage, value = text.split("Churn: ")[1].split("Next stage: where")[0], *text.split("Value: ")[:2]
    for words in ("PR-AUC", "mean off", "lift", "means over 2 cutoffs", "By chance PR-AUC is the base rate, 0.6"):
        assert words in " ".join(churn.split())
    assert f"{CHAMPION}, 1 of 2" in churn
    assert "0.357 0.357…0.357 1.000" in churn
    assert "-0.2513* -0.2513…-0.2513" in churn
    assert "RPS" in stage
    assert "R²" in value
    assert [line.strip() for line in text.splitlines() if "●" in line] == [
        "● churn: lifestage beats recency_rule: log loss −0.2513 [−0.2513, −0.2513]",
        "● churn: lifestage is level with recency_rule: AUC +0.0000 [+0.0000, +0.0000]",
        "● next stage: lifestage beats recency_rule: log loss −0.2513 [−0.2513, −0.2513]",
        "● value: lifestage beats recency_rule: deviance −3.36 [−3.52, −3.21]",
        "● first purchase: lifestage beats recency_rule: log loss −0.2513 [−0.2513, −0.2513]",
        "● registration: lifestage beats recency_rule: log loss −0.2513 [−0.2513, −0.2513]",
    ]


@pytest.mark.parametrize("worth", [30.0, 300_000.0])
@pytest.mark.parametrize("columns", [80, 100, 120])
def test_ladder_uncut(monkeypatch: pytest.MonkeyPatch, columns: int, worth: float) -> None:
    """No figure of any task is cut: columns that there is no room for are left out, and that is said."""
    findings = [judge_cutoff(*RUNGS, CHAMPION, worth=worth), judge_cutoff(*RUNGS, worth=worth)]
    monkeypatch.setenv("COLUMNS", str(columns))
    console = Console(record=True, file=StringIO())
    monkeypatch.setattr(terminal, "out", console)
    terminal.print_ladder(pool(findings), DECIDING)
    text = console.export_text(clear=False)
    lines = [line for line in text.splitlines() if "●" not in line]
    assert max(map(len, lines)) <= columns
    assert not [line for line in lines if re.search(r"…(?![-\d])", line)]
    for title in ("Churn", "Next stage", "Value", "Prospects", "Visitors"):
        assert f"{title}: " in text
    assert "log-loss" in text
    assert f"{CHAMPION}, 1 of 2" in text
    assert " AUC " in text
    assert "mean off" in text
    assert ("PR-AUC" in text) == (columns > 80)
    assert ("A wider terminal shows more." in " ".join(text.split())) == (columns == 80)


@pytest.mark.parametrize("columns", [20, 40, 60])
def test_ladder_folded(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """On a very narrow terminal what decides is left, folded where it must be, and still nothing is cut."""
    console = Console(record=True, width=columns, file=StringIO())
    monkeypatch.setattr(terminal, "out", console)
    terminal.print_ladder(pool([judge_cutoff("recency_rule")]).filter(task="churn"), DECIDING)
    text = console.export_text(clear=False).split("●")[0]
    assert max(map(len, text.splitlines())) <= columns
    assert text.count("…") == 1  # of the one interval


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ("Plays", "customer stage", "at risk", "medium", "Together: 240 (", "value at risk 200.", "0.250")),
        ("fr", ("Actions", "client étape", "à risque", "moyen", "Ensemble : 240 (", "valeur à risque 200.", "0,250")),
        ("nl", ("Plays", "customer stage", "at risk", "medium", "Together: 240 (", "value at risk 200.", "0.250")),
    ],
)
def test_at_risk(monkeypatch: pytest.MonkeyPatch, language: str, expected: tuple[str, ...], columns: int) -> None:
    """The list's own words are of the language asked for, or English, and nothing of it is cut."""
    rows, run = build_customers(2).rows(named=True), RunInfo(1, "1998-01-01", 90, "v1", "c1", 2, "1998-01-02")
    wording = replace(WORDING, language="fr" if language == "fr" else "en")
    sums = {"historic_value": 200.0, "clv_12m": 240.0, "clv_12m_low": 120.0, "clv_12m_high": 400.0}
    page = AtRiskPage(
        run=PublishedRun(**asdict(run)),
        customers=[Score.from_row({**row, "customer_id": f"{row['customer_id']:0>32}"}, wording) for row in rows],
        totals=ListTotals(customers=2, value_at_risk=200.0, **sums),
        matching_customers=2,
        next_cursor=None,
    )
    console = Console(record=True, width=columns, file=StringIO())
    monkeypatch.setattr(terminal, "out", console)
    terminal.print_at_risk(page, language=language)
    text = console.export_text(clear=False)
    assert "…" not in text
    assert all(words in " ".join(text.split()) for words in expected)


def test_ladder_lost(screen: Console) -> None:
    """Where a simple rule is better, the ladder says that ours loses to it."""
    terminal.print_ladder(pool([judge_cutoff("last_period", reaches=0.6)]), DECIDING)
    text = said(screen)
    assert "at 1 cutoff; log-loss decides" in text
    assert "churn: lifestage loses to last_period: log loss +0.1542" in text
