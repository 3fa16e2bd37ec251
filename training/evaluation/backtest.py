"""The rolling backtest: every rung judged on later time than it learned from, as one tidy frame."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.errors import InsufficientHistoryError
from features.records import Records
from features.settings import Settings
from features.snapshot import Snapshot, to_date
from features.table import build_customer_table, features_named
from training.bundle import Bundle
from training.evaluation.carried import judge_carried
from training.evaluation.coherence import COHERENCE, measure_incoherence
from training.evaluation.draws import People, Roster
from training.evaluation.findings import SCHEMA, SUMMARY_SCHEMA, Finding, Key, pool, tabulate
from training.evaluation.judging import Case, answered, judge
from training.evaluation.ladder import OURS, Predictions, climb, predict
from training.evaluation.measures import COVERAGES, LOSSES, METRICS, RELIABILITY, measure_coverage
from training.evaluation.slices import ALL, slice_all, slice_customers
from training.evaluation.verdicts import CHAMPION, DECIDING
from training.labels import build_labels, build_prospect_examples
from training.learn import Advance, Past, learn_at, relearn
from training.models.inputs import stage_codes
from training.models.lifecycle import LifecycleModel
from training.splits import Fold, rolling_folds

__all__ = [
    "CHAMPION",
    "COHERENCE",
    "COVERAGES",
    "DECIDING",
    "LOSSES",
    "METRICS",
    "RELIABILITY",
    "SCHEMA",
    "SUMMARY_SCHEMA",
    "Backtest",
    "backtest",
    "judge",
    "measure_coverage",
    "observe",
]

_Rosters = Mapping[str, Roster]


@dataclass(frozen=True, slots=True)
class Backtest:
    """What the rolling backtest found.

    Args:
        frame: One row per cutoff, task, slice, model and metric (`SCHEMA`): value with a 90 % bootstrap interval where
            it was drawn (customers drawn whole); rows with `against` hold ours minus that model, paired by customer.
            `seed_sd` is the standard deviation of our figure over the seeds it was learned with.
        summary: The means over the cutoffs (`SUMMARY_SCHEMA`), with the intervals of these means: customers drawn whole
            across cutoffs.
        outcomes: Of the youngest cutoff: task → outcome per customer.
        predictions: Of the youngest cutoff: task → our prediction per customer.
        notes: Which cutoffs could not be judged, and why, in words.
        champion_note: Why the standing champion was not compared with, in words; empty where it was, or none serves.
    """

    frame: pl.DataFrame
    summary: pl.DataFrame
    outcomes: Mapping[str, npt.NDArray[Any]]
    predictions: Mapping[str, npt.NDArray[Any]]
    notes: tuple[str, ...] = ()
    champion_note: str = ""


def backtest(
    records: Records,
    *,
    first_day: int,
    end_day: int,
    settings: Settings,
    champion: Bundle | None = None,
    advance: Advance = lambda _: None,
) -> Backtest:
    """Judge the ladder on rolling cutoffs.

    Args:
        records: Validated records.
        first_day: Day number of the first order.
        end_day: First day number whose orders are not used.
        settings: Of the whole run.
        champion: The standing model; judged only at cutoffs at or after its training ended, because at earlier ones
            it has seen the answers.
        advance: Told the name of each step before it begins.

    Raises:
        InsufficientHistoryError: If there is too little time or too few customers, even at the youngest cutoff.
    """
    folds = rolling_folds(first_day=first_day, end_day=end_day, settings=settings.training)
    notes = list(_short_of_cutoffs(len(folds), settings.training.test_cutoffs))
    rosters: _Rosters = {}
    frames, findings, youngest = [], [], None
    for fold in folds:
        when = to_date(fold.cutoff_day).isoformat()
        step = partial(_named, advance, when)
        try:
            past, model = learn_at(records, fold, settings=settings, advance=step)
        except InsufficientHistoryError as error:
            if youngest is None:
                raise
            notes.append(f"The backtest ends at {when}, where there is too little to learn from: {error.problem}")
            break
        reruns = _learn_again(past, model, settings, step)
        step("judging")
        rosters = _enlist(rosters, past)
        answers = {**climb(past, model), **_ask_champion(records, fold, champion)}
        outcomes, worth = observe(records, fold, past, settings), _customer_value(past, model, settings)
        case = Case(answers, outcomes, _gather(past, model, rosters), reruns, worth)
        carried = judge_carried(records, model, past.present, cutoff_day=fold.cutoff_day, end_day=end_day)
        found = (*judge(case, settings), *carried, *_check_coherence(past, model))
        frames.append(tabulate(found, cutoff=when))
        findings.append(found)
        youngest = youngest or (outcomes, answered(answers[OURS]))
    assert youngest is not None  # noqa: S101 - rolling_folds returns at least one fold
    return Backtest(pl.concat(frames), pool(findings), *youngest, notes=tuple(notes))


def _short_of_cutoffs(n_folds: int, asked: int) -> Iterator[str]:
    if n_folds < asked:
        yield f"{asked} test cutoffs were asked for; the history has room for {n_folds}."


def _named(advance: Advance, when: str, step: str) -> None:
    advance(f"{when}: {step}")


def observe(records: Records, fold: Fold, past: Past, settings: Settings) -> Mapping[str, npt.NDArray[Any]]:
    """Return what came within the horizon after the fold's cutoff: task → outcome per customer or prospect, by id."""
    snapshot = Snapshot(fold.cutoff_day, settings.training.horizon_days)
    labels = build_labels(records, snapshot, rule=past.rule)
    came = {
        "churn": labels["is_churned"].to_numpy().astype(np.int64),
        "next_stage": stage_codes(labels["next_stage"]),
        "value": labels["value"].to_numpy(),
    }
    if past.prospects is None:
        return came
    of_prospects = build_prospect_examples(records, snapshot, rule=past.prospects.rule)
    visitors = of_prospects.filter("is_visitor")
    return came | {
        "first_purchase": of_prospects["is_first_purchase"].to_numpy().astype(np.int64),
        "registration": visitors["is_registration"].to_numpy().astype(np.int64),
    }


def _learn_again(past: Past, model: LifecycleModel, settings: Settings, step: Advance) -> list[Predictions]:
    """Let the model answer as other seeds would have made it: `training.seeds` in all, its own the first of them."""
    seed, n_seeds = settings.training.seed, settings.training.seeds
    if n_seeds == 1:
        return []
    step("other seeds")
    others = relearn(past, model, seeds=range(seed + 1, seed + n_seeds), settings=settings)
    return [predict(other, past.present) for other in others]


def _enlist(rosters: _Rosters, past: Past) -> _Rosters:
    """Add the people of a cutoff to those who may be drawn."""
    return {**rosters, **{name: rosters.get(name, Roster()).enlist(ids) for name, ids in _ids(past).items()}}


def _gather(past: Past, model: LifecycleModel, rosters: _Rosters) -> dict[str, People]:
    """Return who is judged at a cutoff, by population."""
    slices = slice_customers(past.present, segments=model.segments, horizon_days=model.horizon_days)
    ids = _ids(past)
    found = {"customers": People.among(rosters["customers"], ids["customers"], slices)}
    if past.prospects is None or "prospects" not in ids:
        return found
    visitors = ids["prospects"].filter(past.prospects.present["is_visitor"])
    return found | {
        name: People.among(rosters["prospects"], each, slice_all(len(each)))
        for name, each in (("prospects", ids["prospects"]), ("visitors", visitors))
    }


def _ids(past: Past) -> dict[str, pl.Series]:
    """Return the ids of the customers, and of the prospects where there are any; a visitor's may be a customer's."""
    found = {"customers": past.present["customer_id"]}
    if past.prospects is None or past.prospects.present.is_empty():
        return found
    name = pl.concat_str(pl.col("is_visitor").cast(pl.String), "person_id", separator=":")
    return found | {"prospects": past.prospects.present.select(id=name)["id"]}


def _customer_value(past: Past, model: LifecycleModel, settings: Settings) -> float:
    """Return what a customer kept is worth in the next 12 months on average, where the settings do not say."""
    stated = settings.retention.customer_value
    return stated or float(model.answer(past.present).forecast.clv_12m.mean())


def _check_coherence(past: Past, model: LifecycleModel) -> Iterator[Finding]:
    """Yield by how much each identity of an answer fails at worst."""
    for identity, violation in measure_incoherence(model, past.present).items():
        yield Finding(Key(COHERENCE, ALL, OURS, identity), violation, past.present.height)


def _ask_champion(records: Records, fold: Fold, champion: Bundle | None) -> dict[str, Predictions]:
    """Let the champion answer with its own stage rule, where there is one and it has not seen what came.

    Its stages are comparable only where the rules agree, so that it is not asked for them.
    """
    if champion is None or champion.manifest.trained_as_of > to_date(fold.cutoff_day).isoformat():
        return {}
    model = champion.model
    snapshot = Snapshot(fold.cutoff_day, model.horizon_days)
    table = build_customer_table(records, snapshot, rule=model.stage_rule, features=features_named(model.features))
    said = predict(model, table)
    return {CHAMPION: Predictions(p_churn=said.p_churn, value=said.value)}
