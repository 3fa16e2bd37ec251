"""Small and strange shops, end to end: every one is answered for, sanely, and says what not to trust."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from features.errors import InsufficientHistoryError
from features.records import Records
from features.settings import load_settings
from features.snapshot import Snapshot
from features.table import build_customer_table, features_named
from serving.scoring import score_records
from tests.strange_shops import LARGE, SHOPS, plain, window_of
from tests.tiny_model import train_model, write_model
from training.bundle import load_bundle
from training.evaluation.backtest import Backtest, backtest
from training.evaluation.coherence import measure_incoherence
from training.evaluation.ladder import OURS
from training.models.lifecycle import LifecycleModel

SETTINGS = load_settings(
    overrides={
        "training": {"max_train_cutoffs": 2, "bootstrap_samples": 10, "seeds": 1, "test_cutoffs": 1, "search_trials": 0}
    }
)
HORIZON_DAYS = SETTINGS.training.horizon_days
NUMBERS = (
    *("p_churn", "p_alive", "expected_orders", "expected_order_value", "historic_value"),
    *("clv_12m", "clv_12m_low", "clv_12m_high", "clv_12m_sd", "value_at_risk"),
)
EVERY_SHOP = pytest.mark.parametrize("name", SHOPS)


@dataclass(frozen=True, slots=True)
class Told:
    """What a model says of a shop one horizon before its end.

    Args:
        model: The model.
        table: Customer table then, one row per customer.
        scores: Of the same customers.
        came: Order days of each within the horizon, (n,).
        value: What these brought, (n,).
    """

    model: LifecycleModel
    table: pl.DataFrame
    scores: pl.DataFrame
    came: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]

    @property
    def p_churn(self) -> npt.NDArray[np.float64]:
        """P(no order within the horizon), (n,)."""
        return self.scores["p_churn"].to_numpy()

    @property
    def silence_days(self) -> npt.NDArray[np.float64]:
        """Days since the last order, (n,)."""
        return self.table["days_since_last_order"].to_numpy()


Tell = Callable[[str], Told]


@pytest.fixture(scope="module")
def tell(tmp_path_factory: pytest.TempPathFactory) -> Tell:
    """Learn a shop as it was one horizon before its end, seal the model, load it, and score."""

    @cache
    def told(name: str) -> Told:
        return _tell(SHOPS[name](), tmp_path_factory.mktemp("bundles"))

    return told


def _tell(orders: pl.DataFrame, folder: Path) -> Told:
    cutoff_day = window_of(orders)[1] - HORIZON_DAYS
    records = Records.wrap(orders)
    model = train_model(records, cutoff_day=cutoff_day, settings=SETTINGS)
    bundle = load_bundle(write_model(folder, model, cutoff_day=cutoff_day))
    snapshot = Snapshot(cutoff_day, HORIZON_DAYS)
    table = build_customer_table(
        snapshot.known_records(records), snapshot, rule=model.stage_rule, features=features_named(model.features)
    )
    came = (
        orders.filter(pl.col("day") >= cutoff_day)
        .group_by("customer_id")
        .agg(n=pl.col("day").n_unique(), value=pl.col("amount_micros").sum() / 1e6)
    )
    outcome = table.select("customer_id").join(came, on="customer_id", how="left", maintain_order="left").fill_null(0)
    scores = score_records(bundle, records, cutoff_day=cutoff_day)
    return Told(model, table, scores, outcome["n"].cast(pl.Float64).to_numpy(), outcome["value"].to_numpy())


def _backtest(orders: pl.DataFrame, *, test_cutoffs: int = 1) -> Backtest:
    first_day, end_day = window_of(orders)
    training = SETTINGS.training.model_copy(update={"test_cutoffs": test_cutoffs})
    settings = SETTINGS.model_copy(update={"training": training})
    return backtest(Records.wrap(orders), first_day=first_day, end_day=end_day, settings=settings)


@EVERY_SHOP
def test_coherent(name: str, tell: Tell) -> None:
    """Every score of every shop is a number, every probability one, and the identities hold."""
    told = tell(name)
    assert np.isfinite(told.scores.select(NUMBERS).to_numpy()).all()
    assert ((told.p_churn > 0.0) & (told.p_churn < 1.0)).all()
    assert (told.scores.select(NUMBERS).to_numpy() >= 0.0).all()
    assert max(measure_incoherence(told.model, told.table).values()) < 1e-9


@EVERY_SHOP
def test_flags(name: str, tell: Tell) -> None:
    """What is not to be trusted is flagged on every score, and the notes say why."""
    told = tell(name)
    flags = [set(text.split(",")) for text in told.scores["flags"]]
    everywhere = set.intersection(*flags)
    assert ("small_shop" in everywhere) == (told.table.height < 300)
    few_returned = name in {"one-time buyers", "one large customer"}
    assert ("fallback_process" in everywhere) == few_returned
    assert any("made-up ones of a plain shop" in note for note in told.model.notes) == few_returned
    if name not in {"of 3,000", "of 300", "clockwork", "closed for a year"}:
        assert "fallback_churn" in everywhere
    assert ("seasonal_shop" in everywhere) == (name == "seasonal")


@pytest.mark.parametrize("name", [name for name in SHOPS if name not in {"one-time buyers", "worthless"}])
def test_totals(name: str, tell: Tell) -> None:
    """What is expected of the horizon in total is between a third and three times what came."""
    told = tell(name)
    expected = told.scores["expected_orders"] * told.scores["expected_order_value"]
    assert 1 / 3 < told.scores["expected_orders"].sum() / told.came.sum() < 3
    assert 1 / 3 < expected.sum() / told.value.sum() < 3


def test_one_time_buyers(tell: Tell) -> None:
    """Where nobody ever returned, few are expected to, the fewer the longer ago, each order at the shop's mean."""
    told = tell("one-time buyers")
    assert told.scores["expected_orders"].sum() < 0.02 * told.table.height
    by_silence = told.p_churn[np.argsort(told.silence_days, kind="stable")]
    assert (np.diff(by_silence) >= 0.0).all()
    mean = float(told.table["historic_value"].mean())  # type: ignore[arg-type]
    np.testing.assert_allclose(told.scores["expected_order_value"], mean, rtol=0.01)


def test_seasonal(tell: Tell) -> None:
    """Of a shop that sells in one season, more is expected before the season than after it, by the same model."""
    told = tell("seasonal")
    after = Snapshot(window_of(SHOPS["seasonal"]())[1] + 20, HORIZON_DAYS)
    rule, features = told.model.stage_rule, features_named(told.model.features)
    table = build_customer_table(Records.wrap(SHOPS["seasonal"]()), after, rule=rule, features=features)
    assert told.model.answer(table).p_churn.mean() > told.p_churn.mean() + 0.2


def test_clockwork(tell: Tell) -> None:
    """Of subscriptions, whoever is overdue is likelier gone than whoever is not, and the longer the likelier."""
    told = tell("clockwork")
    is_due = told.silence_days <= 30
    is_overdue = told.silence_days > 60
    assert told.p_churn[is_overdue].min() > told.p_churn[is_due].mean()
    means = [told.p_churn[band].mean() for band in (is_due, ~is_due & ~is_overdue, is_overdue)]
    assert means == sorted(means)
    assert told.p_churn[is_due].mean() < 0.25
    assert told.p_churn[is_overdue].mean() > 0.75


def test_faithful(tell: Tell) -> None:
    """Where nobody ever left, nobody is expected to."""
    assert tell("faithful").p_churn.max() < 0.05


def test_one_large_customer(tell: Tell) -> None:
    """The one who orders daily is expected to go on, and nobody is expected to follow."""
    told = tell("one large customer")
    is_large = (told.scores["customer_id"] == LARGE).to_numpy()
    assert told.p_churn[is_large].max() < 0.01
    assert told.p_churn[~is_large].min() > 0.9


def test_worthless(tell: Tell) -> None:
    """Orders that are worth nothing are expected all the same, and promise nothing."""
    told = tell("worthless")
    assert told.scores["expected_orders"].sum() == pytest.approx(told.came.sum(), rel=0.5)
    assert told.scores["clv_12m_high"].to_numpy().max() < 0.01


@pytest.mark.parametrize("name", [name for name in SHOPS if name != "of 3,000"])
def test_backtest(name: str) -> None:
    """Every shop can be judged; what cannot be measured is no number, and nothing else is missing."""
    ours = _backtest(SHOPS[name]()).frame.filter(model=OURS, against="", slice="all")
    measured = {(row["task"], row["metric"]): row["value"] for row in ours.iter_rows(named=True)}
    assert measured["churn", "log_loss"] < 3.0
    assert np.isfinite(measured["next_stage", "log_loss"])
    one_outcome = name in {"one-time buyers", "faithful"}
    assert np.isnan(measured["churn", "auc"]) == one_outcome
    assert np.isnan(measured["value", "relative_bias"]) == (name in {"one-time buyers", "worthless"})


def test_smallest(tmp_path: Path) -> None:
    """Ten customers are answered for; one fewer is refused with both numbers, before and in a backtest."""
    orders = plain(40)
    cutoff_day = window_of(orders)[1] - HORIZON_DAYS
    ids = orders.filter(pl.col("day") < cutoff_day - HORIZON_DAYS)["customer_id"].unique().sort()
    ten, nine = (orders.filter(pl.col("customer_id").is_in(ids[:n].implode())) for n in (10, 9))
    told = _tell(pl.concat([ten, orders.filter(pl.col("day") >= cutoff_day)[-1:]]), tmp_path)
    assert told.table.height == 10
    assert ((told.p_churn > 0.0) & (told.p_churn < 1.0)).all()
    with pytest.raises(InsufficientHistoryError, match=r"9 customers .* fewer than the 10 that training takes"):
        _backtest(nine)


def test_few_at_older_cutoffs() -> None:
    """A shop that was too small at an older cutoff is judged at the younger ones, and a note says so."""
    orders = plain(14)
    judged = _backtest(orders, test_cutoffs=3)
    assert judged.frame["cutoff"].n_unique() < 3
    assert any("too little to learn from" in note for note in judged.notes)
