import asyncio
import errno
import io
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from features.errors import ServingError
from serving.http.draining import Draining
from serving.http.hiding import HiddenRequest, WholeRequest
from serving.http.scrape import write_metrics
from serving.http.telemetry import Telemetry
from serving.state import LiveState, ServingState
from serving.telemetry.logs import (
    ACCESS_LOGGER,
    GatheringHandler,
    JsonFormatter,
    flush_logs,
    wrap_line,
    write_json_logs,
)
from serving.telemetry.metrics import Metrics

ROOT = Path(__file__).resolve().parents[3]
SENT = "alice@example.org"


def answer(request: Request) -> Response:
    """Answer with what reached us, and the status that the query names."""
    state = request.scope["state"]
    state["caller"] = "crm"
    told = {"id": state["request_id"], "query": dict(request.query_params), "agent": request.headers["user-agent"]}
    return JSONResponse(told, int(request.query_params.get("status", "200")))


@pytest.fixture
def metrics() -> Metrics:
    """Count for one test."""
    return Metrics(CollectorRegistry())


def build(metrics: Metrics, *, draining: bool = False, between: list[object] | None = None) -> TestClient:
    """Build a client of an app inside the layer, with a foreign layer between that notes what it sees."""
    app = WholeRequest(Starlette(routes=[Route("/v1/scores", answer)]))
    is_ending = Draining()
    is_ending.is_draining = draining

    async def foreign(scope: object, receive: object, send: object) -> None:
        if between is not None and isinstance(scope, dict) and scope["type"] == "http":
            between.append({key: value for key, value in scope.items() if key != "lifestage.whole"})
        await app(scope, receive, send)  # type: ignore[arg-type]  # passed on as it came

    layer = Telemetry(
        HiddenRequest(foreign), routes={"/v1/scores"}, live=LiveState(), metrics=metrics, draining=is_ending
    )
    return TestClient(layer)


def text(metrics: Metrics) -> str:
    """Return what was counted."""
    return generate_latest(metrics.registry).decode()


def test_request_id(metrics: Metrics) -> None:
    """Each request has an id of our own making, which the app and the caller are told alike."""
    client = build(metrics)
    first, second = (client.get("/v1/scores", headers={"X-Request-Id": SENT}) for _ in range(2))
    assert first.json()["id"] == first.headers["x-request-id"] != second.headers["x-request-id"]
    assert len(first.headers["x-request-id"]) == 24


def test_counts(metrics: Metrics) -> None:
    """Requests are counted by route, method, status and model version; refusals by reason."""
    client = build(metrics)
    for status in (200, 200, 429, 503):
        client.get(f"/v1/scores?status={status}")
    labels = 'method="GET",model_version="(none)",route="/v1/scores",status'
    assert f'lifestage_requests_total{{{labels}="200"}} 2.0' in text(metrics)
    assert 'lifestage_request_seconds_count{method="GET",route="/v1/scores"} 4.0' in text(metrics)
    assert 'lifestage_refusals_total{reason="too-many-requests"} 1.0' in text(metrics)
    assert "lifestage_requests_in_flight 0.0" in text(metrics)


def test_few_labels(metrics: Metrics) -> None:
    """Paths and methods that nobody foresaw share a label each."""
    client = build(metrics)
    for number in range(50):
        client.request(f"M{number}", f"/{SENT}/{number}")
    samples = [line for line in text(metrics).splitlines() if line.startswith("lifestage_requests_total")]
    assert samples == [
        'lifestage_requests_total{method="(other)",model_version="(none)",route="(unknown)",status="404"} 50.0'
    ]


def test_scores_and_models(metrics: Metrics) -> None:
    """Scores are spread over a histogram, and a worker stands for the model that it serves now."""
    metrics.observe_scores("a", [0.04, 0.5, None, 1.0])
    metrics.serve_model("a")
    metrics.serve_model("b")
    metrics.count_reload("swapped")
    metrics.count_store_error()
    for line in (
        'lifestage_p_churn_bucket{le="0.05",model_version="a"} 1.0',
        'lifestage_p_churn_count{model_version="a"} 3.0',
        'lifestage_workers{model_version="a"} 0.0',
        'lifestage_workers{model_version="b"} 1.0',
        'lifestage_reloads_total{outcome="swapped"} 1.0',
        "lifestage_store_errors_total 1.0",
    ):
        assert line in text(metrics)


def test_published_run(visited_state: ServingState) -> None:
    """The metrics tell which run is published, since when, and which model is loaded."""
    told = write_metrics(LiveState(visited_state), {}).decode()
    version = visited_state.bundle.manifest.version
    assert "lifestage_ready 1.0" in told
    assert f'lifestage_model_info{{model_version="{version}"}} 1.0' in told
    assert 'lifestage_published_run_info{as_of="' in told
    assert "lifestage_published_customers " in told


def test_several_workers(tmp_path: Path) -> None:
    """What workers counted is added up; of those that ended, the requests that they had in hand are forgotten."""
    code = """
        import os
        from prometheus_client import CollectorRegistry
        from serving.telemetry.metrics import Metrics
        metrics, child = Metrics(CollectorRegistry()), os.fork()
        metrics.begin_request()
        metrics.begin_request()
        metrics.end_request("/livez", "GET", 200, 0.1, model_version="a")
        child and os.waitpid(child, 0)
    """
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, cwd=ROOT, check=True)
    told = write_metrics(LiveState(), environment).decode()
    assert 'lifestage_requests_total{method="GET",model_version="a",route="/livez",status="200"} 2.0' in told
    assert "lifestage_requests_in_flight 2.0" not in told


def test_hidden_from_others(metrics: Metrics) -> None:
    """A foreign layer between, such as tracing, sees neither query, nor address, nor what headers hold."""
    seen: list[object] = []
    response = build(metrics, between=seen).get(
        f"/v1/scores?customer_id={SENT}", headers={"User-Agent": SENT, "Authorization": SENT, "Cookie": SENT}
    )
    assert response.json() == {"id": response.headers["x-request-id"], "query": {"customer_id": SENT}, "agent": SENT}
    assert len(seen) == 1
    assert SENT not in repr(seen)


def test_ending(metrics: Metrics) -> None:
    """While the service ends, each answer asks its caller to connect anew."""
    assert build(metrics).get("/v1/scores").headers.get("connection") != "close"
    assert build(metrics, draining=True).get("/v1/scores").headers["connection"] == "close"


def test_log_line(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    """A request is one line of JSON, with nothing that its caller sent."""
    with caplog.at_level(logging.INFO, logger=ACCESS_LOGGER):
        response = build(metrics).get(f"/v1/scores?customer_id={SENT}", headers={"X-Request-Id": SENT})
        build(metrics).get(f"/{SENT}")
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records if record.name == ACCESS_LOGGER]
    assert [line["route"] for line in lines] == ["/v1/scores", "(unknown)"]
    assert lines[0]["request_id"] == response.headers["x-request-id"]
    assert (lines[0]["caller"], lines[0]["method"], lines[0]["status"]) == ("crm", "GET", 200)
    assert lines[0]["duration_ms"] >= 0.0
    assert SENT not in json.dumps(lines)


class Pieces(io.RawIOBase):
    """Keeps what is written, call by call, while its disk has room."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.is_full = False

    def writable(self) -> bool:
        """Tell that it is open to writers."""
        return True

    def write(self, piece: Any) -> int:
        """Keep a piece."""
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.kept.append(bytes(piece).decode())
        return len(piece)


def record_of(event: str, name: str = ACCESS_LOGGER) -> logging.LogRecord:
    """Make a record; of an answered request, unless another logger is named."""
    return logging.LogRecord(name, logging.INFO, "", 0, event, (), None)


def build_handler(pieces: Pieces, *, is_buffered: bool) -> GatheringHandler:
    """Build a handler that writes as to standard output: with Python's buffer, or without."""
    binary: Any = io.BufferedWriter(pieces) if is_buffered else pieces
    return GatheringHandler(io.TextIOWrapper(binary, write_through=not is_buffered))


@pytest.fixture(params=[True, False])
def pieces(request: pytest.FixtureRequest) -> tuple[Pieces, GatheringHandler]:
    """What a handler writes, and the handler."""
    kept = Pieces()
    return kept, build_handler(kept, is_buffered=request.param)


def test_gathered_lines(pieces: tuple[Pieces, GatheringHandler]) -> None:
    """The requests that one turn of the loop answers are written together, but no more than a pipe takes whole."""
    written, handler = pieces

    async def log(n_lines: int) -> list[int]:
        written.kept.clear()
        for _ in range(n_lines):
            handler.handle(record_of("x" * 999))
        before = len(written.kept)
        await asyncio.sleep(0)
        return [before, *(piece.count("\n") for piece in written.kept)]

    assert asyncio.run(log(3)) == [0, 3]
    assert asyncio.run(log(6)) == [1, 4, 2]
    handler.handle(record_of("alone"))
    assert written.kept[-1] == "alone\n"


def test_at_once(pieces: tuple[Pieces, GatheringHandler]) -> None:
    """Whatever else is logged in a turn of the loop does not wait for its end, and comes after the requests."""
    written, handler = pieces

    async def log() -> list[str]:
        handler.handle(record_of("a"))
        handler.handle(record_of("b", "uvicorn.error"))
        return [*written.kept]

    assert asyncio.run(log()) == written.kept == ["a\nb\n"]


def test_full_disk(capsys: pytest.CaptureFixture[str]) -> None:
    """A line that cannot be written is told of on standard error, and none that comes later is held back."""
    written = Pieces()
    handler = build_handler(written, is_buffered=False)

    async def log(*events: str) -> None:
        for event in events:
            handler.handle(record_of(event))
        await asyncio.sleep(0)

    for is_full in (True, False):
        written.is_full = is_full
        asyncio.run(log("a", "b"))
    assert written.kept == ["a\nb\n"]
    assert capsys.readouterr().err.count("Logging error") == 1


def test_ended_by_a_signal() -> None:
    """What is logged in the turn of the loop in which SIGTERM ends the process is written all the same."""
    code = """
        import asyncio, logging, signal
        from serving.telemetry.logs import log_request, write_json_logs
        write_json_logs({"LIFESTAGE_LOG_FORMAT": "json"})
        async def end():
            log_request(status=200)
            logging.getLogger("uvicorn.error").warning("Finished server process")
            signal.raise_signal(signal.SIGTERM)
        asyncio.run(end())
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["request", "Finished server process"]
    assert done.returncode == -signal.SIGTERM


def test_flushed() -> None:
    """What is kept can be written without waiting, and where that fails nobody is told."""
    written, logger = Pieces(), logging.getLogger()
    handler = build_handler(written, is_buffered=False)
    logger.addHandler(handler)

    async def log() -> list[str]:
        handler.handle(record_of("a"))
        flush_logs()
        kept = [*written.kept]
        handler.handle(record_of("b"))
        written.is_full = True
        flush_logs()
        return kept

    try:
        assert asyncio.run(log()) == written.kept == ["a\n"]
    finally:
        logger.removeHandler(handler)


@pytest.fixture
def logged() -> Iterator[list[dict[str, str]]]:
    """Collect what foreign loggers say, as it would be written."""
    lines: list[dict[str, str]] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter().format(record)))

    handler = Keeping()
    logging.getLogger().addHandler(handler)
    yield lines
    logging.getLogger().removeHandler(handler)


def fail(error: Exception) -> NoReturn:
    """Raise an error."""
    raise error


def test_foreign_logs(logged: list[dict[str, str]]) -> None:
    """What other libraries log keeps its place and its kind, and loses the values it quotes."""
    foreign = logging.getLogger("foreign")
    foreign.error("Could not use %s\nfor %s", SENT, SENT)
    for error in (ValueError(SENT), ServingError("No store.", remedy="Open one.")):
        with pytest.raises(type(error)) as caught:
            fail(error)
        foreign.error("It failed", exc_info=caught.value)
    assert SENT not in json.dumps(logged)
    assert [line["event"] for line in logged] == ["Could not use %s", "It failed", "It failed"]
    assert logged[1]["error"] == "ValueError"
    assert logged[1]["at"].partition(":")[0].endswith("test_telemetry.py")
    assert logged[2]["message"] == "No store. Open one."


def test_only_where_asked() -> None:
    """Without its variable the environment changes no logger: a build prints as BentoML does."""
    assert not write_json_logs({})


def printed(line: str) -> str:
    """Return what is kept of a printed line."""
    return str(json.loads(wrap_line(line.encode()))["event"])


def test_printed_lines() -> None:
    """Of a line that was printed past the loggers, kinds and places are kept; what quotes values is not."""
    assert wrap_line(b'{"ts":"2026-01-01T00:00:00.000Z"}\n') == b'{"ts":"2026-01-01T00:00:00.000Z"}\n'
    assert printed('  File "/app/serving/live.py", line 12, in score') == "/app/serving/live.py:12"
    assert printed(f"polars.exceptions.ComputeError: cannot parse {SENT}") == "polars.exceptions.ComputeError"
    assert printed("thread 'x' panicked at crates/core/src/a.rs:3:5:") == "crates/core/src/a.rs:3"
    for line in (f"    find({SENT!r})", f'{{"customer_id": "{SENT}"}}', SENT, f"thread {SENT} panicked at {SENT}"):
        assert SENT not in printed(line)
    assert printed("Error: [serve] `serve` failed: no Bento") == "Error: [serve] `serve` failed: no Bento"


def test_uncaught() -> None:
    """An exception that nothing catches, in whatever thread, is logged by kind and place alone."""
    code = f"""
        import sys, threading
        from serving.telemetry.logs import write_json_logs
        write_json_logs({{"LIFESTAGE_LOG_FORMAT": "json"}})
        def fail(): raise ValueError({SENT!r})
        class Failing:
            def __del__(self): fail()
        thread = threading.Thread(target=fail); thread.start(); thread.join()
        Failing()
        fail()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert [event.split(", ")[1] for event in events] == ["in a thread", "in a finalizer", "in the process"]
    assert all(event.startswith("Uncaught ValueError at <string>:5") for event in events)
    assert SENT not in done.stdout + done.stderr
    assert done.returncode == 1
