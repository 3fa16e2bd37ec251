"""Answers for people at a terminal: tables, reasons and progress."""

import json
import math
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from features.catalogue import GROUPS
from features.lifecycle.stages import STAGES
from serving.pictures.words import NUMERALS, Numerals
from serving.terminal_words import AtRiskWords, words_of_list
from training.evaluation.verdicts import OURS, compare_all

if TYPE_CHECKING:
    from features.intake.event_report import EventReport
    from features.intake.report import IntakeReport, SourceReport
    from features.intake.shop import Shop
    from features.records import Records
    from serving.data_words import Refusal
    from serving.schemas import AtRiskPage, ListTotals, Score
    from training.suggestion import HorizonSuggestion

_TASK_TITLES = {
    "churn": "Churn: will no order come?",
    "next_stage": "Next stage: where at the horizon?",
    "value": "Value: what will the orders of the horizon bring?",
    "first_purchase": "Prospects: will a first order come?",
    "registration": "Visitors: will they register?",
}
_ALSO_SHOWN = {
    "churn": ("auc", "pr_auc", "ece", "calibration_in_the_large", "top_decile_lift"),
    "next_stage": ("rps",),
    "value": ("mae", "r_squared", "relative_bias"),
    "first_purchase": ("auc", "ece"),
    "registration": ("auc", "ece"),
}
_RUNGS_OF_STAGES = " base_rate is the class prior, last_period Markov, recency_rule Markov × recency decile."
_SHORT = {
    "log_loss": "log-loss",
    "auc": "AUC",
    "pr_auc": "PR-AUC",
    "ece": "ECE",
    "calibration_in_the_large": "mean off",
    "top_decile_lift": "lift",
    "rps": "RPS",
    "mae": "MAE",
    "r_squared": "R²",
    "relative_bias": "bias",
}
_DIGITS = {"deviance": 2}  # of a difference of the deciding metric
_SIGNED = ("calibration_in_the_large", "relative_bias")
_ONLY_IF_WIDE = ("pr_auc", "top_decile_lift")
_MORE_IF_WIDE = " A wider terminal shows more."
_AS_WIDE_AS_NEED_BE = 10_000
_SHOWN_EXAMPLES = 2
_SHOWN_LINES = 12
_WIDE_ENOUGH = 72  # columns of a terminal on which names of features need not be folded
_WIDE_ENOUGH_FOR_REASONS = 120  # ... and reasons fit beside the figures

# Ids and words of others are printed as they are: brackets and colons in them are no marks.
out = Console(markup=False, emoji=False)
err = Console(stderr=True, markup=False, emoji=False)


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show steps as they begin: a bar on a terminal, a line each elsewhere. Yields the function that names a step."""
    if not err.is_terminal:
        yield lambda step: err.print(f"· {step}", highlight=False)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("starting", total=total)
        started = False

        def advance(step: str) -> None:
            nonlocal started
            bar.update(task, description=step, advance=1 if started else 0)
            started = True

        yield advance


def waiting(step: str) -> AbstractContextManager[object]:
    """Show on a terminal that a step takes its time."""
    return err.status(step)


def print_error(problem: str, remedy: str) -> None:
    """Print what was wrong and what to do about it."""
    err.print(Text.assemble(("Error: ", "bold red"), problem))
    err.print(Text.assemble(("What to do: ", "bold"), remedy))


def print_note(text: str) -> None:
    """Print a remark that is no error."""
    err.print(Text(text, style="yellow"))


def print_heading(text: str) -> None:
    """Print the title of the part that follows."""
    out.print()
    out.rule(Text(text, style="bold"), align="left")


def print_shop(shop: "Shop", kept: Sequence[Path]) -> None:
    """Print what became of every row of orders, and of events where there are any.

    Args:
        shop: What was read.
        kept: Files into which the quarantined rows were written.
    """
    from serving import data_words

    _print_orders(shop.report)
    _print_refusals(data_words.order_refusals(shop.orders), title="Quarantined rows of orders")
    if shop.events is not None:
        _print_events(shop.events.report)
        _print_refusals(data_words.event_refusals(shop.events), title="Quarantined rows of events")
    for path in kept:
        _print_line(f"Quarantined rows are kept in {path}.")


def print_support(records: "Records") -> None:
    """Print how many features of each group these records can fill, and what the others need."""
    from serving.data_words import find_support

    support = find_support(records)
    groups = [{"features": group, "supported": f"{n} of {n_declared}"} for group, n, n_declared in support.groups]
    print_records(groups, title="What the models can learn from")
    if support.absent:
        lacking = [{"needs": needs, "features": ", ".join(names)} for needs, names in support.absent.items()]
        print_records(lacking, title="What more data would add")


def print_catalogue(rows: Sequence[Mapping[str, str]]) -> None:
    """Print described features, a table per group."""
    for group in GROUPS:
        if listed := [row for row in rows if row["group"] == group]:
            out.print(_catalogue_table(listed, title=group))


def print_ladder(summary: pl.DataFrame, deciding: Mapping[str, str]) -> None:
    """Print the backtest: a table per task, a row per rung, means over the cutoffs; then who wins, a line per task."""
    of_all = summary.filter(pl.col("slice") == "all")
    for task, title in _TASK_TITLES.items():
        rows = of_all.filter(pl.col("task") == task)
        if not rows.is_empty():
            out.print(_fitting_ladder(rows, deciding[task], task=task, title=title))
            if task == "next_stage":
                out.print(_reliability_table(rows))
            if task == "value":
                out.print(_ranking_table(rows))
                out.print(_coverage_table(rows))
    for comparison in compare_all(summary):
        style = {1: "green", 0: "yellow", -1: "bold red"}[comparison.gain]
        out.print(Text.assemble(("  ● ", style), comparison.text), highlight=False)


def print_horizon(suggestion: "HorizonSuggestion") -> None:
    """Print what speaks for and against each horizon, the suggested one in bold, and why it is suggested."""
    listed = table(
        "horizon",
        *("returned within", "no order", "tests"),
        title=f"Suggested horizon: {suggestion.horizon_days} days",
        caption="of those who order again, the share who have by then; customers without an order in the latest such "
        "window; test cutoffs that the history has room for",
    )
    for each in suggestion.considered:
        shares = (_share(each.share_returned), _share(each.base_rate))
        style = "bold" if each.days == suggestion.horizon_days else None
        listed.add_row(f"{each.days} days", *shares, str(each.n_cutoffs), style=style)
    out.print(listed)
    _print_lines(suggestion.reasons)


def print_reasons(reasons: Iterable[tuple[bool, str]]) -> None:
    """Print what spoke for and against, a line each."""
    for holds, text in reasons:
        out.print(Text.assemble(("  ✓ ", "green") if holds else ("  ✗ ", "bold red"), text))


def print_at_risk(page: "AtRiskPage", *, language: str = "en") -> None:
    """Print the customers most worth saving and the first reason of each, the sums over them, and what to do."""
    words, numerals = words_of_list(language), NUMERALS["fr" if language == "fr" else "en"]
    title = words.title.format(n=len(page.customers), as_of=page.run.as_of)
    listed = table(*words.columns, title=title)
    listed.columns[1].justify = "left"
    for column in listed.columns[:2]:
        column.no_wrap, column.overflow = False, "fold"
    has_room = out.width >= _WIDE_ENOUGH_FOR_REASONS
    if has_room:
        listed.add_column(words.why, overflow="fold")
    for row in page.customers:
        listed.add_row(
            Text(row.customer_id),
            row.stage_label,
            row.stage_since,
            f"{row.p_churn:.3f}".replace(".", numerals.decimal),
            numerals.count(row.clv_12m),
            f"{numerals.count(row.clv_12m_low)}–{numerals.count(row.clv_12m_high)}",
            numerals.count(row.value_at_risk),
            row.rfm,
            words.sizes[row.size],
            *([_first_reason(row)] if has_room else []),
        )
    out.print(listed)
    if not has_room:
        out.print(_reasons_table(page.customers, words))
    _print_together(page.totals, words, numerals)
    plays = {row.stage_label: "\n".join(f"· {play}" for play in row.plays) for row in page.customers if row.plays}
    if plays:
        told = ({words.columns[1]: stage, words.what_to_do: what} for stage, what in plays.items())
        print_records(told, title=words.plays)


def print_records(records: Iterable[Mapping[str, Any]], *, title: str) -> None:
    """Print records with equal keys as a table."""
    out.print(_plain_table(pl.DataFrame(list(records), infer_schema_length=None), title=title))


def print_next_steps(home: Path, orders: Path, *, is_default_home: bool) -> None:
    """Print what a new user may want to try after the demo."""
    lifestage = "lifestage" if shutil.which("lifestage") else sys.argv[0]
    elsewhere = "" if is_default_home else f" --home {shlex.quote(str(home))}"
    log = shlex.quote(str(orders))
    store_uri = f"sqlite:///{(home / 'mlflow.db').absolute()}"
    store = "make mlflow" if is_default_home else f"mlflow ui --backend-store-uri {shlex.quote(store_uri)}"
    serve = "make serve" if is_default_home else f"{lifestage} serve --insecure-local{elsewhere}"
    steps = (
        (serve, "the service; its page for people is at http://127.0.0.1:3000/"),
        (store, "the experiments in the MLflow UI"),
        (f"{lifestage} at-risk --limit 100 --out at_risk.csv{elsewhere}", "the retention list as a file"),
        (f"{lifestage} score --orders {log} --as-of 1998-07-01 --out scores.parquet{elsewhere}", "every score"),
        (f"{lifestage} train --orders YOUR_ORDERS.csv --home .mine", "your own shop"),
    )
    for command, meaning in steps:
        out.print(Text.assemble("  ", (command, "bold cyan"), f"\n      {meaning}"), soft_wrap=True)


def print_exchange(request: str, answer: Any) -> None:
    """Print a request and its JSON answer."""
    out.print(Panel(Text(request), title="request", title_align="left", border_style="cyan"))
    out.print_json(json.dumps(answer))


def write_stdout(text: str) -> None:
    """Write text as it is, for another program to read."""
    sys.stdout.write(text)


def _print_orders(report: "IntakeReport") -> None:
    from serving.data_words import order_lines

    window = f" from {report.first_day} to {report.last_day}" if report.n_orders else ""
    out.print(
        f"{report.n_input:,} rows read: {report.n_accepted:,} accepted, {report.n_quarantined:,} quarantined; "
        f"{report.n_orders:,} orders{window}."
    )
    _print_account(report, order_lines(report))


def _print_events(report: "EventReport") -> None:
    from serving.data_words import event_lines

    window = f" from {report.first_day} to {report.last_day}" if report.n_events else ""
    out.print(
        f"{report.n_input:,} rows of events read: {report.n_accepted:,} accepted, "
        f"{report.n_quarantined:,} quarantined; {report.n_events:,} events of known customers{window}."
    )
    _print_account(report, event_lines(report))


def _print_account(report: "IntakeReport | EventReport", lines: Iterable[str]) -> None:
    """Print what is read of which source, what is to be said of the rows, and what was found out."""
    from serving.data_words import column_lines

    _print_lines(column_lines(report.by_source))
    _print_lines(lines)
    _print_sources(report.by_source)
    _print_lines(report.notes)


def _print_sources(sources: Sequence["SourceReport"]) -> None:
    """Print a line for each source, where there are several."""
    if len(sources) > 1:
        _print_lines(
            f"{source.file}: {source.n_input:,} rows, {source.n_quarantined:,} quarantined, "
            f"{source.n_guests:,} without a customer."
            for source in sources
        )


def _print_refusals(refusals: Iterable["Refusal"], *, title: str) -> None:
    rows = [
        {
            "rows": f"{refusal.n_rows:,}",
            "what is wrong": refusal.reason.meaning,
            "what to do": refusal.reason.remedy,
            "for example": "\n".join(_examples(refusal)),
        }
        for refusal in refusals
    ]
    if rows:
        print_records(rows, title=title)


def _examples(refusal: "Refusal") -> list[str]:
    shown = [f"{file}, {place}" for file, place in refusal.examples[:_SHOWN_EXAMPLES]]
    n_left = refusal.n_rows - len(shown)
    return [*shown, f"… and {n_left:,} more"] if n_left else shown


def _print_lines(lines: Iterable[str]) -> None:
    """Print lines as they are, the first of them where there are very many."""
    listed = list(lines)
    for line in listed[:_SHOWN_LINES]:
        _print_line(line)
    if len(listed) > _SHOWN_LINES:
        _print_line(f"… and {len(listed) - _SHOWN_LINES:,} more")


def _print_line(line: str) -> None:
    out.print(Padding(_plain_text(line), (0, 0, 0, 2), expand=False))


def _plain_text(text: str) -> Text:
    """Return text that a terminal shows as it is: a file may be named so as to move the cursor."""
    return Text("".join(char if char.isprintable() or char == "\n" else "�" for char in text))


def _catalogue_table(rows: Sequence[Mapping[str, str]], *, title: str) -> Table:
    table = folding_table(title=title)
    longest = max(len(row["name"]) for row in rows)
    table.add_column("name", overflow="fold", min_width=longest if out.width >= _WIDE_ENOUGH else None)
    table.add_column("unit", overflow="fold")
    table.add_column("meaning", overflow="fold")
    for row in rows:
        table.add_row(row["name"], row["unit"], _meaning(row))
    return table


def _meaning(row: Mapping[str, str]) -> str:
    from serving.data_words import word_needs

    needs = "" if row["needs"] == "orders" else f"\nneeds {word_needs(row['needs'].split(', '))}"
    return f"{row['meaning']}{needs}" + (f"\nnull: {row['null_rule']}" if row["null_rule"] else "")


def _fitting_ladder(rows: pl.DataFrame, metric: str, *, task: str, title: str) -> Table:
    """Build the fullest table that the terminal has room for: what is left out is better not shown than cut."""
    also = _ALSO_SHOWN[task]
    for shown in (also, tuple(name for name in also if name not in _ONLY_IF_WIDE), ()):
        listed = _ladder_table(rows, metric, shown, title=title, is_whole=shown == also)
        if _fits(listed):
            return listed
    for column in listed.columns:
        column.no_wrap, column.overflow = False, "fold"
    return listed


def _fits(listed: Table) -> bool:
    unbounded = out.options.update(width=_AS_WIDE_AS_NEED_BE)
    return out.measure(listed, options=unbounded).maximum <= out.width


def _ladder_table(rows: pl.DataFrame, metric: str, also: tuple[str, ...], *, title: str, is_whole: bool) -> Table:
    deciding, measured, n_cutoffs = _SHORT.get(metric, metric), rows.filter(against=""), _n_cutoffs(rows)
    listed = table(
        "model",
        *(deciding, *(["90 %"] if is_whole else []), *(_SHORT[name] for name in also), "Δ ours", "90 %"),
        title=title,
        caption=f"{_over(n_cutoffs, is_whole=is_whole)}; {deciding} decides, lower is better, the best is green. "
        f"Δ: ours − this model, paired; * its interval is clear of 0.{_note(rows, also)}"
        f"{'' if is_whole else _MORE_IF_WIDE}",
    )
    found = {(row["model"], row["metric"]): row for row in measured.iter_rows(named=True)}
    versus = rows.filter(pl.col("against") != "", pl.col("metric") == metric)
    differences = {row["against"]: row for row in versus.iter_rows(named=True)}
    best, digits = measured.filter(pl.col("metric") == metric)["value"].drop_nans().min(), _DIGITS.get(metric, 4)
    for model in measured["model"].unique(maintain_order=True):
        decides = found[model, metric]
        shown = Text(_number(decides["value"], metric), style="green" if decides["value"] == best else "")
        others = [_number(found[model, name]["value"], name) for name in also]
        versus_ours = _difference(differences.get(model), digits=digits)
        spared = "" if decides["n_cutoffs"] == n_cutoffs else f", {decides['n_cutoffs']} of {n_cutoffs}"
        listed.add_row(
            f"{model}{spared}",
            shown,
            *([_bounds(decides, digits=digits - 1)] if is_whole else []),
            *others,
            *versus_ours,
            style="bold" if model == OURS else None,
        )
    return listed


def _over(n_cutoffs: int, *, is_whole: bool) -> str:
    if n_cutoffs == 1:
        return "at 1 cutoff"
    return f"means over {n_cutoffs} cutoffs{', and their intervals' if is_whole else ''}"


def _n_cutoffs(rows: pl.DataFrame) -> int:
    return int(rows["n_cutoffs"].to_numpy().max())


def _note(rows: pl.DataFrame, also: tuple[str, ...]) -> str:
    """Say what helps to read one task's table."""
    rate = _mean(rows.filter(metric="base_rate", model=OURS)["value"])
    if "pr_auc" in also and not math.isnan(rate):
        return f" By chance PR-AUC is the base rate, {rate:.3f}."
    return _RUNGS_OF_STAGES if rows["task"][0] == "next_stage" else ""


def _reliability_table(rows: pl.DataFrame) -> Table:
    """Build the reliability of our next-stage probabilities: what was expected of each stage, and what came."""
    listed = table(
        "next stage",
        *("expected", "came", "ECE"),
        title="Next stage: do the probabilities fit, stage by stage?",
        caption="ours, means over cutoffs: mean probability, share that stood there, expected calibration error",
    )
    means = dict(rows.filter(model=OURS, against="").group_by("metric").agg(pl.col("value").mean()).iter_rows())
    for stage in STAGES:
        if f"ece_{stage}" in means:
            listed.add_row(
                stage,
                f"{means[f'mean_p_{stage}']:.1%}",
                f"{means[f'share_{stage}']:.1%}",
                f"{means[f'ece_{stage}']:.3f}",
            )
    return listed


def _ranking_table(rows: pl.DataFrame) -> Table:
    """Build how well each model finds the value: by rank, by tenth, and at the top."""
    names = {
        "spearman": "Spearman",
        "normalised_gini": "Gini",
        "decile_mape": "tenths off",
        "top_decile_share": "top tenth holds",
    }
    listed = table(
        "model",
        *names.values(),
        title="Value: does it find the valuable customers?",
        caption="means over cutoffs: rank correlation; Gini relative to the perfect order; mean error of the total of "
        "a tenth of customers; share of all value that the tenth ranked highest brought",
    )
    measured = rows.filter(pl.col("against") == "", pl.col("metric").is_in(list(names)))
    means = {
        (model, metric): _mean(part["value"])
        for (model, metric), part in measured.group_by("model", "metric", maintain_order=True)
    }
    for model in measured["model"].unique(maintain_order=True):
        found = [means.get((model, name), math.nan) for name in names]
        shown = [*(_number(value, "") for value in found[:2]), *(_share(value) for value in found[2:])]
        listed.add_row(model, *shown, style="bold" if model == OURS else None)
    return listed


def _coverage_table(rows: pl.DataFrame) -> Table:
    """Build how many outcomes our intervals of the horizon's value hold."""
    kinds = {"coverage": "of all", "coverage_if_ordered": "of those who ordered", "held": "as shown"}
    listed = table(
        "interval",
        *kinds.values(),
        title="Value: do the intervals hold what came?",
        caption="ours, means over cutoffs. Of all: an outcome of 0 counts by the share of its chance that the interval "
        "holds. Of those who ordered: given an order. As shown: an interval from 0 holds every 0, so it is above.",
    )
    means = dict(rows.filter(model=OURS, against="").group_by("metric").agg(pl.col("value").mean()).iter_rows())
    for percent in ("80", "90"):
        listed.add_row(f"{percent} %", *(_share(means.get(f"{kind}_{percent}")) for kind in kinds))
    return listed


def _difference(row: Mapping[str, Any] | None, *, digits: int) -> tuple[str, str]:
    """Write ours minus a rival's, and the interval of that; nothing in the row of ours."""
    if row is None or math.isnan(row["value"]):
        return "" if row is None else "–", ""
    is_clear = row["low"] > 0 or row["high"] < 0
    return f"{row['value']:+,.{digits}f}{'*' if is_clear else ' '}", _bounds(row, digits=digits)


def _bounds(row: Mapping[str, Any], *, digits: int) -> str:
    if row["low"] is None or math.isnan(row["low"]):
        return ""
    return f"{row['low']:,.{digits}f}…{row['high']:,.{digits}f}"


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _number(value: float | None, metric: str) -> str:
    if value is None or math.isnan(value):
        return "–"
    if metric in _SIGNED:
        return f"{value:+.1%}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.1%}"


def table(first: str, *others: str, title: str, caption: str | None = None) -> Table:
    """Return an empty table: texts in the first column, numbers in the others."""
    empty = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=0, pad_edge=False, title_justify="left")
    empty.add_column(first, no_wrap=True)
    for name in others:
        empty.add_column(name, justify="right", no_wrap=True)
    return empty


def _print_together(totals: "ListTotals", words: AtRiskWords, numerals: Numerals) -> None:
    figures = {"value": totals.clv_12m, "low": totals.clv_12m_low, "high": totals.clv_12m_high}
    written = {name: numerals.count(value) for name, value in figures.items()}
    out.print(words.together.format(**written, at_risk=numerals.count(totals.value_at_risk)))


def _reasons_table(scores: "Iterable[Score]", words: AtRiskWords) -> Table:
    table = folding_table(title=words.why.capitalize())
    for name in (words.columns[0], words.why):
        table.add_column(name, overflow="fold")
    for score in scores:
        table.add_row(Text(score.customer_id), _first_reason(score))
    return table


def _first_reason(score: "Score") -> str:
    """Return the greatest reason, behind an arrow that tells what it does to p_churn; a dash where there is none."""
    if not score.reasons:
        return "–"
    first = score.reasons[0]
    return f"{'↑' if first.direction == 'raises' else '↓'} {first.text}"


def _plain_table(frame: pl.DataFrame, *, title: str) -> Table:
    table = folding_table(title=title)
    for name in frame.columns:
        table.add_column(name, overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(_plain_text("–" if cell is None else str(cell)) for cell in row))
    return table


def folding_table(*, title: str) -> Table:
    """Return a table without columns, for texts that may take several lines."""
    return Table(title=title, box=box.SIMPLE_HEAD, padding=0, title_justify="left")
