"""What was deleted, out of the files of the database too: its log, and pages that still hold a copy.

Whether a page still holds a copy of `c-1` cannot be seen where it is found: it may be a part of `c-10`, and cells stand
side by side without anything between them. But each cell stands in the table and once in each index that it belongs to.
What is found more often than the living cells account for is a copy.
"""

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

_WAIT_MS = 5000
# Where short texts stand, and how often: a table without rowids is its own first index. Long ones may be cut by a page.
_HOLDERS = (
    ("scores", "customer_id", 2),
    ("prospects", "person_id", 2),
    ("objections", "customer_id", 1),
    ("tombstones", "id_hash", 1),
    ("writes", "key_hash", 1),
    ("writes", "request_hash", 1),
    ("runs", "model_version", 1),
    ("runs", "catalogue_hash", 1),
)
_COUNT = """
import sys
what, kept, count = sys.stdin.buffer.read(), b"", 0
with open(sys.argv[1], "rb") as file:
    while part := file.read(1 << 22):
        kept += part
        count += kept.count(what)
        kept = kept[max(len(kept) - len(what) + 1, 0):]
print(count)
"""


def scrub(engine: Engine, customer_id: str) -> bool | None:
    """Make sure that the files of a database hold nothing any more of a customer whose rows were deleted.

    Returns:
        Whether they do not; False where others were reading for so long that it must be repeated, or the files
        could not be looked through; None on a database server, whose files are its administrator's.
    """
    if engine.dialect.name != "sqlite":
        return None
    pooled = engine.raw_connection()
    try:
        driver: Any = pooled.driver_connection
        driver.execute(f"PRAGMA busy_timeout = {_WAIT_MS}")
        return _scrub_sqlite(driver, customer_id)
    finally:
        pooled.invalidate()  # its time-out is not that of the others
        pooled.close()


def _scrub_sqlite(driver: sqlite3.Connection, customer_id: str) -> bool:
    """Bring the log into the file and empty it; rebuild the file where old pages still hold the id."""
    [(_, _, file)] = [row for row in driver.execute("PRAGMA database_list") if row[1] == "main"]
    try:
        is_clean = _empty_log(driver)
        if is_clean and _has_copies(driver, Path(file), customer_id):
            driver.execute("VACUUM")
            is_clean = _empty_log(driver)
    except (sqlite3.OperationalError, OSError, subprocess.SubprocessError):  # locked too long; no look was possible
        return False
    return is_clean


def _empty_log(driver: sqlite3.Connection) -> bool:
    [(busy, _, _)] = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return not busy


def _has_copies(driver: sqlite3.Connection, file: Path, customer_id: str) -> bool:
    """Tell whether the file holds an id more often than its living cells do, as part of longer ids."""
    driver.execute("BEGIN")
    try:
        driver.execute("SELECT 1 FROM runs").fetchone()  # from here on no later change comes from the log to the file
        found = _count(file, customer_id.encode("utf-8", errors="surrogatepass"))
        if not found or file.with_name(f"{file.name}-wal").stat().st_size:
            return bool(found)  # what others have just written is not in the file that was looked through
        living = sum(places * _count_living(driver, table, column, customer_id) for table, column, places in _HOLDERS)
        return found > living
    finally:
        driver.execute("ROLLBACK")


def _count_living(driver: sqlite3.Connection, table: str, column: str, customer_id: str) -> int:
    times = f"(length({column}) - length(replace({column}, ?1, ''))) / length(?1)"
    query = f"SELECT total({times}) FROM {table} WHERE instr({column}, ?1)"  # noqa: S608  # names of our own tables
    return int(driver.execute(query, (customer_id,)).fetchone()[0])


def _count(path: Path, what: bytes) -> int:
    """Count the places where a file holds some bytes, by the eyes of another process.

    Who opens and closes the file of a database loses all locks that its process has on it (sqlite.org/howtocorrupt).
    """
    counted = subprocess.run(  # noqa: S603  # our own interpreter, without a shell; what is sought goes by stdin
        [sys.executable, "-I", "-S", "-c", _COUNT, str(path)], input=what, check=True, capture_output=True
    )
    return int(counted.stdout)
