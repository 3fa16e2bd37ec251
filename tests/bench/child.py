"""One measured piece of work in a process of its own: `python -m tests.bench.child ours|lifetimes FILE LIMIT N`."""

import json
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from tests.bench.orders import CUTOFF_DAY


def build_ours(path: Path, memory_limit: str | None, n_features: int | None) -> Callable[[], object]:
    """Prepare our feature table over a file of orders: all features that it supports, or the first so many."""
    from features.catalogue import supported
    from features.engine import connect
    from features.records import Records
    from features.snapshot import Snapshot
    from features.table import FEATURES, build_feature_table

    features = None if n_features is None else supported(FEATURES, frozenset())[:n_features]

    def build() -> object:
        with connect(memory_limit=memory_limit) as connection:
            records = Records.wrap(connection.read_parquet(str(path)))
            return build_feature_table(records, Snapshot(CUTOFF_DAY), features=features)

    return build


def build_lifetimes(path: Path) -> Callable[[], object]:
    """Prepare lifetimes' summary of the same file."""
    warnings.simplefilter("ignore")
    import pandas as pd
    from lifetimes.utils import summary_data_from_transaction_data

    end = pd.Timestamp(CUTOFF_DAY, unit="D")
    columns = ("customer_id", "ordered_at", "amount")

    def build() -> object:
        orders = pd.read_parquet(path, columns=["customer_id", "ordered_at", "amount_micros"])
        orders["amount"] = orders.pop("amount_micros") / 1e6
        return summary_data_from_transaction_data(orders, *columns, observation_period_end=end)

    return build


def peak_mib() -> float:
    """Return the peak resident memory of this process.

    Linux counts the parent's memory in a child's `ru_maxrss`, because the child begins as its copy.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Do the work, and print what it took."""
    name, path, limit, n_features = sys.argv[1:]
    if name == "ours":
        work = build_ours(Path(path), limit or None, int(n_features) if n_features else None)
    else:
        work = build_lifetimes(Path(path))
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
