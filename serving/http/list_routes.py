"""The routes that list people, page by page: who is worth saving, who has not ordered yet, and who moved."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, TypeVar

import polars as pl
from fastapi import Depends, FastAPI, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from features.lifecycle.vocabularies import Wording
from serving import answers, lists, published
from serving.csv_export import to_csv
from serving.cursors import GREATEST_INTEGER
from serving.http.replies import (
    DEFAULT_LIST_ROWS,
    CsvForm,
    Cursor,
    Limit,
    Words,
    asked_words,
    check_limit,
    documented,
    find_source,
    rows_reply,
)
from serving.schemas import AtRiskPage, ProspectPage, ProspectStage, Size, Stage, StageChanges
from serving.state import LiveState, ServingState
from serving.store.score_store import AtRiskFilters

_SINCE = "run_id of the older run; without it, the newest of an earlier date."
_DOCUMENTED = documented(401, 404, 422, 503, media=("text/csv",))

Share = Annotated[float | None, Query(ge=0.0, le=1.0, description="Only customers from, or up to, this p_churn.")]
Page = TypeVar("Page", lists.AtRiskList, published.ProspectPage, published.ChangePage)


@dataclass(frozen=True, slots=True)
class AskedPage:
    """What every list may be asked: which page of it, in whose words, and in which form."""

    request: Request
    words: Words
    limit: int
    cursor: str | None
    form: str | None


async def asked_page(
    request: Request,
    words: Annotated[Words, Depends(asked_words)],
    limit: Limit = DEFAULT_LIST_ROWS,
    cursor: Cursor = None,
    form: CsvForm = None,
) -> AskedPage:
    """Read which page a request wants, and how."""
    return AskedPage(request, words, limit, cursor, form)


Asked = Annotated[AskedPage, Depends(asked_page)]


def add_lists(app: FastAPI, live: LiveState) -> None:
    """Add the routes to an app."""

    @app.get("/v1/at-risk", response_model=AtRiskPage, **_DOCUMENTED)
    def at_risk(asked: Asked, filters: Annotated[AtRiskFilters, Depends(_filters)]) -> Response:
        """List the customers most worth saving, highest value at risk first, as JSON or CSV."""
        load = partial(lists.load_at_risk, filters=filters)
        return _reply(live.current, asked, "at-risk", load=load, tell=answers.tell_at_risk, frame=lists.at_risk_frame)

    @app.get("/v1/prospects", response_model=ProspectPage, **_DOCUMENTED)
    def prospects(asked: Asked, stage: ProspectStage | None = None) -> Response:
        """List those who have not ordered, the likeliest to order first."""
        load, tell = partial(published.load_prospects, stage=stage), answers.tell_prospects
        return _reply(live.current, asked, "prospects", load=load, tell=tell, frame=published.prospect_frame)

    @app.get("/v1/changes", response_model=StageChanges, **_DOCUMENTED)
    def changes(
        asked: Asked,
        since_run: Annotated[int | None, Query(ge=1, le=GREATEST_INTEGER, description=_SINCE)] = None,
    ) -> Response:
        """List who entered and left which stage since the run before, or since the one that is named."""
        load, tell = partial(published.load_changes, since_run=since_run), answers.tell_changes
        return _reply(live.current, asked, "changes", load=load, tell=tell, frame=published.change_frame)


def _filters(
    stage: Stage | None = None, size: Size | None = None, min_p_churn: Share = None, max_p_churn: Share = None
) -> AtRiskFilters:
    return AtRiskFilters(stage=stage, size=size, min_p_churn=min_p_churn, max_p_churn=max_p_churn)


def _reply(
    state: ServingState,
    asked: AskedPage,
    name: str,
    *,
    load: Callable[..., Page],
    tell: Callable[..., BaseModel],
    frame: Callable[[Page, Wording], pl.DataFrame],
) -> Response:
    """Reply with one page of a list, all of it from one moment of the store.

    Args:
        state: What answers.
        asked: Which page.
        name: Of the list, for its file.
        load: Loads a page from a store, up to its limit, from its cursor on.
        tell: Tells a page in words, with the flags of its run.
        frame: Lays a page out as the rows of a file.
    """
    most = check_limit(asked.limit, state)
    with state.store.at_one_moment() as store:
        page = load(store, limit=most, cursor=asked.cursor)
        source, wording = find_source(state, store, page.run), asked.words.of_run(state, store, page.run)
    return rows_reply(
        asked.request,
        asked.form,
        told=lambda: tell(page, wording, flags=source.flags),
        csv=lambda: to_csv(frame(page, wording)),
        source=source,
        name=name,
        next_cursor=page.next_cursor,
    )
