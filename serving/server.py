"""The server process: BentoML, started as a child, watched until it answers, ended cleanly."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from features.errors import ServingError, SettingsError
from features.settings import load_settings
from serving.guards import is_loopback
from serving.state import CONFIG_VARIABLE, HOME_VARIABLE, INSECURE_LOCAL_VARIABLE, require_keys
from serving.wording import build_wording

START_SECONDS = 120.0
STOP_SECONDS = 20.0

_POLL_SECONDS = 0.1
_LOG_TAIL_LINES = 20


def server_command(*, host: str, port: int) -> list[str]:
    """Build the command that starts the service."""
    options = ["--host", host, "--port", str(port), "--working-dir", str(_root())]
    return [sys.executable, "-m", "bentoml", "serve", "serving.service:LifestageService", *options]


def server_environment(*, home: Path, config: Path | None, insecure_local: bool) -> dict[str, str]:
    """Build the environment of the service; BentoML's own files stay in the home folder too."""
    environment = {
        **os.environ,
        HOME_VARIABLE: str(home.absolute()),
        INSECURE_LOCAL_VARIABLE: "1" if insecure_local else "0",
        "BENTOML_HOME": str(home.absolute() / "bentoml"),
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
    on_ready: Callable[[str], object] | None = None,
) -> int:
    """Run the service until it ends or is told to, and return its exit code.

    Args:
        home: The home folder; the log is in its logs/serve.log.
        host: The address to listen on.
        port: The port to listen on; 0 picks a free one.
        insecure_local: Whether to answer without keys, to this machine alone.
        config: A settings file.
        on_ready: Called with the base URL once the service answers.

    Raises:
        SettingsError: If the settings are wrong, or insecure_local is asked for on an address that others can reach.
        ServingError: If there are no keys, or the service does not start.
    """
    signal.signal(signal.SIGTERM, _exit)
    with _started(home, host=host, port=port, insecure_local=insecure_local, config=config) as (child, url):
        _wait_until(f"{url}/livez", child, home)
        if on_ready is not None:
            on_ready(url)
        try:
            return child.wait()
        except (KeyboardInterrupt, SystemExit):
            return 0


@contextmanager
def running_server(
    home: Path, *, insecure_local: bool = False, config: Path | None = None, start_seconds: float = START_SECONDS
) -> Iterator[str]:
    """Run the service on a free port of this machine for the length of a block, and yield its base URL.

    Raises:
        SettingsError: If the settings are wrong.
        ServingError: If there are no keys, or the service is not ready in time; the end of its log follows.
    """
    with _started(home, host="127.0.0.1", port=0, insecure_local=insecure_local, config=config) as (child, url):
        _wait_until(f"{url}/readyz", child, home, start_seconds=start_seconds)
        yield url


def log_path(home: Path) -> Path:
    """Return where the service writes its log."""
    return home / "logs" / "serve.log"


@contextmanager
def _started(
    home: Path, *, host: str, port: int, insecure_local: bool, config: Path | None
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    _check_exposure(home, host=host, insecure_local=insecure_local)
    build_wording(load_settings(config).lifecycle)  # a mistake in it is better told here than in the child's log
    address = "127.0.0.1" if host == "localhost" else host  # BentoML takes addresses only
    chosen_port = _free_port(address, port)
    log_path(home).parent.mkdir(parents=True, exist_ok=True)
    with log_path(home).open("ab") as log:
        child = subprocess.Popen(  # noqa: S603  # our own command, without a shell
            server_command(host=address, port=chosen_port),
            env=server_environment(home=home, config=config, insecure_local=insecure_local),
            cwd=_root(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield child, f"http://{_reachable(address)}:{chosen_port}"
    finally:
        _stop(child)


def _check_exposure(home: Path, *, host: str, insecure_local: bool) -> None:
    if not insecure_local:
        require_keys(home)
    elif not is_loopback(host):
        raise SettingsError(
            f"--insecure-local answers without a key, but {host} can be reached from other machines.",
            remedy="Use --host 127.0.0.1, or create a key with lifestage keys NAME and drop --insecure-local.",
        )


def _wait_until(url: str, child: subprocess.Popen[bytes], home: Path, start_seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + start_seconds
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise _not_started(f"The service ended with code {child.returncode}", home)
        if _answers(url):
            return
        time.sleep(_POLL_SECONDS)
    raise _not_started(f"The service was not ready after {start_seconds:g} seconds", home)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310  # our own http address
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False


def _not_started(what: str, home: Path) -> ServingError:
    lines = log_path(home).read_text(encoding="utf-8", errors="replace").splitlines()
    tail = "\n".join(lines[-_LOG_TAIL_LINES:])
    return ServingError(f"{what}; its log {log_path(home)} ends with:\n{tail}\n", remedy="Correct what the log names.")


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
