"""The feature table against lifetimes' summary of the same orders, each in a fresh process."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from features.catalogue import supported
from features.table import FEATURES
from tests.bench.table import ROUNDS, Row, race, say
from tests.bench.workspace import Workspace

BASE_ORDERS = 1_000_000
MAX_PEAK_MIB = 2048.0

_ROOT = Path(__file__).resolve().parents[2]
_N_CHOSEN = 40  # of the catalogue, from its beginning: what a model of its own choice may read


@dataclass(slots=True)
class Side:
    """One way to summarise a file of orders.

    Args:
        name: As `tests.bench.child` knows it.
        orders: The Parquet file.
        memory_limit: Cap of the query engine, for ours.
        n_features: How many, for ours; None for all that orders alone support.
        peak_mib: The highest memory of any run so far.
    """

    name: Literal["ours", "lifetimes"]
    orders: Path
    memory_limit: str | None = None
    n_features: int | None = None
    peak_mib: float = 0.0

    def run(self) -> float:
        """Run it in a process of its own, and return the seconds that it took there."""
        values = (self.orders, self.memory_limit or "", self.n_features or "")
        command = [sys.executable, "-m", "tests.bench.child", self.name, *map(str, values)]
        done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True)
        measured = json.loads(done.stdout)
        self.peak_mib = max(self.peak_mib, measured["peak_mib"])
        say(f"  {self.name}: {measured['seconds']:.2f} s, {measured['peak_mib']:,.0f} MiB at its peak")
        return float(measured["seconds"])


def run(workspace: Workspace) -> list[Row]:
    """Measure time and memory, and above a million orders how both grow."""
    n = workspace.n_orders
    ours = Side("ours", workspace.order_file(n), workspace.memory_limit)
    chosen = replace(ours, n_features=_N_CHOSEN)
    lifetimes = Side("lifetimes", ours.orders)
    seconds_chosen, theirs = race(chosen.run, lifetimes.run)
    seconds = min(ours.run() for _ in range(ROUNDS))
    n_features = len(supported(FEATURES, frozenset()))  # the file holds orders alone
    rows = [
        Row(f"{_N_CHOSEN} features, {n:,} orders", seconds_chosen, "lifetimes summary", theirs, "s", "≤ 0.25"),
        Row(f"{n_features} features, {n:,} orders", seconds, "lifetimes summary", theirs, "s"),
        Row("  peak memory", ours.peak_mib, "2 GiB", MAX_PEAK_MIB, "MiB", "≤ 1"),
        Row("  peak memory", ours.peak_mib, "lifetimes summary", lifetimes.peak_mib, "MiB"),
    ]
    return rows if n <= BASE_ORDERS else [*rows, *_growth(workspace, ours, seconds)]


def _growth(workspace: Workspace, ours: Side, seconds: float) -> list[Row]:
    base = Side("ours", workspace.order_file(BASE_ORDERS), workspace.memory_limit)
    base_seconds = min(base.run() for _ in range(ROUNDS))
    times = workspace.n_orders / BASE_ORDERS
    return [
        Row("  growth of time", seconds, f"ours at {BASE_ORDERS:,}", base_seconds, "s", f"≤ {1.1 * times:.3g}"),
        Row("  growth of memory", ours.peak_mib, f"ours at {BASE_ORDERS:,}", base.peak_mib, "MiB", "≤ 1.3 beyond cap"),
    ]
