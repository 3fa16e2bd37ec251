"""Requests while the champion is swapped: each is answered by one version alone."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

from starlette.responses import Response
from starlette.testclient import TestClient

from features.errors import ModelError
from serving.http.api import build_app
from serving.http.score_routes import _answer_all, _Question
from serving.schemas import ScoreRequest
from serving.state import LiveState, ServingState
from training.bundle import Bundle

REQUEST = {
    "as_of": "1998-07-01",
    "customers": [
        {"customer_id": f"c-{i}", "orders": [{"ordered_at": f"1998-0{1 + i % 6}-0{1 + i}", "amount": 10.0 + i}]}
        for i in range(8)
    ],
}
N_CALLERS, N_REQUESTS = 4, 20


def _ask(client: TestClient) -> dict[str, Any]:
    answer = client.post("/v1/score", json=REQUEST)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_swap_under_load(live: LiveState, bundle: Bundle, other_bundle: Bundle) -> None:
    """While the champion goes back and forth, each answer has the version, hash and figures of one of the two."""
    is_over = Event()

    def swap() -> int:
        n_swaps = 0
        while not is_over.wait(0.003):
            live.take((bundle, other_bundle)[n_swaps % 2], None)
            n_swaps += 1
        return n_swaps

    app = build_app(live)
    with (
        TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50_000)) as client,  # one loop for all
        ThreadPoolExecutor(N_CALLERS + 1) as pool,
    ):
        alone = {}
        for each in (bundle, other_bundle):
            live.take(each, None)
            alone[each.manifest.version] = _ask(client)
        swapping = pool.submit(swap)
        try:
            answers = list(pool.map(lambda _: _ask(client), range(N_CALLERS * N_REQUESTS)))
        finally:
            is_over.set()
    first, second = (answer["scores"] for answer in alone.values())
    assert all(one["p_churn"] < other["p_churn"] for one, other in zip(first, second, strict=True))
    assert swapping.result() > N_REQUESTS
    assert {answer["model_version"] for answer in answers} == set(alone)
    assert all(answer == alone[answer["model_version"]] for answer in answers)


def test_lot_of_two_states(state: ServingState, bundle: Bundle, other_bundle: Bundle) -> None:
    """Requests that a swap left in one lot are each answered, in their order, from the state they began with."""
    request = ScoreRequest.model_validate(REQUEST)
    states = [replace(state, champion=each) for each in (bundle, other_bundle)]
    lot = [_Question(states[number], request, states[number].wording, in_lines=False) for number in (0, 1, 1, 0, 1)]
    together = [_read(answer) for answer in _answer_all(lot)]
    alone = [_read(answer) for question in lot for answer in _answer_all([question])]
    assert together == alone
    assert [answer["model_version"] for answer in together] == [
        question.state.bundle.manifest.version for question in lot
    ]
    assert together[0]["scores"] != together[1]["scores"]


def test_lot_without_a_champion(state: ServingState, bundle: Bundle) -> None:
    """Where one of the states has no champion, its requests alone are refused."""
    request = ScoreRequest.model_validate(REQUEST)
    lot = [
        _Question(each, request, each.wording, in_lines=False)
        for each in (state, replace(state, champion=bundle), state)
    ]
    first, second, third = _answer_all(lot)
    assert isinstance(first, ModelError)
    assert isinstance(third, ModelError)
    assert _read(second)["model_version"] == bundle.manifest.version


def _read(answer: Response | Exception) -> dict[str, Any]:
    assert isinstance(answer, Response)
    return dict(json.loads(bytes(answer.body)))
