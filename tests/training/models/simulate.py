"""Customers drawn from each model's own story, order by order: they share no formula with the models."""

from __future__ import annotations

import numpy as np

from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.mbg_nbd import MbgNbd
from training.models.pareto_nbd import ParetoNbd
from training.models.summary import FloatArray, IndexArray, PurchaseSummary

Simulated = BgNbd | MbgNbd | ParetoNbd

_FOREVER_DAYS = 1e12
_SLOWEST = 1e-12  # per day


def draw_orders(model: Simulated, *, ages_days: FloatArray, rng: np.random.Generator) -> tuple[IndexArray, FloatArray]:
    """Draw the repeat orders of customers until these ages, (n,): the customer and the day of each, after the first."""
    n = len(ages_days)
    rate = np.maximum(rng.gamma(model.r, 1.0 / (model.alpha * model.time_unit_days), n), _SLOWEST)
    p_stop, death_days = _draw_fates(model, n, rng)
    at, active = np.zeros(n), np.arange(n)
    customers, days = [active[:0]], [at[:0]]
    if isinstance(model, MbgNbd):
        active = active[rng.random(n) >= p_stop]
    while active.size:
        at[active] += rng.exponential(1.0 / rate[active])
        active = active[at[active] < np.minimum(ages_days, death_days)[active]]
        customers.append(active)
        days.append(at[active])
        active = active[rng.random(active.size) >= p_stop[active]]
    return np.concatenate(customers), np.concatenate(days)


def summarise(customers: IndexArray, days: FloatArray, *, ages_days: FloatArray) -> PurchaseSummary:
    """Summarise what was known of customers at these ages, (n,). One element per customer; mean order values are 1."""
    is_known = days < ages_days[customers]
    frequency = np.bincount(customers[is_known], minlength=len(ages_days)).astype(np.float64)
    recency = np.zeros(len(ages_days))
    np.maximum.at(recency, customers[is_known], days[is_known])
    return PurchaseSummary(frequency, recency, ages_days, np.sign(frequency))


def simulate_orders(model: Simulated, *, ages_days: FloatArray, rng: np.random.Generator) -> PurchaseSummary:
    """Draw customers of these ages, (n,), and summarise them. One element per customer; mean order values are 1."""
    return summarise(*draw_orders(model, ages_days=ages_days, rng=rng), ages_days=ages_days)


def simulate_values(model: GammaGamma, *, frequency: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw the mean value of each customer's repeat orders, (n,); 0 where there are none."""
    scale = rng.gamma(model.q, 1.0 / model.v, len(frequency))
    n_orders = np.maximum(frequency, 1.0)
    spent = rng.gamma(model.p * n_orders) / scale
    return np.where(frequency > 0, spent / n_orders, 0.0)


def _draw_fates(model: Simulated, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Draw each customer's chance to stop at an order, and the day of a death that waits for no order."""
    if isinstance(model, ParetoNbd):
        death_rate = np.maximum(rng.gamma(model.s, 1.0 / (model.beta * model.time_unit_days), n), _SLOWEST)
        return np.zeros(n), rng.exponential(1.0 / death_rate)
    return rng.beta(model.a, model.b, n), np.full(n, _FOREVER_DAYS)
