"""Churn and orders within other horizons than the model's own, carried by the one purchase process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.models.lifecycle import Answer, LifecycleModel


@dataclass(frozen=True, slots=True)
class Horizons:
    """What n customers are expected to do within each of k horizons.

    Args:
        days: The horizons, shortest first.
        p_churn: P(no order), shape (n, k); it never rises from one horizon to the next.
        expected_orders: Order days, shape (n, k); they never fall.
    """

    days: tuple[int, ...]
    p_churn: npt.NDArray[np.float64]
    expected_orders: npt.NDArray[np.float64]

    def to_rows(self) -> list[list[dict[str, Any]]]:
        """Return the values of each customer, one record per horizon."""
        return [
            [
                {"horizon_days": days, "p_churn": p, "expected_orders": orders}
                for days, p, orders in zip(self.days, p_churn, expected_orders, strict=True)
            ]
            for p_churn, expected_orders in zip(self.p_churn.tolist(), self.expected_orders.tolist(), strict=True)
        ]


def carry_to_horizons(model: LifecycleModel, answer: Answer, horizons_days: Sequence[int]) -> Horizons:
    """Carry an answer to further horizons; at the model's own it is the answer itself.

    Args:
        model: The model that answered.
        answer: What it said, of n customers.
        horizons_days: Beside the model's own horizon, which is always there.
    """
    days = tuple(sorted({*horizons_days, model.horizon_days}))
    own = days.index(model.horizon_days)
    if len(days) == 1:
        return Horizons(days, answer.p_churn[:, None], answer.forecast.expected_orders[:, None])
    tied, ends = answer.tied, np.array(days, dtype=np.float64)
    alive = model.process.timing.orders_if_alive(tied.summary, ends_days=ends)
    p_churn, orders = 1.0 - tied.p_order_until(alive.p_order), tied.orders_until(alive.expected)
    p_churn[:, own], orders[:, own] = answer.p_churn, answer.forecast.expected_orders
    return Horizons(days, p_churn, orders)
