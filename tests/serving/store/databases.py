"""The database of a store, past the store."""

from typing import Any

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool


def change(url: str, *statements: str) -> None:
    """Run statements as the owner of the database."""
    with _engine(url).begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def ask(url: str, query: str) -> Any:
    """Return the first cell of an answer."""
    with _engine(url).connect() as connection:
        return connection.execute(text(query)).scalar_one()


def count_rows(url: str, table: str) -> int:
    """Count rows, as the database has them."""
    return int(ask(url, f"SELECT count(*) FROM {table}"))


def refuse_row(url: str, customer_id: str) -> None:
    """Let the database break off at a customer's row, as a full disk would."""
    if url.startswith("sqlite"):
        change(
            url,
            f"CREATE TRIGGER full_disk BEFORE INSERT ON scores WHEN NEW.customer_id = '{customer_id}' "
            "BEGIN SELECT RAISE(ABORT, 'disk is full'); END",
        )
        return
    change(
        url,
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'disk is full at %', NEW.customer_id; END $$",
        f"CREATE TRIGGER full_disk BEFORE INSERT ON scores FOR EACH ROW WHEN (NEW.customer_id = '{customer_id}') "
        "EXECUTE FUNCTION full_disk()",
    )


def _engine(url: str) -> Engine:
    address = make_url(url)
    if address.get_backend_name() == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    return create_engine(address, poolclass=NullPool)
