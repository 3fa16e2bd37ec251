"""The CDNOW purchase log that the lifetimes package carries: 23,570 customers of a music shop, 1997 to mid-1998.

The files are read without importing the package, whose `datasets` module needs a removed part of setuptools.
"""

from importlib.util import find_spec
from pathlib import Path

import polars as pl

from features.errors import SourceNotFoundError
from features.files import write_whole
from features.records import ORDER_SCHEMA

DEMO_SOURCE = "the demo's CDNOW log"


def write_cdnow_csv(folder: Path) -> Path:
    """Write the purchases as a clean CSV, `cdnow_orders.csv`, and return its path.

    A purchase's number in the log is its order id, so that two alike on one day stay two.

    Args:
        folder: Where to write; created if absent. A file of that name is replaced atomically.

    Raises:
        SourceNotFoundError: If the lifetimes package is not installed.
    """
    words = [line.split() for line in _dataset("CDNOW_master.txt").read_text(encoding="ascii").splitlines()[1:]]
    purchases = enumerate(filter(None, words), start=1)
    rows = [f"{number},{who},{_iso(day)},{amount}\n" for number, (who, day, _, amount) in purchases]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "cdnow_orders.csv"
    write_whole(target, "order_id,customer_id,ordered_at,amount\n" + "".join(rows))
    return target


def load_cdnow_sample() -> pl.DataFrame:
    """Load the published one-in-ten sample of 2,357 customers as validated orders. One row per order.

    Customers are named by their number in the sample, "0001" to "2357"; days are those of UTC.

    Raises:
        SourceNotFoundError: If the lifetimes package is not installed.
    """
    words = [line.split() for line in _dataset("CDNOW_sample.txt").read_text(encoding="ascii").splitlines()]
    customers, days, amounts = zip(*((w[1], w[2], w[4]) for w in words if w), strict=True)
    texts = pl.DataFrame({"customer_id": customers, "day": days, "amount": amounts})
    ordered_at = pl.col("day").str.to_datetime("%Y%m%d", time_unit="us")
    return texts.select(
        "customer_id",
        ordered_at=ordered_at,
        day=ordered_at.dt.epoch("d").cast(pl.Int64),
        amount_micros=(pl.col("amount").cast(pl.Decimal(18, 6)) * 1_000_000).cast(pl.Int64),
    ).cast(ORDER_SCHEMA)


def _dataset(name: str) -> Path:
    spec = find_spec("lifetimes")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [Path(folder) / "datasets" / name for folder in folders]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise SourceNotFoundError(
            f"The CDNOW log {name} is not here: it comes with the lifetimes package, which is not installed.",
            remedy="Install it with: pip install lifetimes.",
        )
    return found


def _iso(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}"
