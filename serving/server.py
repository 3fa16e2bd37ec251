"""The server process: BentoML, started as a child, watched until it answers, ended cleanly."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from features.errors import ServingError, SettingsError
from features.settings import load_settings
from serving.access.addresses import is_loopback
from serving.access.keys import require_keys
from serving.access.scopes import LIVE_PATH, READY_PATH
from serving.access.tls import Tls
from serving.environment import CONFIG_VARIABLE, HOME_VARIABLE, INSECURE_LOCAL_VARIABLE, WORKERS_VARIABLE
from serving.log_file import LogFile, LogKeeper
from serving.telemetry.logs import FORMAT_VARIABLE
from serving.wording import build_wording

START_SECONDS = 120.0
STOP_SECONDS = 75.0  # the longest answer, and a worker's farewell to idle connections

_POLL_SECONDS = 0.1


def server_command(*, host: str, port: int, tls: Tls | None = None) -> list[str]:
    """Build the command that starts the service."""
    options = ["--host", host, "--port", str(port), "--working-dir", str(_root())]
    if tls is not None:
        options += ["--ssl-certfile", str(tls.certificate), "--ssl-keyfile", str(tls.key)]
    return [sys.executable, "-m", "bentoml", "serve", "serving.service:LifestageService", *options]


def server_environment(
    *, home: Path, config: Path | None, insecure_local: bool, workers: int, bentoml_home: Path
) -> dict[str, str]:
    """Build the environment of the service."""
    environment = {
        **os.environ,
        HOME_VARIABLE: str(home.absolute()),
        INSECURE_LOCAL_VARIABLE: "1" if insecure_local else "0",
        WORKERS_VARIABLE: str(workers),
        FORMAT_VARIABLE: "json",
        "BENTOML_HOME": str(bentoml_home),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    environment.pop(CONFIG_VARIABLE, None)
    return environment if config is None else {**environment, CONFIG_VARIABLE: str(config.absolute())}


def run_server(
    home: Path,
    *,
    host: str,
    port: int,
    insecure_local: bool = False,
    config: Path | None = None,
    workers: int = 1,
    tls: Tls | None = None,
    on_ready: Callable[[str], object] | None = None,
) -> int:
    """Run the service until it ends or is told to, and return its exit code.

    Args:
        home: The home folder; the log is in its logs/serve.log.
        host: The address to listen on.
        port: The port to listen on; 0 picks a free one.
        insecure_local: Whether to answer without keys, to this machine alone.
        config: A settings file.
        workers: Processes that answer.
        tls: Certificate and key, to answer by https; None for plain http.
        on_ready: Called with the base URL once the service answers.

    Raises:
        SettingsError: If the settings are wrong, or insecure_local is asked for on an address that others can reach.
        ServingError: If there are no keys, or the service does not start.
    """
    signal.signal(signal.SIGTERM, _exit)
    with _started(
        home, host=host, port=port, insecure_local=insecure_local, config=config, workers=workers, tls=tls
    ) as running:
        _wait_until(f"{running.url}{LIVE_PATH}", running)
        if on_ready is not None:
            on_ready(running.url)
        try:
            return running.child.wait()
        except (KeyboardInterrupt, SystemExit):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # who repeats it does not end the wait for callers
            return 0


@contextmanager
def running_server(
    home: Path,
    *,
    insecure_local: bool = False,
    config: Path | None = None,
    workers: int = 1,
    start_seconds: float = START_SECONDS,
) -> Iterator[str]:
    """Run the service on a free port of this machine for the length of a block, and yield its base URL.

    Raises:
        SettingsError: If the settings are wrong.
        ServingError: If there are no keys, or the service is not ready in time; the end of its log follows.
    """
    local = "127.0.0.1"
    with _started(home, host=local, port=0, insecure_local=insecure_local, config=config, workers=workers) as running:
        _wait_until(f"{running.url}{READY_PATH}", running, start_seconds=start_seconds)
        yield running.url


def log_path(home: Path) -> Path:
    """Return where the service writes its log."""
    return home / "logs" / "serve.log"


@dataclass(frozen=True, slots=True)
class _Running:
    """A service that was started."""

    child: subprocess.Popen[bytes]
    url: str
    keeper: LogKeeper
    log: Path


@contextmanager
def _started(
    home: Path,
    *,
    host: str,
    port: int,
    insecure_local: bool,
    config: Path | None,
    workers: int,
    tls: Tls | None = None,
) -> Iterator[_Running]:
    _check_home(home)
    _check_exposure(home, host=host, insecure_local=insecure_local)
    build_wording(load_settings(config).lifecycle)  # a mistake in it is better told here than in the child's log
    address = "127.0.0.1" if host == "localhost" else host  # BentoML takes addresses only
    chosen_port = _free_port(address, port)
    with _bentoml_home(home) as bentoml_home:
        environment = server_environment(
            home=home, config=config, insecure_local=insecure_local, workers=workers, bentoml_home=bentoml_home
        )
        child = subprocess.Popen(  # noqa: S603  # our own command, without a shell
            server_command(host=address, port=chosen_port, tls=tls),
            env=environment,
            cwd=_root(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert child.stdout is not None  # noqa: S101  # tells mypy what PIPE means
        keeper = LogKeeper(child.stdout, LogFile(log_path(home)))
        try:
            scheme = "http" if tls is None else "https"
            yield _Running(child, f"{scheme}://{_reachable(address)}:{chosen_port}", keeper, log_path(home))
        finally:
            _stop(child)
            keeper.finish()


@contextmanager
def _bentoml_home(home: Path) -> Iterator[Path]:
    """Yield a folder for BentoML's own files: in the home, or a passing one where that cannot be written."""
    folder = home.absolute() / "bentoml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_ours = os.access(folder, os.W_OK)
    except OSError:
        is_ours = False
    if is_ours:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="lifestage-") as passing:
        yield Path(passing)


def _check_home(home: Path) -> None:
    if home.exists() and not home.is_dir():  # the child would be started again and again, for START_SECONDS
        raise SettingsError(f"The home {home} is not a folder.", remedy="Give another --home, or move that file away.")


def _check_exposure(home: Path, *, host: str, insecure_local: bool) -> None:
    if not insecure_local:
        require_keys(home)
    elif not is_loopback(host):
        raise SettingsError(
            f"--insecure-local answers without a key, but {host} can be reached from other machines.",
            remedy="Use --host 127.0.0.1, or create a key with lifestage keys NAME and drop --insecure-local.",
        )


def _wait_until(url: str, running: _Running, start_seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + start_seconds
    while time.monotonic() < deadline:
        if running.child.poll() is not None:
            raise _not_started(f"The service ended with code {running.child.returncode}", running)
        if _answers(url):
            return
        time.sleep(_POLL_SECONDS)
    _stop(running.child)
    raise _not_started(f"The service was not ready after {start_seconds:g} seconds", running)


def _answers(url: str) -> bool:
    try:
        # Our own child, by an address of this machine that no certificate names.
        with urllib.request.urlopen(url, timeout=5, context=ssl._create_unverified_context()) as response:  # noqa: S310, S323
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False


def _not_started(what: str, running: _Running) -> ServingError:
    tail = "\n".join(running.keeper.finish())
    return ServingError(f"{what}; its log {running.log} ends with:\n{tail}\n", remedy="Correct what the log names.")


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End the child and, if it does not heed, the process group that it leads."""
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _free_port(address: str, wanted: int) -> int:
    """Return the wanted port, or any free one for 0; a port that is taken could answer in the child's place."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, wanted))
        except OSError as error:
            raise ServingError(
                f"The service cannot listen on {address}:{wanted}: {error.strerror}.",
                remedy="Choose another --port or --host, or end what listens there.",
            ) from None
        return int(probe.getsockname()[1])


def _reachable(address: str) -> str:
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104  # compared with, not bound to
    return f"[{local}]" if ":" in local else local


def _exit(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _root() -> Path:
    return Path(__file__).resolve().parent.parent
