"""How long the service takes to be ready, and what memory each of its workers holds, beside a bare echo."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from serving.server import running_server
from tests.bench.table import Row, say
from tests.bench.workspace import Workspace

WORKER = "_bentoml_impl.worker.service"

_ROOT = Path(__file__).resolve().parents[2]
_PROC = Path("/proc")


class Memory(NamedTuple):
    """What a process holds, in MiB: all that is resident, and its share of what processes hold together."""

    resident: float
    share: float


def run(workspace: Workspace) -> list[Row]:
    """Measure the start until the service is ready, and the memory of its workers."""
    if not (_PROC / "self" / "smaps_rollup").exists():
        say("  this system does not tell what processes hold")
        return []
    home = workspace.home
    echo_seconds, echo = _start_echo()
    rows = []
    for n_workers in (1, 2):
        start = time.perf_counter()
        with running_server(home, insecure_local=True, workers=n_workers):
            seconds = time.perf_counter() - start
            held = [read_memory(pid) for pid in _descendants(os.getpid()) if WORKER in _command(pid)]
        label = f"{n_workers} worker{'s' * (n_workers > 1)}"
        rows.append(Row(f"start to ready, {label}", seconds, "Starlette echo", echo_seconds, "s"))
        resident, share = (sum(values) / len(held) for values in zip(*held, strict=True))
        rows.append(Row("  resident, each", resident, "Starlette echo", echo.resident, "MiB"))
        rows.append(Row("  own share, each", share, "Starlette echo", echo.share, "MiB"))
    return rows


def read_memory(pid: int) -> Memory:
    """Read what a process holds."""
    lines = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    kib = {name.rstrip(":"): int(value) for name, value, *_ in map(str.split, lines)}
    return Memory(kib["Rss"] / 1024, kib["Pss"] / 1024)


def _start_echo() -> tuple[float, Memory]:
    start = time.perf_counter()
    command = [sys.executable, "-m", "tests.bench.echo"]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            _wait_until_heard(int(child.stdout.readline()))
            return time.perf_counter() - start, read_memory(child.pid)
        finally:
            child.terminate()


def _wait_until_heard(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return


def _descendants(pid: int) -> Iterator[int]:
    for tasks in (_PROC / str(pid) / "task").glob("*/children"):
        for child in map(int, tasks.read_text(encoding="ascii").split()):
            yield child
            yield from _descendants(child)


def _command(pid: int) -> str:
    return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
