"""Benchmarks: our time, memory and throughput beside those of what we measure ourselves against, in the same run.

    make bench                                        all of them, in a few minutes
    make bench ARGS="--only features --orders 10000000"
    make bench ARGS="--help"

How to read it. Every line of the table is one ratio, ours ÷ theirs, with the target beside it; nothing is judged, and
the exit code is 0 unless something broke. Both sides work on the same generated data (fixed seed), on this machine,
one right after the other, and the fastest of a few rounds counts: so a ratio can be compared between machines, while
seconds cannot. Only a machine that does nothing else gives ratios worth quoting.

    features   Forty features of one cutoff, then all that orders alone support, against lifetimes'
               `summary_data_from_transaction_data` (4 columns). Both read the same Parquet file, each in a fresh
               process; peak memory is that of the whole process. Above a million orders, ours is also
               compared with itself at a million.
    process    BG/NBD, MBG/NBD and Pareto/NBD fits and 12-month discounted value against lifetimes, given one row per
               customer as its users do; a fit of counted cells against that of rows; and what all other outputs of
               the value engine add. Log-likelihoods by the same formula.
    scoring    From order file to published scores against the bare LightGBM predictions of the same rows.
    store      Publication to SQLite and to PostgreSQL against the driver's own bulk load of the same rows into a table
               without any index; a score by its id, and pages of the list, against bare reads of as many rows by
               their key.
    http       32 connections, each with one request under way, against a bare Starlette that echoes the scoring
               request's body, in one process; ours with one worker (w.), and with one per core. The client shares
               the machine: a "client busy" near 100 % means that it, not the server, set the limit, and the ratio
               flatters us.
    startup    From the command to readiness, and what each worker holds in memory: all that is resident, and its own
               share of it (Linux), beside the bare Starlette.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from features.settings import load_settings
from tests.bench import feature_table, purchase_process, scoring, service, startup, store
from tests.bench.table import Row, print_table, say
from tests.bench.workspace import Workspace

BENCHMARKS: dict[str, Callable[[Workspace], list[Row]]] = {
    "features": feature_table.run,
    "process": purchase_process.run,
    "scoring": scoring.run,
    "store": store.run,
    "http": service.run,
    "startup": startup.run,
}


def main() -> None:
    """Run the benchmarks that were asked for, and print one table."""
    asked = _parse()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="lifestage-bench-") as folder:
        workspace = Workspace(
            Path(folder),
            n_orders=asked.orders,
            n_customers=asked.customers,
            seconds=asked.seconds,
            memory_limit=asked.memory_limit,
        )
        try:
            for name in [asked.only] if asked.only else BENCHMARKS:
                say(f"{name}:")
                rows += BENCHMARKS[name](workspace)
        finally:
            print_table(rows)  # what was measured is worth seeing when a later benchmark breaks


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Print ratios beside their targets.")
    parser.add_argument("--only", choices=BENCHMARKS, help="run one benchmark")
    parser.add_argument("--orders", type=_count, default=1_000_000, help="orders of the feature table (1,000,000)")
    parser.add_argument("--customers", type=_count, default=200_000, help="customers of the others (200,000)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each HTTP measurement (5)")
    parser.add_argument(
        "--memory-limit",
        default=load_settings().engine.memory_limit,
        help="cap of the query engine for the feature table (as in the settings)",
    )
    return parser.parse_args()


def _count(text: str) -> int:
    count = int(text.replace(",", "").replace("_", ""))
    if not 10_000 <= count <= 10_000_000:
        raise argparse.ArgumentTypeError(f"{count} is not between 10,000 and 10,000,000")
    return count


if __name__ == "__main__":
    main()
