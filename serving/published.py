"""The published run as a whole: who it is, its map, its segments, its metric sheet, and what changed since the last."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import polars as pl

from features.errors import InputError, NoEarlierRunError, UnpublishedError
from features.lifecycle.metric_sheet import SHEET_SCHEMA
from features.lifecycle.stages import STAGES
from features.lifecycle.vocabularies import Wording
from serving.columns import PROSPECT_SCHEMA
from serving.cursors import decode_cursor, encode_cursor
from serving.lifecycle_map import LifecycleMap
from serving.reports import FLAGS, LIFECYCLE_MAP, METRIC_SHEET, RFM, SEGMENTS
from serving.rfm_grid import RfmGrid
from serving.store.score_store import RunInfo, ScoreRow, ScoreStore
from serving.wording import with_labels

RUN_FLAGS = {
    "stale_run": "the horizon that the run speaks of is over: publish scores as of a later date",
    "other_model": "another model has been promoted since the run was published",
}

_CHANGE_CURSOR = {"from": int, "to": int, "id": str}
_PROSPECT_CURSOR = {"run": int, "stage": str, "p": float, "id": str, "is_visitor": int}


@dataclass(frozen=True, slots=True)
class StageMap:
    """The lifecycle map of the published run."""

    run: RunInfo
    lifecycle_map: LifecycleMap


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The grid of RFM group and size of the published run."""

    run: RunInfo
    grid: RfmGrid


@dataclass(frozen=True, slots=True)
class MetricSheet:
    """The metric sheet of the published run, columns as `SHEET_SCHEMA`."""

    run: RunInfo
    rows: pl.DataFrame


@dataclass(frozen=True, slots=True)
class ProspectPage:
    """One page of those who have not ordered, the likeliest first.

    Attributes:
        run: The published run that all pages come from.
        rows: Prospect rows.
        next_cursor: Gives the page that follows, or None on the last.
    """

    run: RunInfo
    rows: tuple[ScoreRow, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ChangePage:
    """One page of who entered and left a stage between two runs, by customer id.

    Attributes:
        from_run: The older run.
        to_run: The newer one.
        rows: `customer_id, from_stage` (None for who is new) `, to_stage, since`.
        entered: Stage → customers who entered it.
        left: Stage → customers who left it.
        n_changes: Customers on all pages together.
        next_cursor: Gives the page that follows, or None on the last.
    """

    from_run: RunInfo
    to_run: RunInfo
    rows: tuple[ScoreRow, ...]
    entered: Mapping[str, int]
    left: Mapping[str, int]
    n_changes: int
    next_cursor: str | None

    @property
    def run(self) -> RunInfo:
        """The run that the page tells of."""
        return self.to_run


def published_run(store: ScoreStore) -> RunInfo:
    """Return the current run.

    Raises:
        UnpublishedError: If nothing was published yet.
    """
    run = store.current_run()
    if run is None:
        raise UnpublishedError(
            "No scores have been published yet.", remedy="Run lifestage score --orders PATH --as-of DATE."
        )
    return run


def published_report(store: ScoreStore, run: RunInfo, name: str) -> Any:
    """Return a report of a run as JSON values.

    Raises:
        UnpublishedError: If the run was published without it.
    """
    body = store.report(run, name)
    if body is None:
        raise UnpublishedError(
            f"The published run has no {name.replace('_', ' ')}.", remedy="Run lifestage score again."
        )
    return body


def _current_report(store: ScoreStore, name: str) -> tuple[RunInfo, Any]:
    """Return the published run and a report of that same run."""
    with store.at_one_moment() as held:
        run = published_run(held)
        return run, published_report(held, run, name)


def load_stage_map(store: ScoreStore) -> StageMap:
    """Load the lifecycle map of the published run.

    Raises:
        UnpublishedError: If nothing was published yet.
    """
    run, body = _current_report(store, LIFECYCLE_MAP)
    return StageMap(run, LifecycleMap.from_dict(body))


def load_segmentation(store: ScoreStore) -> Segmentation:
    """Load the grid of the published run.

    Raises:
        UnpublishedError: If nothing was published yet.
    """
    run, body = _current_report(store, SEGMENTS)
    return Segmentation(run, RfmGrid.from_dict(body))


def load_metric_sheet(store: ScoreStore) -> MetricSheet:
    """Load the metric sheet of the published run.

    Raises:
        UnpublishedError: If nothing was published yet.
    """
    run, body = _current_report(store, METRIC_SHEET)
    return MetricSheet(run, pl.DataFrame(body, schema=SHEET_SCHEMA))


def flag_run(store: ScoreStore, run: RunInfo, *, today: date, champion: str | None) -> list[str]:
    """Return what to know about all answers from a run: the flags of the shop, then of `RUN_FLAGS`.

    Args:
        store: The store.
        run: The run.
        today: In UTC.
        champion: Version of the model that answers now; None where there is none.
    """
    is_stale = (today - date.fromisoformat(run.as_of)).days >= run.horizon_days
    conditions = {"stale_run": is_stale, "other_model": champion not in {None, run.model_version}}
    return [*(store.report(run, FLAGS) or []), *(code for code, holds in conditions.items() if holds)]


def count_rfm_bins(store: ScoreStore, run: RunInfo) -> int:
    """Return how many scores each digit of a run's RFM codes can have."""
    return int(published_report(store, run, RFM)["bins"])


def wording_of_run(store: ScoreStore, run: RunInfo, wording: Wording) -> Wording:
    """Return words for the RFM codes of a run, whose digits have as many scores as its model gave them."""
    if wording.vocabulary.kind == "stages":
        return wording
    return replace(wording, rfm_bins=count_rfm_bins(store, run))


def load_prospects(
    store: ScoreStore, *, limit: int, stage: str | None = None, cursor: str | None = None
) -> ProspectPage:
    """Load one page of the prospects, from the run that the cursor names or else from the published one.

    Raises:
        UnpublishedError: If nothing was published yet.
        InputError: If the cursor is not one of ours, belongs to another stage, or its run is gone.
    """
    with store.at_one_moment() as held:
        run, after = published_run(held), None
        if cursor is not None:
            position = decode_cursor(cursor, _PROSPECT_CURSOR)
            if position["stage"] != (stage or ""):
                raise _foreign_cursor("stage", "stage")
            run = _kept_run(held, position["run"], field="cursor")
            after = position["p"], position["id"], position["is_visitor"]
        found = held.list_prospects(run, stage=stage, limit=limit + 1, after=after)
    rows = tuple(found[:limit])
    return ProspectPage(run, rows, _next_prospect(run, stage, rows[-1]) if len(found) > limit else None)


def load_changes(
    store: ScoreStore, *, limit: int, since_run: int | None = None, cursor: str | None = None
) -> ChangePage:
    """Load one page of the stage changes between an older run and the published one.

    Args:
        store: The store.
        limit: Rows of the page.
        since_run: The older run; None takes the newest with an earlier as-of date.
        cursor: Of the page before.

    Raises:
        UnpublishedError: If nothing was published yet, or nothing before it is kept.
        InputError: If the cursor is not one of ours, a run is gone, or the older one is not of an earlier date.
    """
    with store.at_one_moment() as held:
        old, new, after = _change_place(held, since_run, cursor)
        found = held.list_changes(old, new, limit=limit + 1, after=after)
        entered, left = _count_ends(held.count_changes(old, new))
    rows = tuple(found[:limit])
    at = {"from": old.run_id, "to": new.run_id, "id": rows[-1]["customer_id"]} if rows else {}
    return ChangePage(
        old,
        new,
        rows,
        entered,
        left,
        n_changes=sum(entered.values()),
        next_cursor=encode_cursor(at) if len(found) > limit else None,
    )


def _change_place(store: ScoreStore, since_run: int | None, cursor: str | None) -> tuple[RunInfo, RunInfo, str | None]:
    """Return the two runs that are compared, and the customer after whom a page begins."""
    if cursor is None:
        new = published_run(store)
        return _run_before(store, new) if since_run is None else _earlier_run(store, since_run, new), new, None
    position = decode_cursor(cursor, _CHANGE_CURSOR)
    if since_run not in {None, position["from"]}:
        raise _foreign_cursor("run", "since_run")
    old, new = (_kept_run(store, position[end], field="cursor") for end in ("from", "to"))
    return old, new, position["id"]


def _foreign_cursor(what: str, parameter: str) -> InputError:
    return InputError(
        f"The cursor belongs to another {what}.",
        remedy=f"Repeat {parameter}, or drop the cursor.",
        field="cursor",
    )


def prospect_frame(page: ProspectPage, wording: Wording) -> pl.DataFrame:
    """Return the rows of a page as a frame with the prospect columns, `stage_label` and `plays`."""
    return with_labels(pl.DataFrame(page.rows, schema=PROSPECT_SCHEMA), wording, with_plays=True)


def change_frame(page: ChangePage, wording: Wording) -> pl.DataFrame:
    """Return the rows of a page as a frame: `customer_id`, both stages with their labels, `since`."""
    names = ("customer_id", "from_stage", "to_stage", "since")
    labels = {stage: wording.label(stage) for stage in STAGES}
    texts = {stage: label.text for stage, label in labels.items()}
    borrowed = [stage for stage, label in labels.items() if label.is_borrowed]
    rows = pl.DataFrame(page.rows, schema=dict.fromkeys(names, pl.String))
    ends = [
        column
        for end in ("from", "to")
        for column in (
            pl.col(f"{end}_stage"),
            pl.col(f"{end}_stage").replace(texts).alias(f"{end}_label"),
            pl.col(f"{end}_stage").is_in(borrowed).fill_null(value=False).alias(f"is_{end}_label_borrowed"),
        )
    ]
    return rows.select("customer_id", *ends, "since")


def _count_ends(counted: list[ScoreRow]) -> tuple[dict[str, int], dict[str, int]]:
    moved = [row for row in counted if row["from_stage"] != row["to_stage"]]
    entered = {s: sum(row["customers"] for row in moved if row["to_stage"] == s) for s in STAGES}
    left = {s: sum(row["customers"] for row in moved if row["from_stage"] == s) for s in STAGES}
    return entered, left


def _next_prospect(run: RunInfo, stage: str | None, last: ScoreRow) -> str:
    position = {"run": run.run_id, "stage": stage or "", "p": last["p_first_purchase"], "id": last["person_id"]}
    return encode_cursor({**position, "is_visitor": last["is_visitor"]})


def _run_before(store: ScoreStore, run: RunInfo) -> RunInfo:
    older = [other for other in store.runs() if other.as_of < run.as_of]
    if not older:
        raise NoEarlierRunError(
            f"No run of an earlier date than {run.as_of} is kept, so there is nothing to compare with.",
            remedy="Run lifestage score again at a later --as-of; serving.keep_runs says how many runs are kept.",
        )
    return max(older, key=lambda other: (other.as_of, other.run_id))


def _earlier_run(store: ScoreStore, run_id: int, new: RunInfo) -> RunInfo:
    run = _kept_run(store, run_id, field="since_run")
    if run.as_of >= new.as_of:
        raise InputError(
            f"Run {run_id} is as of {run.as_of}, not before the published {new.as_of}.",
            remedy="Name a run of an earlier date, or none.",
            field="since_run",
        )
    return run


def _kept_run(store: ScoreStore, run_id: int, *, field: str) -> RunInfo:
    run = store.run(run_id)
    if run is None:
        kept = ", ".join(str(other.run_id) for other in store.runs())
        raise InputError(
            "The run that was asked for is no longer stored.",
            remedy=f"Runs that are kept: {kept or 'none'}.",
            field=field,
        )
    return run
