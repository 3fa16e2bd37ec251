"""Learn the one answer from many cutoffs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression

from features.errors import InsufficientHistoryError
from features.lifecycle.segments import Segments, learn_segments, rfm_codes
from features.lifecycle.stages import STAGES, StageRule
from features.lifecycle.vocabularies import load_vocabulary
from features.settings import Settings
from training.fitters.btyd import fit_process
from training.fitters.next_segment import fit_next_segment
from training.fitters.spread import Window, fit_spread
from training.fitters.trees import fit_trees, out_of_fold
from training.fitters.value import fit_value
from training.metrics import log_loss_multiclass
from training.models.churn import ChurnModel, ProbabilityCalibrator, logit
from training.models.inputs import features_of, input_names, model_inputs, purchase_summary, stage_codes
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
    """

    table: pl.DataFrame
    labels: pl.DataFrame

    def sample(self, n: int, *, seed: int) -> "Examples":
        """Keep at most n customers, drawn at random and left in their order."""
        if self.table.height <= n:
            return self
        rows = np.sort(np.random.default_rng(seed).choice(self.table.height, size=n, replace=False))
        return Examples(self.table[rows], self.labels[rows])


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
    table = pl.concat([e.table for e in examples])
    labels = pl.concat([e.labels for e in examples])
    features = features_of(present)
    inputs, names = model_inputs(table, features), input_names(features)
    advance("purchase process")
    process, given_up = fit_process(purchase_summary(present), settings.value)
    advance("churn")
    churn = _fit_churn(inputs, names, table["customer_id"], labels, settings)
    advance("value")
    order_worth = fit_value(
        inputs,
        names,
        table["customer_id"],
        labels,
        _expect_value(process, table, horizon_days=settings.training.horizon_days),
        settings=settings,
        cutoffs=np.repeat(np.arange(len(examples)), [e.table.height for e in examples]),
    )
    advance("next stage")
    is_observable = "ambassador" in rule.observable
    next_stage = replace(
        _fit_next_stage(inputs, names, table, labels, settings),
        p_recommends=_count_recommending(table, labels) if is_observable else 0.0,
    )
    segments = learn_segments(present, settings.segments)
    history_days = float(present["T_days"].to_numpy().max())
    windows = [Window(purchase_summary(e.table), e.labels["value"].to_numpy()) for e in examples]
    return LifecycleModel(
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
        notes=(*given_up, *_name_fallbacks(rule, churn, next_stage)),
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


def _name_fallbacks(rule: StageRule, churn: ChurnModel, next_stage: NextStageModel) -> tuple[str, ...]:
    fallbacks = {
        "Stages follow the documented bands: the shop has too few gaps between order days to learn its own.": (
            rule.is_fallback
        ),
        "Churn comes from the purchase process alone: there are too few churners or returners to learn from.": (
            churn.trees is None
        ),
        "The next stage of those who order comes from counted moves: there are too few of some stage to learn from.": (
            next_stage.trees is None
        ),
    }
    return tuple(note for note, holds in fallbacks.items() if holds)


def _fit_churn(
    inputs: npt.NDArray[np.float64],
    names: tuple[str, ...],
    customer_ids: pl.Series,
    labels: pl.DataFrame,
    settings: Settings,
) -> ChurnModel:
    target = labels["is_churned"].to_numpy().astype(np.int64)
    rarer = _smallest_class(target, customer_ids, n_classes=2)
    if rarer < settings.training.min_class_customers:
        return ChurnModel(trees=None, calibrator=ProbabilityCalibrator(), process_weight=1.0)
    seed = settings.training.seed
    held_out = out_of_fold(inputs, target, customer_ids, names=names, n_classes=2, seed=seed)
    return ChurnModel(
        trees=fit_trees(inputs, target, names=names, n_classes=2, seed=seed),
        calibrator=_fit_calibrator(held_out, target),
        process_weight=_shrink(settings.training.process_weight, rarer, settings.training.prior_customers),
    )


def _shrink(process_weight: float, n_customers: int, prior_customers: int) -> float:
    """Return the process's weight, drawn to 1 where the trees had few customers of the rarer outcome to learn from."""
    return 1.0 - (1.0 - process_weight) * n_customers / (n_customers + prior_customers)


def _smallest_class(target: npt.NDArray[np.int64], customer_ids: pl.Series, *, n_classes: int) -> int:
    """Return how many different customers the rarest class has; one customer's rows at many cutoffs count once."""
    frame = pl.DataFrame({"target": target, "customer_id": customer_ids})
    sizes = frame.group_by("target").agg(pl.col("customer_id").n_unique())["customer_id"]
    return min(sizes.to_list(), default=0) if len(sizes) == n_classes else 0


def _fit_calibrator(p: npt.NDArray[np.float64], target: npt.NDArray[np.int64]) -> ProbabilityCalibrator:
    """Fit Platt scaling; trees that rank held-out customers backwards are given no weight but the base rate's."""
    fitted = LogisticRegression(C=1e6).fit(logit(p)[:, None], target)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope < 0.0:
        slope, intercept = 0.0, float(logit(target.mean(keepdims=True))[0])
    return ProbabilityCalibrator(slope=slope, intercept=intercept)


def _fit_next_stage(
    inputs: npt.NDArray[np.float64],
    names: tuple[str, ...],
    table: pl.DataFrame,
    labels: pl.DataFrame,
    settings: Settings,
) -> NextStageModel:
    transitions = count_transitions(table, labels)
    ordered = ~labels["is_churned"].to_numpy()
    codes = stage_codes(labels["next_stage"])[ordered]
    classes, target = np.unique(codes, return_inverse=True)
    rows, ids, seed = inputs[ordered], table["customer_id"].filter(pl.Series(ordered)), settings.training.seed
    smallest = _smallest_class(target, ids, n_classes=classes.size)
    if classes.size < 3 or smallest < settings.training.min_class_customers:
        return NextStageModel(transitions)
    held_out = out_of_fold(rows, target, ids, names=names, n_classes=classes.size, seed=seed)
    return NextStageModel(
        transitions=transitions,
        trees=fit_trees(rows, target, names=names, n_classes=classes.size, seed=seed),
        classes=tuple(int(c) for c in classes),
        temperature=_fit_temperature(held_out, target),
    )


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
