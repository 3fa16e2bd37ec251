"""The routes of the lifecycle: its map, its segments, its metrics, who is not a customer yet, and who moved."""

from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request
from starlette.responses import Response

from serving import answers, published
from serving.csv_export import to_csv
from serving.replies import (
    DEFAULT_LIST_ROWS,
    SVG,
    CsvForm,
    Cursor,
    Limit,
    SvgForm,
    Words,
    asked_language,
    asked_words,
    check_limit,
    documented,
    json_reply,
    rows_reply,
    svg_reply,
    wants,
)
from serving.schemas import MetricSheet, ProspectPage, ProspectStage, Segments, StageChanges, StageMap
from serving.state import LiveState


def add_maps(app: FastAPI, live: LiveState) -> None:
    """Add the routes that tell of the base as a whole."""

    @app.get("/v1/stages", response_model=StageMap, **documented(401, 422, 503, media=(SVG,)))
    def stages(request: Request, words: Annotated[Words, Depends(asked_words)], form: SvgForm = None) -> Response:
        """Return the lifecycle map of the published run, as JSON or as a picture."""
        state = live.current
        stage_map = published.load_stage_map(state.store)
        wording = words.of_run(state, stage_map.run)
        if wants(request, SVG, form):
            return svg_reply(answers.draw_stages(stage_map, wording))
        return json_reply(answers.tell_stages(stage_map, state.store.totals(stage_map.run), wording))

    @app.get("/v1/segments", response_model=Segments, **documented(401, 422, 503, media=(SVG,)))
    def segments(request: Request, words: Annotated[Words, Depends(asked_language)], form: SvgForm = None) -> Response:
        """Return the grid of RFM group and size, today and expected, as JSON or as a picture."""
        state = live.current
        segmentation, wording = published.load_segmentation(state.store), words.choose(state)
        groups = state.lifecycle.rfm_groups
        if wants(request, SVG, form):
            return svg_reply(answers.draw_segments(segmentation, groups=groups, language=wording.language))
        return json_reply(answers.tell_segments(segmentation, wording, groups=groups))

    @app.get("/v1/metrics-sheet", response_model=MetricSheet, **documented(401, 422, 503, media=("text/csv",)))
    def metrics_sheet(
        request: Request, words: Annotated[Words, Depends(asked_words)], form: CsvForm = None
    ) -> Response:
        """Return the metric sheet of the published run, each value with all that it is made of, as JSON or CSV."""
        state = live.current
        sheet, wording = published.load_metric_sheet(state.store), words.choose(state)
        return rows_reply(
            request,
            form,
            told=lambda: answers.tell_metrics(sheet, wording),
            csv=lambda: to_csv(answers.label_metrics(sheet.rows, wording)),
            name="metrics",
        )


def add_feeds(app: FastAPI, live: LiveState) -> None:
    """Add the routes that list people by their place in the lifecycle."""

    @app.get("/v1/prospects", response_model=ProspectPage, **documented(401, 422, 503, media=("text/csv",)))
    def prospects(  # noqa: PLR0917 - FastAPI passes parameters by name
        request: Request,
        words: Annotated[Words, Depends(asked_words)],
        stage: ProspectStage | None = None,
        limit: Limit = DEFAULT_LIST_ROWS,
        cursor: Cursor = None,
        form: CsvForm = None,
    ) -> Response:
        """List those who have not ordered, the likeliest to order first."""
        state = live.current
        page = published.load_prospects(state.store, limit=check_limit(limit, state), stage=stage, cursor=cursor)
        wording = words.choose(state)
        return rows_reply(
            request,
            form,
            told=lambda: answers.tell_prospects(page, wording),
            csv=lambda: to_csv(published.prospect_frame(page, wording)),
            name="prospects",
            next_cursor=page.next_cursor,
        )

    @app.get("/v1/changes", response_model=StageChanges, **documented(401, 422, 503, media=("text/csv",)))
    def changes(  # noqa: PLR0917 - as above
        request: Request,
        words: Annotated[Words, Depends(asked_words)],
        since_run: Annotated[int | None, Query(ge=1, le=2**53)] = None,
        limit: Limit = DEFAULT_LIST_ROWS,
        cursor: Cursor = None,
        form: CsvForm = None,
    ) -> Response:
        """List who entered and left which stage since the run before, or since the one that is named."""
        state = live.current
        page = published.load_changes(state.store, limit=check_limit(limit, state), since_run=since_run, cursor=cursor)
        wording = words.choose(state)
        return rows_reply(
            request,
            form,
            told=lambda: answers.tell_changes(page, wording),
            csv=lambda: to_csv(published.change_frame(page, wording)),
            name="changes",
            next_cursor=page.next_cursor,
        )
