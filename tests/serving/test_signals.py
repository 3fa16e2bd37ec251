import asyncio
import contextlib
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
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
        told, _ = end(process, url, requests)
    return told


def end(
    process: subprocess.Popen[str], url: str, requests: list[bytes], late: Callable[[], httpx.Response] | None = None
) -> tuple[Told, httpx.Response | None]:
    """End a service amid many callers, call once more half a second later, and return what each of them met."""
    port = httpx.URL(url).port
    assert port is not None

    async def ended() -> tuple[Told, httpx.Response | None]:
        calls = asyncio.create_task(call(port, requests, connections=CONNECTIONS, seconds=20))
        await asyncio.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        answer = None if late is None else await asyncio.to_thread(late)
        return await calls, answer

    met = asyncio.run(ended())
    assert process.wait(timeout=30) == 0
    return met


@pytest.fixture(scope="module")
def met(champion_home: Path) -> tuple[Told, httpx.Response | None]:
    """What many callers met whose service was ended, and one that had been silent; another stayed silent."""
    requests = [SCORE, build_request("GET", "/v1/openapi.json")]
    with (
        served(champion_home) as (process, url),
        httpx.Client(base_url=url, timeout=30) as client,
        httpx.Client(base_url=url) as idle,
    ):
        assert client.get("/livez").status_code == idle.get("/livez").status_code == 200
        return end(process, url, requests, late=lambda: client.get("/livez"))


def test_none_is_lost(met: tuple[Told, httpx.Response | None]) -> None:
    """SIGTERM under load: whoever was heard gets a whole answer, and the next connection is refused."""
    told, _ = met
    assert told.cut == []
    assert told.refused == CONNECTIONS
    assert 200 in told.statuses
    assert set(told.statuses) <= {200, 429}
    assert told.answers[-1].at > 1.0


def test_idle_connections(met: tuple[Told, httpx.Response | None]) -> None:
    """Callers that are silent do not keep the service from ending, and one that speaks in time is heard."""
    _, answer = met
    assert answer is not None
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
