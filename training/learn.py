"""Learning at one cutoff: everything that was known by then, and the model that follows from it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import polars as pl

from features.catalogue import supported
from features.lifecycle.prospects import ProspectRule, build_prospects, learn_prospect_rule
from features.lifecycle.stages import StageRule, learn_stage_rule
from features.offers import find_offers
from features.order_days import build_order_days
from features.records import Records
from features.settings import Settings
from features.snapshot import Snapshot
from features.table import FEATURES, build_customer_table, build_customer_tables
from training.fitters.lifecycle import Examples, fit_lifecycle_model, regrow
from training.fitters.prospects import fit_prospects
from training.labels import build_label_tables, build_prospect_examples
from training.models.lifecycle import LifecycleModel
from training.splits import Fold

Advance = Callable[[str], None]
_TOO_YOUNG = (
    "Events tell of prospects, but of none at any training cutoff: there is nothing to learn their chances from."
)


@dataclass(frozen=True, slots=True)
class Prospects:
    """What may be known at a cutoff of those who had not ordered.

    Args:
        rule: Of their stages.
        examples: One table per training cutoff, youngest first, as `build_prospect_examples` returns them.
        present: Prospects at the cutoff.
    """

    rule: ProspectRule
    examples: tuple[pl.DataFrame, ...]
    present: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Past:
    """Everything that may be known at a cutoff: the examples before it, and its customers.

    Args:
        rule: Stage rule learned from the history before the cutoff.
        examples: One per training cutoff, youngest first.
        present: Customer table at the cutoff.
        prospects: The same of those who had not ordered; None where the shop records no contacts.
    """

    rule: StageRule
    examples: tuple[Examples, ...]
    present: pl.DataFrame
    prospects: Prospects | None = None


def learn_at(
    records: Records, fold: Fold, *, settings: Settings, advance: Advance = lambda _: None
) -> tuple[Past, LifecycleModel]:
    """Learn everything from what was known at the fold's cutoff."""
    advance("features")
    past = build_past(records, fold, settings=settings)
    model = fit_lifecycle_model(past.examples, past.present, rule=past.rule, settings=settings, advance=advance)
    if past.prospects is None:
        return past, model
    prospects = fit_prospects(past.prospects.examples, rule=past.prospects.rule)
    too_young = prospects is None and past.prospects.rule.observable
    notes = (*model.notes, _TOO_YOUNG) if too_young else model.notes
    return past, replace(model, prospects=prospects, notes=notes)


def relearn(past: Past, model: LifecycleModel, *, seeds: Iterable[int], settings: Settings) -> Iterator[LifecycleModel]:
    """Learn from the same past with other seeds, one after the other, to show what chance does."""
    return regrow(model, past.examples, seeds=seeds, settings=settings)


def build_past(records: Records, fold: Fold, *, settings: Settings) -> Past:
    """Build the training examples and the present of one cutoff; what came at or after it does not exist here."""
    horizon = settings.training.horizon_days
    present = Snapshot(fold.cutoff_day, horizon)
    known = present.known_records(records)
    offers = find_offers(records, present)
    rule = learn_stage_rule(build_order_days(Records(known.orders), present), settings.stages, offers=offers)
    features = supported(FEATURES, offers)
    table = build_customer_table(known, present, rule=rule, features=features)
    limit, seed = settings.training.max_fit_customers, settings.training.seed
    snapshots = [Snapshot(day, horizon) for day in fold.train_cutoff_days]
    examples = [
        Examples(customers, labels, snapshot.cutoff_day).sample(limit, seed=seed)
        for batch in _batches(snapshots, is_large=table.height > limit)
        for snapshot, customers, labels in zip(
            batch,
            build_customer_tables(known, batch, rule=rule, features=features),
            build_label_tables(known, batch, rule=rule),
            strict=True,
        )
    ]
    prospects = _recall_prospects(known, snapshots, present, settings)
    return Past(rule, tuple(examples), table, prospects)


def _recall_prospects(
    known: Records, snapshots: list[Snapshot], present: Snapshot, settings: Settings
) -> Prospects | None:
    """Build what was known of prospects; None where the shop records no contacts."""
    if known.contacts is None:
        return None
    rule = learn_prospect_rule(known, present, settings.stages)
    examples = [build_prospect_examples(known, snapshot, rule=rule) for snapshot in snapshots]
    return Prospects(rule, tuple(examples), build_prospects(known, present, rule=rule))


def _batches(snapshots: list[Snapshot], *, is_large: bool) -> list[list[Snapshot]]:
    """Take all cutoffs in one pass over the data; of a large base one by one, so that one table at a time is whole."""
    return [[snapshot] for snapshot in snapshots] if is_large else [snapshots] if snapshots else []
