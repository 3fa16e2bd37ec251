import polars as pl

from serving.store.copying import copy_rows
from serving.store.score_store import ScoreStore


def test_absent_numbers(migrated_url: str) -> None:
    """Numbers that may be absent reach PostgreSQL as they are, whole ones as well."""
    rows = pl.DataFrame({"name": ["a", None, "c"], "months": [1, None, -3], "share": [None, 0.5, 1.5]})
    with ScoreStore.open(migrated_url) as store, store.writing() as connection:
        connection.exec_driver_sql("CREATE TEMP TABLE odd (run_id int, name text, months int, share float8)")
        copy_rows(connection, "odd", rows, 7)
        found = connection.exec_driver_sql("SELECT name, months, share FROM odd WHERE run_id = 7").all()
        assert [tuple(row) for row in found] == rows.rows()
