"""What a mutant comes to, when it is loaded as the service loads it."""

import re

import polars as pl

from features.errors import BundleError
from features.intake.cdnow import load_cdnow_sample
from features.records import Records
from serving.champion.belief import believe
from serving.scoring import score_records
from tests.training.mutants import Mutant
from training.bundle import Bundle, read_files

REFUSED, SERVES = "refused", "serves"

_MACHINE_PATH = re.compile(r"(^|[\s'\"(])/(tmp|home|root|usr|var|work)/")


def few_orders() -> tuple[Records, int]:
    """Return the orders of a hundred customers, and the day after the last."""
    orders = load_cdnow_sample().filter(pl.col("customer_id").cast(pl.Int64) <= 100)
    return Records.wrap(orders), int(orders["day"].to_numpy().max()) + 1


def judge(mutant: Mutant, orders: tuple[Records, int]) -> str:
    """Load a mutant and return `refused`, or `serves`, or what is wrong with either."""
    try:
        bundle = believe(read_files(mutant.folder), mutant.folder.name)
    except BundleError as error:
        return find_bad_reason(error.problem) or REFUSED
    if mutant.is_broken:
        return "it was not refused"
    return find_bad_answer(bundle, orders) or SERVES


def find_bad_reason(reason: str) -> str:
    """Say what is wrong with the reason of a refusal, if anything."""
    if len(reason) < 10:
        return "the reason says nothing"
    return f"the reason names a place of the machine: {reason}" if _MACHINE_PATH.search(reason) else ""


def find_bad_answer(bundle: Bundle, orders: tuple[Records, int]) -> str:
    """Say what a bundle answers that is no probability or no number, if anything."""
    records, cutoff_day = orders
    scores = score_records(bundle, records, cutoff_day=cutoff_day)
    shares = scores.select(name for name in scores.columns if name.startswith("p_"))
    for column in shares.iter_columns():
        if not column.drop_nulls().is_between(0.0, 1.0).all():
            return f"{column.name} is no probability"
    if shares["p_churn"].null_count():
        return "p_churn is missing"
    values = scores.select("expected_orders", "clv_12m", "value_at_risk")
    return "" if values.select(pl.all_horizontal(pl.all().is_finite().all())).item() else "a value is not finite"
