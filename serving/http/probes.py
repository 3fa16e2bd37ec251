"""Whether the process lives, and whether it is ready: for load balancers, and for whoever asks why it is not."""

import asyncio
from concurrent.futures import Future
from threading import Thread
from typing import Annotated, Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import PlainTextResponse, Response

from features.errors import LifestageError, ModelError, ServingError
from serving.access.scopes import LIVE_PATH, READY_PATH
from serving.cards import RefusedChampion, UntriedChampion, describe_refusal, describe_untried
from serving.http.problems import build_problem, problem_response
from serving.http.replies import json_reply
from serving.schemas import Problem
from serving.state import LiveState, ServingState

STORE_SECONDS = 2.0
GIVEN_UP_SECONDS = 30.0  # a question that a dead connection swallowed: the store may have come back since

_STORE_REMEDY = "Look whether the database runs and the disk has room; no stored score can be read until then."
StoreAnswer = Literal["ok", "unavailable"]


class Readiness(BaseModel):
    """What a worker can answer with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Annotated[Literal["ready"], Field(description="A worker that is not ready answers a problem, with 503.")]
    model_version: Annotated[str | None, Field(description="The champion that is loaded.")]
    run_id: Annotated[int | None, Field(description="Of the published run; null where nothing is published.")]
    store: Annotated[StoreAnswer, Field(description="Whether the score store answers.")]
    refused: Annotated[
        RefusedChampion | None, Field(description="A champion that was promoted since, and refused; null where none.")
    ]
    untried: Annotated[
        UntriedChampion | None,
        Field(description="A champion that was promoted since, and could not be tried yet; null where none."),
    ]
    remedy: Annotated[str | None, Field(description="What to do; null where nothing needs doing.")]


class Unreadiness(Problem):
    """Why a worker is not ready."""

    model_version: Annotated[str | None, Field(description="As when it is ready.")]
    run_id: Annotated[int | None, Field(description="As when it is ready.")]
    store: Annotated[StoreAnswer, Field(description="As when it is ready.")]
    refused: Annotated[RefusedChampion | None, Field(description="As when it is ready.")]
    untried: Annotated[UntriedChampion | None, Field(description="As when it is ready.")]


class StoreProbe:
    """Asks the store which run is published, for a bounded time, and one question at a time."""

    def __init__(self, live: LiveState) -> None:
        self._live = live
        self._asked: Future[int | None] | None = None
        self._asked_at = 0.0

    async def run_id(self) -> tuple[StoreAnswer, int | None]:
        """Return whether the store answers, and the published run if there is one."""
        now = asyncio.get_running_loop().time()
        if self._asked is None or self._asked.done() or now > self._asked_at + GIVEN_UP_SECONDS:
            self._asked, self._asked_at = Future(), now
            # A thread that waits for a dead database must not keep the process from ending.
            Thread(target=self._ask, args=(self._asked,), name="store-probe", daemon=True).start()
        try:
            answer = asyncio.shield(asyncio.wrap_future(self._asked))
            return "ok", await asyncio.wait_for(answer, STORE_SECONDS)
        except (TimeoutError, LifestageError, SQLAlchemyError):
            return "unavailable", None

    def _ask(self, asked: "Future[int | None]") -> None:
        try:
            run = self._live.current.store.current_run()
            asked.set_result(None if run is None else run.run_id)
        except Exception as error:  # noqa: BLE001  # it is raised where it is waited for
            asked.set_exception(error)


def add_probes(app: FastAPI, live: LiveState) -> None:
    """Answer whether the process lives, and whether it is ready."""
    probe = StoreProbe(live)

    @app.get(LIVE_PATH, response_class=PlainTextResponse)
    async def livez() -> str:
        """Tell that the process answers."""
        return "ok\n"

    @app.get(
        READY_PATH,
        response_model=Readiness,
        responses={503: {"model": Unreadiness, "description": "Service Unavailable"}},
    )
    async def readyz() -> Response:
        """Tell whether a champion is loaded and the store answers, and which champion was refused or not tried."""
        store, run_id = await probe.run_id()
        return _reply(live, store, run_id)

    # As some load balancers ask; of the other routes GET is enough.
    app.add_api_route(LIVE_PATH, livez, methods=["HEAD"], response_class=PlainTextResponse, include_in_schema=False)
    app.add_api_route(READY_PATH, readyz, methods=["HEAD"], include_in_schema=False)


def _reply(live: LiveState, store: StoreAnswer, run_id: int | None) -> Response:
    state = live.current
    refused, untried = describe_refusal(state.refused), describe_untried(state.untried)
    told: dict[str, Any] = {
        "model_version": None,
        "run_id": run_id,
        "store": store,
        "refused": refused,
        "untried": untried,
    }
    if isinstance(state.champion, ModelError):
        return _not_ready(state.champion.problem, state.champion.remedy, told)
    told["model_version"] = state.champion.manifest.version
    if store != "ok":
        return _not_ready("The score store does not answer.", _STORE_REMEDY, told)
    if (damage := _damage_of_keys(state)) is not None:
        return _not_ready(damage.problem, damage.remedy, told)
    if live.is_ending():
        return _not_ready("The service is ending.", "Ask another worker, or wait until it is started again.", told)
    to_mend = refused or untried
    return json_reply(Readiness(status="ready", remedy=None if to_mend is None else to_mend.remedy, **told))


def _damage_of_keys(state: ServingState) -> ServingError | None:
    """Return why no key opens the service, or None where keys can be read."""
    try:
        if state.keys is not None:
            state.keys.check()
    except ServingError as error:
        return error
    return None


def _not_ready(detail: str, remedy: str, told: dict[str, Any]) -> Response:
    problem = build_problem(503, detail=detail, remedy=remedy)
    return problem_response(Unreadiness(**problem.model_dump(), **told))
