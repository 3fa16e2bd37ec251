"""The embedded query engine: DuckDB in memory, spilling to disk, never reaching for the network."""

import atexit
import shutil
import tempfile
from pathlib import Path

import duckdb


def connect(*, memory_limit: str | None = None, threads: int = 0) -> duckdb.DuckDBPyConnection:
    """Open an empty in-memory database that spills to a temporary directory of its own.

    DuckDB creates the spill files when it needs them and removes them when the connection closes;
    what a crash of the database leaves behind is removed when the process exits.

    Args:
        memory_limit: The most memory the database may use, such as "2GB"; None for DuckDB's default.
        threads: How many it may run; 0 for one per core.
    """
    spill = Path(tempfile.mkdtemp(prefix="lifestage-"))
    atexit.register(shutil.rmtree, spill, ignore_errors=True)
    config: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": str(spill / "spill"),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    if threads:
        config["threads"] = threads
    if memory_limit is not None:
        config["memory_limit"] = memory_limit
    return duckdb.connect(":memory:", config=config)
