"""The model card: what people must know stands on it, in words, and nothing that was not measured."""

from dataclasses import replace
from typing import Any

import pytest

from tests.training.promotion.test_gate import GATE, evaluate, rig
from training.bundle import Bundle, Manifest
from training.card.model_card import build_card
from training.card.model_card_text import render_markdown
from training.promotion.champion import Promotion
from training.promotion.gate import decide, to_record

DATA = {
    "first_day": "1997-01-01",
    "last_day": "1998-06-30",
    "n_customers": 1500,
    "n_orders": 4391,
    "n_quarantined": 2,
    "digest": "d1",
}
SLICE = {"task": "churn", "slice": "repeat", "model": "lifestage", "n_cutoffs": 3, "n_customers": 812}
FORCED = Promotion(
    "v",
    at="2026-11-22T09:00:00+00:00",
    reason="forced: w",
    is_forced=True,
    force_reason="the season",
    objections=("x",),
)


@pytest.fixture(scope="module")
def manifest(bundle: Bundle) -> Manifest:
    """The shared model's manifest, with an evaluation and a description of its data."""
    evaluation: dict[str, Any] = evaluate(rig())
    evaluation["gate"] = to_record(decide(evaluation, GATE))
    evaluation["slices"] = [
        {**SLICE, "metric": metric, "mean": value, "low": None, "high": None}
        for metric, value in (("log_loss", 0.5), ("auc", None))
    ]
    best = {"task": "churn", "slice": "repeat", "against": "bg_nbd", "metric": "log_loss"}
    evaluation["summary_differences"] = [{**best, "value": -0.01, "low": -0.02, "high": 0.0, "n_cutoffs": 3}]
    return replace(bundle.manifest, evaluation=evaluation, data=DATA, notes=["Little to learn from."])


def test_uses(manifest: Manifest) -> None:
    """The card says what the model is for, and names price, credit, employment and service among what it is not for."""
    card = build_card(manifest)
    assert card.intended_use
    refused = " ".join(card.not_for).lower()
    assert all(word in refused for word in ("price", "credit", "insurance", "employment", "service", "certainty"))


def test_figures(manifest: Manifest) -> None:
    """Ladder, comparisons, slices and calibration are those of the evaluation; what has no figure has none."""
    card = build_card(manifest)
    ladder = {(row["task"], row["model"], row["metric"]): row["value"] for row in card.ladder}
    assert ladder["churn", "lifestage", "log_loss"] == pytest.approx(0.32)
    assert ladder["churn", "recency_rule", "auc"] == pytest.approx(0.75)
    assert ("churn", "lifestage", "ece") not in ladder
    (rival,) = [row for row in card.comparisons if (row["task"], row["against"]) == ("churn", "bg_nbd")]
    assert rival["value"] == pytest.approx(-0.02)
    assert rival["low"] < rival["value"] < rival["high"] < 0
    best = {"against": "bg_nbd", "metric": "log_loss", "value": -0.01, "low": -0.02, "high": 0.0}
    about = {"task": "churn", "slice": "repeat", "n_customers": 812}
    assert card.slices == ({**about, "log_loss": 0.5, "auc": None, "best_rung": best},)
    assert card.calibration == {"ece": pytest.approx(0.02), "calibration_in_the_large": pytest.approx(-0.01)}
    assert all(holds for holds, _ in card.gate)


def test_limits(manifest: Manifest) -> None:
    """Notes, a short history, hidden stages and missing inputs are limits, in words."""
    limits = " ".join(build_card(manifest).limits)
    assert "Little to learn from." in limits
    assert "The history is 546 days long: no season was seen twice" in limits
    assert "ambassador" in limits
    assert "event:visit" in limits
    short = replace(manifest, data={**DATA, "first_day": "1998-01-01"})
    assert "12-month values are extrapolated" in " ".join(build_card(short).limits)


def test_unjudged(bundle: Bundle) -> None:
    """A model that was never judged says so, and has no ladder."""
    card = build_card(bundle.manifest)
    assert (card.ladder, card.comparisons, card.slices, card.calibration, card.gate) == ((), (), (), {}, ())
    assert "It was never judged on later time: how well it does is not known." in card.limits
    assert "How well it did" not in render_markdown(card)


def test_page(manifest: Manifest) -> None:
    """The page holds every section, with its figures and intervals, and one row per model."""
    page = render_markdown(build_card(manifest))
    assert page.startswith(f"# Model card: {manifest.version}\n")
    for title in ("Intended use", "Not for", "Limits", "Data", "What the gate said", "What it looks at", "Features"):
        assert f"\n## {title}\n" in page
    assert "\n## Promotion\n" not in page
    assert "| churn | log loss | **lifestage** | 0.3200 |" in page
    assert "| churn | bg_nbd | log loss | -0.0200 [-0.0258, -0.0142] |" in page
    assert "| churn | repeat | 812 | log loss 0.5000, AUC not measurable | bg_nbd: -0.0100 [-0.0200, 0.0000] |" in page
    assert "- customers: 1,500" in page
    assert "- holds: leakage: none found" in page
    assert "days_since_last_order" in page


def test_forced(manifest: Manifest) -> None:
    """The page of a model that was forced says so before all else, with why, and what the gate had objected."""
    page = render_markdown(build_card(manifest, FORCED))
    assert page.index("**Promoted by force, against the gate.** Why: the season.") < page.index("## Intended use")
    assert "The gate had objected:\n\n- x\n" in page
    marked = replace(FORCED, reason="a <b> | [x](y) `c` *d*", force_reason="Is <img src=x> better?")
    page = render_markdown(build_card(manifest, marked))
    assert "Why: Is \\<img src=x\\> better? The gate had objected:" in page
    assert "a \\<b\\> \\| \\[x\\](y) \\`c\\` \\*d\\*." in page
    assert "by force" not in render_markdown(build_card(manifest, replace(FORCED, is_forced=False)))
