"""The gate: one thing wrong, one objection, in the right words."""

import copy
import json
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from features.settings import GateSettings, load_settings
from training.evaluate import CHAMPION, DECIDING, SCHEMA
from training.gate import decide, summarise, to_record
from training.ladder import OURS

GATE = load_settings().gate
CUTOFFS = ("1998-04-02", "1998-01-02", "1997-10-04")

Key = tuple[str, str, str]
NAN = float("nan")

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
    ("next_stage", "last_period", "log_loss"): 0.55,
    ("next_stage", OURS, "log_loss"): 0.50,
    ("value", "simple_clv", "deviance"): 14.0,
    ("value", CHAMPION, "deviance"): 11.0,
    ("value", OURS, "deviance"): 10.0,
    ("value", OURS, "relative_bias"): -0.05,
}


def rig(changes: Mapping[Key, float] | None = None) -> pl.DataFrame:
    """Build a backtest's frame, the same at every cutoff, from `GOOD` with changes."""
    return pl.concat([rig_cutoff(cutoff, {**GOOD, **(changes or {})}) for cutoff in CUTOFFS])


def rig_cutoff(cutoff: str, values: Mapping[Key, float]) -> pl.DataFrame:
    """Build the rows of one cutoff: the values, and ours minus each rival on the deciding metric."""
    rows: list[tuple[Any, ...]] = [(cutoff, *key, value, None, None, "", 100) for key, value in values.items()]
    for (task, model, metric), value in values.items():
        if model != OURS and metric == DECIDING[task]:
            difference = values[task, OURS, metric] - value
            rows.append((cutoff, task, OURS, metric, difference, difference - 0.01, difference + 0.01, model, 100))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def objections(frame: pl.DataFrame, gate: GateSettings = GATE) -> tuple[str, ...]:
    """Return what the gate holds against a challenger."""
    return decide(summarise(frame), gate).objections


def test_good() -> None:
    """A challenger that is better than everything passes, and every comparison is named."""
    decision = decide(summarise(rig()), GATE)
    assert decision.is_promoted
    assert decision.objections == ()
    assert [reason.text for reason in decision.reasons] == [
        "churn: beats base_rate (log_loss -0.1300, 3 cutoffs, margin 0.0020)",
        "churn: beats recency_rule (log_loss -0.0400, 3 cutoffs, margin 0.0020)",
        "churn: beats last_period (log_loss -0.0500, 3 cutoffs, margin 0.0020)",
        "churn: beats bg_nbd (log_loss -0.0200, 3 cutoffs, margin 0.0020)",
        "churn: beats champion (log_loss -0.0100, 3 cutoffs, margin 0.0020)",
        "next stage: beats last_period (log_loss -0.0500, 3 cutoffs, margin 0.0050)",
        "value: beats simple_clv (deviance -4.0000, 3 cutoffs, margin 0.2800)",
        "value: beats champion (deviance -1.0000, 3 cutoffs, margin 0.2200)",
        "churn: AUC 0.8000 against 0.7500 of the recency rule",
        "churn: calibration error 0.0200, at most 0.06 allowed",
        "value: total off by -5.0%, at most ±35% allowed",
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
    "calibration": ({("churn", OURS, "ece"): 0.07}, "churn: calibration error 0.0700, at most 0.06 allowed"),
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
    decision = decide(summarise(rig(changes)), GATE)
    assert decision.objections == (words,)
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
    frame = rig(changes)
    assert objections(frame, GATE.model_copy(update={setting: needed + 1e-9})) == ()
    assert len(objections(frame, GATE.model_copy(update={setting: needed - 1e-9}))) == 1


PROSPECTS: Mapping[Key, float] = {
    ("first_purchase", "base_rate", "log_loss"): 0.30,
    ("first_purchase", OURS, "log_loss"): 0.20,
    ("registration", "last_period", "log_loss"): 0.40,
    ("registration", OURS, "log_loss"): 0.35,
}


def test_prospects() -> None:
    """Where prospects were judged, the gate compares both their tasks, in the words for them."""
    decision = decide(summarise(rig(PROSPECTS)), GATE)
    assert decision.is_promoted
    assert [reason.text for reason in decision.reasons][8:10] == [
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
    reasons = decide(summarise(rig({("churn", "bg_nbd", "log_loss"): 0.319})), GATE).reasons
    assert "churn: is level with bg_nbd (log_loss +0.0010, 3 cutoffs, margin 0.0020)" in [r.text for r in reasons]


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
    bad = rig_cutoff(CUTOFFS[0], {**GOOD, ("churn", "bg_nbd", "log_loss"): 0.30})
    assert objections(pl.concat([bad, *(rig_cutoff(cutoff, GOOD) for cutoff in CUTOFFS[1:])])) == ()
    level = {**GOOD, ("churn", "bg_nbd", "log_loss"): 0.32}
    (words,) = objections(pl.concat([bad, *(rig_cutoff(cutoff, level) for cutoff in CUTOFFS[1:])]))
    assert words == "churn: loses to bg_nbd (log_loss +0.0067, 3 cutoffs, margin 0.0020)"


def test_champion_on_fewer_cutoffs() -> None:
    """A champion is compared on the cutoffs where it was judged, and their number is told."""
    without = {key: value for key, value in GOOD.items() if key[1] != CHAMPION}
    lost = {**GOOD, ("churn", CHAMPION, "log_loss"): 0.31}
    frame = pl.concat([rig_cutoff(CUTOFFS[0], lost), *(rig_cutoff(cutoff, without) for cutoff in CUTOFFS[1:])])
    assert objections(frame) == ("churn: loses to champion (log_loss +0.0100, 1 cutoff, margin 0.0020)",)


def test_no_champion() -> None:
    """Where no champion was judged, the gate says so and decides by the ladder."""
    without = {key: value for key, value in GOOD.items() if key[1] != CHAMPION}
    decision = decide(summarise(rig_cutoff(CUTOFFS[0], without)), GATE)
    assert decision.is_promoted
    assert decision.reasons[-1].text == "standing champion: none to compare with on later time"


def test_one_outcome() -> None:
    """Where only one outcome occurred at every cutoff there is no ranking, which is said and not held against it."""
    changes = {("churn", model, "auc"): NAN for model in (OURS, "recency_rule")}
    decision = decide(summarise(rig(changes)), GATE)
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
    said = " ".join(reason.text for reason in decide(summarise(frame), GATE).reasons)
    assert "in any test horizon" not in said
    assert "value: beats simple_clv (deviance -4.0000, 2 cutoffs, margin 0.2800)" in said


def test_pure() -> None:
    """The gate changes nothing it is given, and decides the same again, also from JSON."""
    evaluation = summarise(rig({("churn", "bg_nbd", "log_loss"): 0.31}))
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
