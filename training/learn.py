"""Learning at one cutoff: everything that was known by then, and the model that follows from it."""

from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import narwhals as nw
import polars as pl

from features.lifecycle.stages import StageRule, learn_stage_rule
from features.order_days import build_order_days
from features.settings import Settings
from features.snapshot import Snapshot
from features.table import build_customer_table
from training.fitters.lifecycle import Examples, fit_lifecycle_model
from training.labels import build_labels
from training.models.lifecycle import LifecycleModel
from training.splits import Fold

Advance = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Past:
    """Everything that may be known at a cutoff: the examples before it, and its customers.

    Args:
        rule: Stage rule learned from the history before the cutoff.
        examples: One per training cutoff, youngest first.
        present: Customer table at the cutoff.
    """

    rule: StageRule
    examples: tuple[Examples, ...]
    present: pl.DataFrame


def learn_at(
    orders: duckdb.DuckDBPyRelation, fold: Fold, *, settings: Settings, advance: Advance = lambda _: None
) -> tuple[Past, LifecycleModel]:
    """Learn everything from what was known at the fold's cutoff."""
    advance("features")
    past = build_past(orders, fold, settings=settings)
    model = fit_lifecycle_model(past.examples, past.present, rule=past.rule, settings=settings, advance=advance)
    return past, model


def build_past(orders: duckdb.DuckDBPyRelation, fold: Fold, *, settings: Settings) -> Past:
    """Build the training examples and the present of one cutoff; the orders at or after it do not exist here."""
    horizon, limit, seed = settings.training.horizon_days, settings.training.max_fit_customers, settings.training.seed
    present = Snapshot(fold.cutoff_day, horizon)
    known = present.known(nw.from_native(orders).lazy())
    rule = learn_stage_rule(build_order_days(known, present), settings.stages)
    examples = tuple(
        Examples(build_customer_table(known, at, rule=rule), build_labels(known, at, rule=rule)).sample(
            limit, seed=seed
        )
        for at in (Snapshot(day, horizon) for day in fold.train_cutoff_days)
    )
    return Past(rule, examples, build_customer_table(known, present, rule=rule))
