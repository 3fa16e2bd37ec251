"""Judging: what every model said at one cutoff against what came, metric by metric and slice by slice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from features.lifecycle.stages import STAGES
from features.settings import Settings
from training import metrics
from training.evaluation.draws import BoolArray, Drawn, People, draw, weighted_aucs
from training.evaluation.findings import Finding, Key
from training.evaluation.ladder import OURS, Predictions
from training.evaluation.measures import (
    COMPARED,
    LOSSES,
    ON_SLICES,
    RANKED,
    RELIABILITY,
    TOTALS,
    Metric,
    measure_coverage,
    measures_of,
)
from training.evaluation.slices import ALL, slice_all
from training.evaluation.verdicts import DECIDING
from training.metrics import Array, FloatArray

# Who is asked → what; the same draws serve all tasks of one line.
POPULATIONS: Mapping[str, tuple[str, ...]] = {
    "customers": ("churn", "next_stage", "value"),
    "prospects": ("first_purchase",),
    "visitors": ("registration",),
}


@dataclass(frozen=True, slots=True)
class Case:
    """What is put before the judge at one cutoff.

    Args:
        answers: Model → what it said; ours among them.
        outcomes: Task → what came, one element per person.
        people: Population → who they are; without an entry, they are judged at this cutoff only, and as a whole.
        reruns: What our model said when it was learned with other seeds.
        customer_value: Of a customer kept, in currency units, where the settings name none.
    """

    answers: Mapping[str, Predictions]
    outcomes: Mapping[str, Array]
    people: Mapping[str, People] = field(default_factory=dict)
    reruns: Sequence[Predictions] = ()
    customer_value: float = 0.0


@dataclass(frozen=True, slots=True)
class _Trial:
    """One task on one slice: (n,) outcomes, and by model what it said and what that cost each of n people."""

    task: str
    slice: str
    y: Array
    said: Mapping[str, Array]
    losses: Mapping[str, FloatArray]

    def only(self, name: str, inside: BoolArray) -> "_Trial":
        """Return the trial of those who are in a slice."""
        said, losses = ({model: each[inside] for model, each in by.items()} for by in (self.said, self.losses))
        return _Trial(self.task, name, self.y[inside], said, losses)

    def columns(self) -> Iterator[FloatArray]:
        """Yield what is averaged on each draw, (n,) each: the losses, and, where totals are told, what they take."""
        yield from self.losses.values()
        if self.task in TOTALS:
            yield from self.said.values()
            yield self.y

    def draws(self, means: Iterator[FloatArray]) -> dict[tuple[str, str], FloatArray]:
        """Return (model, metric) → the metric on each draw, from the means of `columns`."""
        found = {(model, DECIDING[self.task]): next(means) for model in self.losses}
        if self.task in TOTALS:
            said, came = {(model, TOTALS[self.task]): next(means) for model in self.said}, next(means)
            scale = np.where(came > 0, came, np.nan) if self.task == "value" else np.ones(1)
            found |= {about: (mean - came) / scale for about, mean in said.items()}
        return found


def judge(case: Case, settings: Settings) -> tuple[Finding, ...]:
    """Measure every model on every task it answers: on everyone, on each slice, and ours against each rival."""
    return tuple(found for population in POPULATIONS for found in _judge_population(case, population, settings))


def answered(predictions: Predictions) -> Mapping[str, Array]:
    """Return task → prediction, for the tasks that a rung answers."""
    found = {
        "churn": predictions.p_churn,
        "next_stage": predictions.p_next_stage,
        "value": predictions.value,
        "first_purchase": predictions.p_first_purchase,
        "registration": predictions.p_registration,
    }
    return {task: p for task, p in found.items() if p is not None}


def _judge_population(case: Case, population: str, settings: Settings) -> Iterator[Finding]:
    """Judge the tasks of one population, all on the same draws."""
    trials = list(_call(case, POPULATIONS[population]))
    if not trials:
        return
    n = trials[0].y.size
    people = case.people.get(population) or People.alone(n, slice_all(n))
    drawn = draw(
        [column for trial in trials for column in trial.columns()],
        people,
        n_draws=settings.training.bootstrap_samples,
        seed=settings.training.seed,
    )
    columns = iter(np.moveaxis(drawn.means, 2, 0))
    for trial in trials:
        by_slice = trial.draws(columns)
        functions = measures_of(trial.task, settings.retention, customer_value=case.customer_value)
        for place, (name, inside) in enumerate(people.slices.items()):
            draws = {about: each[:, place] for about, each in by_slice.items()}
            if name == ALL and trial.task in RANKED:
                draws |= {(model, "auc"): _draw_auc(trial.y, p, drawn) for model, p in trial.said.items()}
            found = list(_measure(trial.only(name, inside), functions, draws, case.reruns))
            yield from (*found, *_differences(found))
        yield from _look_closer(trial, case)


def _call(case: Case, tasks: Sequence[str]) -> Iterator[_Trial]:
    """Yield the trial of each task that has people to judge by, and that ours could learn and answer."""
    for task in tasks:
        y = case.outcomes.get(task)
        said = {model: given[task] for model, a in case.answers.items() if task in (given := answered(a))}
        if y is not None and y.size and OURS in said:
            yield _Trial(task, ALL, y, said, {model: LOSSES[task](y, p) for model, p in said.items()})


def _measure(
    trial: _Trial,
    functions: Mapping[str, Metric],
    draws: Mapping[tuple[str, str], FloatArray],
    reruns: Sequence[Predictions],
) -> Iterator[Finding]:
    """Yield each metric of each model; of the deciding one, the mean of the losses that the draws were taken from."""
    is_whole, deciding = trial.slice == ALL, DECIDING[trial.task]
    told = functions if is_whole else {name: functions[name] for name in ON_SLICES[trial.task]}
    for model, p in trial.said.items():
        again = _ask_again(trial.task, reruns) if is_whole and model == OURS else []
        for metric, function in told.items():
            is_deciding = metric == deciding
            value = float(np.mean(trial.losses[model])) if is_deciding else function(trial.y, p)
            seeds = np.array([value, *(function(trial.y, other) for other in again)]) if again else None
            key = Key(trial.task, trial.slice, model, metric)
            yield Finding(key, value, trial.y.size, draws.get((model, metric)), seeds)


def _ask_again(task: str, reruns: Sequence[Predictions]) -> list[Array]:
    """Return what the reruns say of a task; nothing of prospects, about whom no seed decides."""
    return [said[task] for rerun in reruns if task in (said := answered(rerun))]


def _differences(found: Sequence[Finding]) -> Iterator[Finding]:
    """Yield ours minus each rival of every figure that was drawn, paired by draw."""
    drawn = [(each, each.draws) for each in found if each.draws is not None and each.key.metric in COMPARED]
    ours = {each.key.metric: (each, draws) for each, draws in drawn if each.key.model == OURS}
    for theirs, their_draws in drawn:
        if theirs.key.model != OURS:
            mine, my_draws = ours[theirs.key.metric]
            key = mine.key._replace(against=theirs.key.model)
            yield Finding(key, mine.value - theirs.value, mine.n_customers, my_draws - their_draws)


def _draw_auc(y: Array, score: FloatArray, drawn: Drawn) -> FloatArray:
    """Return the AUC of each draw, (n_draws,), around that of everyone.

    Where a panel is drawn from, its deviations are scaled to the number of people: they shrink with its square root
    (m out of n bootstrap; Bickel, Götze and van Zwet 1997, Resampling fewer than n observations).
    """
    chosen = drawn.panel
    found = weighted_aucs(y[chosen], score[chosen], drawn.weights)
    if chosen.size == y.size:
        return found
    deviation = found - metrics.auc(y[chosen], score[chosen])
    return np.asarray(metrics.auc(y, score) + deviation * np.sqrt(chosen.size / y.size))


def _look_closer(trial: _Trial, case: Case) -> Iterator[Finding]:
    """Yield what is told of our model alone: of each next stage how well it fits, of value how sure it is."""
    detail = {"next_stage": _reliability, "value": _coverage}.get(trial.task)
    if detail is None:
        return
    figures, *others = (dict(detail(trial.y, said)) for said in (case.answers[OURS], *case.reruns))
    for metric, value in figures.items():
        seeds = np.array([each.get(metric, np.nan) for each in (figures, *others)]) if others else None
        yield Finding(Key(trial.task, ALL, OURS, metric), value, trial.y.size, seeds=seeds)


def _reliability(y: Array, said: Predictions) -> Iterator[tuple[str, float]]:
    """Yield how well the probabilities of each stage fit, of all stages that came or were thought possible."""
    if said.p_next_stage is None:
        return
    for code, stage in enumerate(STAGES):
        came, expected = (y == code).astype(np.int64), said.p_next_stage[:, code]
        if came.any() or expected.any():
            yield from ((f"{name}_{stage}", function(came, expected)) for name, function in RELIABILITY.items())


def _coverage(y: Array, said: Predictions) -> Iterator[tuple[str, float]]:
    """Yield how many outcomes the intervals hold: by `measure_coverage`, and plainly."""
    if said.outcome is None:
        return
    for coverage, (of_all, if_ordered) in measure_coverage(y, said.outcome).items():
        percent = round(100 * coverage)
        yield f"coverage_{percent}", of_all
        yield f"coverage_if_ordered_{percent}", if_ordered
        yield f"held_{percent}", metrics.interval_coverage(y, *said.outcome.interval(coverage))
