"""The experiments: each can be run, and its report shows what it would write."""

import os
import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from experiments.customer_value.run import (
    NAIVE,
    Log,
    Outlook,
    Plan,
    load_plan,
    measure,
    sample_log,
    to_markdown,
    to_metrics,
    write_report,
)
from features.settings import Settings
from training.ladder import OURS, RUNGS

FOLDER = Path(__file__).resolve().parent.parent / "experiments" / "customer_value"
CONFIG: dict[str, Any] = tomllib.loads((FOLDER / "config.toml").read_text(encoding="utf-8"))
SHOPS = [name for name, section in CONFIG.items() if isinstance(section, dict)]
N_CUSTOMERS = 300

Tables = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def few(cdnow_orders: pl.DataFrame) -> Log:
    """Three hundred CDNOW customers."""
    ids = cdnow_orders["customer_id"].unique().sort()[:N_CUSTOMERS]
    return sample_log(cdnow_orders.filter(pl.col("customer_id").is_in(ids.implode())))


@pytest.fixture(scope="module")
def tables(few: Log, small_settings: Settings) -> Tables:
    """The tables of one cutoff, one timing model and lists of fifty."""
    question = Outlook(date(1997, 7, 1), horizon_days=60, learn_days=60)
    plan = Plan(
        orders=(question,),
        value=(question,),
        years=(Outlook(date(1997, 7, 1), horizon_days=364, learn_days=60),),
        conventions=("half_open", "papers"),
        timing_models=("mbg_nbd",),
        list_sizes=(50, 1000),
        lists_per_size=5,
        seed=1,
    )
    found, judged = measure(few, plan, of_orders=few, settings=small_settings)
    assert judged is not None
    return found


def read_block(shop: str, name: str) -> list[list[str]]:
    """Return the cells of a generated table of the report, head first."""
    report = (FOLDER / "report.md").read_text(encoding="utf-8")
    [text] = re.findall(rf"<!-- generated {shop}\.{name} -->\n(.*?)<!-- end -->", report, re.DOTALL)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().splitlines()]
    return [lines[0], *lines[2:]]


def keys_of(shop: str, name: str, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return what each row of a table of the report is about."""
    head, *rows = read_block(shop, name)
    return [tuple(row[head.index(column)] for column in columns) for row in rows]


@pytest.mark.parametrize("shop", SHOPS)
def test_config(shop: str) -> None:
    """Every shop of the configuration is asked about orders, value and the year, at known cutoffs."""
    plan = load_plan(CONFIG, shop)
    assert plan.orders
    assert plan.value
    assert len(plan.years) == 3
    assert {outlook.horizon_days for outlook in plan.years} == {365}


def test_help() -> None:
    """The script answers from any folder."""
    command = [sys.executable, str(FOLDER / "run.py"), "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "100"})
    assert {"--orders", "--cutoffs", "--horizon-days", "--home"} <= set(said.stdout.split())


def test_measure(tables: Tables) -> None:
    """A small shop gets every table, with every model that has an answer."""
    assert set(tables) == {"orders", "fits", "value", "gains", "horizons", "years", "totals"}
    assert tables["orders"]["model"].to_list() == [NAIVE, "mbg_nbd", "mbg_nbd", OURS]
    assert set(tables["value"]["model"]) <= {*RUNGS, OURS}
    assert tables["years"]["model"].to_list() == ["mbg_nbd", OURS]
    assert tables["totals"].columns == ["cutoff", "days", "model", "level", "random_50", "stages", "tenths"]


def test_shares(tables: Tables) -> None:
    """What is a share lies between 0 and 1, and a wider interval holds no less."""
    for name, parts in (("years", ("all", "if_ordered", "shown")), ("horizons", ("coverage", "held"))):
        for part in parts:
            pair = tables[name].select(f"{part}_80", f"{part}_90")
            assert pair.select(pl.all_horizontal(pl.all().is_between(0.0, 1.0))).to_series().all()
            assert (pair[f"{part}_80"] <= pair[f"{part}_90"]).all()


def test_metrics(tables: Tables) -> None:
    """Each figure has a name of its own, which MLflow takes."""
    named = to_metrics(tables)
    assert named["orders.1997-07-01.60.lifestage.half_open.customers"] == N_CUSTOMERS
    assert all(re.fullmatch(r"[\w.-]+", name) for name in named)


def test_rewrite(tables: Tables, tmp_path: Path) -> None:
    """A run writes its tables anew, and leaves the words and the other shops alone."""
    report = tmp_path / "report.md"
    block = "<!-- generated {} -->\nold\n<!-- end -->\n"
    report.write_text("Words.\n" + block.format("cdnow.orders") + block.format("other.orders"), encoding="utf-8")
    write_report(report, "cdnow", tables)
    fresh = block.format("cdnow.orders").replace("old\n", to_markdown(tables["orders"]))
    assert report.read_text(encoding="utf-8") == "Words.\n" + fresh + block.format("other.orders")


@pytest.mark.parametrize("shop", SHOPS)
def test_report(shop: str, tables: Tables) -> None:
    """The report's tables have the columns of a run, and its cutoffs and models."""
    plan = load_plan(CONFIG, shop)
    for name in ("orders", "fits", "value", "gains", "horizons", "years"):
        assert read_block(shop, name)[0] == tables[name].columns
    value = [outlook.cutoff.isoformat() for outlook in plan.value]
    assert keys_of(shop, "value", ("cutoff", "model")) == [(when, model) for when in value for model in (*RUNGS, OURS)]
    assert keys_of(shop, "gains", ("cutoff", "against")) == [(when, model) for when in value for model in RUNGS]
    fits = [(o.cutoff.isoformat(), c, m) for o in plan.orders for c in plan.conventions for m in plan.timing_models]
    assert keys_of(shop, "fits", ("cutoff", "convention", "model")) == fits
    asked = {(outlook.cutoff.isoformat(), model) for outlook in plan.years for model in plan.timing_models}
    assert asked <= set(keys_of(shop, "years", ("cutoff", "model")))
    asked |= {(when, model) for when in value for model in (*plan.timing_models, OURS)}
    levels = {(when, model, level) for when, model in asked for level in ("80", "90")}
    assert levels <= set(keys_of(shop, "totals", ("cutoff", "model", "level")))
