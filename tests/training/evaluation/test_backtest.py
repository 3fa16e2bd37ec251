"""The backtest: a tidy frame, judged on later time, to which the future tells nothing."""

from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from features.intake.cdnow import write_cdnow_csv
from features.lifecycle.stages import STAGES
from features.records import Records
from features.settings import Settings, load_settings
from features.snapshot import to_date
from tests.histories import build_orders
from tests.tiny_model import write_model
from training import metrics
from training.bundle import Bundle, load_bundle
from training.evaluation.backtest import COHERENCE, Backtest, backtest, observe
from training.evaluation.carried import CARRIED
from training.evaluation.findings import SCHEMA, SUMMARY_SCHEMA
from training.evaluation.ladder import OURS, RUNGS, Predictions, climb
from training.evaluation.measures import METRICS, ON_SLICES, RELIABILITY
from training.evaluation.slices import ALL, MIN_CUSTOMERS, SLICES
from training.evaluation.verdicts import CHAMPION, DECIDING, best_rung
from training.fitters.lifecycle import Examples
from training.fitters.trees import fit_trees, out_of_fold
from training.learn import build_past, learn_at
from training.models.inputs import features_of, input_names, model_inputs
from training.models.lifecycle import LifecycleModel
from training.splits import Fold, rolling_folds

HORIZON_DAYS = 90
N_FEW = 600
Prepare = Callable[[pl.DataFrame], Records]


@pytest.fixture(scope="module")
def quick() -> Settings:
    """Settings for a short backtest that still learns trees, once."""
    training = {
        "max_train_cutoffs": 2,
        "min_class_customers": 10,
        "bootstrap_samples": 20,
        "seeds": 1,
        "search_trials": 0,
    }
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
    """A backtest of one cutoff and two seeds, with a champion of the day after it; and the steps it told."""
    told: list[str] = []
    found = backtest(
        recorded(few_orders),
        first_day=first_day,
        end_day=end_day,
        settings=change(quick, test_cutoffs=1, seeds=2),
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


def key_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Return what each row is about."""
    return frame.select(pl.col("^cutoff$"), "task", "slice", "model", "metric", "against")


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
    """Both frames have the promised columns and types, and one row per thing that they are about."""
    for frame, schema in ((judged.frame, SCHEMA), (judged.summary, SUMMARY_SCHEMA)):
        assert frame.schema == schema
        assert not key_columns(frame).is_duplicated().any()
        undefined = frame.filter(~pl.col("value").is_finite())
        # The same for everyone, it has no rank.
        assert set(undefined.select("model", "metric").iter_rows()) == {("base_rate", "spearman")}


def test_summary(judged: Backtest) -> None:
    """The summary holds the mean of each figure over the cutoffs that have it, how many they were, and of whom."""
    about = key_columns(judged.summary).columns
    means = judged.frame.group_by(about, maintain_order=True).agg(
        pl.col("value").mean(), n_cutoffs=pl.len(), n_customers=pl.col("n_customers").sum()
    )
    found = judged.summary.join(means, on=about, how="full", suffix="_by_hand", nulls_equal=True).filter(
        pl.col("value").is_not_nan()
    )
    assert found.null_count().select(pl.col(about[0]), "value", "value_by_hand").row(0) == (0, 0, 0)
    assert found["value"].to_numpy() == pytest.approx(found["value_by_hand"].to_numpy())
    assert found["n_cutoffs"].to_list() == found["n_cutoffs_by_hand"].to_list()
    assert found["n_customers"].to_list() == found["n_customers_by_hand"].to_list()
    assert set(judged.summary.filter(model=CHAMPION)["n_cutoffs"]) == {2}


def test_pooled_intervals(judged: Backtest) -> None:
    """The interval of a mean over cutoffs is drawn where those of the cutoffs are, and about as wide as they allow."""
    widths = pl.col("high") - pl.col("low")
    per_cutoff = judged.frame.group_by("task", "slice", "model", "metric", "against").agg(widest=widths.max())
    found = judged.summary.join(per_cutoff, on=["task", "slice", "model", "metric", "against"])
    assert found["low"].is_null().equals(found["widest"].is_null(), check_names=False)
    drawn = found.drop_nulls("low").filter(pl.col("value").is_not_nan())
    assert (drawn["low"] <= drawn["value"]).all()
    assert (drawn["value"] <= drawn["high"]).all()
    assert (drawn.select(width=widths)["width"] <= drawn["widest"]).all()


def test_slices(judged: Backtest) -> None:
    """Each task on customers is judged on every slice that holds enough of them, by the metrics that it promises."""
    sizes = dict(judged.frame.filter(task="churn", metric="log_loss").group_by("slice").agg("n_customers").iter_rows())
    assert set(sizes) == set(SLICES) - {"new"}  # everyone came in the first three months
    assert min(map(min, sizes.values())) >= MIN_CUSTOMERS
    parts = judged.frame.filter(pl.col("slice") != ALL, model=OURS, against="")
    for task, metrics_of_slices in ON_SLICES.items():
        told = parts.filter(task=task).group_by("slice").agg(pl.col("metric").unique().sort())
        assert told["metric"].to_list() == [sorted(metrics_of_slices)] * (len(SLICES) - 2)
    assert set(parts["task"]) == set(ON_SLICES)


def test_coherence(judged: Backtest, recorded: Prepare, cdnow_orders: pl.DataFrame, folds: tuple[Fold, ...]) -> None:
    """What each identity of our answers is off by stands beside the metrics, and is nothing but rounding."""
    rows = judged.frame.filter(task=COHERENCE)
    assert (rows["value"] < 1e-9).all()
    assert set(rows["model"]) == {OURS}
    assert len(set(rows["cutoff"])) == 3
    assert (
        judged.summary.filter(task=COHERENCE)["metric"].to_list()
        == rows["metric"].unique(maintain_order=True).to_list()
    )


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
    of_campaign = ("recall_at_capacity", "expected_maximum_profit")
    expected = set()
    for number, fold in enumerate(folds):
        cutoff = to_date(fold.cutoff_day).isoformat()
        for task in ("churn", "next_stage", "value"):  # nothing is recorded of prospects
            standing = {CHAMPION} if number < 2 and task != "next_stage" else set()
            models = answering[task] | standing
            told = (*METRICS[task], *of_campaign) if task == "churn" else METRICS[task]
            compared = (DECIDING[task], "auc") if task == "churn" else (DECIDING[task],)
            expected |= {(cutoff, task, model, metric, "") for model in models for metric in told}
            expected |= {(cutoff, task, OURS, metric, rival) for rival in models - {OURS} for metric in compared}
        kinds = ("coverage", "coverage_if_ordered", "held")
        expected |= {(cutoff, "value", OURS, f"{kind}_{percent}", "") for kind in kinds for percent in (80, 90)}
        known_days = (30, 180) if number else (30,)  # what 180 days bring is not known at the youngest cutoff
        expected |= {(cutoff, "churn", OURS, f"{metric}_{days}d", "") for metric in CARRIED for days in known_days}
    told_here = judged.frame.filter(~is_reliability(), pl.col("task") != COHERENCE, slice=ALL)
    assert set(told_here.select("cutoff", "task", "model", "metric", "against").iter_rows()) == expected


def test_cutoffs(judged: Backtest, end_day: int) -> None:
    """There are three cutoffs, one horizon apart, and the youngest outcome ends where the orders do."""
    cutoffs = judged.frame["cutoff"].unique(maintain_order=True).to_list()
    assert cutoffs == [to_date(end_day - step * HORIZON_DAYS).isoformat() for step in (1, 2, 3)]


def test_intervals(judged: Backtest) -> None:
    """What is drawn carries an interval that contains its value: what decides, totals, the AUC, every difference."""
    deciding = pl.concat_str("task", pl.lit("."), "metric").is_in([f"{t}.{m}" for t, m in DECIDING.items()])
    total, ranking = pl.col("metric").is_in(["calibration_in_the_large", "relative_bias"]), pl.col("metric") == "auc"
    carries = deciding | total | (ranking & (pl.col("slice") == ALL))
    with_interval, without = judged.frame.filter(carries), judged.frame.filter(~carries)
    contains = (pl.col("low") <= pl.col("value")) & (pl.col("value") <= pl.col("high"))
    assert with_interval.select(contains).to_series().all()
    assert without["low"].is_null().all()
    assert without["high"].is_null().all()


def test_differences(judged: Backtest) -> None:
    """A row against a rival holds our metric minus the rival's."""
    values = {row[:5]: row[5] for row in judged.frame.filter(pl.col("against") == "").iter_rows()}
    rows = judged.frame.filter(pl.col("against") != "")
    for row in rows.iter_rows(named=True):
        about = (row["cutoff"], row["task"], row["slice"], row["model"], row["metric"])
        ours, theirs = values[about], values[*about[:3], row["against"], row["metric"]]
        assert row["value"] == pytest.approx(ours - theirs, abs=1e-9)


def test_youngest(judged: Backtest, cdnow_orders: pl.DataFrame, folds: tuple[Fold, ...]) -> None:
    """The outcomes kept for the pictures are the youngest cutoff's, and our rows there follow from them."""
    youngest = folds[0].cutoff_day
    churned, value = _count_by_hand(cdnow_orders, youngest)
    assert judged.outcomes["churn"].tolist() == churned
    assert judged.outcomes["value"] == pytest.approx(np.array(value))
    here = pl.col("slice") == ALL, pl.col("cutoff") == to_date(youngest).isoformat()
    ours = pl.col("model") == OURS, pl.col("against") == "", *here
    for task, metric, found in (
        judged.frame.filter(*ours, ~is_reliability(), ~is_coverage()).select("task", "metric", "value").iter_rows()
    ):
        if metric not in METRICS.get(task, ()):
            continue  # of a campaign, or of coherence
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
    for cutoff, n_customers in judged.frame.filter(slice=ALL).select("cutoff", "n_customers").unique().iter_rows():
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
    ours = frame.filter(model=CHAMPION, task="churn", slice=ALL, metric="auc")["value"]
    assert ours.is_between(0.5, 1.0).to_list() == [True]


@pytest.mark.slow
def test_permuted_futures(recorded: Prepare, tmp_path: Path, quick: Settings) -> None:
    """When 23,570 customers swap their futures, nobody can tell who will leave: every churn AUC is .5 ± .02."""
    one = change(quick, test_cutoffs=1, max_train_cutoffs=1, bootstrap_samples=2)
    log = pl.read_csv(write_cdnow_csv(tmp_path), schema_overrides={"customer_id": pl.String}, try_parse_dates=True)
    day, micros = pl.col("ordered_at").cast(pl.Int32).cast(pl.Int64), (pl.col("amount") * 1e6).round().cast(pl.Int64)
    orders = log.select("customer_id", pl.col("ordered_at").cast(pl.Datetime("us")), day=day, amount_micros=micros)
    first_day, end_day = (int(day) for day in (orders["day"].to_numpy().min(), orders["day"].to_numpy().max() + 1))
    customers = orders["customer_id"].unique().sort()
    swapped = pl.col("customer_id").replace_strict(customers, customers.shuffle(seed=11))
    is_future = pl.col("day") >= end_day - one.training.horizon_days
    dealt = orders.with_columns(pl.when(is_future).then(swapped).otherwise("customer_id").alias("customer_id"))
    frame = backtest(recorded(dealt), first_day=first_day, end_day=end_day, settings=one).frame
    aucs = frame.filter(slice=ALL, metric="auc", against="")
    assert set(aucs["model"]) == {*RUNGS, OURS} - {"simple_clv"}
    assert aucs["value"].is_between(0.48, 0.52).all()


def test_permuted_labels(
    recorded: Prepare, cdnow_orders: pl.DataFrame, folds: tuple[Fold, ...], quick: Settings
) -> None:
    """Trees that learn outcomes dealt out at random know the customers they saw, and nothing of those they did not."""
    past = build_past(recorded(cdnow_orders), folds[0], settings=quick)
    dealt = np.random.default_rng(5).permutation(past.present.height)
    examples = tuple(Examples(e.table, _deal(e.labels, dealt), e.cutoff_day) for e in past.examples)
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
    steps = ("features", "purchase process", "churn", "value", "next stage", "other seeds", "judging")
    assert day_after[1] == tuple(f"{cutoff}: {step}" for step in steps)


def test_seeds(day_after: tuple[Backtest, tuple[str, ...]], judged: Backtest) -> None:
    """With several seeds, what chance does to our figures on everyone is told, and is little; of rungs it is not."""
    has_deviation = day_after[0].frame.filter(pl.col("seed_sd").is_not_null())
    assert set(has_deviation.select("model", "slice", "against").iter_rows()) == {(OURS, ALL, "")}
    assert set(has_deviation["task"]) == {"churn", "next_stage", "value"}
    assert {*METRICS["churn"], "recall_at_capacity"} <= set(has_deviation["metric"])
    log_loss = has_deviation.filter(task="churn", metric="log_loss")["seed_sd"].item()
    assert 0.0 < log_loss < 0.02
    assert judged.frame["seed_sd"].is_null().all()


def test_best_rung(judged: Backtest) -> None:
    """The best rung of a task is that of the lowest deciding metric; neither the champion nor ours is one."""
    for task in ("churn", "next_stage", "value"):
        plain = judged.summary.filter(task=task, slice=ALL, metric=DECIDING[task], against="")
        rungs = plain.filter(pl.col("model").is_in(list(RUNGS))).sort("value")
        assert best_rung(judged.summary, task) == rungs["model"][0]
