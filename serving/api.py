"""The HTTP interface: routes that read a request, call one function, and write its answer.

Routes are plain functions, so that FastAPI runs them on worker threads and the event loop stays free;
they serialise their own answers, so that this work stays there too.
"""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from serving import answers, lists, pages, published
from serving.cards import ModelCard, build_model_card
from serving.guards import BodyGuard, KeyGuard, ProblemBoundary
from serving.lifecycle_routes import add_feeds, add_maps
from serving.live import score_request
from serving.problems import MEDIA_TYPE, answer_with_problems, build_problem, problem_response
from serving.replies import (
    DEFAULT_LIST_ROWS,
    CsvForm,
    Cursor,
    Limit,
    Words,
    asked_words,
    check_limit,
    documented,
    json_reply,
    rows_reply,
)
from serving.schemas import AtRiskPage, Score, ScoreRequest, ScoreResponse, Size, Stage
from serving.state import LiveState
from serving.store import AtRiskFilters

API_VERSION = "1"
_PROSPECT = "This customer has no order before as_of, and so no score: GET /v1/prospects tells of such people."
OPENAPI_PATH = "/v1/openapi.json"
SCORE_PATH = "/v1/score"

_DESCRIPTION = (
    "Will a customer leave, which lifecycle stage comes next, and what is the customer worth: "
    "at a stated date, over a stated horizon."
)
CustomerId = Annotated[str, Query(min_length=1, max_length=200)]
Share = Annotated[float | None, Query(ge=0.0, le=1.0)]


def build_app(live: LiveState) -> FastAPI:
    """Build the app; it reads the state anew for each request."""
    app = _Api(
        title="Lifestage",
        version=API_VERSION,
        description=_DESCRIPTION,
        openapi_url=OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    answer_with_problems(app)
    _add_scoring(app, live)
    _add_published(app, live)
    add_maps(app, live)
    add_feeds(app, live)
    _add_probes(app, live)
    pages.add_pages(app, live)
    app.add_middleware(BodyGuard, paths=(SCORE_PATH,), max_body_bytes=lambda: live.current.settings.max_body_bytes)
    app.add_middleware(KeyGuard, keys=lambda: live.current.keys)
    app.add_middleware(ProblemBoundary)
    return app


def known_paths(app: FastAPI) -> frozenset[str]:
    """Return the paths that an app answers; none of them has parameters in it."""
    return frozenset(path for route in app.routes if isinstance(path := getattr(route, "path", None), str))


def _add_scoring(app: FastAPI, live: LiveState) -> None:
    @app.post(SCORE_PATH, response_model=ScoreResponse, **documented(401, 413, 415, 422, 503))
    def score(request: ScoreRequest, words: Annotated[Words, Depends(asked_words)]) -> Response:
        """Score customers from the orders in the request; nothing is stored."""
        state = live.current
        return json_reply(score_request(state.bundle, request, settings=state.settings, wording=words.choose(state)))

    @app.get("/v1/model", response_model=ModelCard, **documented(401, 503))
    def model() -> Response:
        """Return the model card of the champion: what it is for, what it learned from, how well it did, its limits."""
        state = live.current
        return json_reply(build_model_card(state.bundle.manifest, state.promotion))


def _add_published(app: FastAPI, live: LiveState) -> None:
    @app.get("/v1/scores", response_model=Score, **documented(401, 404, 422, 503))
    def scores(customer_id: CustomerId, words: Annotated[Words, Depends(asked_words)]) -> Response:
        """Return one customer's score from the published run."""
        state = live.current
        run = published.published_run(state.store)
        row = state.store.get(customer_id, run)
        if row is None:
            is_prospect = state.store.get_prospect(customer_id, run) is not None
            raise HTTPException(404, _PROSPECT if is_prospect else "The published run has no score of this customer.")
        return json_reply(Score.from_row(row, words.of_run(state, run)))

    @app.get("/v1/at-risk", response_model=AtRiskPage, **documented(401, 422, 503, media=("text/csv",)))
    def at_risk(  # noqa: PLR0917 - FastAPI passes parameters by name
        request: Request,
        filters: Annotated[AtRiskFilters, Depends(_filters)],
        words: Annotated[Words, Depends(asked_words)],
        limit: Limit = DEFAULT_LIST_ROWS,
        cursor: Cursor = None,
        form: CsvForm = None,
    ) -> Response:
        """List the customers most worth saving, highest value at risk first, as JSON or CSV."""
        state = live.current
        page = lists.load_at_risk(state.store, limit=check_limit(limit, state), filters=filters, cursor=cursor)
        wording = words.of_run(state, page.run)
        return rows_reply(
            request,
            form,
            told=lambda: answers.tell_at_risk(page, wording),
            csv=lambda: lists.at_risk_csv(page, wording),
            name="at-risk",
            next_cursor=page.next_cursor,
        )


def _add_probes(app: FastAPI, live: LiveState) -> None:
    @app.get("/livez", response_class=PlainTextResponse)
    async def livez() -> str:
        """Tell that the process answers."""
        return "ok\n"

    @app.get("/readyz", response_class=PlainTextResponse, **documented(503))
    async def readyz() -> Response:
        """Tell whether a champion is loaded."""
        if live.is_ready:
            return PlainTextResponse("ok\n")
        detail = "No champion is loaded."
        remedy = "Train and promote a model, then start the service again; its log says what was missing."
        return problem_response(build_problem(503, detail=detail, remedy=remedy))


def _filters(
    stage: Stage | None = None, size: Size | None = None, min_p_churn: Share = None, max_p_churn: Share = None
) -> AtRiskFilters:
    return AtRiskFilters(stage=stage, size=size, min_p_churn=min_p_churn, max_p_churn=max_p_churn)


class _Api(FastAPI):
    """FastAPI, with its errors documented under the media type that they have."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        is_new = self.openapi_schema is None
        document = super().openapi()
        if is_new:
            for path in document["paths"].values():
                for operation in path.values():
                    _name_problems(operation["responses"])
        return document


def _name_problems(responses: dict[str, dict[str, Any]]) -> None:
    for status, response in responses.items():
        if int(status) >= 400:
            response["content"] = {MEDIA_TYPE: next(iter(response["content"].values()))}
