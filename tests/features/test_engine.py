"""The embedded database: bounded, and gone without a trace."""

from pathlib import Path

from features.engine import connect


def test_spill() -> None:
    """A table larger than the memory limit spills to a folder that goes when the connection closes."""
    connection = connect(memory_limit="60MB")
    folder = Path(str(connection.sql("SELECT current_setting('temp_directory')").fetchall()[0][0]))
    connection.execute("CREATE TABLE t AS SELECT md5(i::VARCHAR) AS text FROM range(4_000_000) AS r(i)")
    assert folder.exists()
    connection.close()
    assert not folder.exists()


def test_no_network() -> None:
    """The database never fetches extensions by itself."""
    with connect() as connection:
        names = ("autoinstall_known_extensions", "autoload_known_extensions")
        values = [connection.sql(f"SELECT current_setting('{name}')").fetchall()[0][0] for name in names]
    assert values == [False, False]
