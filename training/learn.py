"""Learning at one cutoff: everything that was known by then, and the model that follows from it."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from features.catalogue import supported
from features.lifecycle.stages import StageRule, learn_stage_rule
from features.offers import find_offers
from features.order_days import build_order_days
from features.records import Records
from features.settings import Settings
from features.snapshot import Snapshot
from features.table import FEATURES, build_customer_table, build_customer_tables
from training.fitters.lifecycle import Examples, fit_lifecycle_model
from training.labels import build_label_tables
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
    records: Records, fold: Fold, *, settings: Settings, advance: Advance = lambda _: None
) -> tuple[Past, LifecycleModel]:
    """Learn everything from what was known at the fold's cutoff."""
    advance("features")
    past = build_past(records, fold, settings=settings)
    model = fit_lifecycle_model(past.examples, past.present, rule=past.rule, settings=settings, advance=advance)
    return past, model


def build_past(records: Records, fold: Fold, *, settings: Settings) -> Past:
    """Build the training examples and the present of one cutoff; what came at or after it does not exist here."""
    horizon = settings.training.horizon_days
    present = Snapshot(fold.cutoff_day, horizon)
    known = present.known_records(records)
    rule = learn_stage_rule(build_order_days(Records(known.orders), present), settings.stages)
    features = supported(FEATURES, find_offers(records, present))
    table = build_customer_table(known, present, rule=rule, features=features)
    limit, seed = settings.training.max_fit_customers, settings.training.seed
    snapshots = [Snapshot(day, horizon) for day in fold.train_cutoff_days]
    examples = [
        Examples(*tables).sample(limit, seed=seed)
        for batch in _batches(snapshots, is_large=table.height > limit)
        for tables in zip(
            build_customer_tables(known, batch, rule=rule, features=features),
            build_label_tables(known, batch, rule=rule),
            strict=True,
        )
    ]
    return Past(rule, tuple(examples), table)


def _batches(snapshots: list[Snapshot], *, is_large: bool) -> list[list[Snapshot]]:
    """Take all cutoffs in one pass over the data; of a large base one by one, so that one table at a time is whole."""
    return [[snapshot] for snapshot in snapshots] if is_large else [snapshots] if snapshots else []
