"""The stage history: every spell that a customer spent in one stage, in one pass over the whole base.

A stage can change on few mornings only: after an order, after the first recommendation, and when a silence passes one
of its limits. On each of them `assign_stage` is asked, about what was known then, so that the history cannot say
anything else than the stage rule. Days are day numbers here; `with_dates` writes them as dates, for people.
"""

from functools import partial

import narwhals as nw
import polars as pl

from features.arrays import Arrays
from features.catalogue import Count
from features.cores import in_order
from features.customer_rows import CustomerRows, is_local, read_customers
from features.errors import CutoffError, SettingsError
from features.expressions import col
from features.lifecycle.stages import (
    STAGES,
    STATE_COLUMNS,
    StageRule,
    assign_stage,
    counts_of,
    stage_names,
    with_stage_marks,
)
from features.order_days import build_order_days
from features.records import Records
from features.snapshot import Snapshot, to_date
from features.sorted_days import build_chunk
from features.windows import PARTITIONED, SORTED

CAUSES = ("order", "silence", "recommendation")
HISTORY_SCHEMA = pl.Schema(
    {
        "customer_id": pl.String(),
        "stage": pl.String(),
        "entered_day": pl.Int64(),
        "left_day": pl.Int64(),
        "days": pl.Int64(),
        "cause": pl.String(),
    }
)

_SILENT = ("at_risk", "lost")
_SIGNS = {"max": 1, "min": -1}  # a running minimum is a running maximum below 0
_NEVER = -(2**31)  # below every day number and every limit
_APART = 2**32  # lifts a customer's numbers above those of all who came before

_MORNING = col("morning")
_IS_NEXT = (pl.col("customer_id") == pl.col("customer_id").shift(1)).fill_null(value=False)
_IS_FOLLOWED = (pl.col("customer_id") == pl.col("customer_id").shift(-1)).fill_null(value=False)
# The first morning that sees a spell: what came in the course of a day is known from the next.
_SEEN_DAY = pl.col("entered_day") + (pl.col("cause") != "silence").cast(pl.Int64)


def build_history(records: Records, snapshot: Snapshot, *, rule: StageRule) -> pl.DataFrame:
    """Build the stage history of every customer, as it is known at the cutoff.

    Args:
        records: Validated records on any engine narwhals speaks; orders and events are read.
        snapshot: The cutoff; what came at or after it does not exist here.
        rule: The thresholds: one history is told by one rule.

    Returns:
        One row per customer and spell, `HISTORY_SCHEMA`, sorted by `customer_id` and time: the stage, the day it was
        entered, the day it was left (null for the present one; the next spell is entered on it), the days between (up
        to the cutoff for the present one), and what began it: one of `CAUSES`. A silence that passes its limit on the
        morning of a day with an order leaves a spell of 0 days.
    """
    read = Records(records.orders, events=records.events)
    spells_of = partial(_spells, recommended=_recommended(read, snapshot, rule), snapshot=snapshot, rule=rule)
    if is_local(records):
        rows = read_customers(read, end_day=snapshot.cutoff_day)
        parts = [*in_order(lambda customers: spells_of(*_days_of(customers, rule)), rows)]
    else:
        parts = [spells_of(*_days_anywhere(read, snapshot, rule))]
    return pl.concat([HISTORY_SCHEMA.to_frame(), *parts])


def stages_at(history: pl.DataFrame, *, at_day: int) -> pl.DataFrame:
    """Read every customer's stage at the start of a day.

    Args:
        history: As `build_history` returns it, in its order.
        at_day: Day number, up to the history's cutoff.

    Returns:
        One row per customer with an order before that day, sorted by `customer_id`: `stage`, `stage_since_day`.

    Raises:
        CutoffError: If the history ends before that day.
    """
    _check_reaches(history, at_day)
    latest = history.filter(at_day >= _SEEN_DAY).filter(~_IS_FOLLOWED)
    return latest.select("customer_id", "stage", stage_since_day="entered_day")


def changes_between(history: pl.DataFrame, *, from_day: int, to_day: int) -> pl.DataFrame:
    """List the customers whose stage changed from the start of one day to the start of another.

    Args:
        history: As `build_history` returns it, in its order.
        from_day: Day number.
        to_day: Day number, not before `from_day`, and up to the history's cutoff.

    Returns:
        One row per customer whose stage changed at least once, sorted by `customer_id`: `from_stage` (null for a new
        customer), `to_stage`, `changed_day` (on which the latter was entered), and `n_changes`: on how many mornings
        the stage was not that of the morning before. Whoever left a stage and came back to it is listed, too.

    Raises:
        CutoffError: If the history ends before `to_day`.
        SettingsError: If `from_day` lies after `to_day`.
    """
    both = _at_both(history, from_day, to_day)
    is_change = ~_IS_NEXT | (pl.col("stage") != pl.col("stage").shift(1))
    changes = history.filter(is_change & (from_day < _SEEN_DAY) & (to_day >= _SEEN_DAY))
    counted = changes.group_by("customer_id").agg(n_changes=pl.len().cast(pl.Int64))
    return both.join(counted, on="customer_id", maintain_order="left")


def flows_between(history: pl.DataFrame, *, from_day: int, to_day: int) -> pl.DataFrame:
    """Count the customers by their stages at the start of one day and at the start of another.

    Args:
        history: As `build_history` returns it, in its order.
        from_day: Day number.
        to_day: Day number, not before `from_day`, and up to the history's cutoff.

    Returns:
        One row per pair of stages that occurs, in the order of `STAGES`: `from_stage` (null, and first, for newly
        acquired customers), `to_stage`, `customers`. Whoever stayed is counted, too: the sum is all of `to_day`.

    Raises:
        CutoffError: If the history ends before `to_day`.
        SettingsError: If `from_day` lies after `to_day`.
    """
    pairs = _at_both(history, from_day, to_day).group_by("from_stage", "to_stage")
    counted = pairs.agg(customers=pl.len().cast(pl.Int64))
    return counted.sort(pl.col("from_stage", "to_stage").cast(pl.Enum(STAGES)))


def with_dates(frame: pl.DataFrame) -> pl.DataFrame:
    """Write the day numbers of a history, or of its changes, as dates: `entered_day` becomes `entered_on`."""
    days = [name for name in frame.columns if name.endswith("_day")]
    dates = frame.with_columns(pl.from_epoch(name, "d") for name in days)
    return dates.rename({name: f"{name.removesuffix('_day')}_on" for name in days})


def _at_both(history: pl.DataFrame, from_day: int, to_day: int) -> pl.DataFrame:
    """Return `from_stage`, `to_stage` and the day on which the latter was entered, of every customer known at last."""
    if from_day > to_day:
        raise SettingsError(
            f"The first day, {to_date(from_day)}, lies after the last, {to_date(to_day)}.",
            remedy="Give the earlier day first.",
        )
    then, now = (stages_at(history, at_day=day) for day in (from_day, to_day))
    came_from = then.select("customer_id", from_stage="stage")
    return now.join(came_from, on="customer_id", how="left", maintain_order="left").select(
        "customer_id", "from_stage", to_stage="stage", changed_day="stage_since_day"
    )


def _check_reaches(history: pl.DataFrame, day: int) -> None:
    ends = history.filter(pl.col("left_day").is_null()).head(1).select(pl.col("entered_day") + pl.col("days"))
    if not ends.is_empty() and day > ends.item():
        raise CutoffError(
            f"The history ends on {to_date(ends.item())}, before {to_date(day)}.",
            remedy="Build it up to that day, or ask for an earlier one.",
        )


def _recommended(records: Records, snapshot: Snapshot, rule: StageRule) -> pl.DataFrame:
    """Find the day of the first recommendation known. One row per customer who has one."""
    [count] = (count for count in counts_of(rule) if count.name == "recommended_day")
    if records.events is None or count.log != "events":
        return pl.DataFrame(schema={"customer_id": pl.String, count.name: pl.Int64})
    rows = snapshot.history(records.events).select("customer_id", count.row.on(nw).alias(count.row_name))
    evidence = rows.filter(~nw.col(count.row_name).is_null())
    found: pl.DataFrame = evidence.group_by("customer_id").agg(count.aggregate()).collect("polars").to_native()
    return found


def _days_of(customers: CustomerRows, rule: StageRule) -> tuple[pl.DataFrame, pl.Series]:
    """Mark the order days of some customers. Returns them sorted, and the customers by their `_customer`."""
    chunk = build_chunk(customers).mark(partial(with_stage_marks, rule=rule, windows=SORTED))
    return pl.DataFrame(chunk.days.to_series()), chunk.customer_ids


def _days_anywhere(records: Records, snapshot: Snapshot, rule: StageRule) -> tuple[pl.DataFrame, pl.Series]:
    """Mark the order days of all customers, on the engine that holds them. Returns as `_days_of`."""
    marked = with_stage_marks(build_order_days(records, snapshot), rule=rule, windows=PARTITIONED)
    collected: pl.DataFrame = marked.collect("polars").to_native()
    days = collected.sort("customer_id", "day")
    return days.with_columns(_customer=pl.col("customer_id").rle_id()), days.filter(~_IS_NEXT)["customer_id"]


def _spells(
    days: pl.DataFrame, customer_ids: pl.Series, *, recommended: pl.DataFrame, snapshot: Snapshot, rule: StageRule
) -> pl.DataFrame:
    """Return the spells of some customers, as `build_history` does."""
    who = (
        customer_ids.alias("customer_id")
        .to_frame()
        .join(recommended, on="customer_id", how="left", maintain_order="left")
    )
    states = _states(days, rule).with_columns(who["recommended_day"].gather(days["_customer"]))
    seen = _with_stages(_mornings(states, snapshot))
    is_other = pl.any_horizontal(
        pl.col(name) != pl.col(name).shift(1) for name in ("_customer", "stage", "entered_day")
    )
    begun = seen.filter(is_other.fill_null(value=True))
    spells = begun.with_columns(customer_id=customer_ids.gather(begun["_customer"])).with_columns(
        left_day=pl.when(_IS_FOLLOWED).then(pl.col("entered_day").shift(-1))
    )
    until = pl.col("left_day").fill_null(snapshot.cutoff_day)
    return spells.with_columns(days=until - pl.col("entered_day")).select(*HISTORY_SCHEMA)


def _states(days: pl.DataFrame, rule: StageRule) -> pl.DataFrame:
    """Return the state of the stage rule after each order day: its counts over the customer's days up to it."""
    counts = [count for count in counts_of(rule) if count.log == "order_days"]
    as_last = days.with_columns(is_last=True).select(count.row.on(pl).alias(count.row_name) for count in counts)
    as_past = days.with_columns(is_last=False).select(
        count.row.on(pl).alias(f"{count.row_name}_past") for count in counts
    )
    known = days.select("_customer", "next_day", frequency=pl.col("order_index") - 1)
    rows = pl.concat([known, as_last, as_past], how="horizontal")
    return rows.select(*known.columns, *map(_so_far, counts))


def _so_far(count: Count) -> pl.Expr:
    """Reduce a count over the customer's days up to each, the last of which is the day itself."""
    sign, apart = _SIGNS[count.how], pl.col("_customer").cast(pl.Int64) * _APART
    past, last = ((sign * pl.col(name)).fill_null(_NEVER) for name in (f"{count.row_name}_past", count.row_name))
    reduced = pl.max_horizontal((past + apart).cum_max() - apart, last)
    return pl.when(reduced > _NEVER).then(sign * reduced).alias(count.name)


def _mornings(states: pl.DataFrame, snapshot: Snapshot) -> pl.DataFrame:
    """Return each state on every `morning` on which it can show another stage, sorted by customer and morning.

    A state lasts up to the morning of the next order's day, which does not know that order yet.
    """
    last, recommended = pl.col("last_day"), pl.col("recommended_day")
    passed = (last, recommended, last + pl.col("at_risk_after_days"), last + pl.col("lost_after_days"))
    lasts = pl.col("morning").is_between(last + 1, pl.col("next_day").fill_null(snapshot.cutoff_day))
    mornings = pl.concat(states.with_columns(morning=day + 1).filter(lasts) for day in passed)
    is_known = recommended < pl.col("morning")
    return mornings.sort("_customer", "morning").with_columns(recommended_day=pl.when(is_known).then(recommended))


def _with_stages(mornings: pl.DataFrame) -> pl.DataFrame:
    """Add the stage that the rule sees on each morning, the day on which it was entered, and what began it."""
    stage, since = assign_stage(at_day=_MORNING)
    found = Arrays.of(mornings.select("morning", "frequency", *STATE_COLUMNS)).select(stage=stage, since=since)
    judged = mornings.with_columns(stage_names(found["stage"].values, "stage"), found["since"].to_series("since"))
    by_event = (pl.col("stage") == "ambassador") & (pl.col("since") == pl.col("recommended_day"))
    by_silence = pl.col("stage").is_in(_SILENT)
    cause = pl.when(by_silence).then(pl.lit("silence")).when(by_event).then(pl.lit("recommendation"))
    return judged.select("_customer", "stage", entered_day="since", cause=cause.otherwise(pl.lit("order")))
