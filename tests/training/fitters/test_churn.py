"""Learning churn: on earlier time alone, trusted as far as time that it did not see says."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.settings import TrainingSettings, load_settings
from training.fitters.churn import (
    ChurnExamples,
    LearnedChurn,
    Opinions,
    choose_weight,
    fit_churn,
    fit_slope,
    regrow_churn,
    split_later,
)
from training.fitters.tree_search import search_shape
from training.fitters.trees import TreeShape
from training.metrics import auc, log_loss_binary
from training.models.churn import logit

NAMES = ("told", "noise")
HORIZON = 30
N = 400


def _settings(**training: object) -> TrainingSettings:
    return load_settings(overrides={"training": {"search_trials": 0, **training}}).training


def _cutoff(day: int, *, seed: int = 0, n: int = N, told: float = 2.0) -> ChurnExamples:
    """Make customers whose churn an input tells as far as `told` says, beside a process that tells half of that."""
    rng = np.random.default_rng(seed + day)
    inputs = rng.normal(size=(n, 2))
    target = (rng.uniform(size=n) < _sigmoid(told * inputs[:, 0])).astype(np.int64)
    p_no_order = _sigmoid(0.5 * told * inputs[:, 0])
    process = np.column_stack([p_no_order, np.ones(n), 1.0 - p_no_order])
    return ChurnExamples(day, inputs, process, target, pl.Series([f"c{i}" for i in range(n)]))


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-z)))


def _fit(cutoffs: list[ChurnExamples], present: ChurnExamples, **training: object) -> LearnedChurn:
    return fit_churn(
        cutoffs,
        names=NAMES,
        present=(present.inputs, present.process),
        horizon_days=HORIZON,
        settings=_settings(**training),
    )


def _ask(learned: LearnedChurn, of: ChurnExamples) -> np.ndarray:
    return learned.model.p_churn(of.inputs, of.process)


def test_learns() -> None:
    """What an input tells of churn is found, and is told of customers not learned from."""
    cutoffs = [_cutoff(day) for day in (200, 170, 140, 110)]
    unseen = _cutoff(500)
    p = _ask(_fit(cutoffs, unseen), unseen)
    assert auc(unseen.target, p) > 0.8
    assert log_loss_binary(unseen.target, p) < log_loss_binary(unseen.target, unseen.process[:, 0])


def test_few_churners() -> None:
    """Where one outcome has too few customers, the process answers alone, exactly."""
    cutoff = _cutoff(200)
    learned = _fit([replace(cutoff, target=np.ones(N, dtype=np.int64))], cutoff)
    assert learned.model.trees is None
    assert np.array_equal(_ask(learned, cutoff), cutoff.process[:, 0])


def test_shrinks() -> None:
    """The fewer customers of the rarer outcome, the more the process counts."""
    weights = [_fit([_cutoff(200, n=n)], _cutoff(500, n=n)).model.process_weight for n in (80, 400, 4000)]
    assert weights == sorted(weights, reverse=True)
    assert 0.5 < weights[-1] < 0.55


@pytest.mark.parametrize("reads_process", [True, False])
def test_reads_process(reads_process: bool) -> None:
    """The trees see what the process says, unless the setting keeps it from them."""
    present = _cutoff(500)
    learned = _fit([_cutoff(200)], present, process_inputs=reads_process)
    assert learned.model.trees is not None
    assert learned.model.trees.n_features == (5 if reads_process else 2)
    again = regrow_churn(learned.model, [_cutoff(200)], names=NAMES, shape=learned.shape, seed=7)
    assert again.trees != learned.model.trees
    assert replace(again, trees=learned.model.trees) == learned.model


def test_split_later() -> None:
    """A cutoff is held out beside those alone whose outcomes were known by then."""
    cutoffs = [_cutoff(day) for day in (200, 185, 170, 140, 110)]
    assert list(split_later(cutoffs, horizon_days=30)) == [(0, (2, 3, 4)), (1, (3, 4)), (2, (3, 4))]
    assert list(split_later(cutoffs, horizon_days=100)) == []


def _opinions(*, process_is_right: bool, seed: int) -> Opinions:
    rng = np.random.default_rng(seed)
    right = rng.uniform(0.05, 0.95, size=2000)
    wrong = np.full_like(right, 0.5)
    target = (rng.uniform(size=2000) < right).astype(np.int64)
    return Opinions(*((wrong, right) if process_is_right else (right, wrong)), target)


def test_weight() -> None:
    """Another weight than the plain average is taken where it is better at every cutoff, and only there."""
    process, trees = ([_opinions(process_is_right=right, seed=seed) for seed in (1, 2, 3)] for right in (True, False))
    assert choose_weight(process, 0.5) == 0.75
    assert choose_weight(trees, 0.5) == 0.25
    assert choose_weight([*process, *trees], 0.5) == 0.5
    assert choose_weight(process[:1], 0.5) == 0.5
    assert choose_weight([], 0.4) == 0.4


def test_slope() -> None:
    """The slope is found that made probabilities too sure, whatever the level of each cutoff."""
    rng = np.random.default_rng(5)
    pools = []
    for level in (-1.0, 0.0, 2.0):
        z = rng.normal(size=20_000)
        pools.append((2.0 * z, (rng.uniform(size=z.size) < _sigmoid(z + level)).astype(np.int64)))
    assert fit_slope(pools) == pytest.approx(0.5, abs=0.03)
    assert fit_slope([(-z, y) for z, y in pools]) == 0.0
    assert fit_slope([]) == 1.0


def test_level_stays() -> None:
    """Sharpening turns log-odds about their mean at present: the level is not moved."""
    cutoffs = [_cutoff(day, told=3.0) for day in (200, 170, 140, 110)]
    present = _cutoff(500)
    learned = _fit(cutoffs, present)
    assert learned.model.calibrator.slope != 1.0
    plain = replace(learned.model, calibrator=type(learned.model.calibrator)())
    before, after = (logit(m.p_churn(present.inputs, present.process)).mean() for m in (plain, learned.model))
    assert before == pytest.approx(after)


def test_search() -> None:
    """The search is bounded, repeats itself, keeps the usual shape without need, and tells every trial."""
    cutoffs = [_cutoff(day) for day in (200, 170, 140)]
    splits = list(split_later(cutoffs, horizon_days=HORIZON))
    found = [search_shape(cutoffs, splits, names=NAMES, settings=_settings(search_trials=3)) for _ in range(2)]
    shape, trials = found[0]
    assert found[0] == found[1]
    assert (len(trials), trials[0].shape) == (4, TreeShape())
    assert [trial.shape for trial in trials if trial.is_chosen] == [shape]
    assert trials[0].gain == 0.0
    assert trials[1].to_record().keys() >= {"rounds", "num_leaves", "log_loss", "gain", "is_chosen"}
    assert search_shape(cutoffs, splits, names=NAMES, settings=_settings()) == (TreeShape(), ())


def test_search_sees_no_later_time() -> None:
    """What came after the oldest cutoff held out does not change which shape it was judged by."""
    cutoffs = [_cutoff(day) for day in (200, 170, 140)]
    later = _cutoff(230)
    turned = replace(later, target=1 - later.target)
    settings = _settings(search_trials=2)
    found = [search_shape((c, *cutoffs), [(1, (2, 3))], names=NAMES, settings=settings) for c in (later, turned)]
    assert found[0] == found[1]


def test_shuffled_outcomes() -> None:
    """Where outcomes are dealt out anew, nothing is learned: the area under the curve is a half of customers unseen."""
    rng = np.random.default_rng(11)
    cutoffs = [_cutoff(day, n=3000) for day in (200, 170, 140, 110)]
    dealt = [replace(c, target=rng.permutation(c.target)) for c in cutoffs]
    unseen = _cutoff(500, n=20_000)
    blind = replace(unseen, process=np.column_stack([rng.uniform(size=20_000), np.ones(20_000), np.ones(20_000)]))
    assert auc(unseen.target, _ask(_fit(dealt, unseen, process_inputs=False), blind)) == pytest.approx(0.5, abs=0.02)
