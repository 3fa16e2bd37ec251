"""A way to read order files in one line."""

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
