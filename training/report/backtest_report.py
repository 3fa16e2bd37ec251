"""The backtest as one page to look at: does the model beat simple rules, how sure is that, and where not?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined

from features.settings import RetentionSettings, Settings
from features.snapshot import to_date
from training.evaluation.backtest import COHERENCE, Backtest
from training.evaluation.ladder import RUNGS
from training.evaluation.verdicts import CHAMPION, DECIDING, OURS, best_rung
from training.metrics import TOP_SHARE, expected_calibration_error, recall_at
from training.pictures.plots import plot_gain, plot_reliability
from training.report import detail_tables as details
from training.report.pictures import Whiskers, draw_inline, lay_out_whiskers
from training.report.readings import Readings
from training.report.standing import Verdict, judge_tasks, write_headline
from training.report.tables import Table, build_ladder, tabulate_cutoffs, tabulate_slices
from training.report.words import TASKS, describe_metric

_SLICED = ("churn", "next_stage", "value")
_OURS = {
    OURS: "the model: all of it, tied into one answer",
    CHAMPION: "the model that serves now, judged only where it had not seen the answers",
}


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What is said of one task.

    Args:
        task: Its key.
        title: In a word or two.
        question: Its heading.
        decides: Name of the deciding metric.
        ladder: Means over cutoffs.
        differences: Ours minus each rung.
        by_cutoff: The deciding metric at each cutoff.
        by_slice: None of prospects.
        others: Tables of this task alone.
    """

    task: str
    title: str
    question: str
    decides: str
    ladder: Table
    differences: Whiskers
    by_cutoff: Table
    by_slice: Table | None
    others: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of the youngest cutoff, and the same in figures."""

    title: str
    svg: str
    table: Table


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """All that the page says.

    Args:
        source: Name of the order source.
        first_day: First day of orders, ISO 8601.
        last_day: Last day of orders.
        horizon_days: Of every question.
        cutoffs: Judged, oldest first.
        n_customers: Known at the youngest cutoff.
        n_draws: Of every interval.
        n_seeds: That the model was learned with.
        headline: The verdict in a sentence or two.
        verdicts: Title of a task → what is said of it, with figures.
        rungs: Name of each model judged → what it says.
        tasks: One by one.
        charts: Of churn, at the youngest cutoff.
        brier: Its parts.
        profit: By model.
        campaign: What it costs, and what a customer kept is worth.
        seeds: What chance moves.
        coherence: What identities the answers violate; None where it was not measured.
        glossary: Name of a metric → its meaning.
        notes: Of the backtest.
    """

    source: str
    first_day: str
    last_day: str
    horizon_days: int
    cutoffs: tuple[str, ...]
    n_customers: int
    n_draws: int
    n_seeds: int
    headline: str
    verdicts: tuple[tuple[str, tuple[Verdict, ...]], ...]
    rungs: tuple[tuple[str, str], ...]
    tasks: tuple[TaskReport, ...]
    charts: tuple[Chart, ...]
    brier: Table
    profit: Table
    campaign: str
    seeds: Table
    coherence: Table | None
    glossary: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def build_backtest_report(
    judged: Backtest, *, source: str, first_day: int, end_day: int, settings: Settings
) -> BacktestReport:
    """Gather what the page says of a backtest.

    Args:
        judged: The backtest.
        source: Name of the order source, without a path.
        first_day: Day number of the first order.
        end_day: First day number whose orders were not used.
        settings: Of the whole run.
    """
    summary = Readings.of(judged.summary)
    by_cutoff = {cutoff: Readings.of(judged.frame.filter(cutoff=cutoff)) for cutoff in _cutoffs(judged.frame)}
    best = {task: best_rung(judged.summary, task) for task in TASKS if task in summary.tasks()}
    return BacktestReport(
        source=source,
        first_day=to_date(first_day).isoformat(),
        last_day=to_date(end_day - 1).isoformat(),
        horizon_days=settings.training.horizon_days,
        cutoffs=tuple(by_cutoff),
        n_customers=len(judged.outcomes.get("churn", ())),
        n_draws=settings.training.bootstrap_samples,
        n_seeds=settings.training.seeds,
        headline=write_headline(summary, best),
        verdicts=judge_tasks(summary, best),
        rungs=_name_rungs(summary),
        tasks=tuple(_describe(task, rung, summary, by_cutoff) for task, rung in best.items()),
        charts=_draw_charts(judged),
        brier=details.tabulate_brier(summary),
        profit=details.tabulate_profit(summary),
        campaign=_describe_campaign(settings.retention),
        seeds=details.tabulate_seeds(summary, n_seeds=settings.training.seeds),
        coherence=details.tabulate_coherence(summary) if COHERENCE in summary.tasks() else None,
        glossary=_explain(summary),
        notes=judged.notes,
    )


def render_backtest(report: BacktestReport) -> str:
    """Render the page, which needs nothing but itself. It is the same to the byte whenever the report is the same."""
    return _environment().get_template("backtest_report.html").render(report=report)


def _cutoffs(frame: pl.DataFrame) -> list[str]:
    cutoffs: list[str] = frame["cutoff"].unique().sort().to_list()
    return cutoffs


def _describe(task: str, best: str | None, summary: Readings, by_cutoff: Mapping[str, Readings]) -> TaskReport:
    metric = DECIDING[task]
    others = {"next_stage": (details.tabulate_stages,), "value": (details.tabulate_coverage,)}
    return TaskReport(
        task=task,
        title=TASKS[task].title,
        question=TASKS[task].question,
        decides=describe_metric(metric).name,
        ladder=build_ladder(summary, task),
        differences=lay_out_whiskers(summary.rivals(task, metric), describe_metric(metric)),
        by_cutoff=tabulate_cutoffs(by_cutoff, task, best=best),
        by_slice=tabulate_slices(summary, task, best=best) if task in _SLICED else None,
        others=tuple(build(summary) for build in others.get(task, ())),
    )


def _name_rungs(summary: Readings) -> tuple[tuple[str, str], ...]:
    measured = {model for task in summary.tasks() for model in summary.models(task)}
    return tuple((name, says) for name, says in {**RUNGS, **_OURS}.items() if name in measured)


def _draw_charts(judged: Backtest) -> tuple[Chart, ...]:
    """Draw the reliability and the gain of the churn probability; nothing where there is nothing to tell apart."""
    y, p = judged.outcomes.get("churn"), judged.predictions.get("churn")
    if y is None or p is None or len(np.unique(y)) < 2:
        return ()
    error, found = expected_calibration_error(y, p), recall_at(y, p, share=TOP_SHARE)
    fit, finds = "Do the probabilities fit?", "Who is found, contacting the likeliest first?"
    fits = f"{fit} The expected calibration error is {error:.3f}."
    holds = f"{finds} The tenth of customers with the highest scores holds {found:.1%} of the churners."
    return (
        Chart(fit, draw_inline(plot_reliability(p, y), label=fits), details.tabulate_bins(y, p)),
        Chart(finds, draw_inline(plot_gain(p, y), label=holds), details.tabulate_gain(y, p)),
    )


def _describe_campaign(costs: RetentionSettings) -> str:
    """Say what the expected maximum profit was computed from, in the orders' currency."""
    worth = (
        f"{costs.customer_value:,.2f}" if costs.customer_value else "what the model expects of 12 months, on average"
    )
    kept = costs.response_alpha / (costs.response_alpha + costs.response_beta)
    return (
        f"A contact costs {costs.contact_cost:,.2f}, an offer {costs.offer_cost:,.2f} where it is taken, and a "
        f"customer kept is worth {worth}. Of the churners contacted {kept:.0%} on average take the offer and stay "
        f"(Beta({costs.response_alpha:g}, {costs.response_beta:g})); the team can contact "
        f"{100 * costs.contact_share:g}% of the customers. Amounts are in the orders' currency; profit is per customer."
    )


def _explain(summary: Readings) -> tuple[tuple[str, str], ...]:
    """Return the meaning of every metric that the page shows, in the order of the tasks."""
    words = (describe_metric(metric) for task in TASKS for metric in summary.metrics(task))
    return tuple({each.name: each.meaning for each in words if each.meaning}.items())


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("training.report", package_path="."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
