"""Publishers that are killed in the middle of their work, while others read."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from serving.store.score_store import AtRiskFilters, RunInfo, ScoreStore
from tests.serving.score_rows import build_frame, build_row
from tests.serving.store.databases import ask
from tests.serving.store.publisher import DONE, LASTING, WRITING

KEEP_RUNS = 2
EVERYBODY = AtRiskFilters(min_p_churn=0.0)  # counts the rows themselves

_ROOT = Path(__file__).resolve().parents[3]
_SIZES = {"a": 8_000, "b": 6_000}  # a run of one size is never taken for one of the other


def build_scores(version: str) -> pl.DataFrame:
    """Build the scores that a version publishes; its first letter says how many."""
    count = _SIZES[version[0]]
    one = build_frame(build_row("c", model_version=version, historic_value=1.0))
    return one[np.zeros(count, np.int64)].with_columns(
        pl.format("c{}", pl.int_range(count)).alias("customer_id"),
        (pl.int_range(count) % 997).cast(pl.Float64).alias("value_at_risk"),
    )


def publish(url: str, version: str) -> RunInfo:
    """Publish a version."""
    with ScoreStore.open(url) as store:
        return store.publish(build_scores(version), published_at=datetime(2026, 1, 1, tzinfo=UTC), keep_runs=KEEP_RUNS)


def kill_publishers(url: str, folder: Path, *, times: int) -> None:
    """Kill a publisher again and again, at any moment while it writes rows; then let one end. Somebody reads meanwhile.

    Whatever is read, at any time, is the run before or the new one, whole. Most are killed before their rows last.
    """
    moments, n_inside = np.random.default_rng(times), 0
    file = folder / "scores.parquet"
    build_scores("a-timed").write_parquet(file)
    seconds = _time_writing(url, file)
    with _reading(url):
        for i in range(times):
            build_scores(f"{'ba'[i % 2]}-{i + 1}").write_parquet(file)
            n_inside += _kill(url, file, after_seconds=seconds * moments.uniform(0.0, 0.6))
            assert_whole(url)
        publish(url, "b-last")
    assert n_inside > times / 2
    assert_whole(url)
    with ScoreStore.open(url) as store:
        assert _read_once(store) == "b-last"


def assert_whole(url: str) -> None:
    """Look past the store: no rows of a run that was never published, none missing of those that were."""
    assert ask(url, "SELECT count(*) FROM scores WHERE run_id > (SELECT run_id FROM published)") == 0
    assert ask(url, "SELECT count(*) FROM runs") <= KEEP_RUNS
    torn = "SELECT count(*) FROM runs WHERE n_customers <> (SELECT count(*) FROM scores WHERE run_id = runs.run_id)"
    assert ask(url, torn) == 0


def _time_writing(url: str, file: Path) -> float:
    """Return the seconds for which a publisher writes rows that do not last yet."""
    with _publisher(url, file) as child:
        words = _words(child)
        assert next(words) == WRITING
        start = time.monotonic()
        assert next(words) == LASTING
        seconds = time.monotonic() - start
        assert DONE in set(words)
    return seconds


def _kill(url: str, file: Path, *, after_seconds: float) -> bool:
    """Kill a publisher so long after it began to write rows; tell whether they did not last yet."""
    with _publisher(url, file) as child:
        words = _words(child)
        assert next(words) == WRITING
        time.sleep(after_seconds)
        child.kill()
        return LASTING not in set(words)


def _publisher(url: str, file: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.serving.store.publisher", url, str(file), str(KEEP_RUNS)]
    return subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True)


def _words(child: subprocess.Popen[str]) -> Iterator[str]:
    """Yield what a publisher says, also what it said before it was killed."""
    assert child.stdout is not None
    yield from (line.rstrip("\n") for line in child.stdout)


@contextmanager
def _reading(url: str) -> Iterator[None]:
    """Read in another thread all the while; a torn run fails in the end."""
    failures: list[BaseException] = []
    is_done = threading.Event()

    def read() -> None:
        try:
            with ScoreStore.open(url) as store:
                while not is_done.is_set():
                    _read_once(store)
                    time.sleep(0.01)
        except BaseException as error:  # noqa: BLE001  # told by the thread that waits
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join()
    assert failures == []


def _read_once(store: ScoreStore) -> str:
    with store.at_one_moment() as held:
        run = held.current_run()
        assert run is not None
        size = _SIZES[run.model_version[0]]
        assert run.n_customers == size
        assert held.count(run, filters=EVERYBODY) == size
        assert held.totals(run)["historic_value"].sum() == size
    current = store.get_current("c5999")
    assert current is not None
    (now, row) = current
    assert row is not None
    assert row["model_version"] == now.model_version
    return now.model_version
