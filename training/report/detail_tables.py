"""The tables behind the ladder: what the Brier score is made of, chance, money, stages, intervals, bins."""

from collections.abc import Iterable

import numpy as np

from features.lifecycle.stages import STAGES
from training.evaluation.backtest import COHERENCE
from training.evaluation.findings import Key
from training.evaluation.slices import ALL
from training.evaluation.verdicts import DECIDING, OURS
from training.metrics import Array, bin_probabilities, precision_at, recall_at
from training.report.readings import Reading, Readings
from training.report.tables import Cell, Row, Table, build_ladder
from training.report.words import MISSING, TASKS, describe_metric, fixed, percent

_BRIER = ("brier", "brier_reliability", "brier_resolution", "brier_uncertainty", "brier_within_bins")
_PROFIT = ("expected_maximum_profit", "recall_at_capacity", "top_decile_lift")
_CONTACTED = (0.05, 0.10, 0.20, 0.30, 0.50)
_COVERAGE = {"coverage": "of all", "coverage_if_ordered": "of those who ordered", "held": "as shown"}
_COVERAGE_NOTE = (
    "Of all: who orders nothing counts by the share of the chance of 0 that lies within the interval. Of those who "
    "ordered: given that they order. As shown: an interval from 0 on holds all who order nothing, so it is higher."
)


def tabulate_brier(readings: Readings) -> Table:
    """Build what the Brier score of churn is made of, model by model."""
    return build_ladder(readings, "churn", metrics=_BRIER)


def tabulate_profit(readings: Readings) -> Table:
    """Build what a campaign earns by each model's order of customers."""
    return build_ladder(readings, "churn", metrics=_PROFIT)


def tabulate_seeds(readings: Readings, *, n_seeds: int) -> Table:
    """Build what learning again with other seeds moves: a row per metric of ours."""
    rows = tuple(
        Row(
            f"{TASKS[key.task].title}: {describe_metric(key.metric).name}",
            "",
            (Cell(describe_metric(key.metric).write(reading.value)), Cell(f"± {_write_spread(key, reading)}")),
        )
        for key, reading in readings.by_key.items()
        if reading and reading.seed_sd is not None and _is_shown(key)
    )
    why = "the backtest learned with one seed" if n_seeds == 1 else "no figure over seeds was left by the backtest"
    notes = () if rows else (f"Not measurable: {why}.",)
    return Table(f"Chance: {n_seeds} seeds", ("metric", "mean", "deviation over seeds"), rows, notes)


def tabulate_stages(readings: Readings) -> Table:
    """Build what was expected of each next stage, and what came."""
    rows = tuple(
        Row(
            stage,
            "",
            tuple(_write_share(readings, "next_stage", f"{kind}_{stage}") for kind in ("mean_p", "share", "ece")),
        )
        for stage in STAGES
        if readings.get("next_stage", f"ece_{stage}")
    )
    return Table(
        "Do the probabilities fit, stage by stage?", ("stage", "expected", "came", "ECE ↓"), rows, _unless(rows)
    )


def tabulate_coverage(readings: Readings) -> Table:
    """Build how many values came within the model's intervals."""
    rows = tuple(
        Row(
            f"{level} % interval",
            "",
            tuple(_write_share(readings, "value", f"{kind}_{level}") for kind in _COVERAGE),
        )
        for level in ("80", "90")
        if readings.get("value", f"coverage_{level}")
    )
    return Table(
        "How many values came within the model's intervals?",
        ("interval", *_COVERAGE.values()),
        rows,
        (_COVERAGE_NOTE,) if rows else _unless(rows),
    )


def tabulate_coherence(readings: Readings) -> Table:
    """Build the largest violation of each identity that ties the answers together."""
    rows = tuple(
        Row(
            key.metric.replace("_", " "),
            "",
            (Cell(f"{reading.value:.1e}".replace("-", "−") if reading.value else "0"),),
        )
        for key, reading in readings.by_key.items()
        if reading and key.task == COHERENCE and key.model == OURS
    )
    return Table("Coherence", ("identity", "largest violation"), rows, _unless(rows))


def tabulate_bins(y: Array, p: Array) -> Table:
    """Build the reliability diagram in figures: a row per bin that holds customers."""
    bins = bin_probabilities(y, p)
    write = percent()
    rows = tuple(
        Row(write(mean_p), "", (Cell(write(share)), Cell(f"{n:,}")))
        for mean_p, share, n in zip(bins.mean_p.tolist(), bins.share.tolist(), bins.n_customers.tolist(), strict=True)
    )
    return Table("Bins of the reliability diagram", ("mean prediction", "came", "customers"), rows)


def tabulate_gain(y: Array, p: Array) -> Table:
    """Build the gain chart in figures: whom the best scores hold."""
    rows = tuple(
        Row(
            f"top {share:.0%}",
            "",
            (
                Cell(f"{round(share * len(y)):,}"),
                Cell(_write_finite(recall_at(y, p, share=share))),
                Cell(_write_finite(precision_at(y, p, share=share))),
            ),
        )
        for share in _CONTACTED
    )
    return Table("Gain chart", ("contacted", "customers", "of all churners", "churners among them"), rows)


def _is_shown(key: Key) -> bool:
    """Tell whether a key is a plain figure of ours over everyone that the ladders show."""
    is_ladder = key.metric in {"auc", "ece", "brier", "rps", "expected_maximum_profit", "mae", "spearman"}
    is_plain = (key.model, key.slice, key.against) == (OURS, ALL, "")
    return is_plain and key.task in DECIDING and (is_ladder or key.metric == DECIDING[key.task])


def _write_spread(key: Key, reading: Reading) -> str:
    is_money = key.metric in {"expected_maximum_profit", "mae"}
    return fixed(3 if is_money else 5)(reading.seed_sd or 0.0)


def _write_share(readings: Readings, task: str, metric: str) -> Cell:
    reading = readings.get(task, metric)
    return Cell(MISSING if reading is None else percent()(reading.value))


def _write_finite(share: float) -> str:
    return percent()(share) if np.isfinite(share) else MISSING


def _write_tiny(value: float) -> str:
    return f"{value:.1e}".replace("-", "−") if value else "0"


def _unless(rows: Iterable[Row]) -> tuple[str, ...]:
    return () if any(True for _ in rows) else ("Not measurable: the backtest left no figures of it.",)
