import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import make_url

from features.errors import LifestageError, ServingError, SettingsError
from features.settings import load_settings
from serving.environment import STORE_URL_VARIABLE
from serving.state import open_published, open_store
from serving.store.opening import _POOLS, failing_clearly, raw_connection, without_time_limit
from serving.store.score_store import ScoreStore, sqlite_url
from tests.serving.score_rows import build_customers
from tests.serving.store.databases import change
from tests.serving.store.test_store import publish

ROOT = Path(__file__).resolve().parents[3]
QUIET = "not-to-be-told"
CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname LIKE 'database%' AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://user:{QUIET}@host/db",
        f"postgresql+asyncpg://user:{QUIET}@host/db",
        f"user:{QUIET}@host",
        f"postgresql://user:{QUIET}@host:port/db",
        f"postgresql://user:{QUIET}@127.0.0.1:1/db",
        f"sqlite:////{QUIET}/does/not/exist/scores.db",
        f"sqlite+unknown:///{QUIET}",
    ],
)
def test_bad_url(url: str) -> None:
    """A URL that cannot be used is refused without telling what stands in it."""
    with pytest.raises(LifestageError) as told:
        ScoreStore.open(url)
    assert QUIET not in str(told.value)
    assert told.value.__cause__ is None


def test_setting(tmp_path: Path, store_url: str) -> None:
    """The setting says which database holds the store; the environment variable comes before it."""
    assert load_settings().serving.store_url == ""
    with open_store(tmp_path, store_url, environment={}) as store:
        run = publish(store, build_customers(1))
    elsewhere = sqlite_url(tmp_path / "elsewhere.db")
    with open_store(tmp_path, elsewhere, environment={STORE_URL_VARIABLE: store_url}) as store:
        assert store.current_run() == run
    with open_published(tmp_path, environment={STORE_URL_VARIABLE: store_url}) as store:
        assert store.current_run() == run
    assert not (tmp_path / "elsewhere.db").exists()


def test_default(tmp_path: Path) -> None:
    """Without either the store is a file in the home folder."""
    with pytest.raises(ServingError, match="No scores have been published yet"):
        open_published(tmp_path, environment={})
    open_store(tmp_path, environment={}).close()
    assert (tmp_path / "scores.db").is_file()
    open_published(tmp_path, environment={}).close()


def test_without_driver() -> None:
    """Where PostgreSQL's driver is not installed, the error says how to install it."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from serving.store.score_store import ScoreStore\n"
        f"ScoreStore.open('postgresql://user:{QUIET}@host/db')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "pip install 'lifestage[postgres]'" in ended.stderr
    assert "SettingsError" in ended.stderr
    assert QUIET not in ended.stderr.replace(code, "")


def ask_when_cut(store: ScoreStore, server_url: str) -> None:
    """Lose the connection between two questions."""
    with store.at_one_moment() as held:
        change(server_url, CUT)
        held.current_run()


def write_when_cut(store: ScoreStore, server_url: str) -> None:
    """Lose the connection in the middle of a change."""
    with store.writing() as connection:
        change(server_url, CUT)
        connection.exec_driver_sql("DELETE FROM published")


def test_lost_connection(postgres_url: str, migrated_url: str) -> None:
    """A server that drops its connections costs an error of ours at most, and the store works again by itself."""
    with ScoreStore.open(migrated_url) as store:
        run = publish(store, build_customers(2))
        with pytest.raises(ServingError, match="does not answer as it should"):
            ask_when_cut(store, postgres_url)
        assert store.current_run() == run
        change(postgres_url, CUT)
        current = store.get_current("c1")
        assert current is not None
        assert current[0] == run


def test_lost_while_publishing(postgres_url: str, migrated_url: str) -> None:
    """A connection that is lost in a publication leaves the old run, and the error quotes no row."""
    with ScoreStore.open(migrated_url) as store:
        run = publish(store, build_customers(2))
        with pytest.raises(ServingError, match="does not answer as it should"):
            write_when_cut(store, postgres_url)
        assert store.current_run() == run


def test_broken_file(tmp_path: Path) -> None:
    """A file that is no database is told of by its name alone."""
    file = tmp_path / "scores.db"
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(ServingError, match=r"The score store scores\.db cannot be used \(DatabaseError\)"):
        ScoreStore.open(sqlite_url(file))


def test_busy_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in which another writes is called busy, not broken, whether it is being opened or written."""
    monkeypatch.setattr("serving.store.opening._PRAGMAS", ("journal_mode = WAL", "busy_timeout = 20"))
    url = sqlite_url(tmp_path / "scores.db")
    with ScoreStore.open(url) as store, ScoreStore.open(url) as other, store.writing():
        refused = pytest.raises(ServingError, match=r"busy: another write is under way.*repeat")
        with refused, other.writing():
            pass
    with closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode = WAL")
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(ServingError, match="repeat"):
            ScoreStore.open(sqlite_url(tmp_path / "new.db"))


def test_nobody_is_told_to_delete(tmp_path: Path) -> None:
    """What is said of a broken store names what would be lost with it."""
    (tmp_path / "scores.db").write_bytes(b"no database" * 1000)
    with pytest.raises(ServingError, match=r"backup.*objections are kept nowhere else"):
        ScoreStore.open(sqlite_url(tmp_path / "scores.db"))


def test_slow_server(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that takes too long is given up with an error of ours; a publication may take its time."""
    monkeypatch.setattr("serving.store.opening._STATEMENT_SECONDS", 0.1)
    with ScoreStore.open(migrated_url) as store:
        for opened in (store.reading, store.writing):
            with pytest.raises(ServingError, match="does not answer as it should"), opened() as connection:
                connection.exec_driver_sql("SELECT pg_sleep(20)")
        with pytest.raises(ServingError), failing_clearly(store.engine), raw_connection(store.engine) as driver:
            driver.execute("SELECT pg_sleep(20)")
        with store.writing() as connection:
            without_time_limit(connection)
            connection.exec_driver_sql("SELECT pg_sleep(0.2)")
        with pytest.raises(ServingError), store.writing() as connection:  # it was that transaction's alone
            connection.exec_driver_sql("SELECT pg_sleep(20)")


def test_silent_server(migrated_url: str) -> None:
    """A server that is gone without a word is noticed by the system, which asks after it."""
    with ScoreStore.open(migrated_url) as store, raw_connection(store.engine) as driver:
        told = driver.info.get_parameters()
    assert {told[name] for name in ("keepalives", "keepalives_idle", "tcp_user_timeout")} == {"1", "5", "15000"}


def test_mute_proxy(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where something in between keeps the connection open and passes nothing on, the wait ends all the same."""
    monkeypatch.setattr("serving.store.patience.MOST_SECONDS", 0.3)
    with passing_on(migrated_url) as (url, fall_mute), ScoreStore.open(url) as store:
        store.current_run()
        fall_mute()
        for ask in (lambda: store.get_current("c1"), store.current_run, lambda: ask_once(store)):
            with pytest.raises(ServingError, match="does not answer as it should"):
                ask()


def ask_once(store: ScoreStore) -> None:
    """Write through a store."""
    with store.writing() as connection:
        connection.exec_driver_sql("DELETE FROM published")


@contextmanager
def passing_on(url: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Run a proxy in front of a server; give its URL, and what lets it pass nothing on any more."""
    behind, is_mute = make_url(url), threading.Event()
    folder, port = behind.query["host"], behind.port or 5432

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if not is_mute.is_set():
                    target.sendall(data)

    def serve(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client = held.enter_context(listening.accept()[0])
                if is_mute.is_set():
                    client.close()  # how long it takes to connect has a limit of its own
                    continue
                server = held.enter_context(socket.socket(socket.AF_UNIX))
                server.connect(f"{folder}/.s.PGSQL.{port}")
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    with ExitStack() as held:
        listening = held.enter_context(socket.create_server(("127.0.0.1", 0)))
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        front = behind.set(host="127.0.0.1", port=listening.getsockname()[1], query={})
        yield front.render_as_string(hide_password=False), is_mute.set


def test_too_many(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds all connections in use is told so soon."""
    monkeypatch.setitem(_POOLS["postgresql"], "pool_timeout", 0.05)
    with ScoreStore.open(migrated_url) as store, ExitStack() as held:
        for _ in range(10):
            held.enter_context(store.at_one_moment())
        with pytest.raises(ServingError, match="all connections are in use"):
            store.get_current("c1")


def test_refused_write(store: ScoreStore) -> None:
    """Whoever reads cannot write by mistake where the database can prevent it."""
    if store.kind == "sqlite":
        pytest.skip("SQLite has no transactions that only read")
    with pytest.raises(ServingError), store.reading() as connection:
        connection.exec_driver_sql("DELETE FROM runs")


def test_wrong_setting() -> None:
    """The refusal of a URL names where it may stand."""
    with pytest.raises(SettingsError, match=r"LIFESTAGE_STORE_URL.*serving\.store_url"):
        ScoreStore.open("oracle://host")
