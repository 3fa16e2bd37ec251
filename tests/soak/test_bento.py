import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from serving.environment import INSECURE_LOCAL_VARIABLE
from serving.state import open_state
from serving.telemetry.logs import FORMAT_VARIABLE
from tests.serving.local_client import build_client

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
BODY = {
    "as_of": "1998-04-01",
    "customers": [
        {"customer_id": f"c-{number}", "orders": [{"ordered_at": "1997-01-04", "amount": 10.0 + number}]}
        for number in range(5)
    ],
}
PATHS = ("/v1/model", "/v1/openapi.json", "/v1/stages", "/v1/at-risk", "/v1/scores?customer_id=x", "/readyz", "/")


@pytest.fixture
def ground() -> Iterator[Path]:
    """Make a folder that other users can enter."""
    folder = Path(tempfile.mkdtemp(prefix="lifestage-"))
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def bento(ground: Path) -> Path:
    """Build the Bento, and let nobody write into it."""
    environment = {**os.environ, "BENTOML_HOME": str(ground / "store"), "BENTOML_DO_NOT_TRACK": "True"}
    subprocess.run(
        [sys.executable, "-m", "bentoml", "build"], cwd=ROOT, env=environment, check=True, capture_output=True
    )
    [file] = (ground / "store" / "bentos").rglob("bento.yaml")
    lock(file.parent)
    return file.parent


def lock(folder: Path) -> None:
    """Let everybody read what is in a folder, and nobody write it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o444)


@contextmanager
def serving(bento: Path, home: Path, scratch: Path) -> Iterator[tuple[str, int]]:
    """Serve a Bento as another user, where we may be one, and yield its base URL and the id of its process."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "OMP_WAIT_POLICY"}},
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "BENTOML_HOME": str(scratch / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "LIFESTAGE_HOME": str(home),
        INSECURE_LOCAL_VARIABLE: "1",
        FORMAT_VARIABLE: "json",
    }
    command = [
        *without_rights(),
        sys.executable,
        "-B",
        "-m",
        "bentoml",
        "serve",
        str(bento),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with (
        (scratch / "log").open("wb") as log,
        subprocess.Popen(
            command,
            cwd=scratch,
            env=environment,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            wait(f"http://127.0.0.1:{port}", scratch / "log")
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()


def without_rights() -> list[str]:
    """Return what makes a command run as a user without rights: nobody, or root stripped of what makes it root."""
    if os.geteuid() != 0:
        return []
    stripped = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    nobody = [*stripped, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    starts_another = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
    tried = subprocess.run([*nobody, sys.executable, "-c", starts_another], capture_output=True, check=False)
    return stripped if tried.returncode else nobody


def wait(url: str, log: Path) -> None:
    """Wait until a service answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and "Traceback" not in log.read_text(encoding="utf-8"):
        try:
            if httpx.get(f"{url}/livez").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(log.read_text(encoding="utf-8"))


def test_same_answers(champion_home: Path, bento: Path, ground: Path) -> None:
    """The Bento, read-only and as a user without rights, answers byte for byte what the project's code answers."""
    home, scratch = ground / "home", ground / "scratch"
    shutil.copytree(champion_home, home)
    scratch.mkdir(mode=0o777)
    scratch.chmod(0o777)
    state = open_state({"LIFESTAGE_HOME": str(home), INSECURE_LOCAL_VARIABLE: "1"})
    ours = build_client(state)
    expected = [ours.post("/v1/score", json=BODY), *(ours.get(path) for path in PATHS)]
    state.store.close()
    lock(home)
    for path in (home, *home.glob("scores.db*")):
        path.chmod(0o777)  # SQLite writes beside its file
    with serving(bento, home, scratch) as (url, pid):
        found = [httpx.post(f"{url}/v1/score", json=BODY), *(httpx.get(f"{url}{path}") for path in PATHS)]
        workers = [Path(f"/proc/{child}/cwd").resolve() for child in children(pid)]
    assert [answer.status_code for answer in found] == [answer.status_code for answer in expected]
    assert [answer.content for answer in found] == [answer.content for answer in expected]
    assert bento / "src" in workers
    assert '"route":"/v1/score"' in (scratch / "log").read_text(encoding="utf-8")


def children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def test_own_modules(bento: Path, ground: Path) -> None:
    """What the Bento's service imports lies in the Bento."""
    code = f"""
import bentoml, sys
bentoml.load({str(bento)!r})
ours = [m.__file__ for n, m in sys.modules.items() if n.split(".")[0] in ("serving", "training", "features")]
assert ours and all(file.startswith({str(bento)!r}) for file in ours if file), ours
"""
    environment = {**os.environ, "BENTOML_HOME": str(ground / "other"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=ground, env=environment, check=True)
