"""The gate: one thing wrong, one objection, in the right words."""

import copy
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from features.settings import GateSettings, load_settings
from training.evaluation.coherence import IDENTITIES
from training.evaluation.findings import SCHEMA
from training.evaluation.verdicts import CHAMPION, DECIDING, OURS, RECENCY_RULE
from training.promotion.conditions import Freshness
from training.promotion.gate import Decision, decide, summarise, to_record

GATE = load_settings().gate
CUTOFFS = ("1998-04-02", "1998-01-02", "1997-10-04")

Key = tuple[str, str, str]
NAN = float("nan")
BIAS = ("value", OURS, "relative_bias")
N_CUSTOMERS = 100_000  # of each cutoff, so many that chance does not excuse a calibration error
CLEAN: Mapping[str, Any] = {
    "is_clean": True,
    "point_in_time": {"cutoff": "1998-04-02", "n_customers": 1500, "differing": []},
    "windows": [],
    "telling_inputs": {},
}

# A challenger that is better than every rung at everything: (task, model, metric) → value at each cutoff.
GOOD: Mapping[Key, float] = {
    ("churn", "base_rate", "log_loss"): 0.45,
    ("churn", "recency_rule", "log_loss"): 0.36,
    ("churn", "recency_rule", "auc"): 0.75,
    ("churn", "last_period", "log_loss"): 0.37,
    ("churn", "bg_nbd", "log_loss"): 0.34,
    ("churn", CHAMPION, "log_loss"): 0.33,
    ("churn", OURS, "log_loss"): 0.32,
    ("churn", OURS, "auc"): 0.80,
    ("churn", OURS, "ece"): 0.02,
    ("churn", OURS, "calibration_in_the_large"): -0.01,
    ("next_stage", "last_period", "log_loss"): 0.55,
    ("next_stage", OURS, "log_loss"): 0.50,
    ("value", "simple_clv", "deviance"): 14.0,
    ("value", CHAMPION, "deviance"): 11.0,
    ("value", OURS, "deviance"): 10.0,
    ("value", OURS, "relative_bias"): -0.05,
    **{("coherence", OURS, identity): 2e-16 for identity in IDENTITIES},
}


def rig(changes: Mapping[Key, float] | None = None, *, n_customers: int = N_CUSTOMERS) -> pl.DataFrame:
    """Build a backtest's frame, the same at every cutoff, from `GOOD` with changes."""
    values = {**GOOD, **(changes or {})}
    return pl.concat([rig_cutoff(cutoff, values, n_customers=n_customers) for cutoff in CUTOFFS])


def rig_cutoff(cutoff: str, values: Mapping[Key, float], *, n_customers: int = N_CUSTOMERS) -> pl.DataFrame:
    """Build the rows of one cutoff: the values, and ours minus each rival on the deciding metric."""
    rows: list[tuple[Any, ...]] = [
        (cutoff, task, "all", model, metric, value, None, None, "", n_customers, None)
        for (task, model, metric), value in values.items()
    ]
    for (task, model, metric), value in values.items():
        if model != OURS and metric == DECIDING[task]:
            difference = values[task, OURS, metric] - value
            figures = (difference, difference - 0.01, difference + 0.01)
            rows.append((cutoff, task, "all", OURS, metric, *figures, model, n_customers, None))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def evaluate(frame: pl.DataFrame) -> dict[str, Any]:
    """Summarise a backtest of a training that found no leak."""
    return {**summarise(frame), "leakage": dict(CLEAN)}


def plain(texts: Iterable[str]) -> list[str]:
    """Leave the intervals out of reasons."""
    return [re.sub(r" \[[^]]*\]", "", text) for text in texts]


def reasons(frame: pl.DataFrame) -> list[str]:
    """Return all that the gate says of a challenger, without intervals."""
    return plain(reason.text for reason in decide(evaluate(frame), GATE).reasons)


def objections(frame: pl.DataFrame, gate: GateSettings = GATE) -> list[str]:
    """Return what the gate holds against a challenger, without intervals."""
    return plain(decide(evaluate(frame), gate).objections)


def test_good() -> None:
    """A challenger that is better than everything passes, and every comparison is named."""
    decision = decide(evaluate(rig()), GATE)
    assert decision.is_promoted
    assert decision.objections == ()
    assert reasons(rig()) == [
        "churn: beats base_rate (log_loss -0.1300, 3 cutoffs, margin 0.0020)",
        "churn: beats recency_rule (log_loss -0.0400, 3 cutoffs, margin 0.0020)",
        "churn: beats last_period (log_loss -0.0500, 3 cutoffs, margin 0.0020)",
        "churn: beats bg_nbd (log_loss -0.0200, 3 cutoffs, margin 0.0020)",
        "churn: beats champion (log_loss -0.0100, 3 cutoffs, margin 0.0020)",
        "next stage: beats last_period (log_loss -0.0500, 3 cutoffs, margin 0.0050)",
        "value: beats simple_clv (deviance -4.0000, 3 cutoffs, margin 0.2800)",
        "value: beats champion (deviance -1.0000, 3 cutoffs, margin 0.2200)",
        "churn: AUC 0.8000 against 0.7500 of the recency rule",
        "churn: calibration error 0.0200, at most 0.0601 allowed",
        "churn: mean probability off by 0.0100, at most 0.0500 allowed",
        "value: total off by -5.0%, at most ±35% allowed",
        "coherence: all 7 identities hold on every row",
        "leakage: none found",
        "judged by 100,000 customers per cutoff, 3 cutoffs, at least 30 asked",
        "standing champion: compared with it on cutoffs after its training",
    ]


REFUSED: Mapping[str, tuple[Mapping[Key, float], str]] = {
    "churn, recency rule": (
        {("churn", "recency_rule", "log_loss"): 0.30},
        "churn: loses to recency_rule (log_loss +0.0200, 3 cutoffs, margin 0.0020)",
    ),
    "churn, BG/NBD": (
        {("churn", "bg_nbd", "log_loss"): 0.31},
        "churn: loses to bg_nbd (log_loss +0.0100, 3 cutoffs, margin 0.0020)",
    ),
    "churn, champion": (
        {("churn", CHAMPION, "log_loss"): 0.31},
        "churn: loses to champion (log_loss +0.0100, 3 cutoffs, margin 0.0020)",
    ),
    "ranking": (
        {("churn", "recency_rule", "auc"): 0.81},
        "churn: AUC 0.8000 against 0.8100 of the recency rule",
    ),
    "calibration": ({("churn", OURS, "ece"): 0.07}, "churn: calibration error 0.0700, at most 0.0601 allowed"),
    "next stage": (
        {("next_stage", "last_period", "log_loss"): 0.49},
        "next stage: loses to last_period (log_loss +0.0100, 3 cutoffs, margin 0.0050)",
    ),
    "value": (
        {("value", "simple_clv", "deviance"): 9.0},
        "value: loses to simple_clv (deviance +1.0000, 3 cutoffs, margin 0.1800)",
    ),
    "value, champion": (
        {("value", CHAMPION, "deviance"): 9.5},
        "value: loses to champion (deviance +0.5000, 3 cutoffs, margin 0.1900)",
    ),
    "too much": ({("value", OURS, "relative_bias"): 0.40}, "value: total off by +40.0%, at most ±35% allowed"),
    "too little": ({("value", OURS, "relative_bias"): -0.40}, "value: total off by -40.0%, at most ±35% allowed"),
    "no measure": (
        {("next_stage", "last_period", "log_loss"): NAN},
        "next stage: log_loss against last_period cannot be measured",
    ),
    "no orders": (
        {("value", OURS, "relative_bias"): NAN},
        "value: nothing was ordered in any test horizon, so its bias cannot be measured",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    """One fault is one objection, and refuses the challenger."""
    changes, words = REFUSED[case]
    decision = decide(evaluate(rig(changes)), GATE)
    assert plain(decision.objections) == [words]
    assert not decision.is_promoted


MARGINS: Mapping[str, tuple[Mapping[Key, float], float]] = {
    # What the setting must be just above, or at, to let these figures pass.
    "churn_log_loss_margin": ({("churn", "bg_nbd", "log_loss"): 0.30}, 0.02),
    "churn_auc_margin": ({("churn", "recency_rule", "auc"): 0.85}, 0.05),
    "churn_max_ece": ({("churn", OURS, "ece"): 0.15}, 0.15),
    "next_stage_log_loss_margin": ({("next_stage", "last_period", "log_loss"): 0.45}, 0.05),
    "value_deviance_relative_margin": ({("value", "simple_clv", "deviance"): 8.0}, 0.25),
    "value_max_relative_bias": ({("value", OURS, "relative_bias"): -0.5}, 0.5),
}


@pytest.mark.parametrize("setting", MARGINS)
def test_margins(setting: str) -> None:
    """Each margin is its setting: a little more of it lets the same figures through, a little less does not."""
    changes, needed = MARGINS[setting]
    frame = rig(changes, n_customers=10**15)
    assert objections(frame, GATE.model_copy(update={setting: needed + 1e-9})) == []
    assert len(objections(frame, GATE.model_copy(update={setting: needed - 1e-9}))) == 1


PROSPECTS: Mapping[Key, float] = {
    ("first_purchase", "base_rate", "log_loss"): 0.30,
    ("first_purchase", OURS, "log_loss"): 0.20,
    ("registration", "last_period", "log_loss"): 0.40,
    ("registration", OURS, "log_loss"): 0.35,
}


def test_prospects() -> None:
    """Where prospects were judged, the gate compares both their tasks, in the words for them."""
    decision = decide(evaluate(rig(PROSPECTS)), GATE)
    assert decision.is_promoted
    assert reasons(rig(PROSPECTS))[8:10] == [
        "first purchase: beats base_rate (log_loss -0.1000, 3 cutoffs, margin 0.0060)",
        "registration: beats last_period (log_loss -0.0500, 3 cutoffs, margin 0.0080)",
    ]


@pytest.mark.parametrize(("task", "rival"), [("first_purchase", "base_rate"), ("registration", "last_period")])
def test_prospects_refused(task: str, rival: str) -> None:
    """A challenger that knows prospects worse than a rung is refused, unless it is within the share that is allowed."""
    frame = rig({**PROSPECTS, (task, OURS, "log_loss"): 0.44, (task, rival, "log_loss"): 0.40})
    (words,) = objections(frame)
    assert words == f"{task.replace('_', ' ')}: loses to {rival} (log_loss +0.0400, 3 cutoffs, margin 0.0080)"
    for margin, n_objections in ((0.1 + 1e-9, 0), (0.1 - 1e-9, 1)):
        allowed = GATE.model_copy(update={"prospect_log_loss_relative_margin": margin})
        assert len(objections(frame, allowed)) == n_objections


def test_level() -> None:
    """Within the margin, a challenger is said to be level, not to beat."""
    said = reasons(rig({("churn", "bg_nbd", "log_loss"): 0.319}))
    assert "churn: is level with bg_nbd (log_loss +0.0010, 3 cutoffs, margin 0.0020)" in said


def test_all_objections() -> None:
    """Faults are all named at once, not the first alone."""
    changes = {
        ("churn", "bg_nbd", "log_loss"): 0.31,
        ("churn", OURS, "ece"): 0.07,
        ("value", OURS, "relative_bias"): 1.0,
    }
    assert [words.split(" (")[0].split(",")[0] for words in objections(rig(changes))] == [
        "churn: loses to bg_nbd",
        "churn: calibration error 0.0700",
        "value: total off by +100.0%",
    ]


def test_mean_over_cutoffs() -> None:
    """The mean over cutoffs decides: a bad cutoff is forgiven by two good ones, and refused beside two level ones."""
    bad = rig_cutoff(CUTOFFS[0], {**GOOD, ("churn", "bg_nbd", "log_loss"): 0.28})
    assert objections(pl.concat([bad, *(rig_cutoff(cutoff, GOOD) for cutoff in CUTOFFS[1:])])) == []
    level = {**GOOD, ("churn", "bg_nbd", "log_loss"): 0.32}
    (words,) = objections(pl.concat([bad, *(rig_cutoff(cutoff, level) for cutoff in CUTOFFS[1:])]))
    assert words == "churn: loses to bg_nbd (log_loss +0.0133, 3 cutoffs, margin 0.0020)"


def test_champion_on_fewer_cutoffs() -> None:
    """A champion is compared on the cutoffs where it was judged, and their number is told."""
    without = {key: value for key, value in GOOD.items() if key[1] != CHAMPION}
    lost = {**GOOD, ("churn", CHAMPION, "log_loss"): 0.31}
    frame = pl.concat([rig_cutoff(CUTOFFS[0], lost), *(rig_cutoff(cutoff, without) for cutoff in CUTOFFS[1:])])
    assert objections(frame) == ["churn: loses to champion (log_loss +0.0100, 1 cutoff, margin 0.0020)"]


def test_no_champion() -> None:
    """Where no champion was judged, the gate says so and decides by the ladder."""
    without = {key: value for key, value in GOOD.items() if key[1] != CHAMPION}
    decision = decide(evaluate(rig_cutoff(CUTOFFS[0], without)), GATE)
    assert decision.is_promoted
    assert decision.reasons[-1].text == "standing champion: none to compare with on later time"


def test_one_outcome() -> None:
    """Where only one outcome occurred at every cutoff there is no ranking, which is said and not held against it."""
    changes = {("churn", model, "auc"): NAN for model in (OURS, "recency_rule")}
    decision = decide(evaluate(rig(changes)), GATE)
    assert decision.is_promoted
    assert "churn: ranking cannot be measured where only one outcome occurred" in [r.text for r in decision.reasons]


def test_one_cutoff_without_ranking() -> None:
    """A ranking that was measured at two cutoffs and lost there is an objection, whatever the third one lacks."""
    worse = {**GOOD, ("churn", OURS, "auc"): 0.60}
    unmeasured = {**GOOD, ("churn", OURS, "auc"): NAN, ("churn", "recency_rule", "auc"): NAN}
    frame = pl.concat([rig_cutoff(CUTOFFS[0], unmeasured), *(rig_cutoff(cutoff, worse) for cutoff in CUTOFFS[1:])])
    assert len(objections(frame)) == 1


def test_one_cutoff_without_orders() -> None:
    """Where nothing was ordered in one horizon of three, the gate does not say that nothing was in any."""
    unmeasured = {key: NAN if key[0] == "value" else value for key, value in GOOD.items()}
    frame = pl.concat([rig_cutoff(CUTOFFS[0], unmeasured), *(rig_cutoff(cutoff, GOOD) for cutoff in CUTOFFS[1:])])
    said = " ".join(reasons(frame))
    assert "in any test horizon" not in said
    assert "value: beats simple_clv (deviance -4.0000, 2 cutoffs, margin 0.2800)" in said


def test_pure() -> None:
    """The gate changes nothing it is given, and decides the same again, also from JSON."""
    evaluation = evaluate(rig({("churn", "bg_nbd", "log_loss"): 0.31}))
    before = copy.deepcopy(evaluation)
    first = decide(evaluation, GATE)
    assert evaluation == before
    assert decide(evaluation, GATE) == first == decide(json.loads(json.dumps(evaluation)), GATE)


def test_summary() -> None:
    """A summary names the cutoffs, averages every metric over those it was measured at, and keeps each difference."""
    without = {key: value for key, value in GOOD.items() if key[1] != CHAMPION}
    frame = pl.concat([rig_cutoff(CUTOFFS[0], {**GOOD, ("churn", OURS, "auc"): 0.9}), rig_cutoff(CUTOFFS[1], without)])
    summary = summarise(frame)
    assert summary["cutoffs"] == ["1998-01-02", "1998-04-02"]
    assert summary["deciding"] == {
        "churn": "log_loss",
        "next_stage": "log_loss",
        "value": "deviance",
        "first_purchase": "log_loss",
        "registration": "log_loss",
    }
    means = {(row["task"], row["model"], row["metric"]): (row["mean"], row["n_cutoffs"]) for row in summary["ladder"]}
    assert means.keys() == GOOD.keys()
    assert means["churn", OURS, "auc"] == (pytest.approx(0.85), 2)
    assert means["churn", CHAMPION, "log_loss"] == (pytest.approx(0.33), 1)
    assert len(summary["differences"]) == 8 + 6
    assert summary["differences"][0] == {
        "cutoff": "1998-04-02",
        "task": "churn",
        "against": "base_rate",
        "value": pytest.approx(-0.13),
        "low": pytest.approx(-0.14),
        "high": pytest.approx(-0.12),
    }


def test_json() -> None:
    """What could not be measured is null, and summary and reasons are JSON without a NaN."""
    changes = {("churn", OURS, "auc"): NAN, ("value", "simple_clv", "deviance"): NAN}
    summary = summarise(rig(changes))
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    (auc,) = [r["mean"] for r in summary["ladder"] if (r["model"], r["metric"]) == (OURS, "auc")]
    lost = [(r["value"], r["low"], r["high"]) for r in summary["differences"] if r["against"] == "simple_clv"]
    assert auc is None
    assert lost == [(None, None, None)] * 3
    record = to_record(decide(summary, GATE))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert {"holds": False, "text": "value: deviance against simple_clv cannot be measured"} in record


def amend(evaluation: dict[str, Any], about: Key, *, low: float, high: float) -> dict[str, Any]:
    """Give one figure of an evaluation an interval."""
    amended = copy.deepcopy(evaluation)
    (row,) = [row for row in amended["ladder"] if (row["task"], row["model"], row["metric"]) == about]
    row.update(low=low, high=high)
    return amended


def pair(frame: pl.DataFrame, rival: str, metric: str, *, value: float, low: float, high: float) -> Decision:
    """Decide on a backtest of which one difference in churn has an interval of the mean."""
    about = {"task": "churn", "slice": "all", "against": rival, "metric": metric}
    figures = {"value": value, "low": low, "high": high, "n_cutoffs": 3, "n_customers": 300}
    return decide({**evaluate(frame), "summary_differences": [{**about, **figures}]}, GATE)


def test_much() -> None:
    """A loss of many margins is an objection, whatever the interval; it is said that too few tell for sure."""
    frame = rig({("churn", "bg_nbd", "log_loss"): 0.02})
    lost = pair(frame, "bg_nbd", "log_loss", value=0.3, low=-0.001, high=0.6)
    figures = "(log_loss +0.3000 [-0.0010, +0.6000], 3 cutoffs, margin 0.0020)"
    assert lost.objections == (f"churn: loses by much, though too few customers to be sure, to bg_nbd {figures}",)
    assert not pair(frame, "bg_nbd", "log_loss", value=0.031, low=-0.01, high=0.07).is_promoted
    assert pair(frame, "bg_nbd", "log_loss", value=0.029, low=-0.01, high=0.07).is_promoted
    excused = pair(frame, "bg_nbd", "log_loss", value=0.3, low=0.01, high=0.6)  # one of many, or not
    assert [text[:21] for text in excused.objections] == ["churn: loses by much,"]


def test_pooled_interval() -> None:
    """The interval of the mean decides, where it was drawn: only a loss that is clear of it is lost."""
    frame = rig({("churn", "bg_nbd", "log_loss"): 0.31})
    level = pair(frame, "bg_nbd", "log_loss", value=0.01, low=-0.001, high=0.021)
    assert level.is_promoted
    shown = "churn: is level with bg_nbd (log_loss +0.0100 [-0.0010, +0.0210], 3 cutoffs, margin 0.0020)"
    assert shown in [reason.text for reason in level.reasons]
    lost = pair(frame, "bg_nbd", "log_loss", value=0.01, low=0.005, high=0.015)
    assert lost.objections == (
        "churn: loses to bg_nbd (log_loss +0.0100 [+0.0050, +0.0150], 3 cutoffs, margin 0.0020)",
    )


def test_one_of_many() -> None:
    """One of four rungs may lead by what chance gives the best of four; by more, it wins."""
    frame = rig({("churn", "bg_nbd", "log_loss"): 0.31})
    ahead = pair(frame, "bg_nbd", "log_loss", value=0.01, low=0.002, high=0.018)
    assert ahead.is_promoted
    words = "churn: is no further behind than chance puts one of 4 rungs: bg_nbd (log_loss +0.0100 [+0.0020, +0.0180]"
    assert [reason.text for reason in ahead.reasons if reason.text.startswith(words)]
    assert not pair(frame, "bg_nbd", "log_loss", value=0.01, low=0.004, high=0.016).is_promoted


def test_ahead_within_noise() -> None:
    """A challenger that is ahead by no more than chance is said to be level, not to beat."""
    decision = pair(rig(), "bg_nbd", "log_loss", value=-0.02, low=-0.05, high=0.01)
    shown = "churn: is level with bg_nbd (log_loss -0.0200 [-0.0500, +0.0100], 3 cutoffs, margin 0.0020)"
    assert shown in [reason.text for reason in decision.reasons]


def test_ranking_within_noise() -> None:
    """An AUC below the recency rule's is held against a challenger only where chance does not explain it."""
    frame = rig({("churn", "recency_rule", "auc"): 0.81})
    assert pair(frame, "recency_rule", "auc", value=-0.01, low=-0.02, high=0.005).is_promoted
    assert not pair(frame, "recency_rule", "auc", value=-0.01, low=-0.02, high=-0.005).is_promoted


IN_THE_LARGE = ("churn", OURS, "calibration_in_the_large")


@pytest.mark.parametrize("off", [-0.07, 0.07])
def test_in_the_large(off: float) -> None:
    """A mean probability that is off, either way, is an objection, but for what the best rung is off and for noise."""
    changes: dict[Key, float] = {IN_THE_LARGE: off, ("churn", "base_rate", IN_THE_LARGE[2]): 0.02}
    assert objections(rig(changes)) == ["churn: mean probability off by 0.0700, at most 0.0500 allowed"]
    moved_season = {**changes, ("churn", "base_rate", IN_THE_LARGE[2]): -0.065}
    assert objections(rig(moved_season)) == []
    low, high = sorted((off / 2, 2 * off))
    assert decide(amend(evaluate(rig(changes)), IN_THE_LARGE, low=low, high=high), GATE).is_promoted


@pytest.mark.parametrize("metric", ["ece", "calibration_in_the_large"])
def test_calibration_unmeasured(metric: str) -> None:
    """A challenger whose calibration was not measured is refused."""
    frame = rig().filter(pl.col("metric") != metric)
    assert objections(frame) == [f"churn: {metric.replace('_', ' ')} was not measured"]


def test_calibration_by_chance() -> None:
    """The calibration error that a perfect model would show in a small shop is forgiven, and no more."""
    off = {("churn", OURS, "ece"): 0.12}
    assert len(objections(rig(off))) == 1
    assert objections(rig(off, n_customers=50)) == []
    assert len(objections(rig({("churn", OURS, "ece"): 0.30}, n_customers=50))) == 1


def test_bias_within_noise() -> None:
    """A total that is off by less than chance explains is not held against a small shop."""
    about = ("value", OURS, "relative_bias")
    evaluation = evaluate(rig({about: 0.6}))
    assert not decide(evaluation, GATE).is_promoted
    assert decide(amend(evaluation, about, low=0.1, high=1.4), GATE).is_promoted
    assert not decide(amend(evaluation, about, low=0.4, high=0.8), GATE).is_promoted


def test_bias_of_few() -> None:
    """The total of a handful of customers who order may be off by what chance explains."""
    off: dict[Key, float] = {("value", OURS, "relative_bias"): 0.7, ("churn", OURS, "base_rate"): 0.8}
    assert objections(rig(off, n_customers=50)) == []  # 30 of 150 ordered: 42 % by chance
    assert objections(rig(off, n_customers=500)) == ["value: total off by +70.0%, at most ±48% allowed"]


def test_bias_of_hardly_any() -> None:
    """Where hardly anybody ordered, a total is said to be untold, but one that is absurd is still an objection."""
    few: dict[Key, float] = {("churn", OURS, "base_rate"): 0.96}
    near = rig({**few, BIAS: 1.2}, n_customers=30)
    assert objections(near) == []
    assert [text for text in reasons(near) if "total" in text] == [
        "value: total off by +120.0%, at most ±135% allowed; 4 ordered, too few orders to judge"
    ]
    absurd = "value: total off by +5000.0%, at most ±135% allowed"
    assert objections(rig({**few, BIAS: 50.0}, n_customers=30)) == [absurd]


def test_nothing_ordered() -> None:
    """Where nothing was ordered in any test horizon, value cannot be judged, which is said and not held against it."""
    decision = decide(evaluate(rig({key: NAN for key in GOOD if key[0] == "value"})), GATE)
    assert decision.is_promoted
    said = [reason.text for reason in decision.reasons]
    assert "value: deviance against simple_clv cannot be measured" in said
    assert "value: nothing was ordered in any test horizon, so its bias cannot be measured" in said


def test_incoherent() -> None:
    """An identity that fails by more than rounding is named with by how much; one that was not measured is missed."""
    broken = rig({("coherence", OURS, "clv_is_sum_of_months"): 0.5})
    assert objections(broken) == ["incoherent: the twelve months sum to clv_12m; off by up to 0.5"]
    without = rig().filter(pl.col("metric") != "clv_is_sum_of_months")
    assert objections(without) == ["coherence: clv_is_sum_of_months not measured; train again"]


LEAKS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "input": (
        {"telling_inputs": {"tickets_within_90": 0.9991}},
        "leakage: tickets_within_90 alone tells who churns (AUC 0.9991), and was probably written after the fact",
    ),
    "future": (
        {"point_in_time": {"cutoff": "1998-04-02", "n_customers": 9, "differing": ["frequency", "recency_days"]}},
        "leakage: later rows change frequency, recency_days at 1998-04-02",
    ),
    "window": (
        {"windows": ["the outcome of 1998-02-01 over 90 days was not known on 1998-04-02"]},
        "leakage: the outcome of 1998-02-01 over 90 days was not known on 1998-04-02",
    ),
}


@pytest.mark.parametrize("case", LEAKS)
def test_leaking(case: str) -> None:
    """A training that leaked is refused in words that name the leak."""
    found, words = LEAKS[case]
    for said in (True, False):  # what a record says of itself is not asked
        evaluation = {**evaluate(rig()), "leakage": {**CLEAN, **found, "is_clean": said}}
        assert decide(evaluation, GATE).objections == (words,)


def test_leakage_unchecked() -> None:
    """A training that never checked for leaks is refused."""
    unchecked = ("leakage: it was not checked; train again",)
    assert decide(summarise(rig()), GATE).objections == unchecked
    assert decide({**summarise(rig()), "leakage": {"is_clean": True}}, GATE).objections == unchecked


def test_too_good() -> None:
    """What tells everything where no rung comes near is refused; where a rung tells as much, it is not."""
    wonder: dict[Key, float] = {("churn", OURS, "auc"): 0.999, ("churn", OURS, "log_loss"): 0.05}
    assert objections(rig(wonder)) == [
        "churn: AUC 0.9990 and log loss 0.0500, where the best rung has 0.3400: "
        "too good to be true, something tells the answer"
    ]
    assert objections(rig({**wonder, ("churn", "last_period", "log_loss"): 0.06})) == []


def test_too_few_to_tell() -> None:
    """Where hardly anybody had the rarer outcome, being ready for it costs no more than chance; nothing is too good."""
    few: dict[Key, float] = {("churn", OURS, "base_rate"): 0.99995}
    rungs: dict[Key, float] = {("churn", "base_rate", "log_loss"): 0.1999}
    assert objections(rig({**rungs, ("churn", OURS, "log_loss"): 0.22})) != []
    assert objections(rig({**rungs, **few, ("churn", OURS, "log_loss"): 0.22}, n_customers=100)) == []
    assert objections(rig({**few, ("churn", OURS, "auc"): 0.999, ("churn", OURS, "log_loss"): 0.05})) == []


def test_few_customers() -> None:
    """A verdict on hardly anybody is none, at however many cutoffs they were judged, or if nobody counted them."""
    assert objections(rig(n_customers=29)) == ["judged by 29 customers per cutoff, 3 cutoffs, at least 30 asked"]
    assert objections(rig(n_customers=30)) == []
    evaluation = evaluate(rig())
    for row in evaluation["ladder"]:
        del row["n_customers"]
    assert decide(evaluation, GATE).objections == ("it is not told how many customers judged it; train again",)


def without(evaluation: dict[str, Any], is_gone: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    """Leave rows out of an evaluation."""
    tables = ("ladder", "differences", "summary_differences")
    return {**evaluation, **{name: [row for row in evaluation[name] if not is_gone(row)] for name in tables}}


@pytest.mark.parametrize("task", ["churn", "next_stage", "value"])
def test_task_missing(task: str) -> None:
    """An evaluation without a task is refused, and so is one that judged ours alone, or beside the champion."""
    words = f"{task.replace('_', ' ')}: it was not judged beside any rung; train again"
    assert words in decide(without(evaluate(rig()), lambda row: row["task"] == task), GATE).objections
    alone = without(evaluate(rig()), lambda row: row["task"] == task and row.get("against", CHAMPION) != CHAMPION)
    assert words in decide(alone, GATE).objections


def test_recency_rule_missing() -> None:
    """A churn model that was never compared with the recency rule is refused."""
    decision = decide(without(evaluate(rig()), lambda row: RECENCY_RULE in row.values()), GATE)
    assert decision.objections == (
        "churn: it was not compared with the recency rule; train again",
        "churn: ranking was not measured; train again",
    )


def test_champion_note() -> None:
    """Why a standing champion was not compared with is said, where training noted it."""
    challenged = rig().filter(pl.col("model") != CHAMPION, pl.col("against") != CHAMPION)
    note = "The standing champion looks 30 days ahead and cannot be compared with."
    decision = decide({**evaluate(challenged), "champion_note": note}, GATE)
    assert decision.is_promoted
    assert decision.reasons[-1].text == f"standing champion: {note[:-1]}"


@pytest.mark.parametrize(
    ("freshness", "words"),
    [
        (Freshness("2024-07-01"), ()),
        (Freshness("2024-07-01", "2024-12-28", "2024-07-01"), ()),
        (
            Freshness("2024-07-01", "2024-12-29"),
            ("stale data: the source goes on for 181 days after 2024-07-01, at most 180 allowed",),
        ),
        (
            Freshness("2024-07-01", "2024-06-30", "2024-07-02"),
            ("stale data: they end before 2024-07-01, the champion's before 2024-07-02",),
        ),
    ],
)
def test_stale(freshness: Freshness, words: tuple[str, ...]) -> None:
    """Data that end before the champion's, or long before their source, are stale."""
    assert decide(evaluate(rig()), GATE, freshness=freshness).objections == words


def test_age() -> None:
    """The age on the day of promotion is said, and held against a challenger where a limit is set; not the demo's."""
    freshness = Freshness("2024-07-01", promoted_at="2024-12-29T23:30:00+00:00")
    told = decide(evaluate(rig()), GATE, freshness=freshness)
    assert told.is_promoted
    assert "data: 181 days old on the day of promotion" in [reason.text for reason in told.reasons]
    strict = GATE.model_copy(update={"max_age_days": 180})
    refused = decide(evaluate(rig()), strict, freshness=freshness)
    assert refused.objections == ("stale data: 181 days old on the day of promotion, at most 180 allowed",)
    later = GATE.model_copy(update={"max_age_days": 181})
    assert decide(evaluate(rig()), later, freshness=freshness).is_promoted
    assert decide(evaluate(rig()), strict, freshness=replace(freshness, is_demo=True)).is_promoted
