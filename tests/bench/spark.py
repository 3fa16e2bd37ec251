"""The feature table on a Spark cluster of two workers, beside DuckDB: `python -m tests.bench.spark`.

A standalone master and two workers of one core and 2 GB each run on this machine's loopback for as long as it takes.
Both sides read the same Parquet file, and every value must be equal; of time, only the ratio is printed. It says what
a cluster costs where none is needed: both share one machine, and Spark plans and compiles anew for each query, so at
a million orders DuckDB takes about a tenth of the time. What a cluster gives is room for orders that one machine
cannot hold.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from socket import create_server
from threading import Timer
from typing import NoReturn

import httpx
import polars as pl

from features.engine import connect
from features.records import Records
from features.snapshot import Snapshot
from features.spark import connect_spark, read_records, write_records
from features.table import build_feature_table
from tests.bench.orders import CUTOFF_DAY, ORDERS_PER_CUSTOMER, generate_orders
from tests.bench.table import Row, print_table, race, say, timed

N_WORKERS = 2

_HOST = "127.0.0.1"
_ROUNDS = 2
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_SNAPSHOT = Snapshot(CUTOFF_DAY)
_SETTINGS = {
    "spark.driver.memory": "2g",
    "spark.executor.memory": "2g",
    "spark.cores.max": str(N_WORKERS),
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",  # no job begins before both workers are there
}


def main() -> None:
    """Run the race, print one line, and fail if a value differs."""
    asked = _parse()
    signal.signal(signal.SIGTERM, _leave)  # so that the cluster is stopped then too
    with tempfile.TemporaryDirectory(prefix="lifestage-bench-spark-") as folder:
        say(f"  generating about {asked.orders:,} orders")
        orders = generate_orders(asked.orders // ORDERS_PER_CUSTOMER)
        write_records(Records.wrap(orders), Path(folder, "records"))
        row, unequal = _race(
            Path(folder), f"feature table, {orders.height:,} orders", limit_seconds=asked.limit_seconds
        )
    print_table([row])
    if unequal:
        sys.exit(f"Spark and DuckDB differ in {', '.join(unequal)}.")
    print("All values are equal.")


def _race(folder: Path, work: str, *, limit_seconds: float) -> tuple[Row, list[str]]:
    records = folder / "records"
    with running_cluster(folder) as master, connect_spark(master=master, settings=_SETTINGS) as spark:
        deadline = Timer(limit_seconds, spark.sparkContext.cancelAllJobs)
        deadline.daemon = True
        deadline.start()
        say(f"  building it {_ROUNDS} times on {N_WORKERS} workers and on DuckDB, by turns")
        tables: dict[str, pl.DataFrame] = {}

        def on_spark() -> None:
            tables["spark"] = build_feature_table(read_records(spark, records), _SNAPSHOT)

        def on_duckdb() -> None:
            with connect() as connection:
                orders = connection.read_parquet(str(records / "orders.parquet"))
                tables["duckdb"] = build_feature_table(Records.wrap(orders), _SNAPSHOT)

        ours, theirs = race(timed(on_spark), timed(on_duckdb), rounds=_ROUNDS)
        deadline.cancel()
    return Row(work, ours, "DuckDB", theirs, "s"), _unequal(tables["spark"], tables["duckdb"])


def _unequal(table: pl.DataFrame, expected: pl.DataFrame) -> list[str]:
    if (table.schema, table.height) != (expected.schema, expected.height):
        return ["shape"]
    return [name for name in expected.columns if not table[name].equals(expected[name])]


@contextmanager
def running_cluster(folder: Path) -> Iterator[str]:
    """Run a master and its workers, reachable from this machine alone, and give the master's URL.

    Args:
        folder: Where they log and spill.
    """
    port, page = _free_port(), _free_port()
    master = f"spark://{_HOST}:{port}"
    with ExitStack() as stack:
        run = partial(_running, folder, stack)
        run("master.Master", "--port", str(port), "--webui-port", str(page))
        _wait_for_workers(page, 0)
        for number in range(N_WORKERS):
            place = folder / f"worker-{number}"
            run(
                "worker.Worker", "--cores", "1", "--memory", "2g", "--webui-port", "0", "--work-dir", str(place), master
            )
        _wait_for_workers(page, N_WORKERS)
        say(f"  {N_WORKERS} workers are up")
        yield master


def _running(folder: Path, stack: ExitStack, name: str, *arguments: str) -> None:
    """Start one of Spark's servers, in a process group of its own, to be stopped with the stack."""
    import pyspark

    script = Path(pyspark.__file__).parent / "bin" / "spark-class"
    own = {"SPARK_LOCAL_IP": _HOST, "SPARK_LOCAL_DIRS": str(folder / "spill"), "SPARK_DAEMON_MEMORY": "512m"}
    log = stack.enter_context((folder / f"{name}.log").open("ab"))
    process = subprocess.Popen(
        [script, f"org.apache.spark.deploy.{name}", "--host", _HOST, *arguments],
        stdout=log,
        stderr=log,
        env=os.environ | own,
        start_new_session=True,
    )
    stack.callback(_stop, process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a server and what it started, kindly first."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
            process.wait(_STOP_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _wait_for_workers(page: int, n_workers: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while _count_workers(page) < n_workers:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Spark's master has no {n_workers} workers after {_START_SECONDS:.0f} seconds.")
        time.sleep(0.2)


def _count_workers(page: int) -> int:
    """Return how many workers the master has, -1 while it is not up: its page is, a little before its answers are."""
    try:
        response = httpx.get(f"http://{_HOST}:{page}/json/", trust_env=False)
        return int(response.raise_for_status().json()["aliveworkers"])
    except (httpx.HTTPError, ValueError):
        return -1


def _free_port() -> int:
    with create_server((_HOST, 0)) as server:
        return int(server.getsockname()[1])


def _leave(signum: int, _frame: object) -> NoReturn:
    sys.exit(128 + signum)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.spark", description="Print a ratio; check all values.")
    parser.add_argument("--orders", type=int, default=1_000_000, help="orders, about (1,000,000)")
    parser.add_argument("--limit-seconds", type=float, default=900.0, help="cancel the cluster's work then (900)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
