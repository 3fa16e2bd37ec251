"""What the store returns: runs, score rows, and the questions a list is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np

from serving.columns import COLUMNS, PROSPECT_COLUMNS, SCORE_COLUMNS, Kind
from serving.store.tables import PER_RUN

ScoreRow = dict[str, Any]

_NUMBERS = np.dtype("<f8")
_LISTS = tuple(column.name for column in COLUMNS if column.kind is Kind.NUMBERS)
OWN_SCORE_COLUMNS = tuple(column.name for column in COLUMNS if not column.per_run)
OWN_PROSPECT_COLUMNS = tuple(column.name for column in PROSPECT_COLUMNS if not column.per_run)
_SHARED = tuple(column.name for column in PER_RUN)
_shared_values = attrgetter(*_SHARED)
_in_order = itemgetter(*((*OWN_SCORE_COLUMNS, *_SHARED).index(name) for name in SCORE_COLUMNS))


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One published run of scores."""

    run_id: int
    as_of: str
    horizon_days: int
    model_version: str
    catalogue_hash: str
    n_customers: int
    published_at: str


@dataclass(frozen=True, slots=True)
class AtRiskFilters:
    """Which scores belong on a list; None leaves a question open."""

    stage: str | None = None
    size: str | None = None
    min_p_churn: float | None = None
    max_p_churn: float | None = None


@dataclass(frozen=True, slots=True)
class Rank:
    """A place in the ranked list: after this value, and within it after this customer."""

    value_at_risk: float
    customer_id: str


def is_storable(text: str) -> bool:
    """Tell whether every database can hold a text: PostgreSQL takes no NUL, and none takes half of a character."""
    try:
        return b"\0" not in text.encode("utf-8")
    except UnicodeEncodeError:
        return False


def score_row(values: Sequence[Any], run: RunInfo) -> ScoreRow:
    """Name the values of a score, which come in the order of `OWN_SCORE_COLUMNS`, and add what the run shares."""
    row = dict(zip(SCORE_COLUMNS, _in_order((*values, *_shared_values(run))), strict=True))
    for name in _LISTS:
        row[name] = np.frombuffer(row[name], _NUMBERS).tolist()
    return row


def prospect_row(values: Sequence[Any], run: RunInfo) -> ScoreRow:
    """Name the values of a prospect, which come in the order of `OWN_PROSPECT_COLUMNS`, and add what the run shares."""
    shared = zip(_SHARED, _shared_values(run), strict=True)
    own = dict([*zip(OWN_PROSPECT_COLUMNS, values, strict=True), *shared])
    return {column.name: own[column.name] for column in PROSPECT_COLUMNS}
