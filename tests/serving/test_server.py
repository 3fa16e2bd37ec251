import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from features.errors import ServingError, SettingsError
from serving.server import log_path, run_server, running_server

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = ("mlflow", "lifetimes", "training.fitters", "training.labels", "training.train", "training.tracking")


def run_python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, at the root of the project."""
    environment = {**os.environ, **variables}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_import(tmp_path: Path) -> None:
    """Importing the service opens nothing, and loads neither MLflow nor lifetimes nor anything that learns."""
    result = run_python(
        "import json, sys, serving.service; print(json.dumps(sorted(sys.modules)))",
        LIFESTAGE_HOME=str(tmp_path / "home"),
        BENTOML_HOME=str(tmp_path / "bentoml"),
    )
    assert result.returncode == 0, result.stderr
    loaded = json.loads(result.stdout)
    assert "serving.service" in loaded
    assert [name for name in loaded if name.startswith(FORBIDDEN)] == []
    assert not (tmp_path / "home").exists()


def test_command_line_stays_light() -> None:
    """The module that starts the service does not load BentoML itself: the command line answers at once."""
    result = run_python("import sys, serving.server; print('bentoml' in sys.modules)")
    assert result.stdout.strip() == "False", result.stderr


def test_no_keys(tmp_path: Path) -> None:
    """Without a key, and without insecure-local, the service is not even started."""
    with pytest.raises(ServingError, match="lifestage keys"), running_server(tmp_path):
        pass
    assert not log_path(tmp_path).exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "shop.example"])  # noqa: S104  # refused
def test_insecure_local_host(tmp_path: Path, host: str) -> None:
    """Insecure-local refuses every address that another machine could reach."""
    with pytest.raises(SettingsError, match="other machines"):
        run_server(tmp_path, host=host, port=0, insecure_local=True)


@pytest.mark.slow
def test_start_up_fails(tmp_path: Path) -> None:
    """A service that cannot start is reported with the end of its log, and no process stays behind."""
    connection = sqlite3.connect(tmp_path / "scores.db")
    connection.execute("CREATE TABLE scores (customer_id TEXT)")
    connection.close()
    starting = running_server(tmp_path, insecure_local=True, start_seconds=20)
    with pytest.raises(ServingError, match="another version of Lifestage"), starting:
        pass


def test_wrong_settings(tmp_path: Path) -> None:
    """A mistake in the settings is told before anything is started."""
    config = tmp_path / "lifestage.toml"
    config.write_text("[serving]\nprot = 1\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"serving\.prot"):
        run_server(tmp_path, host="127.0.0.1", port=0, insecure_local=True, config=config)
    assert not log_path(tmp_path).exists()


@pytest.fixture(scope="module")
def empty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Run the command's function in a process of its own, over a home without a champion."""
    home = tmp_path_factory.mktemp("home")
    code = f"""
        import sys; from pathlib import Path; from serving.server import run_server
        ready = lambda url: print(url, flush=True)
        sys.exit(run_server(Path({str(home)!r}), host="localhost", port=0, insecure_local=True, on_ready=ready))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        yield url, home
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/livez")


@pytest.mark.slow
def test_over_http(empty_server: tuple[str, Path]) -> None:
    """Over a real socket, whatever goes wrong, BentoML's own answers included, is a problem."""
    url, _ = empty_server
    assert httpx.get(f"{url}/livez").status_code == 200
    for method, path, status in [
        ("GET", "/readyz", 503),
        ("GET", "/v1/stages", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/schema.json", 404),
        ("GET", "/docs.json", 404),
        ("GET", "/static_content/index.html", 404),
        ("POST", "/", 405),
        ("POST", "/metrics", 405),
        ("POST", "/v1/score", 415),
    ]:
        answer = httpx.request(method, f"{url}{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), path
        assert answer.json()["status"] == status


@pytest.mark.slow
def test_home_page(empty_server: tuple[str, Path]) -> None:
    """The root is our page, not BentoML's."""
    answer = httpx.get(empty_server[0])
    assert "No scores yet" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.slow
def test_no_customer_data(empty_server: tuple[str, Path]) -> None:
    """What callers send, in a query, a path or a body, is found neither in the log nor in the metrics."""
    url, home = empty_server
    sent = "alice@example.org"
    httpx.get(f"{url}/v1/scores", params={"customer_id": sent})
    httpx.get(f"{url}/v1/scores/{sent}")
    httpx.get(f"{url}/metrics/{sent}")
    httpx.post(f"{url}/v1/score", json={sent: sent, "as_of": sent})

    metrics = httpx.get(f"{url}/metrics")

    assert metrics.headers["content-type"].startswith("text/plain")
    assert 'route="/v1/scores"' in metrics.text
    assert "alice" not in metrics.text
    assert "alice" not in log_path(home).read_text(encoding="utf-8")


@pytest.mark.slow
def test_port_is_taken(empty_server: tuple[str, Path], tmp_path: Path) -> None:
    """A port that is taken is refused at once, not answered for by whoever holds it."""
    port = httpx.URL(empty_server[0]).port
    assert port is not None
    with pytest.raises(ServingError, match="cannot listen"):
        run_server(tmp_path, host="127.0.0.1", port=port, insecure_local=True)
