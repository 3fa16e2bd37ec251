"""What the gate looks at in answers: one function per criterion, each with its reasons in words and figures."""

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from features.settings import GateSettings
from training.evaluation.coherence import COHERENCE, IDENTITIES
from training.evaluation.verdicts import CHAMPION, DECIDING, OURS, RECENCY_RULE, TASK_NAMES
from training.metrics import CALIBRATION_BINS
from training.promotion.evidence import Evidence, Figure, Reason, cutoffs_in_words

_TOLERANCE = 1e-9  # what rounding may do to an identity
_RELATIVE = {
    "value": "value_deviance_relative_margin",
    "first_purchase": "prospect_log_loss_relative_margin",
    "registration": "prospect_log_loss_relative_margin",
}
_LOSES, _LOSES_MUCH = "loses to", "loses by much, though too few customers to be sure, to"
_MUCH = 15.0  # margins, beyond which no interval excuses a loss; honest models of 50 customers lost up to 11
_SUSPICIOUS_AUC, _SUSPICIOUS_SHARE = 0.995, 0.5
_FEW = 10  # customers of an outcome, of whom nothing can be told
_MOST_CHANCE = 1.0  # of itself, by which chance may move a total at most


def check_rivals(evidence: Evidence, gate: GateSettings) -> Iterator[Reason]:
    """Object to a loss against a rung, or the champion, beyond the margin and beyond chance.

    The best of several rungs leads by chance more often than one would, so that the 90 % interval is widened for
    their number (Dunn 1961, Multiple comparisons among means). A loss of `_MUCH` margins is not put down to chance.
    """
    for (task, rival, metric), difference in evidence.differences.items():
        if metric == DECIDING[task]:
            yield _against(evidence, task, rival, difference, gate)


def check_ranking(evidence: Evidence, gate: GateSettings) -> Iterator[Reason]:
    """Object to a churn AUC below the recency rule's beyond the margin and beyond noise."""
    ours, rule = (evidence.value("churn", model, "auc") for model in (OURS, RECENCY_RULE))
    if ours is None or rule is None:
        were_asked = all(("churn", model, "auc") in evidence.figures for model in (OURS, RECENCY_RULE))
        cause = "cannot be measured where only one outcome occurred" if were_asked else "was not measured; train again"
        yield Reason(were_asked and ours is rule, f"churn: ranking {cause}")
        return
    paired = evidence.differences.get(("churn", RECENCY_RULE, "auc"), Figure(ours - rule))
    is_noise = paired.high is not None and paired.high >= 0.0
    holds = ours >= rule - gate.churn_auc_margin or is_noise
    yield Reason(holds, f"churn: AUC {ours:.4f} against {rule:.4f} of the recency rule")


def check_calibration(evidence: Evidence, gate: GateSettings) -> Iterator[Reason]:
    """Object to probabilities that are off by much, and by more than a rung's: where the season moves, all are off."""
    for metric, words, most in (
        ("ece", "calibration error", gate.churn_max_ece),
        ("calibration_in_the_large", "mean probability off by", gate.churn_max_in_the_large),
    ):
        off = {model: abs(figure.value or 0.0) for model, figure in evidence.of_metric("churn", metric).items()}
        if OURS not in off:
            yield Reason(holds=False, text=f"churn: {metric.replace('_', ' ')} was not measured")
            continue
        ours = evidence.figures["churn", OURS, metric]
        best = min((error for model, error in off.items() if model != OURS), default=0.0)
        allowed = max(most, best + gate.churn_ece_margin)
        if metric == "ece":  # a perfect model would seem off by chance; independent errors add up in squares
            allowed = float(np.hypot(allowed, _ece_by_chance(ours, evidence.value("churn", OURS, "base_rate"))))
        holds = min(off[OURS], ours.at_least) <= allowed
        yield Reason(holds, f"churn: {words} {off[OURS]:.4f}, at most {allowed:.4f} allowed")


def check_total(evidence: Evidence, gate: GateSettings) -> Iterator[Reason]:
    """Object to a total value that is off by much, beyond chance."""
    bias = evidence.figures.get(("value", OURS, "relative_bias"), Figure(None))
    if bias.value is None:
        nobody_can = not evidence.of_metric("value", DECIDING["value"])
        text = "value: nothing was ordered in any test horizon, so its bias cannot be measured"
        yield Reason(nobody_can, text)
        return
    n_ordered = _ordered(evidence.figures.get(("churn", OURS, "base_rate"), Figure(None)))
    chance = _total_by_chance(n_ordered)
    allowed = gate.value_max_relative_bias + chance
    holds = min(abs(bias.value) - chance, bias.at_least) <= gate.value_max_relative_bias
    text = f"value: total off by {bias.value:+.1%}, at most ±{allowed:.0%} allowed"
    few = f"; {n_ordered:.0f} ordered, too few orders to judge" if holds and n_ordered < _FEW else ""
    yield Reason(holds, text + few)


def check_coherence(evidence: Evidence) -> Iterator[Reason]:
    """Object to answers that contradict one another, or were never asked whether they do."""
    worst = {metric: figure.value for (task, _, metric), figure in evidence.figures.items() if task == COHERENCE}
    broken = {name: value for name, value in worst.items() if value is None or value > _TOLERANCE}
    for name, value in broken.items():
        by = "an unknown amount" if value is None else f"up to {value:.4g}"
        yield Reason(holds=False, text=f"incoherent: {IDENTITIES.get(name, name)}; off by {by}")
    if missing := IDENTITIES.keys() - worst.keys():
        yield Reason(holds=False, text=f"coherence: {', '.join(sorted(missing))} not measured; train again")
    elif not broken:
        yield Reason(holds=True, text=f"coherence: all {len(worst)} identities hold on every row")


def check_plausibility(evidence: Evidence) -> Iterator[Reason]:
    """Object to what is too good to be true where no rung comes near: the answer was probably known."""
    ours, area = (evidence.value("churn", OURS, metric) for metric in ("log_loss", "auc"))
    rungs = [
        figure.value
        for model, figure in evidence.of_metric("churn", "log_loss").items()
        if model not in {OURS, CHAMPION} and figure.value is not None
    ]
    told_by_few = _rarer(evidence.figures.get(("churn", OURS, "base_rate"), Figure(None))) < _FEW
    if ours is None or area is None or not rungs or told_by_few:
        return
    if area >= _SUSPICIOUS_AUC and ours < _SUSPICIOUS_SHARE * min(rungs):
        text = f"churn: AUC {area:.4f} and log loss {ours:.4f}, where the best rung has {min(rungs):.4f}"
        yield Reason(holds=False, text=f"{text}: too good to be true, something tells the answer")


def _against(evidence: Evidence, task: str, rival: str, difference: Figure, gate: GateSettings) -> Reason:
    name, metric = TASK_NAMES[task], DECIDING[task]
    if difference.value is None:
        nobody_can = not evidence.of_metric(task, metric)
        return Reason(holds=nobody_can, text=f"{name}: {metric} against {rival} cannot be measured")
    allowed = max(_margin(task, evidence.value(task, rival, metric), gate), _unseen(evidence, task))
    rungs = [r for t, r, m in evidence.differences if (t, m) == (task, metric) and r != CHAMPION]
    n_rivals = 1 if rival == CHAMPION else len(rungs)
    verdict = _compare(difference, difference.value, allowed, n_rivals)
    figures = f"{metric} {_with_interval(difference)}, {cutoffs_in_words(difference.n_cutoffs)}, margin {allowed:.4f}"
    return Reason(verdict not in {_LOSES, _LOSES_MUCH}, f"{name}: {verdict} {rival} ({figures})")


def _compare(difference: Figure, value: float, allowed: float, n_rivals: int) -> str:
    """Say in words how a difference compares with what is allowed, where the rival is one of so many."""
    low, high = (value if end is None else end for end in (difference.low, difference.high))
    widened = value - (value - low) * NormalDist().inv_cdf(1.0 - 0.05 / n_rivals) / NormalDist().inv_cdf(0.95)
    if value < 0.0 and high < 0.0:
        return "beats"
    if value <= allowed:
        return "is level with"
    if widened > 0.0:
        return _LOSES
    if value > _MUCH * allowed:
        return _LOSES_MUCH
    return "is level with" if low <= 0.0 else f"is no further behind than chance puts one of {n_rivals} rungs:"


def _margin(task: str, rival_mean: float | None, gate: GateSettings) -> float:
    if task in _RELATIVE:
        return float(getattr(gate, _RELATIVE[task])) * (rival_mean or 0.0)
    return gate.churn_log_loss_margin if task == "churn" else gate.next_stage_log_loss_margin


def _unseen(evidence: Evidence, task: str) -> float:
    """Return the log loss that being ready for an outcome may cost which hardly anybody had, and drawing does not show.

    Of n customers of whom k < `_FEW` had it, up to k + 3 may have had it just as well (Hanley and Lippman-Hand 1983, If
    nothing goes wrong, is everything all right?): expecting it of so many costs (k + 3) / n.
    """
    rate = evidence.figures.get(("churn", OURS, "base_rate"), Figure(None))
    rarer = _rarer(rate)
    if task not in {"churn", "next_stage"} or rarer >= _FEW or not rate.n_customers:
        return 0.0
    return (rarer + 3.0) * max(rate.n_cutoffs, 1) / rate.n_customers


def _rarer(rate: Figure) -> float:
    """Return how many customers had the rarer outcome, each counted once; infinite where that is not known."""
    if rate.value is None or not rate.n_customers:
        return float("inf")
    return min(rate.value, 1.0 - rate.value) * rate.n_customers / max(rate.n_cutoffs, 1)


def _ece_by_chance(figure: Figure, rate: float | None) -> float:
    """Return the ECE that a perfectly calibrated model may show, where a share of n customers leaves.

    The gaps |share − p| of B bins are half-normal; with u = rate (1 − rate), their mean over the customers is at most
    √(2 B u / (π n)), by the inequality of Cauchy and Schwarz.
    """
    if not figure.n_customers:
        return 0.0
    variance = 0.25 if rate is None else rate * (1.0 - rate)
    of_cutoff = figure.n_customers / max(figure.n_cutoffs, 1)
    return float(np.sqrt(2.0 * CALIBRATION_BINS * variance / (np.pi * of_cutoff)))


def _ordered(rate: Figure) -> float:
    """Return how many customers ordered, each counted once per cutoff; infinite where that is not known."""
    return float("inf") if rate.value is None or not rate.n_customers else (1.0 - rate.value) * rate.n_customers


def _total_by_chance(n_ordered: float) -> float:
    """Return by how much of itself a total may vary: 1.645 standard deviations, `_MOST_CHANCE` at most.

    Of k customers who order, and whose values vary as much as their mean, the total varies by √(2 / k).
    """
    return min(float(1.645 * np.sqrt(2.0 / max(n_ordered, 1.0))), _MOST_CHANCE)


def _with_interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:+.4f}"
    return f"{figure.value:+.4f} [{figure.low:+.4f}, {figure.high:+.4f}]"
