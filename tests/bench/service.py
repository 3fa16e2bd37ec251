"""The service over HTTP against a bare echo, by turns."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from features.snapshot import to_date
from serving.server import running_server
from serving.state import open_store
from tests.bench.load import Load, build_request, run_load
from tests.bench.orders import CUTOFF_DAY, FIRST_DAY, SEED
from tests.bench.scoring import publish, score_customers
from tests.bench.table import Row, say
from tests.bench.workspace import Workspace

CONNECTIONS = 32
ORDERS_PER_REQUEST = 10

_ROOT = Path(__file__).resolve().parents[2]
_N_REQUESTS = 500
_TURNS = 2
_WARM_UP_SECONDS = 1.0


def run(workspace: Workspace) -> list[Row]:
    """Measure throughput and the slowest hundredth of scoring and of reading stored scores, by one worker and more."""
    n_stored, bodies = _ensure_published(workspace), [_score_body(number) for number in range(_N_REQUESTS)]
    requests = {
        "echo": [build_request("POST", "/", body) for body in bodies],
        "POST /v1/score": [build_request("POST", "/v1/score", body) for body in bodies],
        "GET /v1/scores": [build_request("GET", path) for path in _stored_paths(n_stored)],
    }
    rows: list[Row] = []
    for workers in sorted({1, os.cpu_count() or 1}):
        say(f"  {workers} worker{'s' if workers > 1 else ''}:")
        with _running_echo() as echo_port, running_server(workspace.home, insecure_local=True, workers=workers) as url:
            own_port = urlsplit(url).port
            assert own_port is not None
            ports = {name: echo_port if name == "echo" else own_port for name in requests}
            rows += _rows(_take_turns(requests, ports, workspace.seconds), n_stored, workers)
    return rows


def _take_turns(requests: dict[str, list[bytes]], ports: dict[str, int], seconds: float) -> dict[str, Load]:
    loads = {name: Load() for name in requests}
    for name, prepared in requests.items():
        run_load(ports[name], prepared, connections=CONNECTIONS, seconds=min(_WARM_UP_SECONDS, seconds))
    for _ in range(_TURNS):
        for name, load in loads.items():
            load.add(run_load(ports[name], requests[name], connections=CONNECTIONS, seconds=seconds / _TURNS))
    for name, load in loads.items():
        busy = load.busy_seconds / load.seconds
        say(f"  {name}: {load.throughput:,.0f}/s, p99 {load.p99_ms:.0f} ms, client busy {busy:.0%}")
    return loads


def _rows(loads: dict[str, Load], n_stored: int, workers: int) -> list[Row]:
    echo, score, stored = loads.values()
    work = f"POST /v1/score, {ORDERS_PER_REQUEST} orders, {workers} w."
    lookup = f"GET /v1/scores, {n_stored:,} stored, {workers} w."
    return [
        Row(work, score.throughput, "Starlette echo", echo.throughput, "/s", "≥ 0.4"),
        Row("  p99", score.p99_ms, "Starlette echo", echo.p99_ms, "ms", "≤ 5"),
        Row(lookup, stored.throughput, "Starlette echo", echo.throughput, "/s", "≥ 0.5"),
        Row("  p99", stored.p99_ms, "Starlette echo", echo.p99_ms, "ms"),
    ]


def _ensure_published(workspace: Workspace) -> int:
    """Publish scores if no other benchmark did, and return how many there are."""
    with open_store(workspace.home) as store:
        run = store.current_run()
    if run is None:
        say(f"  publishing the scores of {workspace.n_customers:,} customers")
        run = publish(workspace, score_customers(workspace))
    return run.n_customers


def _score_body(number: int) -> bytes:
    rng = np.random.default_rng([SEED, number])
    days = np.sort(rng.integers(FIRST_DAY, CUTOFF_DAY, ORDERS_PER_REQUEST))
    amounts = rng.lognormal(3.3, 0.7, ORDERS_PER_REQUEST).round(2)
    orders = [
        {"ordered_at": to_date(int(day)).isoformat(), "amount": float(amount)}
        for day, amount in zip(days, amounts, strict=True)
    ]
    customers = [{"customer_id": f"r{number:08}", "orders": orders}]
    return json.dumps({"as_of": to_date(CUTOFF_DAY).isoformat(), "customers": customers}).encode()


def _stored_paths(n_stored: int) -> list[str]:
    """Name stored customers at random, so that reads go all over the store."""
    numbers = np.random.default_rng(SEED).integers(0, n_stored, _N_REQUESTS * CONNECTIONS)
    return [f"/v1/scores?customer_id=c{number:08}" for number in numbers]


@contextmanager
def _running_echo() -> Iterator[int]:
    command = [sys.executable, "-m", "tests.bench.echo"]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield int(child.stdout.readline())
        finally:
            child.terminate()
