"""What is asked of the store. Whoever objected is left out of every answer about persons, from that moment on."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    bindparam,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    tuple_,
)

from serving.store.rows import OWN_PROSPECT_COLUMNS, OWN_SCORE_COLUMNS, AtRiskFilters, Rank, RunInfo
from serving.store.tables import OBJECTIONS, PROSPECTS, PUBLISHED, RUNS, SCORES

TOTALS = ("historic_value", "clv_12m")

_RANKED = (SCORES.c.value_at_risk.desc(), SCORES.c.customer_id)
_N_RUN_COLUMNS = len(RUNS.columns)
# Selecting some forty columns takes longer to say than to do: it is said once.
_SCORES = select(*(SCORES.c[name] for name in OWN_SCORE_COLUMNS))
_PROSPECTS = select(*(PROSPECTS.c[name] for name in OWN_PROSPECT_COLUMNS))


def current_score() -> Select[Any]:
    """Ask for the published run and the score of `:customer_id` in it, in one row: first the run, then the score."""
    current = select(PUBLISHED.c.run_id).scalar_subquery()  # found first, so that the key is known whole
    is_theirs = and_(
        SCORES.c.run_id == current,
        SCORES.c.customer_id == bindparam("customer_id", type_=SCORES.c.customer_id.type),
        _may_be_told(SCORES.c.customer_id),
    )
    asked = select(*RUNS.columns, *_SCORES.selected_columns).select_from(RUNS.outerjoin(SCORES, is_theirs))
    return asked.where(RUNS.c.run_id == current)


def split_current(row: Any) -> tuple[RunInfo, tuple[Any, ...] | None]:
    """Split an answer to `current_score` into the run and the score, or None where there is none."""
    values = tuple(row)[_N_RUN_COLUMNS:]
    return RunInfo(*row[:_N_RUN_COLUMNS]), None if values[0] is None else values


def one_score(run: RunInfo, customer_id: str) -> Select[Any]:
    """Ask for a customer's score in a run."""
    is_theirs = (SCORES.c.run_id == run.run_id) & (SCORES.c.customer_id == customer_id)
    return _SCORES.where(is_theirs, _may_be_told(SCORES.c.customer_id))


def ranked_scores(run: RunInfo, filters: AtRiskFilters, *, limit: int, after: Rank | None) -> Select[Any]:
    """Ask for a page of the ranked list: first from the index alone who is on it, then for their rows."""
    place = [] if after is None else [_follows(after)]
    page = (
        select(SCORES.c.customer_id)
        .where(*_conditions(run, filters), *place, _may_be_told(SCORES.c.customer_id))
        .order_by(*_RANKED)
        .limit(limit)
        .subquery("page")
    )
    is_listed = (SCORES.c.run_id == run.run_id) & (SCORES.c.customer_id == page.c.customer_id)
    return _SCORES.select_from(page.join(SCORES, is_listed)).order_by(*_RANKED)


def matching_count(run: RunInfo, filters: AtRiskFilters) -> Select[Any]:
    """Ask how many pass the filters: all, less those who objected, who are few and found by their ids."""
    everybody = select(func.count()).select_from(SCORES).where(*_conditions(run, filters))
    if filters == AtRiskFilters():  # the run has counted them
        everybody = select(RUNS.c.n_customers).where(RUNS.c.run_id == run.run_id)
    objecting = select(func.count()).select_from(SCORES).where(*_conditions(run, filters), _objects(SCORES))
    return select(everybody.scalar_subquery() - objecting.scalar_subquery())


def run_totals(run: RunInfo) -> Select[Any]:
    """Ask for the sums of a run by stage and RFM code, whoever objects included."""
    keys = (SCORES.c.stage, SCORES.c.rfm)
    sums = [func.sum(SCORES.c[name]).label(name) for name in TOTALS]
    return select(*keys, func.count(), *sums).where(SCORES.c.run_id == run.run_id).group_by(*keys)


def objecting_values(run: RunInfo) -> Select[Any]:
    """Ask for what those who object add to the sums of a run, a row each."""
    values = (SCORES.c.stage, SCORES.c.rfm, literal(1), *(SCORES.c[name] for name in TOTALS))
    return select(*values).where(SCORES.c.run_id == run.run_id, _objects(SCORES))


def one_prospect(run: RunInfo, person_id: str) -> Select[Any]:
    """Ask for the score of a customer id without an order."""
    is_it = (PROSPECTS.c.person_id == person_id) & (PROSPECTS.c.is_visitor == 0)
    return _prospects(run).where(is_it)


def ranked_prospects(
    run: RunInfo, stage: str | None, *, limit: int, after: tuple[float, str, int] | None
) -> Select[Any]:
    """Ask for a page of the prospects, the likeliest first."""
    columns = PROSPECTS.c
    conditions: list[ColumnElement[bool]] = [] if stage is None else [columns.stage == stage]
    if after is not None:
        p, person_id, is_visitor = after
        later = tuple_(columns.person_id, columns.is_visitor) > tuple_(literal(person_id), literal(is_visitor))
        conditions += [
            columns.p_first_purchase <= p,  # an index is entered here; the condition that follows is too much for it
            or_(columns.p_first_purchase < p, and_(columns.p_first_purchase == p, later)),
        ]
    ranked = (columns.p_first_purchase.desc(), columns.person_id, columns.is_visitor)
    return _prospects(run).where(*conditions).order_by(*ranked).limit(limit)


def stage_changes(old: RunInfo, new: RunInfo, *, limit: int, after: str | None) -> Select[Any]:
    """Ask for a page of those whose stage differs between two runs, by id: first who they are, then since when."""
    before, now = SCORES.alias("before"), SCORES.alias("now")
    has_moved = or_(before.c.stage.is_(None), before.c.stage != now.c.stage)
    follows = [] if after is None else [now.c.customer_id > after]
    page = (
        select(now.c.customer_id, before.c.stage.label("from_stage"), now.c.stage.label("to_stage"))
        .select_from(_joined(now, before, old))
        .where(now.c.run_id == new.run_id, has_moved, *follows, _may_be_told(now.c.customer_id))
        .order_by(now.c.customer_id)
        .limit(limit)
        .subquery("page")
    )
    is_listed = (SCORES.c.run_id == new.run_id) & (SCORES.c.customer_id == page.c.customer_id)
    since = SCORES.c.stage_since.label("since")
    return select(*page.columns, since).select_from(page.join(SCORES, is_listed)).order_by(page.c.customer_id)


def change_counts(old: RunInfo, new: RunInfo) -> Select[Any]:
    """Ask how many customers of a run stood where in an older one, whoever objects included."""
    before, now = SCORES.alias("before"), SCORES.alias("now")
    ends = (before.c.stage, now.c.stage)
    # A column that is never absent and stands in no index: SQLite then reads both runs by id, in step.
    everybody = func.count(now.c.stage_since)
    return (
        select(*ends, everybody)
        .select_from(_joined(now, before, old))
        .where(now.c.run_id == new.run_id)
        .group_by(*ends)
    )


def objecting_changes(old: RunInfo, new: RunInfo) -> Select[Any]:
    """Ask where those who object stood in either run, a row each."""
    before, now = SCORES.alias("before"), SCORES.alias("now")
    return (
        select(before.c.stage, now.c.stage)
        .select_from(_joined(now, before, old))
        .where(now.c.run_id == new.run_id, _objects(now))
    )


def _joined(now: Any, before: Any, old: RunInfo) -> FromClause:
    is_same = (before.c.run_id == old.run_id) & (before.c.customer_id == now.c.customer_id)
    joined: FromClause = now.outerjoin(before, is_same)
    return joined


def _objects(scores: FromClause) -> ColumnElement[bool]:
    """Tell who objects; a list of ids is looked up by the key, while a join might be entered from the other end."""
    return scores.c.customer_id.in_(select(OBJECTIONS.c.customer_id))


def _may_be_told(customer_id: ColumnElement[Any]) -> ColumnElement[bool]:
    return not_(exists().where(OBJECTIONS.c.customer_id == customer_id))


def _prospects(run: RunInfo) -> Select[Any]:
    is_browser = PROSPECTS.c.is_visitor != 0
    return _PROSPECTS.where(PROSPECTS.c.run_id == run.run_id, or_(is_browser, _may_be_told(PROSPECTS.c.person_id)))


def _conditions(run: RunInfo, filters: AtRiskFilters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [SCORES.c.run_id == run.run_id]
    if filters.stage is not None:
        conditions.append(SCORES.c.stage == filters.stage)
    if filters.size is not None:
        conditions.append(SCORES.c.size == filters.size)
    if filters.min_p_churn is not None:
        conditions.append(SCORES.c.p_churn >= filters.min_p_churn)
    if filters.max_p_churn is not None:
        conditions.append(SCORES.c.p_churn <= filters.max_p_churn)
    return conditions


def _follows(rank: Rank) -> ColumnElement[bool]:
    """Tell who comes after a place; the first half alone is a range that the index can be entered at."""
    value = SCORES.c.value_at_risk
    later = or_(
        value < rank.value_at_risk,
        and_(value == rank.value_at_risk, SCORES.c.customer_id > rank.customer_id),
    )
    return and_(value <= rank.value_at_risk, later)
