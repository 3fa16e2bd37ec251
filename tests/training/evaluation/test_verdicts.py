"""Verdicts: who wins, in plain words."""

import polars as pl
import pytest

from training.evaluation import ladder
from training.evaluation.findings import SUMMARY_SCHEMA
from training.evaluation.measures import METRICS
from training.evaluation.verdicts import CHAMPION, DECIDING, OURS, Comparison, best_rung, compare, compare_all

NAN = float("nan")


def rows(*found: tuple[str, str, str, float, float | None, float | None], of: str = "all") -> pl.DataFrame:
    """Build rows of ours minus rivals: task, rival, metric, value, low, high."""
    whole = [
        (task, of, OURS, metric, value, low, high, rival, 3, 300, None)
        for task, rival, metric, value, low, high in found
    ]
    return pl.DataFrame(whole, schema=SUMMARY_SCHEMA, orient="row")


CHURN = rows(
    ("churn", "recency_rule", "log_loss", -0.03, -0.04, -0.02),
    ("churn", "mbg_nbd", "log_loss", -0.0063, -0.0081, -0.0045),
    ("churn", CHAMPION, "log_loss", 0.002, -0.001, 0.004),
    ("churn", "bg_nbd", "log_loss", NAN, None, None),
    ("churn", "recency_rule", "auc", 0.0102, 0.0061, 0.0144),
)


def test_names() -> None:
    """The room of verdicts, which the terminal reads too, calls everything as the ladder and the metrics do."""
    assert ladder.OURS == OURS
    assert {task: next(iter(by_name)) for task, by_name in METRICS.items()} == dict(DECIDING)


def test_best_rung() -> None:
    """The best rung is the one that comes closest to ours, or leaves it furthest behind; never the champion."""
    assert best_rung(CHURN, "churn") == "mbg_nbd"
    ahead = rows(("churn", "last_period", "log_loss", 0.01, 0.005, 0.015))
    assert best_rung(pl.concat([CHURN, ahead]), "churn") == "last_period"
    assert best_rung(CHURN, "value") is None
    assert best_rung(rows(("churn", "mbg_nbd", "log_loss", -1.0, -2.0, 0.0), of="repeat"), "churn") is None


def test_lines() -> None:
    """There is a line per task against its best rung, and one for the order of churn against the recency rule."""
    value = rows(("value", "simple_clv", "deviance", 0.514, 0.2, 0.8))
    assert [comparison.text for comparison in compare_all(pl.concat([CHURN, value]))] == [
        "churn: lifestage beats mbg_nbd: log loss −0.0063 [−0.0081, −0.0045]",
        "churn: lifestage beats recency_rule: AUC +0.0102 [+0.0061, +0.0144]",
        "value: lifestage loses to simple_clv: deviance +0.51 [+0.20, +0.80]",
    ]


@pytest.mark.parametrize(
    ("metric", "low", "high", "words"),
    [
        ("log_loss", -0.2, -0.1, "beats"),
        ("log_loss", -0.2, 0.1, "is level with"),
        ("log_loss", 0.0, 0.1, "is level with"),
        ("log_loss", 0.1, 0.2, "loses to"),
        ("auc", 0.1, 0.2, "beats"),
        ("auc", -0.1, 0.2, "is level with"),
        ("auc", -0.2, -0.1, "loses to"),
    ],
)
def test_words(metric: str, low: float, high: float, words: str) -> None:
    """Who is ahead by no more than chance is level; a loss is better lower, an AUC higher."""
    assert f" {words} " in Comparison("churn", "mbg_nbd", metric, (low + high) / 2, low, high).text


def test_not_measured() -> None:
    """What was not measured, or not drawn, is not compared."""
    assert compare(CHURN, "churn", "bg_nbd", "log_loss") is None
    assert compare(CHURN, "churn", "simple_clv", "log_loss") is None
    assert compare(CHURN, "churn", "mbg_nbd", "log_loss", of="repeat") is None
