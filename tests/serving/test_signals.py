import asyncio
import contextlib
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.callers import Told, build_request, call

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = 48
BODY = b'{"as_of":"1998-04-01","customers":[{"customer_id":"c","orders":[{"ordered_at":"1997-01-04","amount":29.33}]}]}'
SCORE = build_request("POST", "/v1/score", BODY)


@contextlib.contextmanager
def served(home: Path, *, workers: int = 1) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the service's command in a process of its own, and yield it and its base URL."""
    code = f"""
        import sys; from pathlib import Path; from serving.server import run_server
        ready = lambda url: print(url, flush=True)
        home = Path({str(home)!r})
        sys.exit(run_server(home, host="127.0.0.1", port=0, insecure_local=True, workers={workers}, on_ready=ready))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.terminate()


def end_under_load(home: Path, requests: list[bytes], *, workers: int = 1) -> Told:
    """Call a service from many connections, end it meanwhile, and return what the callers met."""
    with served(home, workers=workers) as (process, url):
        port = httpx.URL(url).port
        assert port is not None

        async def ended() -> Told:
            calls = asyncio.create_task(call(port, requests, connections=CONNECTIONS, seconds=20))
            await asyncio.sleep(1.0)
            process.send_signal(signal.SIGTERM)
            return await calls

        told = asyncio.run(ended())
        assert process.wait(timeout=30) == 0
    return told


def test_none_is_lost(champion_home: Path) -> None:
    """SIGTERM under load: whoever was heard gets a whole answer, and the next connection is refused."""
    body = (
        b'{"as_of":"1998-04-01","customers":[{"customer_id":"c","orders":[{"ordered_at":"1997-01-04","amount":29}]}]}'
    )
    requests = [build_request("POST", "/v1/score", body), build_request("GET", "/v1/openapi.json")]

    told = end_under_load(champion_home, requests)

    assert told.cut == []
    assert told.refused == CONNECTIONS
    assert 200 in told.statuses
    assert set(told.statuses) <= {200, 429}
    assert told.answers[-1].at > 1.0


def test_idle_connections(tmp_path: Path) -> None:
    """Callers that are silent do not keep the service from ending, and one that speaks in time is heard."""
    with served(tmp_path) as (process, url), httpx.Client(base_url=url) as client, httpx.Client(base_url=url) as idle:
        assert client.get("/livez").status_code == idle.get("/livez").status_code == 200
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        answer = client.get("/livez")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert process.wait(timeout=30) == 0
