"""Answers for people at a terminal: tables, reasons and progress."""

import json
import math
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

if TYPE_CHECKING:
    from features.intake.event_report import EventReport
    from features.intake.report import IntakeReport, SourceReport
    from features.intake.shop import Shop
    from features.records import Records
    from serving.data_words import Refusal
    from serving.schemas import AtRiskPage

_TASK_TITLES = {
    "churn": "Churn: will no order come?",
    "next_stage": "Next stage: where at the horizon?",
    "value": "Value: what will the orders of the horizon bring?",
    "first_purchase": "Prospects: will a first order come?",
    "registration": "Visitors: will they register?",
}
_ALSO_SHOWN = {
    "churn": ("auc", "ece"),
    "next_stage": (),
    "value": ("mae", "r_squared", "relative_bias"),
    "first_purchase": ("auc", "ece"),
    "registration": ("auc", "ece"),
}
_RUNGS_OF_STAGES = " base_rate is the class prior, last_period Markov, recency_rule Markov × recency decile."
_SHORT = {"log_loss": "log-loss", "auc": "AUC", "ece": "ECE", "mae": "MAE", "r_squared": "R²", "relative_bias": "bias"}
_OURS = "lifestage"
_SHOWN_EXAMPLES = 2
_SHOWN_LINES = 12
_WIDE_ENOUGH = 72  # columns of a terminal on which names of features need not be folded

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


def print_ladder(frame: pl.DataFrame, deciding: Mapping[str, str]) -> None:
    """Print the backtest: a table per task, a row per rung, the deciding metric at each cutoff."""
    for task, title in _TASK_TITLES.items():
        rows = frame.filter(pl.col("task") == task)
        if not rows.is_empty():
            out.print(_ladder_table(rows, deciding[task], _ALSO_SHOWN[task], title=title))
            if task == "next_stage":
                out.print(_reliability_table(rows))
            if task == "value":
                out.print(_ranking_table(rows))
                out.print(_coverage_table(rows))


def print_reasons(reasons: Iterable[tuple[bool, str]]) -> None:
    """Print what spoke for and against, a line each."""
    for holds, text in reasons:
        out.print(Text.assemble(("  ✓ ", "green") if holds else ("  ✗ ", "bold red"), text))


def print_at_risk(page: "AtRiskPage") -> None:
    """Print the customers most worth saving, the sums over them, and what to do for their stages."""
    listed = table(
        "customer",
        *("stage", "since", "p_churn", "12m", "interval", "at risk", "RFM", "size"),
        title=f"{len(page.customers)} customers most worth saving, as of {page.run.as_of}",
    )
    listed.columns[1].no_wrap, listed.columns[1].justify = False, "left"
    for row in page.customers:
        listed.add_row(
            Text(row.customer_id),
            row.stage_label,
            row.stage_since,
            f"{row.p_churn:.3f}",
            f"{row.clv_12m:,.0f}",
            f"{row.clv_12m_low:,.0f}–{row.clv_12m_high:,.0f}",
            f"{row.value_at_risk:,.0f}",
            row.rfm,
            row.size,
        )
    out.print(listed)
    totals = page.totals
    interval = f"({totals.clv_12m_low:,.0f}–{totals.clv_12m_high:,.0f})"
    at_risk = f"value at risk {totals.value_at_risk:,.0f}"
    out.print(f"Together: {totals.clv_12m:,.0f} {interval} expected in 12 months; {at_risk}.")
    plays = {row.stage_label: "\n".join(f"· {play}" for play in row.plays) for row in page.customers if row.plays}
    if plays:
        print_records(({"stage": stage, "what to do": what} for stage, what in plays.items()), title="Plays")


def print_records(records: Iterable[Mapping[str, Any]], *, title: str) -> None:
    """Print records with equal keys as a table."""
    out.print(_plain_table(pl.DataFrame(list(records), infer_schema_length=None), title=title))


def print_next_steps(home: Path, orders: Path, *, is_default_home: bool) -> None:
    """Print what a new user may want to try after the demo."""
    lifestage = "lifestage" if shutil.which("lifestage") else sys.argv[0]
    elsewhere = "" if is_default_home else f" --home {home}"
    store_uri = f"sqlite:///{(home / 'mlflow.db').absolute()}"
    store = "make mlflow" if is_default_home else f"mlflow ui --backend-store-uri {store_uri}"
    serve = "make serve" if is_default_home else f"{lifestage} serve --insecure-local{elsewhere}"
    steps = (
        (serve, "the service; its page for people is at http://127.0.0.1:3000/"),
        (store, "the experiments in the MLflow UI"),
        (f"{lifestage} at-risk --limit 100 --out at_risk.csv{elsewhere}", "the retention list as a file"),
        (f"{lifestage} score --orders {orders} --as-of 1998-07-01 --out scores.parquet{elsewhere}", "every score"),
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


def _ladder_table(rows: pl.DataFrame, metric: str, also: tuple[str, ...], *, title: str) -> Table:
    cutoffs = rows["cutoff"].unique().sort().to_list()
    deciding = _SHORT.get(metric, metric)
    note = _RUNGS_OF_STAGES if rows["task"][0] == "next_stage" else ""
    listed = table(
        "model",
        *(*cutoffs, "mean", *(_SHORT[name] for name in also), "Δ ours"),
        title=title,
        caption=f"{deciding} at each cutoff, lower is better; then means over cutoffs. Δ: ours − this model, "
        f"* its 90 % interval is clear of 0 at every cutoff.{note}",
    )
    measured = rows.filter(pl.col("against") == "")
    values = {(r["model"], r["metric"], r["cutoff"]): r["value"] for r in measured.iter_rows(named=True)}
    for model in measured["model"].unique(maintain_order=True):
        at_cutoffs = [_number(values.get((model, metric, cutoff)), metric) for cutoff in cutoffs]
        means = [_number(_mean(values.get((model, name, c)) for c in cutoffs), name) for name in (metric, *also)]
        difference = _difference(rows.filter(pl.col("against") == model), metric)
        listed.add_row(model, *at_cutoffs, *means, difference, style="bold" if model == _OURS else None)
    return listed


def _reliability_table(rows: pl.DataFrame) -> Table:
    """Build the reliability of our next-stage probabilities: what was expected of each stage, and what came."""
    listed = table(
        "next stage",
        *("expected", "came", "ECE"),
        title="Next stage: do the probabilities fit, stage by stage?",
        caption="ours, means over cutoffs: mean probability, share that stood there, expected calibration error",
    )
    means = dict(rows.filter(model=_OURS, against="").group_by("metric").agg(pl.col("value").mean()).iter_rows())
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
        listed.add_row(model, *shown, style="bold" if model == _OURS else None)
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
    means = dict(rows.filter(model=_OURS, against="").group_by("metric").agg(pl.col("value").mean()).iter_rows())
    for percent in ("80", "90"):
        listed.add_row(f"{percent} %", *(_share(means.get(f"{kind}_{percent}")) for kind in kinds))
    return listed


def _difference(rows: pl.DataFrame, metric: str) -> str:
    if rows.is_empty():
        return ""
    measured = rows.filter(pl.col("value").is_not_nan())
    is_clear = not measured.is_empty() and bool((measured["high"] < 0).all() or (measured["low"] > 0).all())
    mean = _mean(rows["value"])
    return f"{'+' if mean > 0 else ''}{_number(mean, metric)}{'*' if is_clear else ' '}"


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _number(value: float | None, metric: str) -> str:
    if value is None or math.isnan(value):
        return "–"
    if metric == "relative_bias":
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
