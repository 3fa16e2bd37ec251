import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from features.errors import ServingError
from serving.store.migrating import VERSION_TABLE, VERSIONS, alembic_config
from serving.store.opening import build_engine
from serving.store.score_store import ScoreStore, sqlite_url
from serving.store.tables import METADATA
from tests.serving.store.databases import ask, change, count_rows

ROOT = Path(__file__).resolve().parents[3]


def read(url: str, question: Callable[[Connection], Any]) -> Any:
    """Ask a database past the store."""
    engine = build_engine(url)
    with engine.connect() as connection:
        answer = question(connection)
    engine.dispose()
    return answer


def test_same_tables(empty_url: str) -> None:
    """What the migrations lead to is what the code reads and writes: tables, columns, types, keys and indexes."""
    ScoreStore.open(empty_url).close()
    options = {"version_table": VERSION_TABLE, "compare_type": True}
    found = read(
        empty_url,
        lambda connection: compare_metadata(MigrationContext.configure(connection, opts=options), METADATA),
    )
    assert found == []


def test_versions() -> None:
    """The code knows all migrations in their order, the last of which an opened store is held to."""
    found = [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()]
    assert found[::-1] == list(VERSIONS)


def test_frozen() -> None:
    """A migration says itself which columns there were: it takes nothing from code that changes."""
    for script in ScriptDirectory.from_config(alembic_config()).walk_revisions():
        text = Path(script.path).read_text(encoding="utf-8")
        assert "from serving" not in text
        assert "import serving" not in text


def test_once(tmp_path: Path) -> None:
    """A store that is up to date is opened as it is: a command does not wait for Alembic to load."""
    url = sqlite_url(tmp_path / "scores.db")
    ScoreStore.open(url).close()
    code = f"""
import sys
from serving.store.score_store import ScoreStore
ScoreStore.open({url!r}).close()
print("alembic" in sys.modules, "pyarrow.compute" in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout.split() == ["False", "False"]


def test_many_at_once(empty_url: str) -> None:
    """Workers that open an empty store together all get it, and its tables are made once."""
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def open_store() -> None:
        try:
            start.wait()
            ScoreStore.open(empty_url).close()
        except BaseException as error:  # noqa: BLE001  # told by the thread that waits
            failures.append(error)

    threads = [threading.Thread(target=open_store) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert count_rows(empty_url, VERSION_TABLE) == 1


def test_newer_version(empty_url: str) -> None:
    """A store that a newer version has migrated is refused, and left as it is."""
    ScoreStore.open(empty_url).close()
    change(empty_url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(ServingError, match=r"newer version of Lifestage.* at 9999"):
        ScoreStore.open(empty_url)
    assert ask(empty_url, f"SELECT version_num FROM {VERSION_TABLE}") == "9999"


def test_unversioned(empty_url: str) -> None:
    """Tables of our names that no migration made are refused with what to do, not read wrongly and not altered."""
    change(empty_url, "CREATE TABLE scores (run_id INTEGER, customer_id TEXT)")
    with pytest.raises(ServingError, match=r"\(scores\) were made by another version"):
        ScoreStore.open(empty_url)
    assert count_rows(empty_url, "scores") == 0


def test_beside_others(empty_url: str) -> None:
    """Another program's tables in the same database, Alembic's own among them, do not hinder and are not touched."""
    change(empty_url, "CREATE TABLE alembic_version (version_num TEXT)", "INSERT INTO alembic_version VALUES ('abc')")
    ScoreStore.open(empty_url).close()
    assert ask(empty_url, "SELECT version_num FROM alembic_version") == "abc"


def test_from_anywhere(empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Migrations are found wherever the program is started."""
    monkeypatch.chdir(tmp_path)
    ScoreStore.open(empty_url).close()
    assert count_rows(empty_url, "runs") == 0


def test_interrupted(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that breaks off leaves nothing, and the next opening completes it."""
    from alembic import op

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(op, "create_index", fail)
        with pytest.raises(ConnectionError):
            ScoreStore.open(empty_url)
    ScoreStore.open(empty_url).close()
    assert count_rows(empty_url, "scores") == 0
