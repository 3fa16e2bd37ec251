"""Answers for people at a terminal: tables, reasons and progress."""

import json
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from features.intake.orders import IntakeReport
    from serving.lists import AtRiskList, StageMap

_TASK_TITLES = {
    "churn": "Churn: will no order come?",
    "next_stage": "Next stage: where at the horizon?",
    "value": "Value: what will the orders of the horizon bring?",
}
_ALSO_SHOWN = {"churn": ("auc", "ece"), "next_stage": (), "value": ("mae", "r_squared", "relative_bias")}
_SHORT = {"log_loss": "log-loss", "auc": "AUC", "ece": "ECE", "mae": "MAE", "r_squared": "R²", "relative_bias": "bias"}
_OURS = "lifestage"
_SHOWN_QUARANTINE_ROWS = 10

out = Console()
err = Console(stderr=True)


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


def print_intake(report: "IntakeReport") -> None:
    """Print what became of every input row, and the first quarantined ones."""
    window = f" from {report.first_day} to {report.last_day}" if report.n_orders else ""
    out.print(
        f"{report.n_input:,} rows read: {report.n_accepted:,} accepted, {report.n_quarantined:,} quarantined; "
        f"{report.n_orders:,} orders{window}."
    )
    if report.quarantine.is_empty():
        return
    table = _table("rows", "reason", title="Quarantined, by reason")
    for reason, n_rows in report.by_reason.items():
        table.add_row(f"{n_rows:,}", reason)
    out.print(table)
    shown = report.quarantine.head(_SHOWN_QUARANTINE_ROWS)
    out.print(_plain_table(shown, title=f"The first {shown.height} of {report.n_quarantined:,}"))


def print_ladder(frame: pl.DataFrame, deciding: Mapping[str, str]) -> None:
    """Print the backtest: a table per task, a row per rung, the deciding metric at each cutoff."""
    for task, title in _TASK_TITLES.items():
        rows = frame.filter(pl.col("task") == task)
        if not rows.is_empty():
            out.print(_ladder_table(rows, deciding[task], _ALSO_SHOWN[task], title=title))


def print_reasons(reasons: Iterable[tuple[bool, str]]) -> None:
    """Print what spoke for and against, a line each."""
    for holds, text in reasons:
        out.print(Text.assemble(("  ✓ ", "green") if holds else ("  ✗ ", "bold red"), text))


def print_stages(stage_map: "StageMap") -> None:
    """Print customers and value per stage."""
    table = _table(
        "stage",
        *("customers", "share", "value so far", "p_churn", "12m value"),
        title=f"Lifecycle stages as of {stage_map.run.as_of}",
    )
    for stage in stage_map.stages:
        table.add_row(
            stage.stage,
            f"{stage.customers:,}",
            f"{stage.share:.1%}",
            f"{stage.historic_value:,.0f}",
            "–" if stage.mean_p_churn is None else f"{stage.mean_p_churn:.3f}",
            f"{stage.clv_12m:,.0f}",
        )
    out.print(table)


def print_at_risk(page: "AtRiskList") -> None:
    """Print the customers most worth saving, and the sums over them."""
    table = _table(
        "customer",
        *("stage", "since", "p_churn", "12m value", "interval", "value at risk", "RFM", "size"),
        title=f"{len(page.rows)} customers most worth saving, as of {page.run.as_of}",
    )
    for row in page.rows:
        table.add_row(
            Text(row["customer_id"]),
            row["stage"],
            row["stage_since"],
            f"{row['p_churn']:.3f}",
            f"{row['clv_12m']:,.0f}",
            f"{row['clv_12m_low']:,.0f}–{row['clv_12m_high']:,.0f}",
            f"{row['value_at_risk']:,.0f}",
            row["rfm"],
            row["size"],
        )
    out.print(table)
    totals = page.totals
    out.print(f"Together: {totals.clv_12m:,.0f} expected in 12 months; value at risk {totals.value_at_risk:,.0f}.")


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


def _ladder_table(rows: pl.DataFrame, metric: str, also: tuple[str, ...], *, title: str) -> Table:
    cutoffs = rows["cutoff"].unique().sort().to_list()
    deciding = _SHORT.get(metric, metric)
    table = _table(
        "model",
        *(*cutoffs, "mean", *(_SHORT[name] for name in also), "Δ ours"),
        title=title,
        caption=f"{deciding} at each cutoff, lower is better; then means over cutoffs. Δ: ours − this model, "
        "* its 90 % interval is clear of 0 at every cutoff.",
    )
    measured = rows.filter(pl.col("against") == "")
    values = {(r["model"], r["metric"], r["cutoff"]): r["value"] for r in measured.iter_rows(named=True)}
    for model in measured["model"].unique(maintain_order=True):
        at_cutoffs = [_number(values.get((model, metric, cutoff)), metric) for cutoff in cutoffs]
        means = [_number(_mean(values.get((model, name, c)) for c in cutoffs), name) for name in (metric, *also)]
        difference = _difference(rows.filter(pl.col("against") == model), metric)
        table.add_row(model, *at_cutoffs, *means, difference, style="bold" if model == _OURS else None)
    return table


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


def _table(first: str, *others: str, title: str, caption: str | None = None) -> Table:
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=0, pad_edge=False, title_justify="left")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _plain_table(frame: pl.DataFrame, *, title: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0, title_justify="left")
    for name in frame.columns:
        table.add_column(name, overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(Text("–" if cell is None else str(cell)) for cell in row))
    return table
