"""Backtests whose winner is known: made-up customers, judged as all are, by models that know more or less of them."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from features.lifecycle.stages import STAGES
from features.settings import Settings, load_settings
from training.evaluation.backtest import COHERENCE, Backtest
from training.evaluation.draws import People
from training.evaluation.findings import Finding, Key, pool, tabulate
from training.evaluation.judging import Case, answered, judge
from training.evaluation.ladder import OURS, RUNGS, Predictions
from training.evaluation.slices import slice_all
from training.metrics import FloatArray

CUTOFFS = ("2024-01-01", "2024-03-31")
N_CUSTOMERS = 400


def rig(
    noise: Mapping[str, float], *, n_seeds: int = 2, everyone_leaves: bool = False, notes: tuple[str, ...] = ()
) -> Backtest:
    """Judge models by how much noise each adds to the truth.

    Args:
        noise: Model → standard deviation in log-odds; ours among them.
        n_seeds: That ours is learned with.
        everyone_leaves: And orders nothing.
        notes: Of the backtest.
    """
    settings = rigged_settings(n_seeds)
    cases = [_make_up(noise, seed, n_seeds, everyone_leaves=everyone_leaves) for seed, _ in enumerate(CUTOFFS)]
    coherence = Finding(Key(COHERENCE, "all", OURS, "stages_sum_to_one"), 2e-16, N_CUSTOMERS)
    found = [(*judge(case, settings), coherence) for case in cases]
    youngest = cases[-1]
    return Backtest(
        pl.concat([tabulate(each, cutoff=cutoff) for each, cutoff in zip(found, CUTOFFS, strict=True)]),
        pool(found),
        youngest.outcomes,
        answered(youngest.answers[OURS]),
        notes=notes,
    )


def rigged_settings(n_seeds: int = 2) -> Settings:
    """The defaults, with few draws."""
    return load_settings(overrides={"training": {"bootstrap_samples": 20, "seeds": n_seeds}})


def everyone_is(noise: float, *, ours: float) -> dict[str, float]:
    """Give all rungs the same noise, and ours its own."""
    return {**dict.fromkeys(RUNGS, noise), OURS: ours}


def _make_up(noise: Mapping[str, float], seed: int, n_seeds: int, *, everyone_leaves: bool) -> Case:
    rng = np.random.default_rng(seed)
    odds = rng.normal(0.5, 1.5, N_CUSTOMERS)
    if everyone_leaves:
        odds = np.full(N_CUSTOMERS, 20.0)
    churned = (rng.random(N_CUSTOMERS) < _chance(odds)).astype(np.int64)
    worth = rng.lognormal(3.0, 0.5, N_CUSTOMERS)
    outcomes = {
        "churn": churned,
        "next_stage": np.where(churned == 1, STAGES.index("lost"), STAGES.index("repeat")),
        "value": np.where(churned == 1, 0.0, worth),
    }
    said = {name: _say(odds, worth, rng.normal(0.0, 1.0, N_CUSTOMERS) * sd) for name, sd in noise.items()}
    reruns = [_say(odds, worth, rng.normal(0.0, 0.05, N_CUSTOMERS)) for _ in range(n_seeds - 1)]
    is_first = np.arange(N_CUSTOMERS) < 150
    slices = {**slice_all(N_CUSTOMERS), "one_time": is_first, "repeat": ~is_first}
    people = {"customers": People.alone(N_CUSTOMERS, slices)}
    return Case(said, outcomes, people=people, reruns=reruns, customer_value=60.0)


def _say(odds: FloatArray, worth: FloatArray, error: FloatArray) -> Predictions:
    p = _chance(odds + error)
    stages = np.zeros((len(p), len(STAGES)))
    stages[:, STAGES.index("lost")], stages[:, STAGES.index("repeat")] = p, 1.0 - p
    return Predictions(p_churn=p, p_next_stage=stages, value=(1.0 - p) * worth)


def _chance(odds: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-odds)))
