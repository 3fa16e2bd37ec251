"""The routes of one customer's score, or some customers': those that callers ask most often.

They run on the event loop, which is the shortest way, and read their query and body at once. Concurrent scoring
requests are scored together, on one thread; large ones on threads of their own, few at once.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from features.errors import InputError, LifestageError
from features.lifecycle.vocabularies import Wording
from serving import published
from serving.batching import Batcher
from serving.http.bodies import NDJSON
from serving.http.openapi import score_body
from serving.http.people_routes import find_withheld, say_why_absent
from serving.http.queries import describe_query, read_query
from serving.http.replies import Words, documented, headers_of, json_reply, lines_reply, wants
from serving.http.score_bodies import Date, is_ndjson, read_json, read_lines
from serving.live import Asked, iterate_lines, score_requests
from serving.schemas import Score, ScoreLines, ScoreRequest, ScoreResponse
from serving.schemas.wire import CustomerId
from serving.state import LiveState, ServingState
from serving.telemetry.metrics import process_metrics

SCORE_PATH, SCORES_PATH = "/v1/score", "/v1/scores"
_REPEATED = ("as_of", "horizons_days")

_NO_SCORE = "The published run has no score of this customer."
_PROSPECT = "This customer has no order before as_of, and so no score: GET /v1/prospects tells of such people."
_WITHHELD = "not to be scored: an objection or an erasure is on record"  # which of them is not every caller's business
_MAX_SCORES_TOGETHER = 16  # whoever asks for more waits for nobody, and keeps nobody waiting
_MAX_BYTES_TOGETHER = 32_768  # likewise: such a body takes a while to read
_LARGE_AT_ONCE = 2  # requests for more, or with larger bodies, on threads of their own
_WITH_NDJSON = "With NDJSON only, in which lines have no room for it; repeat it for several."


class _InWords(BaseModel):
    model_config = ConfigDict(frozen=True)

    vocabulary: Annotated[str | None, Field(max_length=100, description="A shipped vocabulary.")] = None
    language: Annotated[str | None, Field(max_length=10, description="en or fr.")] = None

    @property
    def words(self) -> Words:
        """In whose words the answer is wanted."""
        return Words(self.vocabulary, self.language)


class _ScoresQuery(_InWords):
    customer_id: Annotated[CustomerId, Field(min_length=1, description="The shop's own id, as in the orders.")]


class _ScoreQuery(_InWords):
    as_of: Annotated[list[Date] | None, Field(description=f"As-of date. {_WITH_NDJSON}")] = None
    horizons_days: Annotated[
        list[Annotated[int, Field(ge=1)]] | None, Field(description=f"Further horizons for by_horizon. {_WITH_NDJSON}")
    ] = None


@dataclass(frozen=True, slots=True)
class _Question:
    """A scoring request, and the state that it is answered from to its end."""

    state: ServingState
    request: ScoreRequest
    wording: Wording
    in_lines: bool


def add_scores(app: FastAPI, live: LiveState) -> None:
    """Add the routes to an app."""
    batcher = Batcher(_answer_all, ThreadPoolExecutor(1, thread_name_prefix="scoring"), work_of=_count_scores)
    large = CapacityLimiter(_LARGE_AT_ONCE)

    @app.post(
        SCORE_PATH,
        response_model=ScoreResponse,
        openapi_extra={**score_body(), **describe_query(_ScoreQuery)},
        **documented(401, 413, 415, 422, 503, media=(NDJSON,)),
    )
    async def score(request: Request) -> Response:
        """Score customers from the orders in the request, at one date or several; nothing is stored."""
        body, query, state = await request.body(), read_query(request, _ScoreQuery, repeated=_REPEATED), live.current
        options = query.model_dump(include=set(_REPEATED), exclude_none=True)
        read = partial(read_lines if is_ndjson(request) else read_json, body, options, settings=state.settings)
        is_long = len(body) > _MAX_BYTES_TOGETHER
        question = _Question(
            state=state,
            request=await to_thread.run_sync(read, limiter=large) if is_long else read(),
            wording=query.words.choose(state),
            in_lines=wants(request, NDJSON, None),
        )
        _check_work(question)
        if not is_long and _count_scores(question) <= _MAX_SCORES_TOGETHER:
            return await batcher.ask(question)
        [answer] = await to_thread.run_sync(_answer_all, [question], limiter=large)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @app.get(
        SCORES_PATH,
        response_model=Score,
        openapi_extra=describe_query(_ScoresQuery),
        **documented(401, 404, 422, 503),
    )
    async def scores(request: Request) -> Response:
        """Return one customer's score from the published run."""
        query, state = read_query(request, _ScoresQuery), live.current
        if state.store.kind == "sqlite":  # in this process: next to nothing to wait for
            found = _find_score(state, query)
        else:
            found = await to_thread.run_sync(_find_score, state, query)
        if found is None:
            raise await to_thread.run_sync(_absent, state, query.customer_id)
        return found


def _count_scores(question: _Question) -> int:
    """Return how many scores a request asks for."""
    return len(question.request.customers) * len(question.request.dates)


def _check_work(question: _Question) -> None:
    """Refuse a request for too many scores at a time.

    Raises:
        InputError: If it is one.
    """
    n_scores, most = _count_scores(question), question.state.settings.max_scores_per_request
    if n_scores > most:
        raise InputError(
            f"The request asks for {n_scores:,} scores, one per customer and date; at most {most:,} are given at once.",
            remedy="Send fewer customers or dates at a time.",
            field="body" if isinstance(question.request, ScoreLines) else "customers",
        )


def _answer_all(questions: Sequence[_Question]) -> list[Response | Exception]:
    """Answer scoring requests, those of one state together."""
    answers: list[Response | Exception] = [LookupError("not answered")] * len(questions)
    states = {id(question.state): question.state for question in questions}
    for state in states.values():
        numbers = [number for number, question in enumerate(questions) if question.state is state]
        try:
            told = _answer_from(state, [questions[number] for number in numbers])
        except LifestageError as error:
            told = [error] * len(numbers)
        for number, answer in zip(numbers, told, strict=True):
            answers[number] = answer
    return answers


def _answer_from(state: ServingState, questions: Sequence[_Question]) -> list[Response | Exception]:
    bundle = state.bundle
    ids = (customer.customer_id for question in questions for customer in question.request.customers)
    withheld = dict.fromkeys(find_withheld(state, ids), _WITHHELD)
    told = score_requests(bundle, [Asked(question.request, question.wording, withheld) for question in questions])
    found = [score.p_churn for answer in told if isinstance(answer, ScoreResponse) for score in answer.scores]
    process_metrics().observe_scores(bundle.manifest.version, found)
    return [
        _reply(question, answer) if isinstance(answer, ScoreResponse) else answer
        for question, answer in zip(questions, told, strict=True)
    ]


def _reply(question: _Question, answer: ScoreResponse) -> Response:
    if not question.in_lines:
        return json_reply(answer)
    return lines_reply(iterate_lines(answer, question.request), headers_of(answer))


def _find_score(state: ServingState, query: _ScoresQuery) -> Response | None:
    run, row = state.store.get_current(query.customer_id) or (None, None)
    if run is None or row is None:
        return None
    return json_reply(Score.from_row(row, query.words.of_run(state, state.store, run), run_id=run.run_id))


def _absent(state: ServingState, customer_id: str) -> Exception:
    """Return the error that says why a customer has no score."""
    with state.store.at_one_moment() as store:
        is_prospect = store.get_prospect(customer_id, published.published_run(store)) is not None
    return HTTPException(404, say_why_absent(state, customer_id) or (_PROSPECT if is_prospect else _NO_SCORE))
