"""Training, end to end: a file of orders in; a bundle, a verdict and an MLflow run out."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest

from features.errors import CutoffError, InsufficientHistoryError
from features.intake.shop import Shop, read_shop
from features.settings import Settings, load_settings
from features.snapshot import to_date, to_day
from serving.scoring import score_records
from training.bundle import Manifest, load_bundle, write_bundle
from training.evaluation.backtest import CHAMPION
from training.models.lifecycle import LifecycleModel
from training.promotion.champion import Promotion, append_promotion, bundles_folder
from training.promotion.conditions import Freshness
from training.promotion.gate import decide, summarise, to_record
from training.tracking import challenger_bundle_version
from training.train import Trained, Window, find_window, run_backtest, train

if TYPE_CHECKING:  # at run time, tracking imports MLflow first: it sets what MLflow reads when it is imported
    from mlflow.entities import Run

N_CUSTOMERS = 700
PASSWORD = b"s3cret"
# How a shop may have named its sources; what is trained on here was read from a file.
DATABASE = {"sources": [{"url": f"postgresql://reader:{PASSWORD.decode()}@db.internal/shop", "query": "FROM orders"}]}
STARTED_AT = "2026-11-22T09:30:00+00:00"
LAST_DAY = date(1998, 6, 30)
AS_OF = date(1998, 3, 31)  # orders came the day before, so that a file that ends there may be trained as of this date
ReadFrame = Callable[[pl.DataFrame], Shop]


@dataclass(frozen=True, slots=True)
class Training:
    """One training: where, on what, and what came of it."""

    home: Path
    shop: Shop
    trained: Trained
    steps: tuple[str, ...]


@pytest.fixture(scope="module")
def quick() -> Settings:
    """Settings for a short training that still learns trees."""
    few = {"bootstrap_samples": 20, "seeds": 1, "search_trials": 1}
    training = {"max_train_cutoffs": 2, "min_class_customers": 10, **few}
    return load_settings(overrides={"training": training, "orders": DATABASE, "events": DATABASE})


@pytest.fixture(scope="module")
def one_cutoff(quick: Settings) -> Settings:
    """The same with a single test cutoff."""
    return change(quick, test_cutoffs=1)


@pytest.fixture(scope="module")
def few_orders(cdnow_orders: pl.DataFrame) -> pl.DataFrame:
    """The orders of the first 700 customers, each once: in a file, rows that repeat another count once."""
    return cdnow_orders.filter(pl.col("customer_id") <= f"cdnow-{N_CUSTOMERS:04}").unique(maintain_order=True)


@pytest.fixture(scope="module")
def read_frame(engine: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory) -> ReadFrame:
    """Write orders to a CSV file and read it as anyone's."""

    def read(orders: pl.DataFrame) -> Shop:
        path = tmp_path_factory.mktemp("orders") / "orders.csv"
        amount = pl.col("amount_micros") / 1e6
        orders.select("customer_id", pl.col("ordered_at").dt.date(), amount=amount).write_csv(path)
        return read_shop([path], [], load_settings(), connection=engine)

    return read


@pytest.fixture(scope="module")
def first(
    few_orders: pl.DataFrame, read_frame: ReadFrame, quick: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Training:
    """A first training, on all of the orders."""
    steps: list[str] = []
    home, shop = tmp_path_factory.mktemp("home"), read_frame(few_orders)
    trained = start(shop, home, quick, advance=steps.append)
    return Training(home, shop, trained, tuple(steps))


@pytest.fixture(scope="module")
def as_of_march(first: Training, one_cutoff: Settings, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The manifest of a training on the same file, as of an earlier date."""
    home = copy_store(first, tmp_path_factory.mktemp("as-of"))
    return load_bundle(start(first.shop, home, one_cutoff, as_of=AS_OF).folder).manifest


@pytest.fixture
def empty_home(first: Training, tmp_path: Path) -> Path:
    """A home with the first training's MLflow store, which is slow to open for the first time, and no bundle."""
    return copy_store(first, tmp_path)


def copy_store(first: Training, folder: Path) -> Path:
    """Make a home in a folder, with the training's MLflow store and without its bundle."""
    return Path(shutil.copytree(first.home, folder / "home", ignore=shutil.ignore_patterns("bundles")))


def change(settings: Settings, **training: int) -> Settings:
    """Return the settings with others for training."""
    return settings.model_copy(update={"training": settings.training.model_copy(update=training)})


def start(
    shop: Shop,
    home: Path,
    settings: Settings,
    *,
    as_of: date | None = None,
    advance: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Train as the command line does."""
    return train(
        shop,
        home=home,
        settings=settings,
        as_of_day=None if as_of is None else to_day(as_of),
        source="orders.csv",
        started_at=STARTED_AT,
        git_commit="abc1234",
        advance=advance,
    )


def search_runs(home: Path) -> "list[Run]":
    """Return every MLflow run of a home."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{home / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def test_bundle(first: Training, few_orders: pl.DataFrame) -> None:
    """Training leaves a bundle that loads, says what it saw, and scores every customer."""
    bundle = load_bundle(first.trained.folder)
    manifest = bundle.manifest
    assert first.trained.folder == bundles_folder(first.home) / manifest.version
    assert (manifest.trained_as_of, manifest.horizon_days, manifest.timezone) == ("1998-07-01", 90, "UTC")
    assert manifest.data == {
        "is_demo": False,
        "n_orders": few_orders.height,
        "n_customers": N_CUSTOMERS,
        "n_quarantined": 0,
        "first_day": "1997-01-01",
        "last_day": "1998-06-30",
        "source_last_day": "1998-06-30",
        "digest": first.shop.report.digest,
    }
    assert tuple(manifest.notes) == first.trained.notes
    assert score_records(bundle, first.shop.records, cutoff_day=to_day(LAST_DAY) + 1).height == N_CUSTOMERS


def test_evaluation(first: Training) -> None:
    """The backtest travels in the manifest, with what the gate said of it."""
    evaluation = load_bundle(first.trained.folder).manifest.evaluation
    reasons = evaluation.pop("gate")
    judged = first.trained.backtest
    assert evaluation == {**summarise(judged.frame, judged.summary), "leakage": evaluation["leakage"]}
    assert evaluation["leakage"]["is_clean"]
    assert evaluation["cutoffs"] == ["1997-10-04", "1998-01-02", "1998-04-02"]
    assert reasons == to_record(first.trained.decision)
    freshness = Freshness("1998-07-01", "1998-06-30")
    assert first.trained.decision == decide(evaluation, load_settings().gate, freshness=freshness)


def test_runs(first: Training, quick: Settings) -> None:
    """MLflow holds one finished run with a child per cutoff and trial, settings, figures, pictures and texts."""
    runs = search_runs(first.home)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run is not parent]
    cutoffs = [run for run in children if run.info.run_name.startswith("cutoff")]
    trials = [run for run in children if run.info.run_name.startswith("trial")]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.params["cutoff"] for run in cutoffs} == {"1997-10-04", "1998-01-02", "1998-04-02"}
    assert [run.data.params["num_leaves"] for run in trials if "num_leaves" in run.data.params] != []
    assert len(cutoffs) + len(trials) == len(children)
    assert len(trials) == quick.training.search_trials + 1
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert parent.data.params["training.max_train_cutoffs"] == str(quick.training.max_train_cutoffs)
    assert "orders.timezone" in parent.data.params
    assert parent.data.tags["lifestage.git_commit"] == "abc1234"
    artifacts = first.home / "mlartifacts" / str(parent.info.run_id) / "artifacts"
    judged = {"churn_reliability.png", "churn_gain.png", "value_gain.png", "value_deciles.png"}
    pictures = {*judged, "repeat_orders.png", "order_frequency.png", "p_alive.png"}
    assert {path.name for path in (artifacts / "plots").iterdir()} == pictures
    assert "Not for" in (artifacts / "model_card.md").read_text(encoding="utf-8")
    assert "<h1" in (artifacts / "backtest.html").read_text(encoding="utf-8")
    ours = first.trained.backtest.frame.filter(
        model="lifestage", task="churn", slice="all", metric="log_loss", against=""
    ).get_column("value")
    assert parent.data.metrics["churn.lifestage.log_loss"] == pytest.approx(ours.mean())


def test_challenger(first: Training) -> None:
    """A training makes a challenger, and no champion."""
    assert challenger_bundle_version(first.home) == first.trained.folder.name
    assert {path.name for path in first.home.iterdir()} == {"bundles", "mlflow.db", "mlartifacts"}


def test_no_customers(first: Training) -> None:
    """No file of the home holds a customer id."""
    holding = [path for path in first.home.rglob("*") if path.is_file() and b"cdnow-" in path.read_bytes()]
    assert holding == []


def test_no_password(first: Training) -> None:
    """No file of the home holds the password of a database that the settings name."""
    holding = [path for path in first.home.rglob("*") if path.is_file() and PASSWORD in path.read_bytes()]
    assert holding == []


def test_steps(first: Training) -> None:
    """Every step is told before it begins: three cutoffs, the final model, the bundle, the log."""
    learned = ("features", "purchase process", "churn", "value", "next stage")
    cutoffs = [f"{day}: {s}" for day in ("1998-04-02", "1998-01-02", "1997-10-04") for s in (*learned, "judging")]
    final = [f"final model: {step}" for step in learned]
    assert first.steps == (*cutoffs, *final, "checking for leaks", "sealing the bundle", "logging to MLflow")


def test_same_seed(
    first: Training, few_orders: pl.DataFrame, read_frame: ReadFrame, quick: Settings, empty_home: Path
) -> None:
    """A second training, on the same orders in another row order, ends in the same version and the same bytes."""
    again = start(read_frame(few_orders.sample(fraction=1.0, shuffle=True, seed=9)), empty_home, quick)
    assert again.folder.name == first.trained.folder.name
    assert _contents(again.folder) == _contents(first.trained.folder)
    assert again.backtest.frame.equals(first.trained.backtest.frame)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_as_of(
    as_of_march: Manifest, few_orders: pl.DataFrame, read_frame: ReadFrame, one_cutoff: Settings, empty_home: Path
) -> None:
    """An as-of date makes the same model and the same evaluation as a file that ends there."""
    known = read_frame(few_orders.filter(pl.col("day") < to_day(AS_OF)))
    cut = load_bundle(start(known, empty_home, one_cutoff, as_of=AS_OF).folder).manifest
    assert as_of_march.files == cut.files
    # How long the source goes on is all that differs.
    assert {**as_of_march.evaluation, "gate": None} == {**cut.evaluation, "gate": None}
    assert (as_of_march.trained_as_of, cut.trained_as_of) == ("1998-03-31", "1998-03-31")


def test_counts_as_of(as_of_march: Manifest, few_orders: pl.DataFrame) -> None:
    """The manifest counts the orders that training saw, none at or after the as-of date."""
    data = as_of_march.data
    assert (data["first_day"], data["last_day"]) == ("1997-01-01", "1998-03-30")
    assert data["n_orders"] == few_orders.filter(pl.col("day") < to_day(AS_OF)).height


def test_window(first: Training) -> None:
    """Training sees all days by default, and up to the as-of date otherwise; its bounds are the orders' own."""
    report = first.shop.report
    start_day, after_last = to_day(date(1997, 1, 1)), to_day(LAST_DAY) + 1
    assert find_window(report, None) == Window(start_day, after_last)
    for end_day in (start_day + 1, after_last):
        assert find_window(report, end_day) == Window(start_day, end_day)


@pytest.mark.parametrize("as_of", [date(1996, 12, 1), date(1997, 1, 1), date(1998, 7, 2), date(2026, 1, 1)])
def test_as_of_outside(first: Training, as_of: date, tmp_path: Path) -> None:
    """An as-of date before the orders, or past the day after the last, is refused by name, and nothing is written."""
    words = rf"{as_of} lies outside the orders, which run from 1997-01-01 to 1998-06-30\. .*up to 1998-07-01"
    with pytest.raises(CutoffError, match=words):
        start(first.shop, tmp_path, load_settings(), as_of=as_of)
    assert list(tmp_path.iterdir()) == []


def test_no_orders(first: Training, tmp_path: Path) -> None:
    """Where every row was quarantined, there is nothing to train on."""
    none_accepted = replace(first.shop.report, first_day=None, last_day=None, n_orders=0)
    with pytest.raises(CutoffError, match="No order was accepted"):
        start(replace(first.shop, orders=replace(first.shop.orders, report=none_accepted)), tmp_path, load_settings())


def test_long_horizon(first: Training, quick: Settings, tmp_path: Path) -> None:
    """A horizon longer than the data allow is refused with the days that it takes and those that there are."""
    words = r"over 400 days take 860 days of orders, and there are 546\."
    with pytest.raises(InsufficientHistoryError, match=words):
        start(first.shop, tmp_path, change(quick, horizon_days=400))
    assert list(tmp_path.iterdir()) == []


def test_early_as_of(first: Training, quick: Settings, tmp_path: Path) -> None:
    """An as-of date that leaves too little before it is refused with the days, and is no date outside the data."""
    with pytest.raises(InsufficientHistoryError, match=r"take 240 days of orders, and there are 150\.") as refusal:
        start(first.shop, tmp_path, quick, as_of=date(1997, 5, 31))
    assert not isinstance(refusal.value, CutoffError)


def test_few_customers(few_orders: pl.DataFrame, read_frame: ReadFrame, quick: Settings, tmp_path: Path) -> None:
    """Fewer customers than the least are refused with both numbers, and nothing is written."""
    shop = read_frame(few_orders.filter(pl.col("customer_id") <= "cdnow-0009"))
    with pytest.raises(InsufficientHistoryError, match=r"There are 9 customers .* fewer than the 10"):
        start(shop, tmp_path, quick)
    assert list(tmp_path.iterdir()) == []


def test_grown_shop(few_orders: pl.DataFrame, read_frame: ReadFrame, quick: Settings, tmp_path: Path) -> None:
    """A shop that had too few customers at an older cutoff is judged on the younger ones, not refused."""
    is_old = pl.col("customer_id") <= "cdnow-0040"
    later = few_orders.filter(~is_old).with_columns(pl.col("day") + 160, pl.col("ordered_at") + pl.duration(days=160))
    shop = read_frame(pl.concat([few_orders.filter(is_old), later]))
    as_of_day = to_day(date(1997, 1, 1)) + 334
    frame = run_backtest(
        shop, home=tmp_path, settings=change(quick, test_cutoffs=2, min_customers=50), as_of_day=as_of_day
    ).frame
    assert frame["cutoff"].unique().to_list() == [to_date(as_of_day - 90).isoformat()]


def _let_serve(home: Path, model: LifecycleModel, *, trained_as_of: str) -> None:
    folder = write_bundle(
        bundles_folder(home), model, timezone="UTC", trained_as_of=trained_as_of, data={}, evaluation={}
    )
    append_promotion(home, Promotion(folder.name, STARTED_AT, "for a test"))


def _judges_champion(first: Training, home: Path, settings: Settings) -> bool:
    frame = run_backtest(first.shop, home=home, settings=settings, as_of_day=None).frame
    assert (CHAMPION in set(frame["model"])) == (CHAMPION in set(frame["against"]))
    return CHAMPION in set(frame["model"])


@pytest.mark.parametrize(
    ("trained_as_of", "horizon_days", "is_judged"),
    [("1998-04-02", 90, True), ("1998-04-03", 90, False), ("1998-04-02", 60, False)],
)
def test_standing_champion(
    first: Training,
    model: LifecycleModel,
    one_cutoff: Settings,
    tmp_path: Path,
    trained_as_of: str,
    horizon_days: int,
    is_judged: bool,
) -> None:
    """The standing champion is on the ladder where it saw no outcome and answers for the same horizon; else not."""
    _let_serve(tmp_path, replace(model, horizon_days=horizon_days), trained_as_of=trained_as_of)
    assert _judges_champion(first, tmp_path, one_cutoff) == is_judged


def test_backtest_alone(first: Training, one_cutoff: Settings, tmp_path: Path) -> None:
    """The backtest alone writes nothing, and needs no champion."""
    assert not _judges_champion(first, tmp_path, one_cutoff)
    assert list(tmp_path.iterdir()) == []
