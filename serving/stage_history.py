"""The stages that customers went through, by the champion's stage rule, in words."""

from datetime import date

import narwhals as nw
import polars as pl

from features.errors import CutoffError, InputError
from features.intake.shop import Shop
from features.lifecycle.history import build_history, changes_between, flows_between, stages_at, with_dates
from features.lifecycle.vocabularies import Wording
from features.snapshot import Snapshot, to_day
from serving.wording import with_labels
from training.bundle import Bundle


def tell_moves(
    shop: Shop, champion: Bundle, *, since: date, as_of: date, wording: Wording
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return who changed stage from the start of one day to that of another, and how many went where.

    Args:
        shop: Validated records.
        champion: Whose stage rule judges.
        since: The earlier day.
        as_of: The later one; nothing on or after it is known.
        wording: Whose words.

    Returns:
        One row per customer whose stage changed: `customer_id, from_stage, stage, stage_label, is_label_borrowed,
        changed_on, n_changes`; and one row per pair of stages: `from_stage, to_stage, customers`, who stayed included.

    Raises:
        SettingsError: If `since` lies after the as-of date.
    """
    history = build_history(shop.records, Snapshot(to_day(as_of)), rule=champion.model.stage_rule)
    between = {"from_day": to_day(since), "to_day": to_day(as_of)}
    changes = with_dates(changes_between(history, **between)).rename({"to_stage": "stage"})
    return with_labels(changes, wording), flows_between(history, **between)


def tell_history(
    shop: Shop, champion: Bundle, *, as_of: date, at: date | None, customer_id: str | None, wording: Wording
) -> pl.DataFrame:
    """Return the history of one customer, or of all.

    Args:
        shop: Validated records.
        champion: Whose stage rule judges.
        as_of: Nothing on or after this day is known.
        at: Only the stage at the start of this day; None for all stages.
        customer_id: Of one customer; None for all.
        wording: Whose words.

    Returns:
        One row per customer and spell, in the order of time: `customer_id, stage, stage_label, entered_on, left_on,
        days, cause`. With `at`, one row per customer known then: `customer_id, stage, stage_label, stage_since_on`.

    Raises:
        InputError: If the customer has no order before the day.
        CutoffError: If `at` lies after the as-of date.
    """
    if at is not None and at > as_of:
        raise CutoffError(f"{at} lies after the as-of date {as_of}.", remedy="Give a later --as-of.")
    whole = shop.records
    records = (
        whole if customer_id is None else whole.map(lambda rows: rows.filter(nw.col("customer_id") == customer_id))
    )
    history = build_history(records, Snapshot(to_day(as_of)), rule=champion.model.stage_rule)
    asked = history if at is None else stages_at(history, at_day=to_day(at))
    if customer_id is not None and asked.is_empty():
        raise InputError(
            f"That customer has no order before {at or as_of}: stage not observable.",
            remedy="Check the id, or give a later day.",
        )
    return with_labels(with_dates(asked), wording)
