"""Every answer says where it comes from."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.published import RUN_FLAGS, flag_run
from serving.scoring import shop_flags
from serving.state import ServingState
from tests.test_docs import ROOT
from training.bundle import Bundle

SAID = ("as_of", "horizon_days", "model_version", "catalogue_hash", "run_id", "flags")
HEADERS = {
    "run": "run_id",
    "as-of": "as_of",
    "horizon-days": "horizon_days",
    "model": "model_version",
    "catalogue": "catalogue_hash",
}
RUNS = ("/v1/at-risk", "/v1/prospects", "/v1/changes", "/v1/stages", "/v1/segments", "/v1/metrics-sheet")


def source(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what an answer says of where it comes from."""
    return {name: answer[name] for name in SAID}


def test_answers(visited: TestClient) -> None:
    """Scores and the model card say it at the top, answers about a run in `run`, all of one run the same."""
    told = [visited.get(path).json() for path in RUNS]
    runs = [source(answer.get("run") or answer["to_run"]) for answer in told]
    assert all(run == runs[0] for run in runs)
    assert source(told[2]["from_run"])["run_id"] < runs[0]["run_id"]
    score = told[0]["customers"][0]
    stored = visited.get("/v1/scores", params={"customer_id": score["customer_id"]}).json()
    assert source(score) == source(stored)
    assert {name: stored[name] for name in SAID[:-1]} == {name: runs[0][name] for name in SAID[:-1]}
    asked = {"as_of": "2024-04-01", "customers": [{"customer_id": "a", "orders": []}]}
    assert source(visited.post("/v1/score", json=asked).json())["run_id"] is None
    assert source(visited.get("/v1/model").json())["run_id"] == runs[0]["run_id"]


@pytest.mark.parametrize("path", RUNS)
def test_headers(visited: TestClient, path: str) -> None:
    """A file or a picture says it in headers."""
    answer = visited.get(path).json()
    run = answer.get("run") or answer["to_run"]
    form = "svg" if path in {"/v1/stages", "/v1/segments"} else "csv"
    headers = visited.get(path, params={"format": form}).headers
    assert {name: headers[f"lifestage-{name}"] for name in HEADERS} == {n: str(run[key]) for n, key in HEADERS.items()}
    assert headers["lifestage-flags"].split(",") == run["flags"]


def test_flags(visited_state: ServingState, visited_bundle: Bundle) -> None:
    """A run has the flags of its shop; it is stale once its horizon is over, and another model may answer by then."""
    store = visited_state.store
    run = store.current_run()
    assert run is not None
    own, over = shop_flags(visited_bundle.model), date.fromisoformat(run.as_of) + timedelta(run.horizon_days)
    assert flag_run(store, run, today=over - timedelta(1), champion=run.model_version) == own
    assert flag_run(store, run, today=over, champion=None) == [*own, "stale_run"]
    assert flag_run(store, run, today=over, champion="other") == [*own, *RUN_FLAGS]
    assert flag_run(store, replace(run, run_id=99), today=over, champion=None) == ["stale_run"]


def test_documented() -> None:
    """The flags of a run are explained where the API is."""
    paper = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert all(f"| `{code}` | {meaning} |" in paper for code, meaning in RUN_FLAGS.items())
