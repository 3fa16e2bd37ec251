"""Reasons in words: in both languages, short, of the customer's own figures, the same in a file and over HTTP."""

import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from features.records import Records
from features.snapshot import to_date
from serving import terminal
from serving.answers import tell_at_risk
from serving.lists import at_risk_frame, load_at_risk
from serving.live import score_request
from serving.reasons import SEPARATOR, load_reason_words, pack_reasons, tell_reasons, with_reason_texts
from serving.schemas import Score, ScoreReason, ScoreRequest
from serving.scoring import score_records, score_whole
from serving.store.score_store import ScoreStore
from tests.serving.score_rows import WORDING, build_frame, build_row, publish_rows
from tests.serving.test_batch import PUBLISHED_AT
from training.bundle import Bundle
from training.models.reasons import Reason
from training.models.tellings import TELLINGS, Telling
from training.models.themes import THEMES

LANGUAGES = ("en", "fr")
SILENT = Reason("silence", 0.1234, {"days_since_last_order": 96, "median_gap_days": 31})
KEEN = Reason("habit", -0.05, {"order_days_within_90": 4, "order_days_before_90": 1})


@pytest.fixture(scope="module")
def scores(bundle: Bundle, cdnow_orders: pl.DataFrame, end_day: int) -> pl.DataFrame:
    """Scores of the shared orders, with reasons for everyone."""
    return score_records(bundle, Records.wrap(cdnow_orders), cutoff_day=end_day)


def _text(reason: Reason, language: str = "en") -> str:
    [told] = tell_reasons(pack_reasons([reason]), language=language) or []
    return told.text


def _effects(telling: Telling) -> tuple[float, ...]:
    return {"raises": (0.2,), "lowers": (-0.2,), "either": (0.2, -0.2)}[telling.direction]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("telling", TELLINGS, ids=lambda telling: f"{telling.theme}-{telling.direction}")
def test_words(telling: Telling, language: str) -> None:
    """Every way to tell a theme has words in both languages, of at most 90 characters however large its figures."""
    for effect in _effects(telling):
        assert (
            telling.theme,
            "raises" if effect > 0 else "lowers",
            frozenset(telling.facts),
        ) in load_reason_words().texts
        for value in (1.0, 2.0, 365.5, 9999.0):
            is_share = telling.facts[0].endswith(("_share", "_rate_90"))
            is_money = "value" in telling.facts[0]
            figure = value / 10_000 if is_share else 1000.0 * value if is_money else value
            text = _text(Reason(telling.theme, effect, dict.fromkeys(telling.facts, figure)), language)
            assert len(text) <= 90
            assert re.fullmatch(r"[^{}_]+\.", text)
            assert text[0].isupper() or text[0].isdigit()


def test_no_word_too_many() -> None:
    """There is no text that no telling asks for."""
    asked = {
        (telling.theme, "raises" if effect > 0 else "lowers", frozenset(telling.facts))
        for telling in TELLINGS
        for effect in _effects(telling)
    }
    written_for_both = {(theme, facts) for theme, _, facts in asked}
    assert {(theme, facts) for theme, _, facts in load_reason_words().texts} == written_for_both
    assert {theme for theme, _, _ in asked} == set(load_reason_words().names) == set(THEMES)


def test_document() -> None:
    """The document names every theme, and says what is said of one."""
    paper = (Path(__file__).parents[2] / "docs" / "reasons.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", paper, re.MULTILINE) == list(THEMES)
    [shown] = re.findall(r"```json\n(.*?)\n```", paper, re.DOTALL)
    told = ScoreReason.model_validate_json(shown)
    facts = {"days_since_last_order": 108, "median_gap_days": 9}
    assert told.text == _text(Reason(told.theme, told.effect, facts))


def test_examples() -> None:
    """A long silence reads as a person would say it."""
    assert _text(SILENT) == "No order for 96 days; usual gap 31."
    assert _text(SILENT, "fr") == "Aucune commande depuis 96 jours ; rythme habituel : 31 jours."
    assert _text(KEEN) == "Ordered on 4 days in the last 90; on 1 in the 90 before."
    assert _text(KEEN, "fr") == "4 jours avec commande sur 90, contre 1 les 90 précédents."


@pytest.mark.parametrize(
    ("count", "english", "french"),
    [(0, "0 refunds", "0 remboursement"), (1, "1 refund", "1 remboursement"), (2, "2 refunds", "2 remboursements")],
)
def test_plurals(count: int, english: str, french: str) -> None:
    """Nouns follow their number, and zero is singular in French alone."""
    reason = Reason("refunds", 0.1, {"refunds_within_90": count})
    assert _text(reason) == f"{english} in the last 90 days."
    assert _text(reason, "fr") == f"{french} ces 90 derniers jours."


def test_numbers() -> None:
    """Amounts and shares are written as the language writes them."""
    spent = Reason("value", 0.1, {"value_within_90": 12.5, "value_before_90": 4321.0})
    assert _text(spent) == "Spent 12.50 in the last 90 days; 4,321.00 in the 90 before."
    assert _text(spent, "fr") == "Dépenses en 90 jours : 12,50 ; les 90 précédents : 4\u202f321,00."
    large = Reason("value", 0.1, {"mean_order_day_value": 1234.56, "shop_mean_order_day_value": 2000.0})
    assert _text(large) == "Average order 1,235; usual in the shop: 2,000."
    begun = Reason("value", -0.1, {"value_within_90": 340.65, "value_before_90": 0})
    assert _text(begun) == "Spent 341 in the last 90 days; nothing in the 90 before."
    assert _text(begun, "fr") == "Dépenses en 90 jours : 341 ; les 90 précédents : rien."
    back = Reason("value", 0.1, {"last_order_day_value": 0, "mean_order_day_value": -4.996})
    assert _text(back) == "Last order 0.00; usual for this customer: −5.00."
    opened = Reason("engagement", 0.1, {"email_open_rate_90": 0.125, "shop_email_open_rate_90": 0.5})
    assert _text(opened) == "E-mails opened: 13%; usual in the shop: 50%."
    assert "13\u202f%" in _text(opened, "fr")
    rated = Reason("support", 0.1, {"mean_review_rating": 2.5, "shop_mean_review_rating": 4})
    assert _text(rated, "fr") == "Note moyenne des avis : 2,5 ; d'habitude : 4."


def test_forgotten_words() -> None:
    """Figures that are told no more are told by the name of their theme."""
    old = Reason("basket", -0.1, {"once_was_a_figure": 3})
    assert (_text(old), _text(old, "fr")) == ("Basket.", "Panier.")


def test_frame() -> None:
    """In a file, reasons are sentences in one cell; nothing stands out is empty, not computed is nothing."""
    rows = build_frame(
        build_row("a", reasons=pack_reasons([SILENT, KEEN])), build_row("b", reasons="[]"), build_row("c")
    )
    told = with_reason_texts(rows, language="fr")
    assert told["reasons"].to_list() == [SEPARATOR.join((_text(SILENT, "fr"), _text(KEEN, "fr"))), "", None]
    assert told.drop("reasons").equals(rows.drop("reasons"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_published(store: ScoreStore, language: str) -> None:
    """What is stored in no language is told in any: as JSON with direction and effect, and in the list as text."""
    row = build_row("a", reasons=pack_reasons([SILENT, KEEN]))
    publish_rows(store, build_frame(row, build_row("b")), published_at=PUBLISHED_AT, keep_runs=1)
    page, wording = load_at_risk(store, limit=2), replace(WORDING, language=language)
    told, unknown = tell_at_risk(page, wording).customers
    assert told.reasons is not None
    assert [reason.model_dump() for reason in told.reasons] == [
        {"theme": "silence", "direction": "raises", "effect": 0.1234, "text": _text(SILENT, language)},
        {"theme": "habit", "direction": "lowers", "effect": -0.05, "text": _text(KEEN, language)},
    ]
    assert unknown.reasons is None
    joined = SEPARATOR.join(_text(reason, language) for reason in (SILENT, KEEN))
    assert at_risk_frame(page, wording)["reasons"].to_list() == [joined, None]


@pytest.mark.parametrize("width", [80, 150])
def test_terminal(store: ScoreStore, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """The at-risk table shows the first reason of each customer whole, beside the figures where there is room."""
    rows = (build_row("a", reasons=pack_reasons([SILENT, KEEN])), build_row("b", reasons="[]"))
    publish_rows(store, build_frame(*rows), published_at=PUBLISHED_AT, keep_runs=1)
    screen = Console(record=True, width=width, file=StringIO())
    monkeypatch.setattr(terminal, "out", screen)
    terminal.print_at_risk(tell_at_risk(load_at_risk(store, limit=2), WORDING))
    text = " ".join(screen.export_text().split())
    assert f"↑ {_text(SILENT)}" in text
    assert _text(KEEN) not in text


def test_most_at_risk(bundle: Bundle, scores: pl.DataFrame, cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """Reasons are given to those with the highest value at risk, and are those that everyone would be given."""
    records = Records.wrap(cdnow_orders)
    some = score_whole(bundle, records, cutoff_day=end_day, max_reasons=50).scores
    ranked = some.sort("value_at_risk", "customer_id", descending=[True, False])
    assert ranked["reasons"].is_not_null().to_list() == [True] * 50 + [False] * (some.height - 50)
    given = some.filter(pl.col("reasons").is_not_null())
    assert given.equals(scores.filter(pl.col("customer_id").is_in(given["customer_id"].implode())))
    assert scores["reasons"].null_count() == 0
    none = score_whole(bundle, records, cutoff_day=end_day, max_reasons=0).scores
    assert none["reasons"].is_null().all()
    assert none.drop("reasons").equals(scores.drop("reasons"))


def test_request_is_batch(bundle: Bundle, scores: pl.DataFrame, cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """A request has the very reasons of the batch, always; but for lateness, they point one way."""
    asked = scores["customer_id"].gather_every(150).to_list()
    known = cdnow_orders.filter(pl.col("day") < end_day).with_columns(
        ordered_at=pl.col("ordered_at").dt.to_string("iso:strict").str.head(19), amount=pl.col("amount_micros") / 1e6
    )
    customers = [
        {"customer_id": one, "orders": known.filter(customer_id=one).select("ordered_at", "amount").to_dicts()}
        for one in asked
    ]
    request = ScoreRequest.model_validate({"as_of": to_date(end_day).isoformat(), "customers": customers})
    answer = score_request(bundle, request, wording=WORDING)
    batch = {row["customer_id"]: row for row in scores.iter_rows(named=True)}
    assert [score.reasons for score in answer.scores] == [Score.from_row(batch[one], WORDING).reasons for one in asked]
    for score in answer.scores:
        assert score.reasons is not None
        assert len({reason.direction for reason in score.reasons if reason.theme != "silence"}) <= 1


def test_private(scores: pl.DataFrame) -> None:
    """Reasons hold codes and figures, and nothing by which a customer is known."""
    packed: list[list[dict[str, Any]]] = [json.loads(text) for text in scores["reasons"]]
    assert {key for row in packed for reason in row for key in reason} == {"theme", "effect", "facts"}
    assert all(isinstance(x, int | float) for row in packed for reason in row for x in reason["facts"].values())
    assert not any("cdnow" in text for text in scores["reasons"])


def test_without_reference(bundle: Bundle, cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """A model without a reference gives no reasons."""
    bare = Bundle(bundle.manifest, replace(bundle.model, reference=None))
    scored = score_records(bare, Records.wrap(cdnow_orders), cutoff_day=end_day)
    assert scored["reasons"].is_null().all()
