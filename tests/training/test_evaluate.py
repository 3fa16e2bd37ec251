"""The backtest: a tidy frame, judged on later time, to which the future tells nothing."""

from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from features.lifecycle.stages import STAGES
from features.records import Records
from features.settings import Settings, load_settings
from features.snapshot import to_date
from tests.histories import build_orders
from tests.tiny_model import write_model
from training import metrics
from training.bundle import Bundle, load_bundle
from training.evaluate import CHAMPION, DECIDING, METRICS, RELIABILITY, SCHEMA, Backtest, backtest, judge, observe
from training.fitters.lifecycle import Examples
from training.fitters.trees import fit_trees, out_of_fold
from training.ladder import OURS, RUNGS, Predictions, climb
from training.learn import build_past, learn_at
from training.models.inputs import features_of, input_names, model_inputs
from training.models.lifecycle import LifecycleModel
from training.splits import Fold, rolling_folds

HORIZON_DAYS = 90
N_FEW = 600
Prepare = Callable[[pl.DataFrame], Records]


@pytest.fixture(scope="module")
def quick() -> Settings:
    """Settings for a short backtest that still learns trees."""
    training = {"max_train_cutoffs": 2, "min_class_customers": 10, "bootstrap_samples": 20}
    return load_settings(overrides={"training": training})


@pytest.fixture(scope="module")
def recorded(engine: duckdb.DuckDBPyConnection) -> Prepare:
    """Put a frame of orders into the database, as the records of a shop."""
    return lambda orders: Records.wrap(engine.from_arrow(orders.to_arrow()))


@pytest.fixture(scope="module")
def first_day(cdnow_orders: pl.DataFrame) -> int:
    """The day of the first order."""
    return int(cdnow_orders["day"].to_numpy().min())


@pytest.fixture(scope="module")
def folds(first_day: int, end_day: int, quick: Settings) -> tuple[Fold, ...]:
    """The folds of the shared orders, youngest first."""
    return rolling_folds(first_day=first_day, end_day=end_day, settings=quick.training)


@pytest.fixture(scope="module")
def few_orders(cdnow_orders: pl.DataFrame) -> pl.DataFrame:
    """The orders of the first 600 customers."""
    return cdnow_orders.filter(pl.col("customer_id") <= f"cdnow-{N_FEW:04}")


@pytest.fixture(scope="module")
def sealed_for(model: LifecycleModel, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Bundle]:
    """The shared model, sealed as if trained on the orders before a day."""
    return lambda cutoff_day: load_bundle(write_model(tmp_path_factory.mktemp("b"), model, cutoff_day=cutoff_day))


@pytest.fixture(scope="module")
def judged(
    cdnow_orders: pl.DataFrame,
    recorded: Prepare,
    folds: tuple[Fold, ...],
    sealed_for: Callable[[int], Bundle],
    first_day: int,
    end_day: int,
    quick: Settings,
) -> Backtest:
    """The backtest of the shared orders, with a champion that was trained as of the middle cutoff."""
    champion = sealed_for(folds[1].cutoff_day)
    records = recorded(cdnow_orders)
    return backtest(records, first_day=first_day, end_day=end_day, settings=quick, champion=champion)


@pytest.fixture(scope="module")
def day_after(
    few_orders: pl.DataFrame,
    recorded: Prepare,
    folds: tuple[Fold, ...],
    sealed_for: Callable[[int], Bundle],
    first_day: int,
    end_day: int,
    quick: Settings,
) -> tuple[Backtest, tuple[str, ...]]:
    """A backtest of one cutoff, with a champion that was trained as of the day after it; and the steps it told."""
    told: list[str] = []
    found = backtest(
        recorded(few_orders),
        first_day=first_day,
        end_day=end_day,
        settings=change(quick, test_cutoffs=1),
        champion=sealed_for(folds[0].cutoff_day + 1),
        advance=told.append,
    )
    return found, tuple(told)


Answers = Mapping[str, Predictions]


@pytest.fixture(scope="module")
def answer_at(recorded: Prepare, folds: tuple[Fold, ...], quick: Settings) -> Callable[[pl.DataFrame], Answers]:
    """Learn at the middle cutoff and let every rung answer there."""

    def answer(orders: pl.DataFrame) -> Answers:
        past, model = learn_at(recorded(orders), folds[1], settings=quick)
        assert model.churn.trees is not None
        return climb(past, model)

    return answer


@pytest.fixture(scope="module")
def clean_answers(answer_at: Callable[[pl.DataFrame], Answers], few_orders: pl.DataFrame) -> Answers:
    """What every rung answers to the orders as they are."""
    return answer_at(few_orders)


def change(settings: Settings, **training: int) -> Settings:
    """Return the settings with others for training."""
    return settings.model_copy(update={"training": settings.training.model_copy(update=training)})


def as_bytes(answers: Answers) -> dict[str, list[bytes]]:
    """Return every prediction of every rung as it stands in memory."""
    return {
        name: [b"" if p is None else np.ascontiguousarray(p).tobytes() for p in (a.p_churn, a.p_next_stage, a.value)]
        for name, a in answers.items()
    }


def models_of(frame: pl.DataFrame, task: str, cutoff: str) -> set[str]:
    """Return who was judged on a task at a cutoff."""
    return set(frame.filter(pl.col("task") == task, pl.col("cutoff") == cutoff, pl.col("against") == "")["model"])


def is_coverage() -> pl.Expr:
    """Tell the rows that say how many outcomes our intervals hold."""
    return pl.col("metric").str.contains("^(coverage|coverage_if_ordered|held)_")


def is_reliability() -> pl.Expr:
    """Tell the rows on single stages from the others."""
    return pl.col("metric").str.contains(f"^({'|'.join(RELIABILITY)})_({'|'.join(STAGES)})$")


def test_schema(judged: Backtest) -> None:
    """The frame has the promised columns and types, and one row per cutoff, task, model, metric and rival."""
    assert judged.frame.schema == SCHEMA
    assert not judged.frame.select("cutoff", "task", "model", "metric", "against").is_duplicated().any()
    undefined = judged.frame.filter(~pl.col("value").is_finite())
    assert set(undefined.select("model", "metric").iter_rows()) == {("base_rate", "spearman")}  # the same for everyone


def test_reliability(judged: Backtest, folds: tuple[Fold, ...]) -> None:
    """Of each stage that was possible, ours has the mean probability, the share that came, and the ECE."""
    y, p = judged.outcomes["next_stage"], judged.predictions["next_stage"]
    youngest = pl.col("cutoff") == to_date(folds[0].cutoff_day).isoformat()
    rows = judged.frame.filter(youngest, task="next_stage", model=OURS, against="")
    values = dict(rows.select("metric", "value").iter_rows())
    assert sum(values[f"share_{stage}"] for stage in STAGES[:-1] if f"share_{stage}" in values) == pytest.approx(1.0)
    assert "ece_ambassador" not in values
    for code, stage in enumerate(STAGES[1:-1], start=1):
        assert values[f"share_{stage}"] == pytest.approx((y == code).mean())
        assert values[f"mean_p_{stage}"] == pytest.approx(p[:, code].mean())
        assert values[f"ece_{stage}"] == pytest.approx(
            metrics.expected_calibration_error((y == code).astype(int), p[:, code])
        )


def test_reliability_by_hand(quick: Settings) -> None:
    """The figures of a stage are those of ten bins by hand; a stage that neither came nor was possible has none."""
    p, outcome = np.zeros((4, len(STAGES))), ("lost", "repeat", "repeat", "repeat")
    repeat, lost = STAGES.index("repeat"), STAGES.index("lost")
    p[:, repeat] = (0.12, 0.16, 0.83, 0.95)
    p[:, lost] = 1.0 - p[:, repeat]
    y = np.array([STAGES.index(stage) for stage in outcome])
    frame = judge({OURS: Predictions(p_next_stage=p)}, {"next_stage": y}, cutoff="1998-01-01", settings=quick)
    found = dict(frame.filter(is_reliability()).select("metric", "value").iter_rows())
    assert found == {
        "mean_p_repeat": pytest.approx(0.515),
        "share_repeat": pytest.approx(0.75),
        "ece_repeat": pytest.approx((2 * abs(0.14 - 0.5) + abs(0.83 - 1.0) + abs(0.95 - 1.0)) / 4),
        "mean_p_lost": pytest.approx(0.485),
        "share_lost": pytest.approx(0.25),
        "ece_lost": pytest.approx((2 * abs(0.86 - 0.5) + 0.17 + 0.05) / 4),
    }


def test_whole_answers(judged: Backtest, clean_answers: Answers) -> None:
    """Every next-stage answer of every rung sums to 1, and so do the mean probabilities told of each cutoff."""
    for said in (judged.predictions["next_stage"], *(a.p_next_stage for a in clean_answers.values())):
        assert said is None or said.sum(axis=1) == pytest.approx(1.0, abs=1e-9)
    told = judged.frame.filter(pl.col("metric").str.starts_with("mean_p_"))
    sums = told.group_by("cutoff").agg(pl.col("value").sum())["value"]
    assert sums.to_list() == [pytest.approx(1.0)] * 3


def test_every_row(judged: Backtest, folds: tuple[Fold, ...]) -> None:
    """Every rung is there, on every task it answers, at every cutoff, with every metric, and ours against each."""
    answering = {task: {*RUNGS, OURS} - {"simple_clv"} for task in ("churn", "next_stage")} | {"value": {*RUNGS, OURS}}
    expected = set()
    for number, fold in enumerate(folds):
        cutoff = to_date(fold.cutoff_day).isoformat()
        for task in ("churn", "next_stage", "value"):  # nothing is recorded of prospects
            standing = {CHAMPION} if number < 2 and task != "next_stage" else set()
            models = answering[task] | standing
            expected |= {(cutoff, task, model, metric, "") for model in models for metric in METRICS[task]}
            expected |= {(cutoff, task, OURS, DECIDING[task], rival) for rival in models - {OURS}}
        kinds = ("coverage", "coverage_if_ordered", "held")
        expected |= {(cutoff, "value", OURS, f"{kind}_{percent}", "") for kind in kinds for percent in (80, 90)}
    found = judged.frame.filter(~is_reliability()).select("cutoff", "task", "model", "metric", "against")
    assert set(found.iter_rows()) == expected


def test_cutoffs(judged: Backtest, end_day: int) -> None:
    """There are three cutoffs, one horizon apart, and the youngest outcome ends where the orders do."""
    cutoffs = judged.frame["cutoff"].unique(maintain_order=True).to_list()
    assert cutoffs == [to_date(end_day - step * HORIZON_DAYS).isoformat() for step in (1, 2, 3)]


def test_intervals(judged: Backtest) -> None:
    """The deciding metrics, the AUC and every difference carry an interval that contains their value; no other does."""
    deciding = pl.concat_str("task", pl.lit("."), "metric").is_in([f"{t}.{m}" for t, m in DECIDING.items()])
    carries = deciding | (pl.col("metric") == "auc")
    with_interval, without = judged.frame.filter(carries), judged.frame.filter(~carries)
    assert (
        with_interval.select((pl.col("low") <= pl.col("value")) & (pl.col("value") <= pl.col("high"))).to_series().all()
    )
    assert without["low"].is_null().all()
    assert without["high"].is_null().all()


def test_differences(judged: Backtest) -> None:
    """A row against a rival holds our metric minus the rival's."""
    values = {row[:4]: row[4] for row in judged.frame.filter(pl.col("against") == "").iter_rows()}
    rows = judged.frame.filter(pl.col("against") != "")
    for cutoff, task, model, metric, value, *_, rival, _ in rows.iter_rows():
        ours, theirs = values[cutoff, task, model, metric], values[cutoff, task, rival, metric]
        assert value == pytest.approx(ours - theirs, abs=1e-9)


def test_youngest(judged: Backtest, cdnow_orders: pl.DataFrame, folds: tuple[Fold, ...]) -> None:
    """The outcomes kept for the pictures are the youngest cutoff's, and our rows there follow from them."""
    youngest = folds[0].cutoff_day
    churned, value = _count_by_hand(cdnow_orders, youngest)
    assert judged.outcomes["churn"].tolist() == churned
    assert judged.outcomes["value"] == pytest.approx(np.array(value))
    ours = pl.col("model") == OURS, pl.col("against") == "", pl.col("cutoff") == to_date(youngest).isoformat()
    for task, metric, found in (
        judged.frame.filter(*ours, ~is_reliability(), ~is_coverage()).select("task", "metric", "value").iter_rows()
    ):
        assert found == METRICS[task][metric](judged.outcomes[task], judged.predictions[task])


def test_coverage(judged: Backtest) -> None:
    """Our intervals hold about as many outcomes as they say, and plainly more than by share."""
    held = judged.frame.filter(is_coverage()).pivot(on="metric", index="cutoff", values="value")
    for kind in ("coverage", "coverage_if_ordered", "held"):
        assert (held[f"{kind}_90"] >= held[f"{kind}_80"]).all()
        assert (held[f"{kind}_90"] <= 1.0).all()
    assert (held["held_80"] >= held["coverage_80"]).all()
    assert held["coverage_80"].mean() == pytest.approx(0.80, abs=0.05)
    assert held["coverage_90"].mean() == pytest.approx(0.90, abs=0.05)


def test_outcomes(recorded: Prepare, few_orders: pl.DataFrame, folds: tuple[Fold, ...], quick: Settings) -> None:
    """Every outcome is that of the orders from the cutoff up to the horizon's end, of whoever was known before it."""
    records = recorded(few_orders)
    for fold in folds:
        found = observe(records, fold, build_past(records, fold, settings=quick), quick)
        churned, value = _count_by_hand(few_orders, fold.cutoff_day)
        assert found["churn"].tolist() == churned
        assert found["value"] == pytest.approx(np.array(value))
        assert found["next_stage"].size == len(churned)


def _count_by_hand(orders: pl.DataFrame, cutoff_day: int) -> tuple[list[int], list[float]]:
    known: dict[str, list[int]] = {
        c: [] for c, day in orders.select("customer_id", "day").iter_rows() if day < cutoff_day
    }
    for customer, day, micros in orders.select("customer_id", "day", "amount_micros").iter_rows():
        if customer in known and cutoff_day <= day < cutoff_day + HORIZON_DAYS:
            known[customer].append(micros)
    rows = [known[customer] for customer in sorted(known)]
    return [int(not amounts) for amounts in rows], [sum(amounts) / 1e6 for amounts in rows]


def test_customers(judged: Backtest, cdnow_orders: pl.DataFrame) -> None:
    """Each row counts the customers who were known at its cutoff."""
    first_orders = cdnow_orders.group_by("customer_id").agg(pl.col("ordered_at").min().dt.date().dt.to_string("iso"))
    for cutoff, n_customers in judged.frame.select("cutoff", "n_customers").unique().iter_rows():
        assert n_customers == first_orders.filter(pl.col("ordered_at") < cutoff).height


def test_after_the_end(
    recorded: Prepare, few_orders: pl.DataFrame, folds: tuple[Fold, ...], first_day: int, quick: Settings
) -> None:
    """Orders at or after the as-of date change no byte of the backtest, nor does the order of the rows."""
    one = change(quick, test_cutoffs=1)
    as_of = folds[0].cutoff_day
    known = few_orders.filter(pl.col("day") < as_of)
    shuffled = few_orders.sample(fraction=1.0, shuffle=True, seed=3)
    frames = [
        backtest(recorded(orders), first_day=first_day, end_day=as_of, settings=one).frame
        for orders in (known, shuffled)
    ]
    assert frames[0].equals(frames[1])


def _add_orders(orders: pl.DataFrame, cutoff_day: int) -> pl.DataFrame:
    customers = [*orders["customer_id"].unique().sort().to_list()[::3], "cdnow-new"]
    rows = [(customer, cutoff_day + day, 77_000_000) for customer in customers for day in (0, 1, 30, 89, 90, 200)]
    return pl.concat([orders, build_orders(rows)])


def _change_amounts(orders: pl.DataFrame, cutoff_day: int) -> pl.DataFrame:
    later = pl.when(pl.col("day") >= cutoff_day)
    return orders.with_columns(later.then(pl.col("amount_micros") * 1000 + 1).otherwise("amount_micros"))


def _take_away(orders: pl.DataFrame, cutoff_day: int) -> pl.DataFrame:
    return orders.filter(pl.col("day") < cutoff_day)


@pytest.mark.parametrize("poison", [_add_orders, _change_amounts, _take_away])
def test_no_leak(
    poison: Callable[[pl.DataFrame, int], pl.DataFrame],
    answer_at: Callable[[pl.DataFrame], Answers],
    clean_answers: Answers,
    few_orders: pl.DataFrame,
    folds: tuple[Fold, ...],
) -> None:
    """Whatever happens to the orders at or after a cutoff, no rung predicts otherwise there, by a single byte."""
    poisoned = poison(few_orders, folds[1].cutoff_day)
    assert not poisoned.equals(few_orders)
    assert as_bytes(answer_at(poisoned)) == as_bytes(clean_answers)


def test_the_day_before(
    answer_at: Callable[[pl.DataFrame], Answers],
    clean_answers: Answers,
    few_orders: pl.DataFrame,
    folds: tuple[Fold, ...],
) -> None:
    """An order on the last day before the cutoff does change every rung: the test of leaks would see one."""
    last_day = build_orders([("cdnow-0001", folds[1].cutoff_day - 1, 77_000_000)])
    told, clean = as_bytes(answer_at(pl.concat([few_orders, last_day]))), as_bytes(clean_answers)
    assert [name for name in clean if told[name] == clean[name]] == []


def test_champion_sees_no_future(
    recorded: Prepare,
    few_orders: pl.DataFrame,
    folds: tuple[Fold, ...],
    sealed_for: Callable[[int], Bundle],
    first_day: int,
    end_day: int,
    quick: Settings,
) -> None:
    """Where the future changes in its amounts alone, nobody's churn or next stage is judged otherwise."""
    one = change(quick, test_cutoffs=1)
    champion = sealed_for(folds[0].cutoff_day)
    clean, poisoned = (
        backtest(recorded(orders), first_day=first_day, end_day=end_day, settings=one, champion=champion).frame
        for orders in (few_orders, _change_amounts(few_orders, folds[0].cutoff_day))
    )
    assert CHAMPION in models_of(clean, "churn", to_date(folds[0].cutoff_day).isoformat())
    apart_from_value = pl.col("task") != "value"
    assert clean.filter(apart_from_value).equals(poisoned.filter(apart_from_value))
    assert not clean.equals(poisoned)


def test_champion_lacks_inputs(
    recorded: Prepare,
    few_orders: pl.DataFrame,
    folds: tuple[Fold, ...],
    whole_bundle: Bundle,
    first_day: int,
    end_day: int,
    quick: Settings,
    tmp_path: Path,
) -> None:
    """A champion that was trained with events and goods is judged on orders alone as well: it reads them as unknown."""
    champion = load_bundle(write_model(tmp_path, whole_bundle.model, cutoff_day=folds[0].cutoff_day))
    one = change(quick, test_cutoffs=1)
    frame = backtest(recorded(few_orders), first_day=first_day, end_day=end_day, settings=one, champion=champion).frame
    ours = frame.filter(pl.col("model") == CHAMPION, pl.col("task") == "churn", pl.col("metric") == "auc")["value"]
    assert ours.is_between(0.5, 1.0).to_list() == [True]


def test_permuted_futures(
    recorded: Prepare,
    cdnow_orders: pl.DataFrame,
    folds: tuple[Fold, ...],
    first_day: int,
    end_day: int,
    quick: Settings,
) -> None:
    """When customers swap their futures, no rung can tell who will leave: every churn AUC is .5 ± .05."""
    one = change(quick, test_cutoffs=1)
    customers = cdnow_orders["customer_id"].unique().sort()
    swapped = pl.col("customer_id").replace_strict(customers, customers.shuffle(seed=11))
    is_future = pl.col("day") >= folds[0].cutoff_day
    orders = cdnow_orders.with_columns(pl.when(is_future).then(swapped).otherwise("customer_id").alias("customer_id"))
    frame = backtest(recorded(orders), first_day=first_day, end_day=end_day, settings=one).frame
    aucs = frame.filter(pl.col("metric") == "auc")
    assert set(aucs["model"]) == {*RUNGS, OURS} - {"simple_clv"}
    assert aucs["value"].is_between(0.45, 0.55).all()


def test_permuted_labels(
    recorded: Prepare, cdnow_orders: pl.DataFrame, folds: tuple[Fold, ...], quick: Settings
) -> None:
    """Trees that learn outcomes dealt out at random know the customers they saw, and nothing of those they did not."""
    past = build_past(recorded(cdnow_orders), folds[0], settings=quick)
    dealt = np.random.default_rng(5).permutation(past.present.height)
    examples = tuple(Examples(e.table, _deal(e.labels, dealt)) for e in past.examples)
    rows = pl.concat([e.table for e in examples])
    target = pl.concat([e.labels for e in examples])["is_churned"].to_numpy().astype(np.int64)
    features, seed = features_of(rows), quick.training.seed
    inputs, names = model_inputs(rows, features), input_names(features)
    unseen = out_of_fold(inputs, target, rows["customer_id"], names=names, n_classes=2, seed=seed)
    seen = fit_trees(inputs, target, names=names, n_classes=2, seed=seed).predict(inputs)
    assert metrics.auc(target, unseen) == pytest.approx(0.5, abs=0.05)
    assert metrics.auc(target, seen) > 0.7


def _deal(labels: pl.DataFrame, dealt: npt.NDArray[np.int64]) -> pl.DataFrame:
    """Give each customer the outcomes of another, of the same one at every cutoff."""
    assert labels.height == dealt.size
    return labels[dealt].with_columns(customer_id=labels["customer_id"])


def test_champion_cutoffs(judged: Backtest, folds: tuple[Fold, ...]) -> None:
    """A champion is judged at the cutoff of its training and after it, never before: there it knew the answers."""
    judged_at = [CHAMPION in models_of(judged.frame, "churn", to_date(f.cutoff_day).isoformat()) for f in folds]
    assert judged_at == [True, True, False]


def test_champion_day_after(day_after: tuple[Backtest, tuple[str, ...]]) -> None:
    """A champion trained as of the day after a cutoff saw a day of its outcomes, and is not judged there."""
    frame = day_after[0].frame
    assert CHAMPION not in {*frame["model"], *frame["against"]}


def test_steps(day_after: tuple[Backtest, tuple[str, ...]], end_day: int) -> None:
    """Each step is told before it begins, by the cutoff it belongs to."""
    cutoff = to_date(end_day - HORIZON_DAYS).isoformat()
    steps = ("features", "purchase process", "churn", "value", "next stage", "judging")
    assert day_after[1] == tuple(f"{cutoff}: {step}" for step in steps)
