"""The rolling backtest: every rung judged on later time than it learned from, as one tidy frame."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.errors import InsufficientHistoryError
from features.lifecycle.stages import STAGES
from features.records import Records
from features.settings import Settings
from features.snapshot import Snapshot, to_date
from features.table import build_customer_table, features_named
from training import metrics
from training.bundle import Bundle
from training.labels import build_labels, build_prospect_examples
from training.ladder import OURS, Predictions, climb, predict
from training.learn import Advance, Past, learn_at
from training.models.inputs import stage_codes
from training.models.value_distribution import ValueDistribution
from training.splits import Fold, rolling_folds

Metric = Callable[..., float]
CHAMPION = "champion"

_OF_PROSPECTS: Mapping[str, Metric] = {
    "log_loss": metrics.log_loss_binary,
    "auc": metrics.auc,
    "ece": metrics.expected_calibration_error,
}

# task → metric → function(outcome, prediction); the first of each task decides.
METRICS: Mapping[str, Mapping[str, Metric]] = {
    "churn": {
        "log_loss": metrics.log_loss_binary,
        "auc": metrics.auc,
        "brier": metrics.brier,
        "ece": metrics.expected_calibration_error,
        "top_decile_lift": metrics.top_decile_lift,
    },
    "next_stage": {"log_loss": metrics.log_loss_multiclass},
    "value": {
        "deviance": metrics.tweedie_deviance,
        "mae": metrics.mae,
        "r_squared": metrics.r_squared,
        "relative_bias": metrics.relative_bias,
        "spearman": metrics.spearman,
        "top_decile_share": metrics.top_decile_share,
        "normalised_gini": metrics.normalised_gini,
        "decile_mape": metrics.decile_mape,
    },
    "first_purchase": _OF_PROSPECTS,
    "registration": _OF_PROSPECTS,
}
DECIDING = {task: next(iter(by_name)) for task, by_name in METRICS.items()}
# task → function(outcome, prediction) → loss per customer, whose mean is the deciding metric.
LOSSES: Mapping[str, Callable[..., npt.NDArray[np.float64]]] = {
    "churn": metrics.log_losses_binary,
    "next_stage": metrics.log_losses_multiclass,
    "value": metrics.tweedie_deviances,
    "first_purchase": metrics.log_losses_binary,
    "registration": metrics.log_losses_binary,
}
# Of each class of the next stage, for our model alone, as metric `<name>_<stage>`.
RELIABILITY: Mapping[str, Metric] = {
    "mean_p": lambda _, p: float(p.mean()),
    "share": lambda y, _: float(y.mean()),
    "ece": metrics.expected_calibration_error,
}

# Of value, for our model alone: the share of outcomes within the central interval, as metric `<name>_<percent>`.
COVERAGES = (0.80, 0.90)

_NOBODY = np.zeros(0)
SCHEMA = pl.Schema(
    {
        "cutoff": pl.String(),
        "task": pl.String(),
        "model": pl.String(),
        "metric": pl.String(),
        "value": pl.Float64(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "against": pl.String(),
        "n_customers": pl.Int64(),
    }
)


@dataclass(frozen=True, slots=True)
class Backtest:
    """What the rolling backtest found.

    Args:
        frame: One row per cutoff, task, model and metric (`SCHEMA`): value with a 90 % bootstrap interval where it was
            drawn (customers drawn whole); rows with `against` hold ours minus that model, paired by customer.
        outcomes: Of the youngest cutoff: task → outcome per customer.
        predictions: Of the youngest cutoff: task → our prediction per customer.
        notes: Which cutoffs could not be judged, and why, in words.
    """

    frame: pl.DataFrame
    outcomes: Mapping[str, npt.NDArray[Any]]
    predictions: Mapping[str, npt.NDArray[Any]]
    notes: tuple[str, ...] = ()


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
    frames, judged = [], None
    for fold in folds:
        when = to_date(fold.cutoff_day).isoformat()
        step = partial(_named, advance, when)
        try:
            past, model = learn_at(records, fold, settings=settings, advance=step)
        except InsufficientHistoryError as error:
            if judged is None:
                raise
            notes.append(f"The backtest ends at {when}, where there is too little to learn from: {error.problem}")
            break
        step("judging")
        answers = dict(climb(past, model))
        if champion is not None and champion.manifest.trained_as_of <= when:
            answers[CHAMPION] = _ask_champion(records, fold, champion)
        outcomes = observe(records, fold, past, settings)
        frames.append(judge(answers, outcomes, cutoff=when, settings=settings))
        judged = judged or (outcomes, _answered(answers[OURS]))
    assert judged is not None  # noqa: S101 - rolling_folds returns at least one fold
    return Backtest(pl.concat(frames), *judged, notes=tuple(notes))


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


def judge(
    answers: Mapping[str, Predictions],
    outcomes: Mapping[str, npt.NDArray[Any]],
    *,
    cutoff: str,
    settings: Settings,
) -> pl.DataFrame:
    """Measure every model on every task it answers; rows as `SCHEMA`."""
    rows: list[tuple[Any, ...]] = []
    draws = {"n_samples": settings.training.bootstrap_samples, "seed": settings.training.seed}
    for task, by_name in METRICS.items():
        y = outcomes.get(task, _NOBODY)
        answered = {name: given[task] for name, a in answers.items() if task in (given := _answered(a))}
        if not y.size or OURS not in answered:  # nobody to judge by, or nobody was there to learn from
            continue
        losses = np.column_stack([LOSSES[task](y, p) for p in answered.values()])
        means = metrics.bootstrap_means(losses, **draws)
        drawn = {(name, DECIDING[task]): means[:, i] for i, name in enumerate(answered)}
        if task == "churn":
            drawn |= {(name, "auc"): metrics.bootstrap_auc(y, p, **draws) for name, p in answered.items()}
        for name, p in answered.items():
            for metric, function in by_name.items():
                values = drawn.get((name, metric))
                interval = (None, None) if values is None else metrics.percentile_interval(values)
                rows.append((cutoff, task, name, metric, function(y, p), *interval, "", y.size))
        if task == "next_stage":
            rows.extend((cutoff, task, OURS, *row, None, None, "", y.size) for row in _reliability(y, answered[OURS]))
        if task == "value":
            rows.extend(
                (cutoff, task, OURS, *row, None, None, "", y.size) for row in _coverage(y, answers[OURS].outcome)
            )
        rows.extend((cutoff, task, OURS, DECIDING[task], *row, y.size) for row in _differences(answered, losses, means))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _reliability(y: npt.NDArray[Any], p: npt.NDArray[Any]) -> Iterator[tuple[str, float]]:
    """Yield how well the probabilities of each stage fit, of all stages that came or were thought possible."""
    for code, stage in enumerate(STAGES):
        came, expected = (y == code).astype(np.int64), p[:, code]
        if came.any() or expected.any():
            yield from ((f"{name}_{stage}", function(came, expected)) for name, function in RELIABILITY.items())


def _coverage(y: npt.NDArray[Any], outcome: ValueDistribution | None) -> Iterator[tuple[str, float]]:
    """Yield how many outcomes the intervals hold: by `measure_coverage`, and plainly."""
    if outcome is None:
        return
    for coverage, (of_all, if_ordered) in measure_coverage(y, outcome).items():
        percent = round(100 * coverage)
        yield f"coverage_{percent}", of_all
        yield f"coverage_if_ordered_{percent}", if_ordered
        yield f"held_{percent}", metrics.interval_coverage(y, *outcome.interval(coverage))


def measure_coverage(y: npt.NDArray[Any], outcome: ValueDistribution) -> dict[float, tuple[float, float]]:
    """Measure how many outcomes lie between the levels of each of `COVERAGES`: of all, and of those who ordered.

    Of all, an outcome of 0 counts by the share of its chance that the levels hold; of those who ordered, the
    distribution given an order is asked.
    """
    of_all, (_, if_ordered) = outcome.pit(y), outcome.if_ordered.pit(y)
    given_order = if_ordered[y > 0]
    return {
        coverage: (
            metrics.fractional_coverage(0.5 - 0.5 * coverage, 0.5 + 0.5 * coverage, *of_all),
            metrics.fractional_coverage(0.5 - 0.5 * coverage, 0.5 + 0.5 * coverage, given_order, given_order),
        )
        for coverage in COVERAGES
    }


def _differences(
    models: Iterable[str], losses: npt.NDArray[np.float64], means: npt.NDArray[np.float64]
) -> Iterator[tuple[float, float, float, str]]:
    """Yield ours minus each rival, its interval, and the rival: the mean loss, paired by customer and by draw.

    Args:
        models: Names, ours among them.
        losses: Shape (n_customers, n_models).
        means: Mean losses of each draw, shape (n_draws, n_models).
    """
    names = list(models)
    ours = names.index(OURS)
    for i, rival in enumerate(names):
        if rival != OURS:
            low, high = metrics.percentile_interval(means[:, ours] - means[:, i])
            yield float((losses[:, ours] - losses[:, i]).mean()), low, high, rival


def _ask_champion(records: Records, fold: Fold, champion: Bundle) -> Predictions:
    """Let the champion answer with its own stage rule; its stages are comparable only where the rules agree."""
    model = champion.model
    snapshot = Snapshot(fold.cutoff_day, model.horizon_days)
    table = build_customer_table(records, snapshot, rule=model.stage_rule, features=features_named(model.features))
    answers = predict(model, table)
    return Predictions(p_churn=answers.p_churn, value=answers.value)


def _answered(predictions: Predictions) -> Mapping[str, npt.NDArray[Any]]:
    """Return task → prediction, for the tasks that a rung answers."""
    found = {
        "churn": predictions.p_churn,
        "next_stage": predictions.p_next_stage,
        "value": predictions.value,
        "first_purchase": predictions.p_first_purchase,
        "registration": predictions.p_registration,
    }
    return {task: p for task, p in found.items() if p is not None}
