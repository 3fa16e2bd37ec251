"""Coherence: a real model breaks no identity, and each that is broken is measured."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from features.records import Records
from features.snapshot import Snapshot
from features.table import build_customer_table, features_named
from training.evaluation.coherence import IDENTITIES, measure_incoherence
from training.models.lifecycle import Answer, LifecycleModel

TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def table(model: LifecycleModel, cdnow_orders: pl.DataFrame, end_day: int) -> pl.DataFrame:
    """The customers of the shared orders at the as-of date of the shared model."""
    records, snapshot = Records.wrap(cdnow_orders), Snapshot(end_day, model.horizon_days)
    return build_customer_table(records, snapshot, rule=model.stage_rule, features=features_named(model.features))


@dataclass(frozen=True, slots=True)
class Broken:
    """A model of whose answer one field is replaced by what is asked for."""

    model: LifecycleModel
    changes: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def answer(self, table: pl.DataFrame) -> Answer:
        """Answer as the model does, but for the changes."""
        answer = self.model.answer(table)
        changed = {name: change(answer) for name, change in self.changes.items()}
        of_forecast = {name: value for name, value in changed.items() if hasattr(answer.forecast, name)}
        others = {name: value for name, value in changed.items() if name not in of_forecast}
        return replace(answer, forecast=replace(answer.forecast, **of_forecast), **others)


def by_horizon(answer: Answer, *shifts: float) -> npt.NDArray[np.float64]:
    """Return p_churn over 30, 90 and 180 days, that of 90 days shifted by so much."""
    return np.column_stack([answer.p_churn + shift for shift in shifts])


def measure(model: LifecycleModel, table: pl.DataFrame, **changes: Any) -> dict[str, float]:
    """Measure a model of whose answer some fields are replaced."""
    return measure_incoherence(Broken(model, changes), table)  # type: ignore[arg-type]


def test_holds(model: LifecycleModel, table: pl.DataFrame) -> None:
    """A model as training leaves it breaks no identity on any row, and every identity has words."""
    measured = measure_incoherence(model, table)
    assert {name: worst for name, worst in measured.items() if worst > TOLERANCE} == {}
    assert measured.keys() == IDENTITIES.keys()


def test_nobody(model: LifecycleModel, table: pl.DataFrame) -> None:
    """Where there is nobody, nothing is broken."""
    assert set(measure_incoherence(model, table.clear()).values()) == {0.0}


BROKEN = {
    "next_stage_sums_to_one": ("p_next_stage", lambda a: a.p_next_stage * 1.1, 0.1),
    "silent_stage_holds_p_churn": ("p_next_stage", lambda a: np.full_like(a.p_next_stage, 1 / 7), None),
    "p_alive_at_least_p_order": ("p_alive", lambda a: 0.8 * (1.0 - a.p_churn), None),
    "orders_given_order_at_least_one": ("expected_orders", lambda a: 0.9 * (1.0 - a.p_churn), None),
    "clv_is_sum_of_months": ("clv_12m", lambda a: a.forecast.clv_12m * 3.0, None),
    "probabilities_in_range": ("p_alive", lambda a: a.forecast.p_alive + 1.5, None),
    "monotone_in_horizon": ("p_churn_by_horizon", lambda a: by_horizon(a, 0.01, 0.0, 0.02), 0.02),
}


@pytest.mark.parametrize("identity", BROKEN)
def test_broken(model: LifecycleModel, table: pl.DataFrame, identity: str) -> None:
    """Each identity that an answer breaks is measured by how much it fails at worst."""
    field, change, worst = BROKEN[identity]
    found = measure(model, table, **{field: change})[identity]
    assert found > 1e-3
    assert worst is None or found == pytest.approx(worst)


@pytest.mark.parametrize(("shifts", "worst"), [((0.02, 0.0, -0.02), 0.0), ((0.0, 0.01, -0.02), 0.01)])
def test_horizons(model: LifecycleModel, table: pl.DataFrame, shifts: tuple[float, ...], worst: float) -> None:
    """Answers that fall with the horizon hold; one for the model's own horizon that differs from p_churn does not."""
    found = measure(model, table, p_churn_by_horizon=lambda answer: by_horizon(answer, *shifts))
    assert found["monotone_in_horizon"] == pytest.approx(worst)


def test_unknown_horizon(model: LifecycleModel, table: pl.DataFrame) -> None:
    """A horizon that is not known says nothing, and does not hide a rise across it."""
    nan = float("nan")
    unknown = measure(model, table, p_churn_by_horizon=lambda answer: by_horizon(answer, nan, nan, nan))
    across = measure(model, table, p_churn_by_horizon=lambda answer: by_horizon(answer, -0.03, nan, nan))
    assert unknown["monotone_in_horizon"] == 0.0
    assert across["monotone_in_horizon"] == pytest.approx(0.03)


def test_no_number(model: LifecycleModel, table: pl.DataFrame) -> None:
    """An answer that is no number violates by a billion."""
    found = measure(model, table, expected_orders=lambda answer: np.full_like(answer.p_churn, np.nan))
    assert found["orders_given_order_at_least_one"] == 1e9
