"""The model card as a page of Markdown, for people."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from training.card.model_card import Card
from training.evaluation.verdicts import OURS, TASK_NAMES
from training.promotion.champion import Promotion

_WORDS = {
    "log_loss": "log loss",
    "auc": "AUC",
    "ece": "calibration error",
    "base_rate": "share that left",
    "calibration_in_the_large": "mean probability less share that left",
    "brier": "Brier score",
    "brier_reliability": "reliability part of the Brier score",
    "relative_bias": "total off by",
}
_MAX_DRIVERS = 15
_MARKUP = re.compile(r"[\\`*_\[\]<>|~&#!]")


def render_markdown(card: Card) -> str:
    """Render a card as Markdown: a heading and what belongs under it, section by section."""
    sections = (
        (f"Model card: {card.manifest.version}", _summary(card)),
        ("Promotion", _promotion(card.promotion)),
        ("Intended use", _list(card.intended_use)),
        ("Not for", _list(card.not_for)),
        ("Limits", _list(card.limits)),
        ("Data", _data(card.manifest.data)),
        ("How well it did on later time", _ladder(card)),
        ("Against each rung", _comparisons(card)),
        ("Parts of the customers", _slices(card)),
        ("Calibration of churn", _figures(card.calibration)),
        ("What the gate said", _list(f"{'holds' if holds else 'objects'}: {text}" for holds, text in card.gate)),
        ("What it looks at", _drivers(card)),
        ("Features", _list(f"`{f['name']}` ({f['unit']}): {f['meaning']}" for f in card.manifest.catalogue)),
    )
    texts = [f"{'#' if i == 0 else '##'} {title}\n\n{body}\n" for i, (title, body) in enumerate(sections) if body]
    return "\n".join(texts)


def _summary(card: Card) -> str:
    manifest = card.manifest
    return (
        f"Says of every customer, as of a date, whether an order comes within {manifest.horizon_days} days, which "
        f"lifecycle stage follows, and what they are worth. Trained on orders before {manifest.trained_as_of} "
        f"(time zone {manifest.timezone})."
    )


def _promotion(promotion: Promotion | None) -> str:
    if promotion is None:
        return ""
    said = f"Promoted at {promotion.at}: {_as_sentence(promotion.reason)}"
    if not promotion.is_forced:
        return said
    why = f"**Promoted by force, against the gate.** Why: {_as_sentence(promotion.force_reason)} The gate had objected:"
    return f"{said}\n\n{why}\n\n{_list(map(_escape, promotion.objections))}"


def _as_sentence(text: str) -> str:
    """Return a text as it was given, not as markup, with a stop at its end."""
    return _escape(text) + ("" if text.endswith((".", "!", "?")) else ".")


def _escape(text: str) -> str:
    """Keep a text from being read as Markdown or HTML."""
    return _MARKUP.sub(r"\\\g<0>", text)


def _data(data: Mapping[str, Any]) -> str:
    names = {
        "first_day": "first order",
        "last_day": "last day seen",
        "source_last_day": "last order of the source",
        "n_customers": "customers",
        "n_orders": "orders",
        "n_quarantined": "rows refused",
        "digest": "hash of the orders",
    }
    return _list(f"{words}: {_shown(data[name])}" for name, words in names.items() if data.get(name) is not None)


def _ladder(card: Card) -> str:
    rows = [
        (TASK_NAMES[row["task"]], _word(row["metric"]), _model(row["model"]), _estimate(row)) for row in card.ladder
    ]
    return _table(("task", "metric", "model", "mean [90 % interval]"), rows)


def _comparisons(card: Card) -> str:
    rows = [(TASK_NAMES[row["task"]], row["against"], _word(row["metric"]), _estimate(row)) for row in card.comparisons]
    if not rows:
        return ""
    return "Ours less theirs; below 0, ours is better.\n\n" + _table(
        ("task", "rung", "metric", "difference [90 % interval]"), rows
    )


def _slices(card: Card) -> str:
    about = ("task", "slice", "n_customers", "best_rung")
    rows = [
        (
            TASK_NAMES[row["task"]],
            row["slice"],
            _shown(row["n_customers"]),
            _in_line(row, leave_out=about),
            _against_best(row.get("best_rung")),
        )
        for row in card.slices
    ]
    return _table(("task", "customers", "n", "figures", "ours less the best rung's"), rows)


def _against_best(best: Mapping[str, Any] | None) -> str:
    return "not measurable" if best is None else f"{best['against']}: {_estimate(best)}"


def _drivers(card: Card) -> str:
    themes = [f"{theme}: {share:.3f}" for theme, share in card.drivers_by_theme.items()]
    greatest = sorted(card.manifest.drivers.items(), key=lambda pair: -pair[1])[:_MAX_DRIVERS]
    inputs = [f"`{name}`: {share:.1%} of the churn trees' gain" for name, share in greatest]
    return _list((*themes, *inputs))


def _figures(figures: Mapping[str, float]) -> str:
    return _list(f"{_word(name)}: {_shown(value)}" for name, value in figures.items())


def _in_line(row: Mapping[str, Any], *, leave_out: Iterable[str]) -> str:
    return ", ".join(f"{_word(name)} {_shown(value)}" for name, value in row.items() if name not in set(leave_out))


def _estimate(row: Mapping[str, Any]) -> str:
    if row["low"] is None or row["high"] is None:
        return _shown(row["value"])
    return f"{_shown(row['value'])} [{_shown(row['low'])}, {_shown(row['high'])}]"


def _shown(value: Any) -> str:
    if value is None:
        return "not measurable"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _word(metric: str) -> str:
    return _WORDS.get(metric, metric.replace("_", " "))


def _model(name: str) -> str:
    return f"**{name}**" if name == OURS else name


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(_lines(heads, rows)) if rows else ""


def _lines(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for cells in (heads, ["---"] * len(heads), *rows):
        yield f"| {' | '.join(cells)} |"
