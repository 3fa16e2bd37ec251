"""Learning value: beyond the process only where that is no chance, and the same in any currency."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from features.settings import load_settings
from training.fitters.value import fit_value
from training.metrics import mae, tweedie_deviance
from training.models.value import ValueModel

Vector = npt.NDArray[np.float64]
NAMES = ("spent_lately", "trend", "noise")


@dataclass(frozen=True, slots=True)
class Shop:
    """Made-up examples: the process knows a customer's usual value, and not whether they spent much of late."""

    inputs: npt.NDArray[np.float64]
    customer_ids: pl.Series
    labels: pl.DataFrame
    process_value: Vector
    cutoffs: npt.NDArray[np.int64]

    def fit(self, **training: int) -> ValueModel:
        """Learn from the examples, with these settings of training."""
        return fit_value(
            self.inputs,
            NAMES,
            self.customer_ids,
            self.labels,
            self.process_value,
            settings=load_settings(overrides={"training": training}),
            cutoffs=self.cutoffs,
        )

    def answer(self, value: ValueModel) -> Vector:
        """Return a model's answer for the examples."""
        return value.value_if_ordered(self.inputs, self.process_value)

    def in_currency(self, rate: float) -> "Shop":
        """Return the same shop with its money changed at a rate."""
        return replace(
            self,
            inputs=self.inputs * np.array([rate, 1.0, 1.0]),
            labels=self.labels.with_columns(pl.col("value") * rate),
            process_value=self.process_value * rate,
        )


def _shop(n_customers: int, *, effect: float, n_cutoffs: int = 3, seed: int = 1, p_churn: float = 0.4) -> Shop:
    """Make a shop whose customers bring exp(±effect) times what the process expects, with lognormal noise of mean 1."""
    rng, n = np.random.default_rng(seed), n_customers * n_cutoffs
    usual = np.tile(np.exp(rng.normal(3.0, 1.0, n_customers)), n_cutoffs)
    trend, is_churned = rng.uniform(0.0, 2.0, n), rng.random(n) < p_churn
    value = usual * np.exp(np.where(trend > 1.0, effect, -effect) + rng.normal(-0.125, 0.5, n))
    return Shop(
        inputs=np.column_stack([usual * trend, trend, rng.normal(size=n)]),
        customer_ids=pl.Series([f"c{i % n_customers:05}" for i in range(n)]),
        labels=pl.DataFrame({"is_churned": is_churned, "value": np.where(is_churned, 0.0, value)}),
        process_value=usual,
        cutoffs=np.repeat(np.arange(n_cutoffs), n_customers),
    )


@pytest.fixture(scope="module")
def shop() -> Shop:
    """A shop in which trees have much to learn."""
    return _shop(600, effect=0.7)


@pytest.fixture(scope="module")
def learned(shop: Shop) -> ValueModel:
    """What is learned there."""
    return shop.fit()


def test_learns(learned: ValueModel) -> None:
    """Where the process misses something that the inputs tell, other customers' values come out better."""
    others = _shop(4000, effect=0.7, seed=2)
    ordered = ~others.labels["is_churned"].to_numpy()
    came, process = others.labels["value"].to_numpy()[ordered], others.process_value[ordered]
    answer = others.answer(learned)[ordered]
    assert tweedie_deviance(came, answer) < 0.8 * tweedie_deviance(came, process)
    assert mae(came, answer) < mae(came, process)
    assert answer.sum() == pytest.approx(came.sum(), rel=0.1)


def test_nothing_to_learn() -> None:
    """Where the process knows all there is, it is left alone."""
    for seed in range(3):
        assert _shop(300, effect=0.0, seed=seed).fit() == ValueModel.of_process()


def test_few_orderers(shop: Shop) -> None:
    """Where fewer customers ordered than the setting asks, the process answers alone."""
    assert shop.fit(min_class_customers=601) == ValueModel.of_process()


@pytest.mark.parametrize("n_customers", [1, 2, 3, 10])
def test_handful(n_customers: int) -> None:
    """A handful of customers, where the setting lets them be enough, teach nothing, and break nothing."""
    assert _shop(n_customers, effect=0.7, p_churn=0.0).fit(min_class_customers=1) == ValueModel.of_process()


def test_nobody_ordered() -> None:
    """Where nobody ordered, or everything was free, the process answers alone."""
    assert _shop(100, effect=0.7, p_churn=1.0).fit() == ValueModel.of_process()
    free = _shop(100, effect=0.7)
    assert replace(free, labels=free.labels.with_columns(value=0.0)).fit() == ValueModel.of_process()


@pytest.mark.parametrize("rate", [1000.0, 1.2, 1 / 7])
def test_currency(shop: Shop, learned: ValueModel, rate: float) -> None:
    """In another currency every answer is the same money."""
    other = shop.in_currency(rate)
    assert other.answer(other.fit()) == pytest.approx(rate * shop.answer(learned), rel=1e-6)


def test_whale(shop: Shop, learned: ValueModel) -> None:
    """A thousandfold order of one customer does not move anyone's answer by a factor of two."""
    is_whale = (shop.customer_ids == "c00003").to_numpy()
    value = np.where(is_whale, 1e3, 1.0) * shop.labels["value"].to_numpy()
    ratio = shop.answer(replace(shop, labels=shop.labels.with_columns(value=pl.Series(value))).fit()) / shop.answer(
        learned
    )
    assert (np.abs(np.log(ratio)) < np.log(2.0)).all()


def test_drawn_to_process() -> None:
    """The fewer customers ordered, the more the process weighs."""
    weights = [_shop(n, effect=1.0).fit().process_weight for n in (60, 300, 1200)]
    assert weights == sorted(weights, reverse=True)
    assert all(weight > 0.0 for weight in weights)


def test_small_shop() -> None:
    """In a shop of eighty customers nobody is worth more than anyone was, or several times what the process says."""
    shop = _shop(80, effect=0.7, n_cutoffs=2)
    ratio = shop.answer(shop.fit()) / shop.process_value
    assert ((ratio > 0.2) & (ratio < 5.0)).all()


def test_deterministic(shop: Shop, learned: ValueModel) -> None:
    """The same examples give the same model."""
    assert shop.fit() == learned


def test_order_of_money(shop: Shop) -> None:
    """A process that expects nothing of an order cannot be corrected, and is refused."""
    with pytest.raises(ValueError, match="above 0"):
        replace(shop, process_value=np.zeros_like(shop.process_value)).fit()
