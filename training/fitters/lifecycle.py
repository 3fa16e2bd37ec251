"""Learn the one answer from many cutoffs."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.optimize import minimize_scalar

from features.errors import ConvergenceError, InsufficientHistoryError
from features.lifecycle.segments import Segments, learn_segments, rfm_codes
from features.lifecycle.stages import STAGES, StageRule
from features.lifecycle.vocabularies import load_vocabulary
from features.settings import Settings
from training.fitters.btyd import fit_process, fit_shop_timing
from training.fitters.churn import ChurnExamples, LearnedChurn, fit_churn, regrow_churn
from training.fitters.classes import count_rarest
from training.fitters.habits import learn_habits
from training.fitters.next_segment import fit_next_segment
from training.fitters.reasons import learn_reference
from training.fitters.spread import Window, fit_spread
from training.fitters.trees import TreeShape, fit_trees, out_of_fold
from training.fitters.value import fit_value, regrow_value
from training.metrics import log_loss_multiclass
from training.models.churn import PROCESS_INPUTS, ChurnModel, process_view
from training.models.inputs import (
    features_of,
    input_names,
    mean_order_value,
    model_inputs,
    purchase_summary,
    stage_codes,
)
from training.models.lifecycle import LifecycleModel
from training.models.next_segment import NextSegmentModel
from training.models.next_stage import NextStageModel, sharpen
from training.models.purchase_process import PurchaseProcess

_TEMPERATURES = (0.5, 3.0)


@dataclass(frozen=True, slots=True)
class Examples:
    """Customers at one cutoff with what came after it.

    Args:
        table: Customer table at the cutoff.
        labels: Outcomes, row for row.
        cutoff_day: Day number.
    """

    table: pl.DataFrame
    labels: pl.DataFrame
    cutoff_day: int

    def sample(self, n: int, *, seed: int) -> "Examples":
        """Keep at most n customers, drawn at random and left in their order."""
        if self.table.height <= n:
            return self
        rows = np.sort(np.random.default_rng(seed).choice(self.table.height, size=n, replace=False))
        return Examples(self.table[rows], self.labels[rows], self.cutoff_day)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The examples of all cutoffs, one below the other. One row per customer and cutoff."""

    table: pl.DataFrame
    labels: pl.DataFrame
    inputs: npt.NDArray[np.float64]
    names: tuple[str, ...]
    cutoffs: npt.NDArray[np.int64]

    @property
    def ids(self) -> pl.Series:
        return self.table["customer_id"]


def _join(examples: tuple[Examples, ...], features: tuple[str, ...]) -> _Rows:
    table = pl.concat([e.table for e in examples])
    return _Rows(
        table=table,
        labels=pl.concat([e.labels for e in examples]),
        inputs=model_inputs(table, features),
        names=input_names(features),
        cutoffs=np.repeat(np.arange(len(examples)), [e.table.height for e in examples]),
    )


def fit_lifecycle_model(
    examples: tuple[Examples, ...],
    present: pl.DataFrame,
    *,
    rule: StageRule,
    settings: Settings,
    advance: Callable[[str], None] = lambda _: None,
) -> LifecycleModel:
    """Learn from the training cutoffs, and fit the purchase process to the present.

    Args:
        examples: One per training cutoff, youngest first; every outcome was known at the present cutoff.
        present: Customer table at the cutoff at which the model must answer.
        rule: The stage rule behind all these tables.
        settings: Horizon, seed, value and segment settings.
        advance: Told the name of each step before it begins.

    Raises:
        InsufficientHistoryError: If there are too few customers or repeat buyers.
    """
    if present.height < settings.training.min_customers:
        raise InsufficientHistoryError(
            f"There are {present.height} customers with an order before the cutoff, "
            f"fewer than the {settings.training.min_customers} that training takes.",
            remedy="Give more history; training.min_customers in lifestage.toml is the limit.",
        )
    features = features_of(present)
    rows = _join(examples, features)
    advance("purchase process")
    habits = learn_habits(present)
    process, given_up = fit_process(
        purchase_summary(present), settings, mean_order_value=mean_order_value(present), habits=habits
    )
    advance("churn")
    learned = _learn_churn(examples, present, process, features, settings)
    churn = learned.model
    advance("value")
    expected = _expect_value(process, rows.table, horizon_days=settings.training.horizon_days)
    order_worth = fit_value(
        rows.inputs, rows.names, rows.ids, rows.labels, expected, settings=settings, cutoffs=rows.cutoffs
    )
    advance("next stage")
    is_observable = "ambassador" in rule.observable
    next_stage = replace(
        _fit_next_stage(rows, settings),
        p_recommends=_count_recommending(rows.table, rows.labels) if is_observable else 0.0,
    )
    segments = learn_segments(present, settings.segments)
    history_days = float(present["T_days"].to_numpy().max())
    windows = [Window(purchase_summary(e.table), e.labels["value"].to_numpy(), learn_habits(e.table)) for e in examples]
    model = LifecycleModel(
        horizon_days=settings.training.horizon_days,
        stage_rule=rule,
        segments=segments,
        process=replace(process, spread=fit_spread(process, windows, history_days=history_days, settings=settings)),
        order_worth=order_worth,
        churn=churn,
        next_stage=next_stage,
        next_segment=_fit_next_segment(examples, segments, settings),
        value=settings.value,
        features=features,
        notes=(*given_up, *_name_fallbacks(rule, churn, next_stage, is_seasonal=habits.is_seasonal)),
        search=tuple(trial.to_record() for trial in learned.trials),
    )
    return replace(model, reference=learn_reference(model, present))


def regrow(
    model: LifecycleModel, examples: tuple[Examples, ...], *, seeds: Iterable[int], settings: Settings
) -> Iterator[LifecycleModel]:
    """Learn all trees of a model again with each seed, and nothing else: what is left to chance moves, no more."""
    rows, of_churn = _join(examples, model.features), []
    if model.churn.trees is not None:
        of_churn = [churn_examples(e, model.features, settings) for e in examples]
    shape = TreeShape.of_record(next((trial for trial in model.search if trial["is_chosen"]), None))
    expected = _expect_value(model.process, rows.table, horizon_days=model.horizon_days)
    for seed in seeds:
        yield replace(
            model,
            churn=regrow_churn(model.churn, of_churn, names=rows.names, shape=shape, seed=seed),
            order_worth=regrow_value(
                model.order_worth,
                rows.inputs,
                names=rows.names,
                customer_ids=rows.ids,
                labels=rows.labels,
                process_value=expected,
                seed=seed,
                cutoffs=rows.cutoffs,
            ),
            next_stage=_regrow_next_stage(model.next_stage, rows, seed=seed),
        )


def count_transitions(table: pl.DataFrame, labels: pl.DataFrame) -> npt.NDArray[np.float64]:
    """Count moves from stage to stage among those who ordered.

    Returns:
        Shape (n_stages, n_stages), rows sum to 1. One observation, spread as the moves of all customers are, is added
        to each row, so that a stage nobody left yet still has an answer.
    """
    ordered = ~labels["is_churned"].to_numpy()
    moves = np.zeros((len(STAGES), len(STAGES)))
    np.add.at(moves, (stage_codes(table["stage"])[ordered], stage_codes(labels["next_stage"])[ordered]), 1.0)
    overall = moves.sum(axis=0)
    overall[STAGES.index("first_time_buyer")] = 0.0
    overall[STAGES.index("repeat")] += 1.0
    moves += overall / overall.sum()
    return np.asarray(moves / moves.sum(axis=1, keepdims=True))


def _expect_value(process: PurchaseProcess, table: pl.DataFrame, *, horizon_days: int) -> npt.NDArray[np.float64]:
    """Return what the process expects of those who order, (n,)."""
    summary = purchase_summary(table)
    tied = process.tie(summary, horizon_days=horizon_days)
    return tied.orders_if_ordered * process.gamma_gamma.expected_order_value(summary)


def _name_fallbacks(
    rule: StageRule, churn: ChurnModel, next_stage: NextStageModel, *, is_seasonal: bool
) -> tuple[str, ...]:
    fallbacks = {
        "Stages follow the documented bands: the shop has too few gaps between order days to learn its own.": (
            rule.is_fallback
        ),
        "Churn comes from the purchase process alone: there are too few churners or returners to learn from.": (
            churn.trees is None and not is_seasonal
        ),
        "Churn comes from the purchase process alone: most orders fall into one season.": is_seasonal,
        "The next stage of those who order comes from counted moves: there are too few of some stage to learn from.": (
            next_stage.trees is None
        ),
    }
    return tuple(note for note, holds in fallbacks.items() if holds)


def _learn_churn(
    examples: tuple[Examples, ...],
    present: pl.DataFrame,
    process: PurchaseProcess,
    features: tuple[str, ...],
    settings: Settings,
) -> LearnedChurn:
    if process.habits.is_seasonal:  # trees would take their cutoffs' place in the year for the present's
        return LearnedChurn(ChurnModel(trees=None, process_weight=1.0), TreeShape(), ())
    view = process_view(process.timing, purchase_summary(present), horizon_days=settings.training.horizon_days)
    return fit_churn(
        [churn_examples(e, features, settings) for e in examples],
        names=input_names(features),
        present=(model_inputs(present, features), view),
        horizon_days=settings.training.horizon_days,
        settings=settings.training,
    )


def churn_examples(examples: Examples, features: tuple[str, ...], settings: Settings) -> ChurnExamples:
    """Say of one cutoff what churn is learned from; its habits and its purchase process are of what was known then."""
    summary = purchase_summary(examples.table)
    try:
        timing = fit_shop_timing(summary, settings, habits=learn_habits(examples.table)).model
        view = process_view(timing, summary, horizon_days=settings.training.horizon_days)
    except ConvergenceError:
        view = np.full((len(summary), len(PROCESS_INPUTS)), np.nan)
    return ChurnExamples(
        cutoff_day=examples.cutoff_day,
        inputs=model_inputs(examples.table, features),
        process=view,
        target=examples.labels["is_churned"].to_numpy().astype(np.int64),
        customer_ids=examples.table["customer_id"],
    )


def _fit_next_stage(rows: _Rows, settings: Settings) -> NextStageModel:
    transitions, seed = count_transitions(rows.table, rows.labels), settings.training.seed
    n_moves = _count_moves(rows)
    inputs, codes, ids = _who_ordered(rows)
    classes, target = np.unique(codes, return_inverse=True)
    smallest = count_rarest(target, ids, n_classes=classes.size)
    if classes.size < 3 or smallest < settings.training.min_class_customers:
        return NextStageModel(transitions, n_moves=n_moves)
    held_out = out_of_fold(inputs, target, ids, names=rows.names, n_classes=classes.size, seed=seed)
    return NextStageModel(
        transitions=transitions,
        trees=fit_trees(inputs, target, names=rows.names, n_classes=classes.size, seed=seed),
        classes=tuple(int(c) for c in classes),
        temperature=_fit_temperature(held_out, target),
        n_moves=n_moves,
    )


def _count_moves(rows: _Rows) -> tuple[int, ...]:
    """Count those who ordered, by their stage before it."""
    ordered = ~rows.labels["is_churned"].to_numpy()
    return tuple(np.bincount(stage_codes(rows.table["stage"])[ordered], minlength=len(STAGES)).tolist())


def _regrow_next_stage(model: NextStageModel, rows: _Rows, *, seed: int) -> NextStageModel:
    if model.trees is None:
        return model
    inputs, codes, _ = _who_ordered(rows)
    classes, target = np.unique(codes, return_inverse=True)
    return replace(model, trees=fit_trees(inputs, target, names=rows.names, n_classes=classes.size, seed=seed))


def _who_ordered(rows: _Rows) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], pl.Series]:
    """Return inputs, next stage and id of those who ordered."""
    ordered = ~rows.labels["is_churned"].to_numpy()
    return rows.inputs[ordered], stage_codes(rows.labels["next_stage"])[ordered], rows.ids.filter(pl.Series(ordered))


def _count_recommending(table: pl.DataFrame, labels: pl.DataFrame) -> float:
    """Return the share of those who stayed active in silence whom a recommendation made ambassadors.

    Half an observation of each outcome is added (Jeffreys 1946); 0 where nobody stayed active in silence.
    """
    is_active = table["stage_if_silent"].is_in(("first_time_buyer", "repeat", "loyal"))
    became = labels.filter(labels["is_churned"] & is_active)["next_stage"] == "ambassador"
    return (float(became.sum()) + 0.5) / (became.len() + 1.0) if became.len() else 0.0


def _fit_next_segment(examples: tuple[Examples, ...], segments: Segments, settings: Settings) -> NextSegmentModel:
    vocabulary = load_vocabulary(settings.lifecycle.rfm_groups)
    return fit_next_segment(
        [(e.table, e.labels) for e in examples],
        segments=segments,
        groups={code: vocabulary.group_of(code, rfm_bins=segments.bins) for code in rfm_codes(segments.bins)},
        horizon_days=settings.training.horizon_days,
    )


def _fit_temperature(p: npt.NDArray[np.float64], target: npt.NDArray[np.int64]) -> float:
    found = minimize_scalar(
        lambda t: log_loss_multiclass(target, sharpen(p, t)), bounds=_TEMPERATURES, method="bounded"
    )
    return float(found.x)
