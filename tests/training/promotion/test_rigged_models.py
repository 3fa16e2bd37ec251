"""Rigged models, really judged on later time and put to the gate: each is refused, and its fault is named."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from features.lifecycle.stages import STAGES
from features.records import EVENT_SCHEMA, Records
from features.settings import Settings, load_settings
from features.snapshot import to_date
from training.bundle import load_bundle, write_bundle
from training.evaluation.backtest import COHERENCE, observe
from training.evaluation.coherence import measure_incoherence
from training.evaluation.findings import Finding, Key, pool, tabulate
from training.evaluation.judging import Case, judge
from training.evaluation.ladder import Predictions, climb, predict
from training.evaluation.verdicts import CHAMPION, OURS
from training.learn import Past, learn_at, relearn
from training.models.churn import ProbabilityCalibrator, logit
from training.models.lifecycle import Answer, LifecycleModel
from training.models.next_stage import NextStageModel
from training.models.value import ValueModel
from training.promotion.champion import bundles_folder
from training.promotion.gate import summarise
from training.promotion.leakage import Leakage, check_leakage
from training.promotion.promote import Verdict, promote_challenger
from training.splits import Fold, rolling_folds
from training.tracking import list_models, log_training

MONDAY = "2026-11-23T09:00:00+00:00"
HORIZON_DAYS = 90


@dataclass(frozen=True, slots=True)
class Court:
    """One test cutoff of a real shop: what was known, what came, and the honest model.

    Args:
        fold: The test cutoff, and the cutoffs that were learned from.
        end_day: Day number after the last order.
        past: What was known at the cutoff.
        model: What was honestly learned from it.
        answers: What every rung says there, and that model.
        outcomes: What came: task → outcome per customer.
        leakage: What the training found when it checked itself.
        settings: Of the training.
    """

    fold: Fold
    end_day: int
    past: Past
    model: LifecycleModel
    answers: Mapping[str, Predictions]
    outcomes: Mapping[str, npt.NDArray[Any]]
    leakage: Leakage
    settings: Settings

    @property
    def churn_rate(self) -> float:
        """The share of the training examples that left."""
        return float(np.concatenate([e.labels["is_churned"].to_numpy() for e in self.past.examples]).mean())


Rig = Callable[[Court], LifecycleModel]


def hold_court(records: Records, fold: Fold, *, first_day: int, end_day: int, settings: Settings) -> Court:
    """Learn at a fold, and gather all that a model is judged by there."""
    past, model = learn_at(records, fold, settings=settings)
    return Court(
        fold=fold,
        end_day=end_day,
        past=past,
        model=model,
        answers=climb(past, model),
        outcomes=observe(records, fold, past, settings),
        leakage=check_leakage(records, [fold], past, first_day=first_day, settings=settings.training),
        settings=settings,
    )


@pytest.fixture(scope="module")
def settings() -> Settings:
    """Settings for one short test cutoff."""
    few = {"max_train_cutoffs": 2, "min_class_customers": 10, "test_cutoffs": 1}
    training = {**few, "bootstrap_samples": 100, "search_trials": 0}
    return load_settings(overrides={"training": training})


@pytest.fixture(scope="module")
def first_day(cdnow_orders: pl.DataFrame) -> int:
    """The day of the first order."""
    return int(cdnow_orders["day"].to_numpy().min())


@pytest.fixture(scope="module")
def fold(first_day: int, end_day: int, settings: Settings) -> Fold:
    """The youngest test cutoff of the shared orders."""
    return rolling_folds(first_day=first_day, end_day=end_day, settings=settings.training)[0]


@pytest.fixture(scope="module")
def court(cdnow_orders: pl.DataFrame, fold: Fold, first_day: int, end_day: int, settings: Settings) -> Court:
    """The honest training, at that cutoff."""
    return hold_court(Records.wrap(cdnow_orders), fold, first_day=first_day, end_day=end_day, settings=settings)


@pytest.fixture(scope="module")
def home(court: Court, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the honest model passed the gate, and serves."""
    home = tmp_path_factory.mktemp("home")
    verdict = put_to_gate(home, court, court.model)
    assert verdict.decision.objections == ()
    return home


def put_to_gate(
    home: Path,
    court: Court,
    model: LifecycleModel,
    *,
    sealed: LifecycleModel | None = None,
    others: Mapping[str, Predictions] | None = None,
    as_of_day: int | None = None,
    **data: Any,
) -> Verdict:
    """Judge a model as the backtest does, seal it with what was found, log it, and ask the gate.

    Args:
        home: Where it is sealed and logged.
        court: Where it is judged.
        model: Answers in our name.
        sealed: What is sealed, where that model cannot be.
        others: Name → what they said, besides the rungs.
        as_of_day: Day before which it claims to have been trained.
        **data: What the manifest says of its data.
    """
    answers = {**court.answers, **(others or {}), OURS: predict(model, court.past.present)}
    found = [*judge(Case(answers, court.outcomes), court.settings), *ask_coherence(model, court.past.present)]
    frame, summary = tabulate(found, cutoff=to_date(court.fold.cutoff_day).isoformat()), pool([found])
    evaluation = {**summarise(frame, summary), "leakage": court.leakage.to_record()}
    as_of = to_date(court.end_day if as_of_day is None else as_of_day).isoformat()
    folder = write_bundle(
        bundles_folder(home),
        sealed or model,
        timezone="UTC",
        trained_as_of=as_of,
        data={"n_orders": 1, **data},
        evaluation=evaluation,
    )
    log_training(
        home,
        manifest=load_bundle(folder).manifest,
        bundle_folder=folder,
        backtest=frame.filter(metric="log_loss", against=""),  # all of it would only cost time
        summary=summary.filter(metric="log_loss", against=""),
        parameters={},
        figures={},
        dataset_digest="d1",
        source_name="orders.csv",
        started_at=MONDAY,
    )
    return promote_challenger(home, court.settings.gate, at=MONDAY)


def ask_coherence(model: LifecycleModel, table: pl.DataFrame) -> Iterable[Finding]:
    """Return by how much a model breaks each identity, as the backtest finds it."""
    measured = measure_incoherence(model, table)
    return [Finding(Key(COHERENCE, "all", OURS, name), worst, table.height) for name, worst in measured.items()]


def assert_refused(home: Path, verdict: Verdict, *words: str) -> None:
    """Check that a challenger was refused, in these words among others, and that the registry says why."""
    assert not verdict.decision.is_promoted
    objections = verdict.decision.objections
    for named in words:
        assert [text for text in objections if named in text], (named, objections)
    (entry,) = [model for model in list_models(home) if "challenger" in model.aliases]
    assert (entry.bundle_version, entry.reason) == (verdict.manifest.version, "; ".join(objections))
    assert "champion" not in entry.aliases


def bend(slope: float, shift: float = 0.0) -> Rig:
    """Rig the log-odds of leaving: stretched about 0, and shifted."""

    def rig(court: Court) -> LifecycleModel:
        before = court.model.churn.calibrator
        bent = ProbabilityCalibrator(slope * before.slope, slope * before.intercept + shift)
        return replace(court.model, churn=replace(court.model.churn, calibrator=bent, process_weight=0.0))

    return rig


def shrink(court: Court) -> LifecycleModel:
    """Say the same of everybody: the share that left."""
    rate = float(logit(np.array([court.churn_rate]))[0])
    flat = ProbabilityCalibrator(slope=0.0, intercept=rate)
    return replace(court.model, churn=replace(court.model.churn, calibrator=flat, process_weight=0.0))


def retell(change: Callable[[pl.Series], pl.Series]) -> Rig:
    """Learn churn from outcomes that are not those that came."""

    def rig(court: Court) -> LifecycleModel:
        examples = tuple(
            replace(e, labels=e.labels.with_columns(is_churned=change(e.labels["is_churned"])))
            for e in court.past.examples
        )
        [told] = relearn(replace(court.past, examples=examples), court.model, seeds=[1], settings=court.settings)
        return replace(court.model, churn=replace(told.churn, process_weight=0.0))

    return rig


def inflate_value(court: Court) -> LifecycleModel:
    """Promise several times as much money."""
    process = court.model.process
    rich = replace(process, gamma_gamma=replace(process.gamma_gamma, v=20 * process.gamma_gamma.v))
    return replace(court.model, process=rich, order_worth=ValueModel.of_process())


def guess_stage(court: Court) -> LifecycleModel:
    """Guess the next stage of those who order."""
    return replace(court.model, next_stage=NextStageModel(np.full((len(STAGES), len(STAGES)), 1 / len(STAGES))))


RIGGED: Mapping[str, tuple[Rig, tuple[str, ...]]] = {
    "learned the other way round": (
        retell(lambda left: ~left),
        ("churn: loses to recency_rule", "of the recency rule", "churn: calibration error"),
    ),
    "learned from shuffled outcomes": (
        retell(lambda left: left.shuffle(seed=1)),
        ("churn: loses to recency_rule", "of the recency rule"),
    ),
    "says the same of everybody": (shrink, ("churn: loses to recency_rule", "of the recency rule")),
    "too sure": (bend(6.0), ("churn: loses to", "churn: calibration error")),
    "expects too many to leave": (bend(1.0, 1.5), ("churn: mean probability off by", "churn: loses to")),
    "expects too few to leave": (bend(1.0, -1.5), ("churn: mean probability off by", "churn: loses to")),
    "promises too much money": (inflate_value, ("value: total off by +", "value: loses to")),
    "guesses the stage": (guess_stage, ("next stage: loses to",)),
}


@pytest.mark.parametrize("case", RIGGED)
def test_rigged(home: Path, court: Court, case: str) -> None:
    """A model whose answers are rigged is refused, in words that name what is wrong with them."""
    rig, words = RIGGED[case]
    assert_refused(home, put_to_gate(home, court, rig(court)), *words)


def test_worse_than_champion(home: Path, court: Court) -> None:
    """A model that is worse than the one that serves is refused for that."""
    said = predict(court.model, court.past.present)
    standing = {CHAMPION: Predictions(p_churn=said.p_churn, value=said.value)}
    verdict = put_to_gate(home, court, bend(0.5)(court), others=standing)
    assert_refused(home, verdict, "churn: loses to champion")


class Incoherent(LifecycleModel):
    """A model whose answers contradict one another, though each alone is as good as it was."""

    __slots__ = ()

    def answer(self, table: pl.DataFrame) -> Answer:
        """Answer with a year worth more than its months, the dead who order, and more who leave the sooner."""
        answer = super().answer(table)
        forecast = replace(
            answer.forecast, clv_12m=1.2 * answer.forecast.clv_12m, p_alive=0.5 * answer.forecast.p_alive
        )
        return replace(answer, forecast=forecast, p_churn_by_horizon=answer.p_churn_by_horizon[:, ::-1])


def test_incoherent(home: Path, court: Court) -> None:
    """A model whose answers contradict one another is refused, identity by identity."""
    parts = {name: getattr(court.model, name) for name in LifecycleModel.__dataclass_fields__}
    verdict = put_to_gate(home, court, Incoherent(**parts), sealed=court.model)
    assert_refused(
        home,
        verdict,
        "incoherent: the twelve months sum to clv_12m; off by up to 0.2",
        "incoherent: who orders is alive",
        "incoherent: the longer the horizon, the lower p_churn",
    )
    assert len(verdict.decision.objections) == 3


def test_older_than_champion(home: Path, court: Court) -> None:
    """A model trained on data that end before the champion's is refused as stale."""
    verdict = put_to_gate(home, court, court.model, as_of_day=court.end_day - 1)
    assert_refused(home, verdict, "stale data: they end before 1998-06-30, the champion's before 1998-07-01")


def test_left_behind(home: Path, court: Court) -> None:
    """A model trained long before its source ends is refused as stale."""
    verdict = put_to_gate(home, court, court.model, source_last_day="1999-07-01")
    assert_refused(home, verdict, "stale data: the source goes on for 365 days after 1998-07-01")


def test_outcome_not_known(
    home: Path, cdnow_orders: pl.DataFrame, fold: Fold, first_day: int, end_day: int, settings: Settings
) -> None:
    """A model that learned from outcomes that were not known at its test cutoff is refused as leaking."""
    hasty, records = Fold(fold.cutoff_day, (fold.cutoff_day - 30,)), Records.wrap(cdnow_orders)
    court = hold_court(records, hasty, first_day=first_day, end_day=end_day, settings=settings)
    verdict = put_to_gate(home, court, court.model)
    assert_refused(home, verdict, "leakage: the outcome of 1998-03-03 over 90 days was not known on 1998-04-02")


def test_written_after_the_fact(
    home: Path, cdnow_orders: pl.DataFrame, fold: Fold, first_day: int, end_day: int, settings: Settings
) -> None:
    """A model that read events written once the outcome was known is refused, and the input is named."""
    told = pl.concat([_tell(cdnow_orders, day) for day in (fold.cutoff_day, *fold.train_cutoff_days)])
    records = Records.wrap(cdnow_orders, events=told)
    court = hold_court(records, fold, first_day=first_day, end_day=end_day, settings=settings)
    verdict = put_to_gate(home, court, court.model)
    assert_refused(home, verdict, "leakage: ", "visits_within_30 alone tells who churns")


def _tell(orders: pl.DataFrame, cutoff_day: int) -> pl.DataFrame:
    """Write a visit the day before a cutoff for everyone who will order within the horizon after it."""
    comes = pl.col("day").is_between(cutoff_day, cutoff_day + HORIZON_DAYS - 1)
    return (
        orders.filter(comes)
        .select(pl.col("customer_id").unique())
        .select(
            "customer_id",
            day=pl.lit(cutoff_day - 1, pl.Int64),
            event_type=pl.lit("visit"),
            value_micros=pl.lit(None, pl.Int64),
            channel=pl.lit(None, pl.String),
        )
        .cast(EVENT_SCHEMA)
    )
