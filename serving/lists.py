"""The at-risk list: the customers most worth saving, for the command line, the API and the page alike."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from features.errors import InputError
from features.lifecycle.vocabularies import Wording
from serving.columns import SCORE_SCHEMA
from serving.csv_export import to_csv
from serving.cursors import decode_cursor, encode_cursor
from serving.published import published_report, published_run
from serving.reasons import with_reason_texts
from serving.reports import VALUE_SPREAD
from serving.store.score_store import AtRiskFilters, Rank, RunInfo, ScoreRow, ScoreStore
from serving.wording import with_labels
from training.models.spread import Spread

_CURSOR = {"run": int, "filters": dict, "value": float, "id": str}


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the rows of one list."""

    customers: int
    historic_value: float
    clv_12m: float
    clv_12m_low: float
    clv_12m_high: float
    value_at_risk: float


@dataclass(frozen=True, slots=True)
class AtRiskList:
    """One page of the ranked list.

    Attributes:
        run: The published run that all pages of this list come from.
        rows: Score rows, highest value at risk first.
        totals: Sums over `rows`, and the interval of their 12-month value together.
        matching_customers: How many customers pass the filters, on all pages together.
        next_cursor: Gives the page that follows, or None on the last.
    """

    run: RunInfo
    rows: tuple[ScoreRow, ...]
    totals: Totals
    matching_customers: int
    next_cursor: str | None


def load_at_risk(
    store: ScoreStore, *, limit: int, filters: AtRiskFilters | None = None, cursor: str | None = None
) -> AtRiskList:
    """Load one page of the list, from the run that the cursor names or else from the published one.

    Raises:
        UnpublishedError: If nothing was published yet, or the run was published without its spread of values.
        InputError: If the cursor is not one of ours, belongs to other filters, or its run is gone.
    """
    filters = filters or AtRiskFilters()
    with store.at_one_moment() as held:
        run, after = (published_run(held), None) if cursor is None else _resume(held, cursor, filters)
        found = held.list_at_risk(run, filters=filters, limit=limit + 1, after=after)
        spread = published_report(held, run, VALUE_SPREAD)
        matching = held.count(run, filters=filters)
    rows = tuple(found[:limit])
    return AtRiskList(
        run=run,
        rows=rows,
        totals=_totals(rows, spread),
        matching_customers=matching,
        next_cursor=_cursor(run, filters, rows[-1]) if len(found) > limit else None,
    )


def at_risk_csv(page: AtRiskList, wording: Wording) -> str:
    """Write the rows of a page as CSV that is safe to open in a spreadsheet."""
    return to_csv(at_risk_frame(page, wording))


def at_risk_frame(page: AtRiskList, wording: Wording) -> pl.DataFrame:
    """Return the rows of a page as a frame with the score columns, the reasons in words, `stage_label` and `plays`."""
    rows = pl.DataFrame(page.rows, schema=SCORE_SCHEMA)
    return with_labels(with_reason_texts(rows, language=wording.language), wording, with_plays=True)


def _totals(rows: tuple[ScoreRow, ...], published: Mapping[str, Any]) -> Totals:
    mean = np.array([row["clv_12m"] for row in rows])
    deviation = np.array([row["clv_12m_sd"] for row in rows])
    spread = Spread(common_error=published["common_error"])
    low, high = spread.total_interval(mean, deviation, coverage=published["interval_coverage"])
    return Totals(
        customers=len(rows),
        historic_value=sum(row["historic_value"] for row in rows),
        clv_12m=float(mean.sum()),
        clv_12m_low=low,
        clv_12m_high=high,
        value_at_risk=sum(row["value_at_risk"] for row in rows),
    )


def _cursor(run: RunInfo, filters: AtRiskFilters, last: ScoreRow) -> str:
    position = {"run": run.run_id, "filters": asdict(filters), "value": last["value_at_risk"]}
    return encode_cursor({**position, "id": last["customer_id"]})


def _resume(store: ScoreStore, cursor: str, filters: AtRiskFilters) -> tuple[RunInfo, Rank]:
    position = decode_cursor(cursor, _CURSOR)
    if position["filters"] != asdict(filters):
        raise InputError(
            "The cursor belongs to a list with other filters.",
            remedy="Repeat the filters, or drop the cursor.",
            field="cursor",
        )
    run = store.run(position["run"])
    if run is None:
        raise InputError(
            "The run that the cursor belongs to is no longer stored.",
            remedy="Start again without a cursor.",
            field="cursor",
        )
    return run, Rank(value_at_risk=position["value"], customer_id=position["id"])
