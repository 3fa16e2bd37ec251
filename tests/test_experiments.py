"""The experiments: each can be run, its report shows what it would write, and the index names it."""

import re
import sys
from collections.abc import Mapping
from datetime import date
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

from experiments.churn_alone import ChurnAlone, learn_churn_alone
from experiments.customer_value.run import NAIVE, Outlook, Plan, load_plan, measure
from experiments.looks import Look, ask_churn, judge_looks
from experiments.ml_against_recency.run import BLENDS, SLICES, blend
from experiments.process_as_feature.run import PAIRS, PROCESS, VARIANTS
from experiments.tables import to_markdown, to_metrics, write_report
from experiments.trial import Log, answer, load_config, over, sample_log
from features.settings import Settings
from training.evaluation.ladder import OURS, RUNGS, climb
from training.evaluation.slices import slice_all
from training.learn import Past, learn_at
from training.models.horizons import HORIZONS_DAYS
from training.models.inputs import purchase_summary
from training.models.lifecycle import LifecycleModel
from training.splits import Fold, build_fold

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = ROOT / "experiments"
NAMES = sorted(path.name for path in EXPERIMENTS.iterdir() if path.is_dir() and not path.name.startswith("_"))
CHURN = ("ml_against_recency", "process_as_feature", "which_horizon")
CHURN_SHOPS = ("cdnow", "online_retail_ii")
FOLDER = EXPERIMENTS / "customer_value"
CONFIG = load_config(FOLDER)
SHOPS = [name for name, section in CONFIG.items() if isinstance(section, dict)]
N_CUSTOMERS = 300

Tables = Mapping[str, pl.DataFrame]


@pytest.fixture(scope="module")
def few(cdnow_orders: pl.DataFrame) -> Log:
    """Three hundred CDNOW customers."""
    ids = cdnow_orders["customer_id"].unique().sort()[:N_CUSTOMERS]
    return sample_log(cdnow_orders.filter(pl.col("customer_id").is_in(ids.implode())))


@pytest.fixture(scope="module")
def least(small_settings: Settings) -> Settings:
    """The least that a question of churn can be asked with: one test, one training cutoff, two seeds."""
    few_draws = {"bootstrap_samples": 20, "search_trials": 0, "seeds": 2}
    return over(small_settings, horizon_days=60, test_cutoffs=1, max_train_cutoffs=1, **few_draws)


@pytest.fixture(scope="module")
def answers(few: Log, least: Settings) -> dict[str, Tables]:
    """The tables of each question of churn, asked of few customers."""
    small = {"horizons_days": [60, 365], "carried_days": [30, 60], "carried_step_days": 60}
    return {name: _load(name).measure(few, small, least, lambda _: None) for name in CHURN}


@pytest.fixture(scope="module")
def fold(few: Log, least: Settings) -> Fold:
    """The end of the log, with what can be learned by then."""
    return build_fold(few.end_day, first_day=few.first_day, settings=least.training)


@pytest.fixture(scope="module")
def learned(few: Log, fold: Fold, least: Settings) -> tuple[Past, LifecycleModel]:
    """A model of few customers, and what it learned from."""
    return learn_at(few.records, fold, settings=least)


@pytest.fixture(scope="module")
def alone(few: Log, fold: Fold, least: Settings) -> ChurnAlone:
    """Churn, learned alone from the same."""
    return learn_churn_alone(few.records, fold, settings=least)


@pytest.fixture(scope="module")
def tables(few: Log, small_settings: Settings) -> dict[str, pl.DataFrame]:
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


def _load(name: str) -> ModuleType:
    return import_module(f"experiments.{name}.run")


def read_block(shop: str, name: str, *, folder: Path = FOLDER) -> list[list[str]]:
    """Return the cells of a generated table of a report, head first."""
    report = (folder / "report.md").read_text(encoding="utf-8")
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


@pytest.mark.parametrize("name", NAMES)
def test_index(name: str) -> None:
    """Every experiment has its configuration, its run and its report, and the index gives its command and links it."""
    assert all((EXPERIMENTS / name / file).is_file() for file in ("config.toml", "run.py", "report.md"))
    [row] = [
        line for line in (EXPERIMENTS / "README.md").read_text("utf-8").splitlines() if f"({name}/report.md)" in line
    ]
    assert f"`python -m experiments.{name}.run`" in row
    assert len(row.strip("|").split("|")) == 5


@pytest.mark.parametrize("name", NAMES)
def test_flags(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every experiment takes a shop of the reader's own."""
    monkeypatch.setattr(sys, "argv", ["run.py", "--help"])
    module = _load(name)
    with pytest.raises(SystemExit):
        module.main() if name == "customer_value" else answer(EXPERIMENTS / name, module.measure)
    assert {"--orders", "--shop", "--home", "--no-log"} <= set(re.findall(r"--[\w-]+", capsys.readouterr().out))


def test_answer(few: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run reads a shop, prints its tables, and writes those that the report shows."""
    orders, report = tmp_path / "orders.csv", tmp_path / "report.md"
    orders.write_text("customer_id,ordered_at,amount\nA,2024-03-01,5\nA,2024-03-09,5\n", encoding="utf-8")
    (tmp_path / "config.toml").write_text('question = "How long?"\n[settings.training]\nseeds = 1\n', encoding="utf-8")
    report.write_text("<!-- generated mine.span -->\n<!-- end -->\n", encoding="utf-8")

    def span(log: Log, config: Mapping[str, Any], settings: Settings, _advance: Any) -> Tables:
        asked = {"question": config["question"], "seeds": settings.training.seeds}
        return {"span": pl.DataFrame([{**asked, "span_days": log.end_day - log.first_day}])}

    answer(tmp_path, span, ["--orders", str(orders), "--shop", "mine", "--no-log"])
    assert "| How long? | 1 | 9 |" in capsys.readouterr().out
    assert "| How long? | 1 | 9 |" in report.read_text(encoding="utf-8")
    before = report.read_text(encoding="utf-8")
    answer(tmp_path, span, ["--orders", str(orders), "--no-log"])
    assert "other.span" in capsys.readouterr().out
    assert report.read_text(encoding="utf-8") == before


def test_refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shop that cannot be read ends in words and an exit code, not in a traceback."""
    (tmp_path / "config.toml").write_text('question = "What?"\n', encoding="utf-8")
    with pytest.raises(SystemExit) as refused:
        answer(tmp_path, lambda *_: {}, ["--orders", str(tmp_path / "absent.csv"), "--no-log"])
    assert refused.value.code == 3
    assert "absent.csv" in capsys.readouterr().err


def test_pairs(least: Settings) -> None:
    """The difference of two answers is that of their figures, and its interval is drawn in pairs."""
    came, ids = np.array([0, 1, 1, 0] * 25), pl.Series([f"c{i}" for i in range(100)])
    said = {OURS: np.full(100, 0.5), "sure": 0.2 + 0.6 * came, "surer": 0.1 + 0.8 * came}
    look = Look(10_000, said, came, ids, slice_all(100))
    frame, means = judge_looks([look], least, pairs=[("surer", "sure")])
    [row] = means.filter(model="surer", against="sure", metric="log_loss").iter_rows(named=True)
    assert row["value"] == pytest.approx(np.log(0.8) - np.log(0.9))
    assert row["low"] == pytest.approx(row["high"])
    assert set(frame.filter(against="sure")["model"]) == {OURS, "surer"}


def test_recency(answers: dict[str, Tables]) -> None:
    """The first question puts every rung and every part of ours before the judge, and differences add up."""
    tables = answers["ml_against_recency"]
    ladder = dict(tables["ladder"].select("model", "log_loss").iter_rows())
    assert [*ladder] == [*(name for name in RUNGS if name in ladder), OURS, *BLENDS]
    assert {"base_rate", "recency_rule", "mbg_nbd"} <= set(ladder)
    for rival, difference in tables["gains"].select("against", "log_loss").iter_rows():
        assert difference == pytest.approx(ladder[OURS] - ladder[rival])
    assert set(tables["slices"]["slice"]) <= set(SLICES)
    assert (
        tables["slices"]
        .select(pl.col("log_loss_ours") - pl.col("log_loss_theirs") - pl.col("difference"))
        .to_series()
        .abs()
        < 1e-9
    ).all()


def test_parts(learned: tuple[Past, LifecycleModel]) -> None:
    """A blend of weight 1 is the purchase process, and the plain average lies half way to the trees."""
    past, model = learned
    trees, process, average = (ask_churn(model, blend(model.churn, weight), past.present) for weight in BLENDS.values())
    assert process == pytest.approx(model.process_view(purchase_summary(past.present))[:, 0])
    assert average == pytest.approx(0.5 * (trees + process))


def test_alone(alone: ChurnAlone, learned: tuple[Past, LifecycleModel]) -> None:
    """Churn learned alone is what training learns, and its recency rule and base rate are the ladder's."""
    past, model = learned
    assert alone.p_churn == pytest.approx(model.answer(past.present).p_churn)
    rungs = climb(past, model)
    for name, said in {"base_rate": alone.base_rate(), "recency_rule": alone.recency_rule()}.items():
        assert said == pytest.approx(rungs[name].p_churn)


def test_carry(alone: ChurnAlone, learned: tuple[Past, LifecycleModel]) -> None:
    """Churn carried to other horizons is what the model's answer says of them, and it falls as they grow."""
    past, model = learned
    carried = alone.carry(np.array(HORIZONS_DAYS, dtype=np.float64), horizon_days=model.horizon_days)
    assert carried == pytest.approx(model.answer(past.present).p_churn_by_horizon)
    assert (np.diff(carried, axis=1) <= 1e-12).all()


def test_horizons(answers: dict[str, Tables]) -> None:
    """A horizon that the history has no room for is left out, and own and carried are asked of the same customers."""
    tables = answers["which_horizon"]
    assert tables["horizons"]["days"].to_list() == [60]
    assert tables["suggestion"]["is_suggested"].sum() == 1
    carried = tables["carried"]
    assert carried.select("days", "learned_days").rows() == [(30, 60), (60, 30)]
    off = carried["log_loss_carried"] - carried["log_loss_own"] - carried["difference"]
    assert (off.abs() < 1e-9).all()
    assert tables["contradictions"]["models"].to_list() == [2]


def test_variants(answers: dict[str, Tables]) -> None:
    """The third question asks every variant with every seed; the process alone has no chance in it."""
    tables = answers["process_as_feature"]
    assert tables["variants"]["model"].to_list() == [PROCESS, *VARIANTS, OURS]
    spread = dict(tables["variants"].select("model", "log_loss_seed_sd").iter_rows())
    assert spread[PROCESS] == 0.0
    assert spread["trees_with"] > 0.0
    assert [*tables["pairs"].select("model", "against").iter_rows()][: len(PAIRS)] == [*PAIRS]
    assert tables["pairs"].filter(pl.col("seeds_least") > pl.col("seeds_most")).is_empty()


@pytest.mark.parametrize("shop", CHURN_SHOPS)
@pytest.mark.parametrize("name", CHURN)
def test_churn_report(name: str, shop: str, answers: dict[str, Tables]) -> None:
    """The reports on churn show every table of a run, with its columns."""
    for table, frame in answers[name].items():
        head, *rows = read_block(shop, table, folder=EXPERIMENTS / name)
        assert head == frame.columns
        assert rows


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
