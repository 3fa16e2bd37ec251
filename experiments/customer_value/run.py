"""Which model of customer value wins where? Every figure of `report.md` comes from here.

    python -m experiments.customer_value.run
    python -m experiments.customer_value.run --orders PATH --shop online_retail_ii
    python -m experiments.customer_value.run --orders PATH --cutoffs 2011-06-10 --horizon-days 180

The first asks the CDNOW log that the lifetimes package carries, and takes a few minutes. The cutoffs of a named shop
stand in `config.toml`; its tables are written into the report. With cutoffs of your own they are printed only.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.figure import Figure

from experiments.tables import Row, write_report
from experiments.trial import (
    Log,
    build_parser,
    exiting,
    load_config,
    log_run,
    name_shop,
    over,
    read_log,
    sample_log,
    say,
    show,
)
from features.errors import ConvergenceError, InsufficientHistoryError, SettingsError
from features.intake.cdnow import load_cdnow_sample
from features.settings import Settings, load_settings
from features.snapshot import Snapshot, to_day
from training import metrics
from training.evaluation.backtest import COVERAGES, METRICS, Backtest, backtest, measure_coverage
from training.evaluation.ladder import OURS
from training.evaluation.slices import ALL
from training.fitters.btyd import fit_alone, fit_order_value
from training.labels import build_labels
from training.learn import Advance, Past, build_past, learn_at
from training.models.inputs import purchase_summary
from training.models.lifecycle import LifecycleModel
from training.models.purchase_process import TIMING_MODELS, PurchaseProcess
from training.models.spread import Spread
from training.models.summary import FloatArray, PurchaseSummary
from training.models.value_distribution import ValueDistribution
from training.models.value_terms import MONTHS
from training.pictures.figures import draw_frequency, draw_p_alive, draw_repeat_orders, read_order_days, summarise
from training.pictures.plots import plot_decile_value
from training.splits import Fold, build_fold

Vector = npt.NDArray[np.float64]

HERE = Path(__file__).resolve().parent
NAIVE = "simple_clv"
MIN_LIST = 30  # customers of a stage, below which its total is not asked
N_DECILES = 10


@dataclass(frozen=True, slots=True)
class Outlook:
    """One question: what comes within `horizon_days` of `cutoff`; the blend learns over `learn_days`."""

    cutoff: date
    horizon_days: int
    learn_days: int

    @property
    def snapshot(self) -> Snapshot:
        """The cutoff and the horizon as day numbers."""
        return Snapshot(to_day(self.cutoff), self.horizon_days)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of one shop, as `config.toml` says it."""

    orders: tuple[Outlook, ...]
    value: tuple[Outlook, ...]
    years: tuple[Outlook, ...]
    conventions: tuple[str, ...]
    timing_models: tuple[str, ...]
    list_sizes: tuple[int, ...]
    lists_per_size: int
    seed: int


@dataclass(frozen=True, slots=True)
class Said:
    """What one model said of the value of a window, undiscounted and before any margin, and what came.

    Attributes:
        model: Its name.
        cutoff: ISO date.
        days: Of the window.
        value: (n,) what each customer brought.
        outcome: (n,) how each customer's value may turn out.
        spread: What a total adds to it.
        stages: (n,) of the customers at the cutoff.
    """

    model: str
    cutoff: str
    days: int
    value: Vector
    outcome: ValueDistribution
    spread: Spread
    stages: npt.NDArray[np.str_]


def load_plan(config: Mapping[str, Any], shop: str) -> Plan:
    """Read what is asked of a shop; of one that the configuration does not name, nothing."""
    section = config.get(shop, {})
    asked = {name: tuple(map(_outlook, section.get(name, ()))) for name in ("orders", "value", "years")}
    return Plan(
        **asked,
        conventions=tuple(section.get("conventions", ["half_open"])),
        timing_models=tuple(config["timing_models"]),
        list_sizes=tuple(config["list_sizes"]),
        lists_per_size=config["lists_per_size"],
        seed=config["seed"],
    )


def _outlook(entry: Mapping[str, Any]) -> Outlook:
    return Outlook(entry["cutoff"], entry["horizon_days"], entry.get("learn_days", entry["horizon_days"]))


def measure(
    log: Log, plan: Plan, *, of_orders: Log, settings: Settings, advance: Advance = lambda _: None
) -> tuple[dict[str, pl.DataFrame], Backtest | None]:
    """Answer the question on one shop.

    Args:
        log: The shop.
        plan: What is asked.
        of_orders: The log that orders are judged on: the published sample of CDNOW, and elsewhere the shop itself.
        settings: The defaults; the horizon is each outlook's own.
        advance: Told the name of each step before it begins.

    Returns:
        Table name → one row per cutoff, model and what the table is about; and the youngest backtest of value.
    """
    orders, fits = [], []
    for outlook in plan.orders:
        advance(f"{outlook.cutoff}: orders over {outlook.horizon_days} days")
        orders += list(judge_orders(of_orders, outlook, plan, settings, advance))
        fits += list(fit_models(of_orders, outlook, plan, settings))
    judged = [judge_value(log, outlook, settings, advance) for outlook in plan.value]
    near, year = (
        [said for outlook in outlooks for said in ask_value(log, outlook, plan, settings, advance)]
        for outlooks in (plan.value, plan.years)
    )
    advance("lists")
    tables = {
        "orders": _frame(orders),
        "fits": _frame(fits),
        **{name: pl.concat(parts) for name, parts in _tables_of_value(judged).items()},
        "years": _frame(map(_coverage, year)),
        "totals": _frame(row for said in (*near, *year) for row in judge_totals(said, plan)),
    }
    return {name: table for name, table in tables.items() if table.height}, judged[-1] if judged else None


def _frame(rows: Iterable[Row]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), infer_schema_length=None)


def judge_orders(log: Log, outlook: Outlook, plan: Plan, settings: Settings, advance: Advance) -> Iterator[Row]:
    """Yield how well each model foretold the orders of each customer, and who would order at all."""
    past, horizon = _known(log, outlook, settings), float(outlook.horizon_days)
    came = build_labels(log.records, outlook.snapshot, rule=past.rule)["n_order_days"].to_numpy().astype(np.float64)
    summary = purchase_summary(past.present)
    row = partial(_judge_orders, came, outlook)
    yield row(NAIVE, (summary.frequency + 1.0) / np.maximum(summary.T_days, horizon) * horizon, None)
    for convention in plan.conventions:
        seen = _by_convention(summary, convention)
        for timing in _fit_all(seen, plan.timing_models, advance):
            orders = timing.expected_orders(seen, horizon_days=horizon)
            p_order = 1.0 - timing.p_no_order(seen, horizon_days=horizon)
            yield row(_key(timing), orders, p_order, convention=convention)
    learned = _learn(log, outlook, settings, advance)
    if learned is not None:
        yield row(OURS, *_carry_on(*learned, horizon))


def _judge_orders(
    came: Vector, outlook: Outlook, model: str, orders: Vector, p_order: Vector | None, *, convention: str = "half_open"
) -> Row:
    """Measure one model; the conditional expectation is no probability, and is also read as a Poisson mean."""
    is_active = (came > 0).astype(np.int64)
    said = {"p": p_order, "poisson": -np.expm1(-orders)}
    probabilities = {
        f"{name}_{how}": None if p is None else measured(is_active, p)
        for name, measured in (("log_loss", metrics.log_loss_binary), ("ece", metrics.expected_calibration_error))
        for how, p in said.items()
    }
    return {
        "cutoff": outlook.cutoff.isoformat(),
        "days": outlook.horizon_days,
        "model": model,
        "convention": convention,
        "customers": came.size,
        "mae": metrics.mae(came, orders),
        "relative_bias": metrics.relative_bias(came, orders),
        "auc_expected": metrics.auc(is_active, orders),
        "auc_p": None if p_order is None else metrics.auc(is_active, p_order),
        **probabilities,
    }


def fit_models(log: Log, outlook: Outlook, plan: Plan, settings: Settings) -> Iterator[Row]:
    """Yield each timing model's plain maximum likelihood fit, or why there is none."""
    summary = purchase_summary(_known(log, outlook, settings).present)
    for convention in plan.conventions:
        for key in plan.timing_models:
            found = _fit_plainly(_by_convention(summary, convention), key)
            yield {"cutoff": outlook.cutoff.isoformat(), "model": key, "convention": convention, **found}


def _fit_plainly(summary: PurchaseSummary, key: str) -> Row:
    try:
        fit = TIMING_MODELS[key].fit(summary)
    except ConvergenceError as error:
        refused = f"none ({error.reason}); elsewhere fitted with a weak prior"
        return {"log_likelihood": None, "aic": None, "bic": None, "parameters": refused}
    pairs = zip(fit.names, fit.estimates, fit.standard_errors.values(), strict=True)
    return {
        "log_likelihood": fit.log_likelihood,
        "aic": fit.aic,
        "bic": fit.bic,
        "parameters": " · ".join(f"{name} {value:.3f} ± {error:.3f}" for name, value, error in pairs),
    }


def judge_value(log: Log, outlook: Outlook, settings: Settings, advance: Advance) -> Backtest:
    """Run the backtest at one cutoff."""
    end_day, own = outlook.snapshot.end_day, _over(settings, outlook.horizon_days)
    return backtest(log.records, first_day=log.first_day, end_day=end_day, settings=own, advance=advance)


def _tables_of_value(judged: Sequence[Backtest]) -> dict[str, list[pl.DataFrame]]:
    """Lay out the backtest's tidy frames: measures, paired differences, and coverage over the horizon."""
    parts: dict[str, list[pl.DataFrame]] = {"value": [], "gains": [], "horizons": []} if judged else {}
    for frame in (each.frame.filter(task="value", slice=ALL) for each in judged):
        versus, plain = frame.filter(pl.col("against") != ""), frame.filter(against="")
        parts["value"].append(_spread_metrics(plain))
        parts["gains"].append(versus.select("cutoff", "against", pl.col("value").alias("difference"), "low", "high"))
        held = plain.filter(pl.col("metric").str.contains("^(coverage|held)_"))
        parts["horizons"].append(held.pivot(on="metric", index=["cutoff", "model"], values="value"))
    return parts


def _spread_metrics(frame: pl.DataFrame) -> pl.DataFrame:
    index = ["cutoff", "model"]
    bounds = frame.filter(metric="deviance").select(*index, "low", "high")
    wide = frame.pivot(on="metric", index=[*index, "n_customers"], values="value").rename({"n_customers": "customers"})
    names = list(METRICS["value"])
    return wide.join(bounds, on=index).select(*index, "customers", names[0], "low", "high", *names[1:])


def ask_value(log: Log, outlook: Outlook, plan: Plan, settings: Settings, advance: Advance) -> Iterator[Said]:
    """Yield how each model says that the value may turn out, where it has an answer."""
    advance(f"{outlook.cutoff}: intervals over {outlook.horizon_days} days")
    past = _known(log, outlook, settings)
    answer = partial(
        Said,
        cutoff=outlook.cutoff.isoformat(),
        days=outlook.horizon_days,
        value=build_labels(log.records, outlook.snapshot, rule=past.rule)["value"].to_numpy(),
        stages=past.present["stage"].to_numpy(),
    )
    summary = purchase_summary(past.present)
    order_value = fit_order_value(summary).model
    for timing in _fit_all(summary, plan.timing_models, advance):
        process = PurchaseProcess(timing, order_value)
        tied = process.tie(summary, horizon_days=float(outlook.horizon_days))
        outcome = process.value_distribution(tied, process.expected_value(tied), end=-1)
        yield answer(_key(timing), outcome=outcome, spread=process.spread)
    learned = _learn(log, outlook, settings, advance)
    if learned is not None:
        yield answer(OURS, outcome=_foretell(*learned, outlook), spread=learned[1].process.spread)


def _foretell(past: Past, model: LifecycleModel, outlook: Outlook) -> ValueDistribution:
    """Describe the value over the horizon that the blend learned over, or else over its 12 months."""
    said = model.answer(past.present)
    is_own = outlook.horizon_days == outlook.learn_days
    orders = said.forecast.expected_orders if is_own else said.forecast.orders_by_month.sum(axis=1)
    mean = orders * said.forecast.expected_order_value
    return model.process.value_distribution(said.tied, mean, end=-1 if is_own else MONTHS - 1)


def _coverage(said: Said) -> Row:
    """Measure the intervals: of all with the atom at 0 split, of those who ordered, and plainly as they are shown."""
    outcome = said.outcome
    row: Row = {
        "cutoff": said.cutoff,
        "model": said.model,
        "customers": said.value.size,
        "deviance": metrics.tweedie_deviance(said.value, outcome.mean),
        "relative_bias": metrics.relative_bias(said.value, outcome.mean),
        "silent_said": float(1.0 - outcome.p_order.mean()),
        "silent_came": float(1.0 - (said.value > 0).mean()),
        "dispersion": said.spread.dispersion,
        "common_error": said.spread.common_error,
    }
    for coverage, (of_all, if_ordered) in measure_coverage(said.value, outcome).items():
        percent = round(100 * coverage)
        low, high = outcome.interval(coverage)
        shown = (np.minimum(low, outcome.mean), np.maximum(high, outcome.mean))
        row[f"all_{percent}"] = of_all
        row[f"if_ordered_{percent}"] = if_ordered
        row[f"shown_{percent}"] = metrics.interval_coverage(said.value, *shown)
    return row


def judge_totals(said: Said, plan: Plan) -> Iterator[Row]:
    """Yield how often the interval of a list's total held what the list brought, by kind of list."""
    lists = list(draw_lists(said, plan))
    for coverage in COVERAGES:
        held: dict[str, list[bool]] = {}
        for kind, members in lists:
            held.setdefault(kind, []).append(_is_held(said, members, coverage))
        shares = {kind: float(np.mean(came)) for kind, came in held.items()}
        yield {
            "cutoff": said.cutoff,
            "days": said.days,
            "model": said.model,
            "level": f"{round(100 * coverage)}",
            **shares,
        }


def draw_lists(said: Said, plan: Plan) -> Iterator[tuple[str, npt.NDArray[np.intp]]]:
    """Yield the rows of each list: drawn at random, of one stage, of one tenth by expected value."""
    rng, n = np.random.default_rng(plan.seed), said.value.size
    for size in plan.list_sizes:
        if size < n:
            yield from ((f"random_{size}", rng.choice(n, size, replace=False)) for _ in range(plan.lists_per_size))
    for stage in np.unique(said.stages):
        (members,) = np.nonzero(said.stages == stage)
        if members.size >= MIN_LIST:
            yield "stages", members
    by_value = np.argsort(said.outcome.mean, kind="stable")
    yield from (("tenths", members) for members in np.array_split(by_value, N_DECILES))


def _is_held(said: Said, members: npt.NDArray[np.intp], coverage: float) -> bool:
    mean, deviation = said.outcome.mean[members], said.outcome.standard_deviation[members]
    low, high = said.spread.total_interval(mean, deviation, coverage=coverage)
    return bool(low <= said.value[members].sum() <= high)


def _known(log: Log, outlook: Outlook, settings: Settings) -> Past:
    """Return the customers at the cutoff, without examples to learn from."""
    return build_past(log.records, Fold(to_day(outlook.cutoff), ()), settings=_over(settings, outlook.learn_days))


def _learn(log: Log, outlook: Outlook, settings: Settings, advance: Advance) -> tuple[Past, LifecycleModel] | None:
    """Learn the blend; None, said aloud, where there is too little history before the cutoff."""
    own = _over(settings, outlook.learn_days)
    try:
        fold = build_fold(to_day(outlook.cutoff), first_day=log.first_day, settings=own.training)
        return learn_at(log.records, fold, settings=own, advance=lambda step: advance(f"{outlook.cutoff}: {step}"))
    except InsufficientHistoryError as error:
        advance(f"{outlook.cutoff}: no {OURS}. {error.problem}")
        return None


def _carry_on(past: Past, model: LifecycleModel, horizon_days: float) -> tuple[FloatArray, FloatArray]:
    """Return the blend's expected orders and P(an order) within a horizon that need not be its own, two arrays (n,)."""
    tied, ends = model.answer(past.present).tied, np.array([horizon_days])
    alive = model.process.timing.orders_if_alive(tied.summary, ends_days=ends)
    return tied.orders_until(alive.expected)[:, 0], 1.0 - model.process.p_no_order_curve(tied, ends_days=ends)[:, 0]


def _fit_all(summary: PurchaseSummary, keys: Iterable[str], advance: Advance) -> Iterator[Any]:
    """Yield the timing models that have a usable fit."""
    for key in keys:
        try:
            yield fit_alone(summary, key)
        except ConvergenceError as error:
            advance(f"no {key}: {error.problem}")


def _key(timing: Any) -> str:
    return next(key for key, kind in TIMING_MODELS.items() if isinstance(timing, kind))


def _by_convention(summary: PurchaseSummary, convention: str) -> PurchaseSummary:
    return replace(summary, T_days=summary.T_days - 1.0) if convention == "papers" else summary


def _over(settings: Settings, horizon_days: int) -> Settings:
    """Return the settings with another horizon, one test cutoff and one seed."""
    return over(settings, horizon_days=horizon_days, test_cutoffs=1, seeds=1)


def draw(log: Log, outlook: Outlook, plan: Plan, judged: Backtest) -> dict[str, Figure]:
    """Draw the models beside what came: file name → picture."""
    snapshot = outlook.snapshot
    days = read_order_days(log.records, snapshot.end_day)
    summary = summarise(days, snapshot.cutoff_day)
    models = {timing.name: timing for timing in _fit_all(summary, plan.timing_models, lambda _: None)}
    return {
        "repeat_orders": draw_repeat_orders(days, models, cutoff_day=snapshot.cutoff_day, end_day=snapshot.end_day),
        "order_frequency": draw_frequency(summary, models),
        **{f"p_alive_{_key(timing)}": draw_p_alive(summary, timing) for timing in models.values()},
        "value_deciles": plot_decile_value(judged.outcomes["value"], judged.predictions["value"]),
    }


def main() -> None:
    """Measure, print, write the report, and log the run."""
    asked, started_at = _parse(), datetime.now(tz=UTC).isoformat()
    plan = _with_flags(load_plan(load_config(HERE), asked.shop), asked)
    settings = load_settings()
    with read_log(asked.orders, settings) as log:
        of_orders = log if asked.orders else sample_log(load_cdnow_sample())
        tables, judged = measure(log, plan, of_orders=of_orders, settings=settings, advance=say)
        say("pictures")
        figures = draw(of_orders, plan.orders[0], plan, judged) if judged and plan.orders else {}
    show(asked.shop, tables)
    if not asked.cutoffs:
        write_report(HERE / "report.md", asked.shop, tables)
    if not asked.no_log:
        parameters = {"shop": asked.shop, **{name: getattr(plan, name) for name in plan.__slots__}}
        log_run(asked, tables, name=HERE.name, parameters=parameters, started_at=started_at, figures=figures)


def _with_flags(plan: Plan, asked: argparse.Namespace) -> Plan:
    """Return the plan with the cutoffs that the command line asks about, if it does."""
    if not asked.cutoffs:
        if not (plan.orders or plan.value or plan.years):
            raise SettingsError(
                f"Nothing is asked of {asked.shop!r}.",
                remedy="Give --cutoffs and --horizon-days, or --shop with the name of a section of config.toml.",
            )
        return plan
    outlooks = tuple(Outlook(cutoff, asked.horizon_days, asked.horizon_days) for cutoff in asked.cutoffs)
    return replace(plan, orders=outlooks, value=outlooks, years=())


def _parse() -> argparse.Namespace:
    parser = build_parser((__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--cutoffs", nargs="+", type=date.fromisoformat, help="as-of dates of your own")
    parser.add_argument("--horizon-days", type=int, default=90, help="of these cutoffs")
    return name_shop(parser.parse_args())


if __name__ == "__main__":
    with exiting():
        main()
