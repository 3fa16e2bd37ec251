"""The model card: what a model is for, what it learned from, how well it did, and where not to trust it.

The headings follow Mitchell et al. 2019, Model cards for model reporting.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from features.lifecycle.stages import STAGES, StageRule
from training.bundle import Manifest
from training.evaluation.verdicts import DECIDING, OURS
from training.promotion.champion import Promotion
from training.promotion.evidence import Evidence

INTENDED_USE = (
    "Choosing whom a retention team contacts, in which order, and with how much effort.",
    "Planning: how many customers will leave, which stages they move to, what the next orders and 12 months may bring, "
    "as totals over many customers.",
    "Comparing groups of customers of the shop it was trained on, over the horizon it was trained for.",
)
NOT_FOR = (
    "Setting anybody's price, discount, or terms of payment.",
    "Decisions about credit, insurance, employment or housing, or others with a legal or similar effect on a person.",
    "Denying, slowing or worsening service.",
    "Certainty about one customer: a probability is right about many, and the value of one lies in a wide interval.",
    "Telling why a customer leaves: inputs that go with leaving need not cause it, nor would changing them stop it.",
    "Another shop, another horizon, or dates long after training.",
)
_CALIBRATION = ("base_rate", "ece", "calibration_in_the_large", "brier", "brier_reliability")
_YEAR_DAYS = 365
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Card:
    """What people should know of a model before they rely on it.

    Args:
        manifest: Of the bundle.
        limits: What it cannot do on this data, in words.
        ladder: Deciding metric and churn AUC of every model: task, model, metric, value, low, high (90 % interval).
        comparisons: Ours minus each rival on the deciding metric: task, against, metric, value, low, high.
        slices: Our figures for parts of the customers: task, slice, n_customers, a value by metric, and `best_rung`:
            against which rung, on the deciding metric, ours minus theirs with its interval.
        calibration: How well churn probabilities fit what came: metric → value.
        promotion: How it came to serve; None where it does not.
    """

    manifest: Manifest
    limits: tuple[str, ...]
    ladder: tuple[Row, ...]
    comparisons: tuple[Row, ...]
    slices: tuple[Row, ...]
    calibration: dict[str, float]
    promotion: Promotion | None = None
    intended_use: tuple[str, ...] = INTENDED_USE
    not_for: tuple[str, ...] = NOT_FOR

    @property
    def gate(self) -> tuple[tuple[bool, str], ...]:
        """What the gate looked at when it was trained: whether it holds, and its words."""
        return tuple(
            (bool(reason["holds"]), str(reason["text"])) for reason in self.manifest.evaluation.get("gate", ())
        )

    @property
    def drivers_by_theme(self) -> dict[str, float]:
        """Theme → mean size of its part in p_churn; empty where that was not measured."""
        return self.manifest.drivers_by_theme


def build_card(manifest: Manifest, promotion: Promotion | None = None) -> Card:
    """Build the card of a bundle from its manifest, and from how it came to serve."""
    evaluation = manifest.evaluation
    is_judged = bool(evaluation.get("ladder"))
    evidence = Evidence.read(evaluation) if is_judged else Evidence({}, {})
    found = ((metric, evidence.value("churn", OURS, metric)) for metric in _CALIBRATION)
    return Card(
        manifest=manifest,
        limits=tuple(_limits(manifest, is_judged=is_judged)),
        ladder=tuple(_ladder(evidence)),
        comparisons=tuple(_comparisons(evidence)),
        slices=tuple(_slices(evaluation)),
        calibration={metric: value for metric, value in found if value is not None},
        promotion=promotion,
    )


def _limits(manifest: Manifest, *, is_judged: bool) -> Iterator[str]:
    yield from manifest.notes
    days = _history_days(manifest.data)
    if days is not None and days < _YEAR_DAYS:
        yield f"The history is {days} days long: 12-month values are extrapolated, and no season was seen whole."
    elif days is not None and days < 2 * _YEAR_DAYS:
        yield f"The history is {days} days long: no season was seen twice, so that a season may pass for a trend."
    hidden = [stage for stage in STAGES if stage not in StageRule.from_dict(manifest.stage_rule).observable]
    if hidden:
        yield f"The shop records nothing that would show these stages: {', '.join(hidden)}."
    if needs := sorted({need for needs in manifest.absent.values() for need in needs.split(", ")}):
        yield f"The shop does not record, and the model does not know: {', '.join(needs)}."
    if manifest.data.get("is_demo"):
        yield "It was trained on the demo's purchase log, and knows no other shop."
    if not is_judged:
        yield "It was never judged on later time: how well it does is not known."
    yield "Intervals tell what other customers of this shop would have changed, not what another season would."
    yield f"It was tested over {manifest.horizon_days} days; what it says of later months was not."


def _history_days(data: Mapping[str, Any]) -> int | None:
    first, last = data.get("first_day"), data.get("last_day")
    return None if first is None or last is None else (date.fromisoformat(last) - date.fromisoformat(first)).days + 1


def _ladder(evidence: Evidence) -> Iterator[Row]:
    asked = [("churn", "log_loss"), ("churn", "auc"), *((t, m) for t, m in DECIDING.items() if t != "churn")]
    for task, metric in asked:
        for model, figure in evidence.of_metric(task, metric).items():
            shown = {"value": figure.value, "low": figure.low, "high": figure.high}
            yield {"task": task, "model": model, "metric": metric, **shown}


def _comparisons(evidence: Evidence) -> Iterator[Row]:
    for (task, rival, metric), figure in evidence.differences.items():
        if metric == DECIDING[task]:
            shown = {"value": figure.value, "low": figure.low, "high": figure.high}
            yield {"task": task, "against": rival, "metric": metric, **shown}


def _slices(evaluation: Mapping[str, Any]) -> Iterator[Row]:
    """Yield our figures, slice by slice; nothing where no slice was judged."""
    found: dict[tuple[str, str], Row] = {}
    for row in evaluation.get("slices", ()):
        if row["model"] == OURS:
            about = {name: row[name] for name in ("task", "slice", "n_customers")}
            found.setdefault((row["task"], row["slice"]), about)[row["metric"]] = row["mean"]
    for row in evaluation.get("summary_differences", ()):
        key = row["task"], row["slice"]
        if key in found and row["metric"] == DECIDING[row["task"]]:
            found[key]["best_rung"] = {name: row[name] for name in ("against", "metric", "value", "low", "high")}
    yield from found.values()
