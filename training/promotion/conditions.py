"""What the gate asks before it believes a figure: was all of it measured, on enough people, without leaks, lately?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from features.settings import GateSettings
from training.evaluation.verdicts import CHAMPION, DECIDING, OURS, RECENCY_RULE, TASK_NAMES
from training.promotion.evidence import Evidence, Figure, Reason, cutoffs_in_words

_NEEDED = ("churn", "next_stage", "value")  # prospects are judged where a shop has any


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the data of a challenger are, by ISO dates.

    Args:
        trained_as_of: Nothing at or after it was seen.
        source_last_day: Day of the last order of the source that it was trained from, where that is known.
        champion_as_of: The same date of the standing champion, where one serves this shop.
        promoted_at: ISO 8601 time of the decision; None at training, where none is taken.
        is_demo: Whether the data are the demo's, which are old by design.
    """

    trained_as_of: str
    source_last_day: str | None = None
    champion_as_of: str | None = None
    promoted_at: str | None = None
    is_demo: bool = False


def check_completeness(evidence: Evidence) -> Iterator[Reason]:
    """Object to a backtest in which a task, its comparison with the rungs, or the recency rule is missing.

    What was asked and could not be measured, as a value where nothing was ordered, is there, and is no number.
    """
    compared = {(task, rival) for task, rival, metric in evidence.differences if metric == DECIDING[task]}
    for task in _NEEDED:
        has_rung = any(asked == task and rival != CHAMPION for asked, rival in compared)
        if (task, OURS, DECIDING[task]) not in evidence.figures or not has_rung:
            yield Reason(holds=False, text=f"{TASK_NAMES[task]}: it was not judged beside any rung; train again")
    if ("churn", RECENCY_RULE) not in compared:
        yield Reason(holds=False, text="churn: it was not compared with the recency rule; train again")


def check_leaks(leakage: Mapping[str, Any] | None) -> Reason:
    """Object to a training that knew its answers beforehand, or was never asked whether it did."""
    try:
        found = None if leakage is None else list(_name_leaks(leakage))
    except KeyError:
        found = None
    if found is None:
        return Reason(holds=False, text="leakage: it was not checked; train again")
    return Reason(not found, f"leakage: {'; '.join(found) or 'none found'}")


def check_customers(evidence: Evidence, gate: GateSettings) -> Reason:
    """Object to a verdict that rests on hardly anybody: a customer judged at three cutoffs is one customer."""
    judged = evidence.figures.get(("churn", OURS, DECIDING["churn"]), Figure(None))
    if judged.n_customers is None:
        return Reason(holds=False, text="it is not told how many customers judged it; train again")
    per_cutoff = judged.n_customers / max(judged.n_cutoffs, 1)
    text = f"judged by {per_cutoff:,.0f} customers per cutoff, {cutoffs_in_words(judged.n_cutoffs)}"
    return Reason(per_cutoff >= gate.min_judged_customers, f"{text}, at least {gate.min_judged_customers} asked")


def check_age(freshness: Freshness, gate: GateSettings) -> Iterator[Reason]:
    """Object to data that end before the champion's, long before the source does, or, where asked, before today."""
    trained, champion, source = freshness.trained_as_of, freshness.champion_as_of, freshness.source_last_day
    if champion is not None:
        compared = f"stale data: they end before {trained}, the champion's before {champion}"
        yield Reason(trained >= champion, compared if trained < champion else "data: as young as the champion's")
    if source is not None:
        age = _days_between(trained, date.fromisoformat(source))
        text = f"the source goes on for {age} days after {trained}, at most {gate.max_stale_days} allowed"
        yield _of_age(age <= gate.max_stale_days, text)
    if freshness.promoted_at is not None:
        age = _days_between(trained, datetime.fromisoformat(freshness.promoted_at).date())
        is_limited = gate.max_age_days > 0 and not freshness.is_demo
        limit = f", at most {gate.max_age_days} allowed" if is_limited else ""
        text = f"{age:,} days old on the day of promotion{limit}"
        yield _of_age(not is_limited or age <= gate.max_age_days, text)


def tell_of_champion(evidence: Evidence, note: str | None = None) -> Reason:
    """Say whether the standing champion was compared with, or why it was not, where training noted that."""
    compared = any(rival == CHAMPION for _, rival, _ in evidence.differences)
    text = "compared with it on cutoffs after its training" if compared else "none to compare with on later time"
    return Reason(holds=True, text=f"standing champion: {text if compared or not note else note.rstrip('.')}")


def _name_leaks(leakage: Mapping[str, Any]) -> Iterator[str]:
    """Yield each leak of a record in words.

    Raises:
        KeyError: If one of the checks is not recorded.
    """
    for name, value in leakage["telling_inputs"].items():
        yield f"{name} alone tells who churns (AUC {value:.4f}), and was probably written after the fact"
    if differing := leakage["point_in_time"]["differing"]:
        yield f"later rows change {', '.join(differing)} at {leakage['point_in_time']['cutoff']}"
    yield from leakage["windows"]


def _days_between(trained: str, until: date) -> int:
    return max((until - date.fromisoformat(trained)).days, 0)


def _of_age(holds: bool, text: str) -> Reason:  # noqa: FBT001 - the first field of a reason
    return Reason(holds, f"{'data' if holds else 'stale data'}: {text}")
