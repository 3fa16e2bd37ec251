"""The HTTP interface: routes that read a request, call one function, and write its answer.

Routes are plain functions, so that FastAPI runs them on worker threads and the event loop stays free;
they serialise their own answers, so that this work stays there too.
"""

from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from features.errors import InputError
from serving import lists, pages
from serving.cards import ModelCard, build_model_card
from serving.guards import BodyGuard, KeyGuard, ProblemBoundary
from serving.live import score_request
from serving.problems import MEDIA_TYPE, answer_with_problems, build_problem, problem_response
from serving.schemas import AtRiskPage, Problem, Score, ScoreRequest, ScoreResponse, Size, Stage, StageMap
from serving.state import LiveState
from serving.store import AtRiskFilters

API_VERSION = "1"
OPENAPI_PATH = "/v1/openapi.json"
SCORE_PATH = "/v1/score"
DEFAULT_LIST_ROWS = 100

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
    @app.post(SCORE_PATH, response_model=ScoreResponse, **_documented(401, 413, 415, 422, 503))
    def score(request: ScoreRequest) -> Response:
        """Score customers from the orders in the request; nothing is stored."""
        state = live.current
        return _json(score_request(state.bundle, request, settings=state.settings))

    @app.get("/v1/model", response_model=ModelCard, **_documented(401, 503))
    def model() -> Response:
        """Return the model card of the champion: what it learned from, how well it did, what it looks at."""
        return _json(build_model_card(live.current.bundle.manifest))


def _add_published(app: FastAPI, live: LiveState) -> None:
    @app.get("/v1/scores", response_model=Score, **_documented(401, 404, 422, 503))
    def scores(customer_id: CustomerId) -> Response:
        """Return one customer's score from the published run."""
        store = live.current.store
        row = store.get(customer_id, lists.published_run(store))
        if row is None:
            raise HTTPException(404, "The published run has no score of this customer.")
        return _json(Score.from_row(row))

    @app.get("/v1/at-risk", response_model=AtRiskPage, **_documented(401, 422, 503, csv=True))
    def at_risk(
        request: Request,
        filters: Annotated[AtRiskFilters, Depends(_filters)],
        limit: Annotated[int, Query(ge=1)] = DEFAULT_LIST_ROWS,
        cursor: Annotated[str | None, Query(max_length=2000)] = None,
        form: Annotated[Literal["json", "csv"] | None, Query(alias="format")] = None,
    ) -> Response:
        """List the customers most worth saving, highest value at risk first, as JSON or CSV."""
        state = live.current
        if limit > state.settings.max_list_rows:
            raise InputError(
                f"limit is {limit}; at most {state.settings.max_list_rows} rows are given at a time.",
                remedy="Ask for fewer, and follow next_cursor.",
            )
        page = lists.load_at_risk(state.store, limit=limit, filters=filters, cursor=cursor)
        wants_csv = form == "csv" or (form is None and "text/csv" in request.headers.get("accept", ""))
        return _csv(page, request) if wants_csv else _json(_at_risk_page(page))

    @app.get("/v1/stages", response_model=StageMap, **_documented(401, 503))
    def stages() -> Response:
        """Return all customers of the published run, by stage."""
        return _json(StageMap.model_validate(lists.load_stage_map(live.current.store), from_attributes=True))


def _add_probes(app: FastAPI, live: LiveState) -> None:
    @app.get("/livez", response_class=PlainTextResponse)
    async def livez() -> str:
        """Tell that the process answers."""
        return "ok\n"

    @app.get("/readyz", response_class=PlainTextResponse, **_documented(503))
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


def _at_risk_page(page: lists.AtRiskList) -> AtRiskPage:
    return AtRiskPage.model_validate(
        {
            "run": page.run,
            "customers": [Score.from_row(row) for row in page.rows],
            "totals": page.totals,
            "matching_customers": page.matching_customers,
            "next_cursor": page.next_cursor,
        },
        from_attributes=True,
    )


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def _csv(page: lists.AtRiskList, request: Request) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="at-risk.csv"'}
    if page.next_cursor:
        query = request.url.include_query_params(cursor=page.next_cursor).query
        headers["Link"] = f'<?{query}>; rel="next"'
    return Response(lists.at_risk_csv(page), media_type="text/csv; charset=utf-8", headers=headers)


def _documented(*statuses: int, csv: bool = False) -> dict[str, Any]:
    """Describe the problems of a route, and the key it asks for, in the OpenAPI document."""
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": build_problem(status).title, "model": Problem} for status in statuses
    }
    if csv:
        responses[200] = {"content": {"text/csv": {"schema": {"type": "string"}}}}
    has_key = 401 in statuses
    return {"responses": responses, "dependencies": [Depends(HTTPBearer(auto_error=False))] if has_key else []}


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
