"""The routes of the lifecycle of all customers as a whole: its map, its segments, its metrics."""

from typing import Annotated

from fastapi import Depends, FastAPI, Request
from starlette.responses import Response

from serving import answers, published
from serving.csv_export import to_csv
from serving.http.replies import (
    SVG,
    CsvForm,
    SvgForm,
    Words,
    asked_language,
    asked_words,
    documented,
    find_source,
    json_reply,
    rows_reply,
    svg_reply,
    wants,
)
from serving.schemas import MetricSheet, Segments, StageMap
from serving.state import LiveState


def add_maps(app: FastAPI, live: LiveState) -> None:
    """Add the routes that tell of the base as a whole."""

    @app.get("/v1/stages", response_model=StageMap, **documented(401, 404, 422, 503, media=(SVG,)))
    def stages(request: Request, words: Annotated[Words, Depends(asked_words)], form: SvgForm = None) -> Response:
        """Return the lifecycle map of the published run, as JSON or as a picture."""
        state = live.current
        with state.store.at_one_moment() as store:
            stage_map = published.load_stage_map(store)
            source, wording = find_source(state, store, stage_map.run), words.of_run(state, store, stage_map.run)
            if wants(request, SVG, form):
                return svg_reply(answers.draw_stages(stage_map, wording), source)
            totals = store.totals(stage_map.run)
        return json_reply(answers.tell_stages(stage_map, totals, wording, flags=source.flags))

    @app.get("/v1/segments", response_model=Segments, **documented(401, 404, 422, 503, media=(SVG,)))
    def segments(request: Request, words: Annotated[Words, Depends(asked_language)], form: SvgForm = None) -> Response:
        """Return the grid of RFM group and size, today and expected, as JSON or as a picture."""
        state = live.current
        with state.store.at_one_moment() as store:
            segmentation = published.load_segmentation(store)
            source = find_source(state, store, segmentation.run)
        groups, wording = state.lifecycle.rfm_groups, words.choose(state)
        if wants(request, SVG, form):
            return svg_reply(answers.draw_segments(segmentation, groups=groups, language=wording.language), source)
        return json_reply(answers.tell_segments(segmentation, wording, groups=groups, flags=source.flags))

    @app.get("/v1/metrics-sheet", response_model=MetricSheet, **documented(401, 404, 422, 503, media=("text/csv",)))
    def metrics_sheet(
        request: Request, words: Annotated[Words, Depends(asked_words)], form: CsvForm = None
    ) -> Response:
        """Return the metric sheet of the published run, each value with all that it is made of, as JSON or CSV."""
        state = live.current
        with state.store.at_one_moment() as store:
            sheet = published.load_metric_sheet(store)
            source = find_source(state, store, sheet.run)
        wording = words.choose(state)
        return rows_reply(
            request,
            form,
            told=lambda: answers.tell_metrics(sheet, wording, flags=source.flags),
            csv=lambda: to_csv(answers.label_metrics(sheet.rows, wording)),
            source=source,
            name="metrics",
        )
