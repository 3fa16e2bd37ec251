"""What a user meets at the command line: help, one message and an exit code for each mistake, clean streams."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from features.catalogue import GROUPS
from features.table import FEATURE_NAMES
from serving.store.score_store import ScoreStore, sqlite_url
from tests.command_line import Outcome, Run, assert_refused, run_main, single_spaced
from training.promotion.champion import bundles_folder

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = (
    "demo",
    "validate",
    "features",
    "train",
    "backtest",
    "horizon",
    "promote",
    "rollback",
    "models",
    "score",
    "at-risk",
    "stages",
    "segments",
    "metrics",
    "prospects",
    "changes",
    "history",
    "keys",
    "erase",
    "object",
    "objections",
    "serve",
)
SECRET = "s3cret"  # noqa: S105  # stands for whatever a customer's cell may hold
AS_OF = ("--as-of", "1998-07-01")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, without a home from the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIFESTAGE_HOME", raising=False)
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "True")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run commands through `main`, as the installed command does."""

    def call(*words: str) -> Outcome:
        return run_main(monkeypatch, capsys, *words)

    handler = signal.getsignal(signal.SIGTERM)
    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def home(champion: Path, folder: Path) -> Path:
    """Give the test a home of its own, `home`, in which a model serves."""
    shutil.copytree(champion, folder / "home")
    return folder / "home"


@pytest.fixture(scope="module")
def champion(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a home folder in which the shared model serves."""
    made = tmp_path_factory.mktemp("champion")
    shutil.copytree(bundle_folder, bundles_folder(made) / bundle_folder.name)
    _write_champion(made, [{"version": bundle_folder.name, "at": "1998-07-01T00:00:00+00:00", "reason": "first"}])
    return made


@pytest.fixture
def orders(cdnow_orders: pl.DataFrame, folder: Path) -> Path:
    """Write the orders of 300 customers as `orders.csv`."""
    chosen = cdnow_orders.filter(pl.col("customer_id") <= "cdnow-0300")
    _as_csv(chosen).write_csv(folder / "orders.csv")
    return folder / "orders.csv"


def _as_csv(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        "customer_id", pl.col("ordered_at").dt.to_string("%Y-%m-%d"), amount=pl.col("amount_micros") / 1_000_000
    )


def _write_champion(home: Path, entries: object) -> None:
    (home / "champion.json").write_text(json.dumps(entries), encoding="utf-8")


def _write(folder: Path, *lines: str, name: str = "orders.csv") -> Path:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def _one_order_each(folder: Path, n_customers: int, *days: str) -> Path:
    rows = [f"c{number},{days[number % len(days)]},10" for number in range(n_customers)]
    return _write(folder, "customer_id,ordered_at,amount", *rows)


def test_no_words(run: Run) -> None:
    """Without a command, every command is shown, and where to start, and what the exit codes mean."""
    shown = run()
    text = shown.out + shown.err
    assert shown.code == 2
    assert all(command in text for command in COMMANDS)
    assert "lifestage demo" in text
    assert "Exit codes" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help(run: Run, command: str) -> None:
    """Every command says in a sentence what it does, and explains every option that it takes."""
    shown = run(command, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert f"lifestage {command} [OPTIONS]" in shown.out
    assert len(shown.out.partition("Options")[0].split()) > 8
    assert "[default: None]" not in shown.out


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("train", "--nonsense"),
        ("train", "--orders", "x.csv", "--as-of", "31/12/1998"),
        ("score", "--orders", "x.csv"),
        ("at-risk", "--limit", "0"),
        ("at-risk", "--stage", "sleepy"),
        ("at-risk", "--min-p-churn", "1.5"),
        ("metrics", "--by", "colour"),
        ("prospects", "--stage", "repeat"),
        ("changes", "--since-run", "0"),
        ("history", "--customer-id", "a"),
        ("serve", "--port", "http"),
    ],
)
def test_wrong_words(run: Run, words: tuple[str, ...]) -> None:
    """A wrong word on the command line ends in 2, with a hint to the help, and leaves no trace."""
    outcome = run(*words)
    assert (outcome.code, outcome.out) == (2, "")
    assert "--help" in outcome.err
    assert "Traceback" not in outcome.err
    assert list(Path.cwd().iterdir()) == []


HEADER = "customer_id,ordered_at,amount"
EVENT_HEADER = "customer_id,occurred_at,event_type"
BAD_FILES = {
    "empty": (b"", 3, "is empty"),
    "header only": (b"customer_id,ordered_at,amount\n", 3, "no rows"),
    "no amount": (b"customer_id,ordered_at\ns3cret,1998-01-01\n", 3, "no column recognised as amount"),
    "two ids": (
        b"customer_id,user_id,ordered_at,amount\ns3cret,b,1998-01-01,1\n",
        3,
        "2 columns could be customer_id",
    ),
    "binary": (bytes(range(256)) * 20, 3, "orders.csv"),
    "bad dates": (b"customer_id,ordered_at,amount\na,s3cret,1\nb,1998-13-45,2\n", 1, "2 of 2 rows (100.0%)"),
    "words as amounts": (b"customer_id,ordered_at,amount\na,1998-01-01,s3cret\n", 1, "not a plain number"),
    "guests alone": (b"customer_id,ordered_at,amount\n,1998-01-01,12.34\n", 3, "No row of orders.csv names a customer"),
}


@pytest.mark.parametrize("command", ["validate", "train", "backtest"])
@pytest.mark.parametrize("case", list(BAD_FILES))
def test_bad_file(run: Run, folder: Path, command: str, case: str) -> None:
    """An order file that cannot be used is refused by every command that reads one, without quoting it."""
    content, code, problem = BAD_FILES[case]
    (folder / "orders.csv").write_bytes(content)
    outcome = run(command, "--orders", "orders.csv")
    assert_refused(outcome, code, problem)
    assert SECRET not in outcome.out


@pytest.mark.parametrize("command", ["train", "backtest"])
def test_refunds_alone(run: Run, folder: Path, command: str) -> None:
    """A file in which every row gives money back is read, and holds no order to learn from."""
    _write(folder, HEADER, f"{SECRET},1998-01-01,-12.34")
    outcome = run(command, "--orders", "orders.csv")
    assert_refused(outcome, 4, "No order was accepted")
    assert "1 rows read: 1 accepted, 0 quarantined; 0 orders" in outcome.out


@pytest.mark.parametrize("words", [("validate",), ("train",), ("backtest",), ("score", *AS_OF, "--home", "home")])
def test_no_orders_named(run: Run, home: Path, words: tuple[str, ...]) -> None:
    """Without --orders and without sources in lifestage.toml, the refusal names the flag, events or not."""
    _write(home.parent, EVENT_HEADER, "a,1998-01-01,visit", name="events.csv")
    for more in ((), ("--events", "events.csv")):
        assert_refused(run(*words, *more), 3, "No order file was given")


def test_bad_file_to_score(run: Run, home: Path) -> None:
    """Scoring refuses bad orders too, and publishes nothing."""
    _write(home.parent, HEADER, "a,1998-01-01,s3cret")
    assert_refused(run("score", "--orders", "orders.csv", *AS_OF, "--home", "home"), 1, "not a plain number")
    assert not (home / "scores.db").exists()


@pytest.mark.parametrize("path", ["nowhere.csv", "*.csv", "folder"])
def test_no_such_file(run: Run, folder: Path, path: str) -> None:
    """A path that leads to no file is refused, and named."""
    (folder / "folder").mkdir()
    assert_refused(run("validate", "--orders", path), 3, path)


def test_broken_parquet(run: Run, folder: Path) -> None:
    """A Parquet file that is none is refused."""
    (folder / "orders.parquet").write_bytes(b"PAR1 s3cret PAR1")
    assert_refused(run("validate", "--orders", "orders.parquet"), 3, "not a readable Parquet file")


def test_given_twice(run: Run, orders: Path) -> None:
    """The same file twice is refused, as every order would count double."""
    assert_refused(run("validate", "--orders", "orders.csv", "--orders", "orders.csv"), 3, "given twice")


@pytest.mark.parametrize(
    ("flags", "code", "problem"),
    [
        (("--column", "amount"), 2, "is no mapping"),
        (("--column", "=x"), 2, "is no mapping"),
        (("--column", "amount=Total"), 3, "no column 'Total'"),
        (("--column", "colour=amount"), 2, "'colour'"),
        (("--timezone", "Mars/Olympus"), 2, "'Mars/Olympus' is not an IANA time zone"),
        (("--date-format", "%Q"), 2, "not a strptime format"),
        (("--config", "nowhere.toml"), 2, "No settings file at nowhere.toml"),
    ],
)
def test_bad_flag(run: Run, orders: Path, flags: tuple[str, str], code: int, problem: str) -> None:
    """A flag that cannot be followed is refused, with the value that was given."""
    outcome = run("validate", "--orders", "orders.csv", *flags)
    assert outcome.code == code
    assert problem in outcome.err
    assert "What to do: " in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[training]\nhorizn_days = 30\n", "training.horizn_days"),
        ("[trainng]\nhorizon_days = 30\n", "trainng"),
        ('[training]\nhorizon_days = "ninety"\n', "training.horizon_days"),
        ("[training]\nhorizon_days = 0\n", "training.horizon_days"),
        ("[training\n", "not valid TOML"),
        ("[orders]\ncolumns = { amount = 3 }\n", "orders.columns.amount"),
    ],
)
@pytest.mark.parametrize("command", ["validate", "train", "backtest"])
def test_bad_settings(run: Run, orders: Path, command: str, text: str, problem: str) -> None:
    """A mistake in lifestage.toml is told by its key before any order is read, and found without being asked for."""
    _write(orders.parent, text, name="lifestage.toml")
    outcome = run(command, "--orders", "orders.csv")
    assert_refused(outcome, 2, problem)
    assert outcome.out == ""


def test_validate(run: Run, folder: Path) -> None:
    """Few bad rows are tolerated, counted and set aside in a file, which names lines and reasons but no values."""
    rows = [f"c{number},1998-01-{1 + number % 28:02},12.50" for number in range(99)]
    _write(folder, HEADER, *rows, f"{SECRET},1998-01-01,{SECRET}")
    outcome = run("validate", "--orders", "orders.csv", "--quarantine", "q.csv")
    assert (outcome.code, outcome.err) == (0, "")
    assert "100 rows read: 99 accepted, 1 quarantined" in outcome.out
    quarantined = pl.read_csv(folder / "q.csv").row(0, named=True)
    assert (quarantined["line"], quarantined["column"], quarantined["reason"]) == (101, "amount", "not_a_number")
    assert SECRET not in outcome.out + (folder / "q.csv").read_text(encoding="utf-8")


def test_kept_quarantine(run: Run, folder: Path) -> None:
    """Quarantined rows of orders and of events are kept in the home, each time anew; without any, no old file stays."""
    good = [f"c{number},1998-01-{1 + number % 28:02},12.50" for number in range(99)]
    visits = [f"c{number},1998-01-{1 + number % 28:02},visit" for number in range(99)]
    files = [folder / "home" / name for name in ("quarantine.parquet", "quarantine-events.parquet")]
    words = ("validate", "--orders", "orders.csv", "--home", "home")
    _write(folder, HEADER, *good, f"{SECRET},1998-01-01,{SECRET}")
    _write(folder, EVENT_HEADER, *visits, f"{SECRET},{SECRET},visit", name="events.csv")

    assert run(*words, "--events", "events.csv").code == 0
    found = [pl.read_parquet(file).select("file", "line", "column", "reason").row(0) for file in files]
    assert found == [
        ("orders.csv", 101, "amount", "not_a_number"),
        ("events.csv", 101, "occurred_at", "bad_date"),
    ]
    assert not any(SECRET.encode() in file.read_bytes() for file in files)
    assert run(*words).code == 0
    assert [file.exists() for file in files] == [True, False]
    _write(folder, HEADER, *good)
    assert run(*words, "--events", "events.csv").code == 0
    assert [file.exists() for file in files] == [False, True]


def test_rows_that_are_no_orders(run: Run, folder: Path) -> None:
    """Refunds, guests and repeated rows are accepted and told apart; none of them is an order or quarantined."""
    rows = ("a,1998-01-01,10", "a,1998-01-01,10", "a,1998-02-01,-4", "b,1998-01-05,2", ",1998-01-06,3")
    _write(folder, HEADER, *rows)
    outcome = run("validate", "--orders", "orders.csv")
    assert (outcome.code, outcome.err.count("Error")) == (0, 0)
    assert "5 rows read: 5 accepted, 0 quarantined; 2 orders" in outcome.out
    for told in ("Guests: 1", "Repeats: 1", "Refunds: 1, to 1 customers", "12.00 before them and 8.00 after"):
        assert told in outcome.out


def test_events(run: Run, folder: Path) -> None:
    """Events are read beside the orders, by mapped columns too, and widen what the models can learn from."""
    _write(folder, HEADER, "a,1998-01-01,10", "b,1998-01-02,10")
    _write(folder, "who,occurred_at,what", "a,1998-01-03,page view", "b,1998-01-04,visit", name="events.csv")
    alone = run("validate", "--orders", "orders.csv")
    mapped = ("--event-column", "customer_id=who", "--event-column", "event_type=what")
    both = run("validate", "--orders", "orders.csv", "--events", "events.csv", *mapped)
    assert (alone.code, both.code) == (0, 0), both.err
    assert "2 rows of events read: 2 accepted, 0 quarantined" in both.out
    assert "visit 2" in both.out
    assert "visits_within_30" in alone.out
    assert "visits_within_30" not in both.out


@pytest.mark.parametrize(
    ("lines", "flags", "code", "problem"),
    [
        ((EVENT_HEADER,), (), 3, "no rows"),
        (("occurred_at,event_type", "1998-01-01,visit"), (), 3, "customer_id"),
        ((EVENT_HEADER, "a,1998-01-01,visit"), ("--event-column", "customer_id=who"), 3, "no column 'who'"),
        ((EVENT_HEADER, "a,1998-01-01,visit"), ("--event-column", "who"), 2, "is no mapping"),
        ((EVENT_HEADER, "s3cret,s3cret,visit"), (), 1, "1 of 1 rows"),
    ],
)
def test_bad_events(
    run: Run, orders: Path, lines: tuple[str, ...], flags: tuple[str, ...], code: int, problem: str
) -> None:
    """An event file that cannot be used is refused like an order file, without quoting it."""
    _write(orders.parent, *lines, name="events.csv")
    outcome = run("validate", "--orders", "orders.csv", "--events", "events.csv", *flags)
    assert_refused(outcome, code, problem)
    assert SECRET not in outcome.out


def test_html(run: Run, folder: Path) -> None:
    """The report is one page, which loads nothing from elsewhere and quotes no value, however many rows are bad."""
    _write(folder, HEADER, "a,1998-01-01,1", f"b,{SECRET},1", f"{SECRET},1998-01-02,-1")
    outcome = run("validate", "--orders", "orders.csv", "--html", "report.html")
    assert_refused(outcome, 1, "1 of 3 rows")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "orders.csv" in page
    for foreign in (SECRET, "http://", "https://", "<script", "src=", "@import"):
        assert foreign not in page.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(("name", "problem"), [("r.txt", ".html"), ("no/r.html", "no folder no")])
def test_html_elsewhere(run: Run, orders: Path, name: str, problem: str) -> None:
    """A page of another ending, or in no folder, is refused."""
    assert_refused(run("validate", "--orders", "orders.csv", "--html", name), 2, problem)


def test_features(run: Run) -> None:
    """The catalogue is printed, whole or by group, and as JSON with every field of every feature."""
    shown = json.loads(run("features", "--json").out)
    assert [feature["name"] for feature in shown] == list(FEATURE_NAMES)
    assert all(set(feature) == {"name", "group", "unit", "meaning", "needs", "null_rule"} for feature in shown)
    assert {feature["group"] for feature in shown} == set(GROUPS)
    refunds = json.loads(run("features", "--group", "refund", "--json").out)
    assert refunds == [feature for feature in shown if feature["group"] == "refunds"]
    printed = run("features", "--group", "refund")
    assert (printed.code, printed.err) == (0, "")
    assert all(feature["name"] in printed.out and feature["meaning"] in printed.out for feature in refunds)
    assert "weekend_share" not in printed.out
    assert_refused(run("features", "--group", "weather"), 2, "No group of features is called 'weather'")


@pytest.fixture
def database(folder: Path) -> Path:
    """Write a shop's SQLite database: orders by euro and cent, refunds, and visits, under names of its own."""
    with contextlib.closing(sqlite3.connect(folder / "shop.db")) as connection, connection:
        connection.execute("CREATE TABLE sales (client TEXT, placed TEXT, cents INTEGER, ref TEXT)")
        placed = [(f"c{n % 40}", f"1998-0{1 + n % 6}-{1 + n % 28:02}", 100 + n, f"r{n}") for n in range(120)]
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?, ?)", placed)
        connection.execute("INSERT INTO sales VALUES ('c1', '1998-06-30', -50, NULL)")
        connection.execute("CREATE TABLE clicks (client TEXT, at TEXT)")
        connection.executemany("INSERT INTO clicks VALUES (?, ?)", [("c1", "1998-03-01"), ("c2", "1998-03-02")])
    return folder / "shop.db"


SOURCES = """
[[orders.sources]]
url = "sqlite:///shop.db"
query = "SELECT client AS customer_id, placed AS ordered_at, cents / 100.0 AS amount, ref AS order_id FROM sales"

[[orders.sources]]
path = "shop-*.csv"
columns = { customer_id = "Kunde", ordered_at = "Datum", amount = "Betrag" }
date_format = "%d.%m.%Y"

[[events.sources]]
url = "sqlite:///shop.db"
query = "SELECT client AS customer_id, at AS occurred_at, 'visit' AS event_type FROM clicks"
"""


def test_sources(run: Run, database: Path) -> None:
    """The sources of lifestage.toml are read without --orders, each in its own way; a file of the flag beside them."""
    _write(database.parent, SOURCES, name="lifestage.toml")
    _write(database.parent, "Kunde;Datum;Betrag", 'c1;30.06.1998;"12,50"', "c77;01.07.1998;7", name="shop-july.csv")
    told = run("validate")
    assert told.code == 0, told.err
    assert "123 rows read: 123 accepted, 0 quarantined; 122 orders from 1998-01-01 to 1998-07-01" in told.out
    assert "Refunds: 1, to 1 customers" in told.out
    assert "2 rows of events read: 2 accepted" in told.out
    _write(database.parent, HEADER, "c99,1998-07-02,5")
    assert "124 rows read: 124 accepted, 0 quarantined; 123 orders" in run("validate", "--orders", "orders.csv").out


@pytest.mark.parametrize(
    ("change", "code", "problem"),
    [
        (("sqlite:///shop.db", "sqlite:///nowhere.db"), 3, "nowhere.db"),
        (("FROM sales", "FROM nothing"), 3, "shop.db"),
        (("cents / 100.0 AS amount", "cents"), 3, "amount"),
        (('path = "shop-*.csv"', 'url = "sqlite:///shop.db"'), 2, "orders.sources"),
        (('path = "shop-*.csv"', 'path = "shop-*.csv"\ncolour = "red"'), 2, "colour"),
        (("sqlite:///shop.db", "nosql://reader:s3cret@db/shop"), 3, "nosql"),
    ],
)
def test_bad_sources(run: Run, database: Path, change: tuple[str, str], code: int, problem: str) -> None:
    """A source of lifestage.toml that cannot be read is refused by its name, without its password."""
    assert change[0] in SOURCES
    _write(database.parent, SOURCES.replace(*change, 1), name="lifestage.toml")
    _write(database.parent, "Kunde,Datum,Betrag", "c1,30.06.1998,12.50", name="shop-july.csv")
    assert_refused(run("validate"), code, problem)


def test_url_as_path(run: Run, database: Path) -> None:
    """A database given to --orders is refused, with where to write it, and without its password."""
    words = ("validate", "--orders", f"postgresql://reader:{SECRET}@db.internal/shop")
    outcome = run(*words)
    assert_refused(outcome, outcome.code, "")
    assert "orders.sources" in outcome.err


def test_quarantine_of_too_many(run: Run, folder: Path) -> None:
    """Even when too many rows are bad, they are written where the user asked: that is when they are needed."""
    _write(folder, HEADER, "a,1998-01-01,1", f"b,{SECRET},1")
    assert_refused(run("validate", "--orders", "orders.csv", "--quarantine", "q.parquet"), 1, "1 of 2 rows (50.0%)")
    assert pl.read_parquet(folder / "q.parquet").height == 1


@pytest.mark.parametrize(("name", "problem"), [("q.txt", "neither .parquet nor .csv"), ("no/q.csv", "no folder no")])
def test_quarantine_elsewhere(run: Run, orders: Path, name: str, problem: str) -> None:
    """A quarantine file of another kind, or in no folder, is refused."""
    assert_refused(run("validate", "--orders", "orders.csv", "--quarantine", name), 2, problem)


@pytest.mark.parametrize("command", ["train", "backtest"])
@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--as-of", "1996-12-31"), "The as-of date 1996-12-31 lies outside the orders"),
        (("--as-of", "1997-01-01"), "The as-of date 1997-01-01 lies outside the orders"),
        (("--as-of", "2030-01-01"), "The as-of date 2030-01-01 lies outside the orders"),
        (("--as-of", "1997-02-01"), "days of orders"),
        (("--horizon-days", "2000"), "days of orders"),
    ],
)
def test_outside_the_data(run: Run, orders: Path, command: str, flags: tuple[str, str], problem: str) -> None:
    """A date or a horizon that the orders cannot answer for is refused, and no model is left behind."""
    assert_refused(run(command, "--orders", "orders.csv", *flags), 4, problem)
    assert not (Path.cwd() / ".lifestage" / "bundles").exists()


def test_next_command(run: Run, cdnow_orders: pl.DataFrame, folder: Path) -> None:
    """What to run next can be pasted: it has the flags that were given, quoted, and a horizon, and is understood."""
    chosen = _as_csv(cdnow_orders.filter(pl.col("customer_id") <= "cdnow-0300")).rename({"amount": "paid here"})
    chosen.write_csv(folder / "my orders.csv")
    flags = ("--orders", "my orders.csv", "--column", "amount=paid here", "--timezone", "UTC", "--home", "my home")
    told = run("horizon", *flags)
    assert told.code == 0, told.err
    words = shlex.split(told.out.partition("Next: ")[2])
    assert words[:3] == ["lifestage", "train", "--horizon-days"]
    assert sorted(words[4:]) == sorted(flags)
    assert_refused(run(*words[1:], "--as-of", "1996-12-31"), 4, "lies outside the orders")


def test_next_command_of_defaults(run: Run, orders: Path) -> None:
    """What is as usual need not be said."""
    told = run("horizon", "--orders", "orders.csv", "--as-of", "1998-05-01")
    assert re.fullmatch(
        r"lifestage train --horizon-days \d+ --orders orders.csv --as-of 1998-05-01", told.out.partition("Next: ")[2]
    )


@pytest.mark.parametrize(
    ("n_customers", "days"),
    [
        (3, ("1997-01-01", "1998-06-30")),
        (300, ("1998-01-01",)),
        (300, ("1998-01-01", "1998-01-05", "1998-02-01")),
    ],
    ids=["three customers", "one day", "one month"],
)
def test_too_little(run: Run, folder: Path, n_customers: int, days: tuple[str, ...]) -> None:
    """Orders that nothing can be learned from are refused for that reason."""
    _one_order_each(folder, n_customers, *days)
    outcome = run("train", "--orders", "orders.csv")
    assert_refused(outcome, 4, "")
    assert not (folder / ".lifestage" / "bundles").exists()


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("promote",), 5, "No model was trained here yet"),
        (("models",), 5, "No model was trained here yet"),
        (("rollback",), 5, "No other model served before"),
        (("score", "--orders", "orders.csv", *AS_OF), 5, "No model serves yet"),
        (("at-risk",), 7, "No scores have been published yet"),
        (("at-risk", "--out", "list.csv"), 7, "No scores have been published yet"),
        (("stages",), 7, "No scores have been published yet"),
        (("stages", "--json", "-"), 7, "No scores have been published yet"),
        (("segments",), 7, "No scores have been published yet"),
        (("metrics",), 7, "No scores have been published yet"),
        (("prospects",), 7, "No scores have been published yet"),
        (("changes",), 7, "No scores have been published yet"),
        (("history", "--orders", "orders.csv", *AS_OF, "--customer-id", "a"), 5, "No model serves yet"),
        (("serve",), 7, "no API key"),
        (("serve", "--insecure-local", "--host", "192.168.1.5"), 2, "can be reached from other machines"),
        (("serve", "--insecure-local", "--port", "70000"), 2, "serving.port"),
        (("keys", "crm", "--remove"), 2, "No key is named crm"),
        (("keys", ""), 2, "needs a name"),
    ],
)
def test_nothing_there_yet(run: Run, orders: Path, words: tuple[str, ...], code: int, problem: str) -> None:
    """In a new home, each command says what has to be done first."""
    assert_refused(run(*words), code, problem)


def test_nothing_to_roll_back_to(run: Run, home: Path) -> None:
    """The first champion cannot be rolled back, and goes on serving."""
    before = (home / "champion.json").read_bytes()
    assert_refused(run("rollback", "--home", "home"), 5, "No other model served before")
    assert (home / "champion.json").read_bytes() == before


@pytest.mark.parametrize("text", ["garbage", '[{"version": "a"}]', "[1]", '"abc"'])
@pytest.mark.parametrize("command", ["score", "rollback"])
def test_damaged_champion_file(run: Run, home: Path, orders: Path, command: str, text: str) -> None:
    """A damaged champion.json is refused, not taken for an absent one."""
    (home / "champion.json").write_text(text, encoding="utf-8")
    words = ("--orders", "orders.csv", *AS_OF) if command == "score" else ()
    assert_refused(run(command, *words, "--home", "home"), 5, "champion.json is damaged")


def test_champion_is_gone(run: Run, home: Path, orders: Path) -> None:
    """A champion whose bundle was deleted is named."""
    _write_champion(home, [{"version": "19980701-0000000000", "at": "", "reason": ""}])
    assert_refused(run("score", "--orders", "orders.csv", *AS_OF, "--home", "home"), 5, "19980701-0000000000 is gone")


@pytest.mark.parametrize("change", ["append", "replace", "delete"])
@pytest.mark.parametrize("name", ["manifest.json", "model.json", "churn.txt"])
def test_altered_bundle(run: Run, home: Path, orders: Path, name: str, change: str) -> None:
    """A bundle of which one file was changed or lost is refused, and nothing is published from it."""
    [file] = bundles_folder(home).glob(f"*/{name}")
    if change == "append":
        file.write_bytes(file.read_bytes() + b"x")
    elif change == "replace":
        file.write_text("{}", encoding="utf-8")
    else:
        file.unlink()
    assert_refused_bundle(run("score", "--orders", "orders.csv", *AS_OF, "--home", "home"), file.parent.name)
    assert not (home / "scores.db").exists()


def assert_refused_bundle(outcome: Outcome, version: str) -> None:
    """Assert that a bundle was refused by its name."""
    assert outcome.code == 5
    assert f"Error: {version}" in outcome.err
    assert "What to do: " in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("flags", "code", "problem"),
    [
        (("--as-of", "1997-01-01"), 4, "No order lies before the as-of date 1997-01-01"),
        (("--as-of", "0001-01-01"), 4, "No order lies before the as-of date 0001-01-01"),
        ((*AS_OF, "--timezone", "Europe/Paris"), 2, "The champion counts days in UTC"),
        ((*AS_OF, "--out", "scores.txt"), 2, "neither .parquet nor .csv"),
        ((*AS_OF, "--out", "nowhere/scores.csv"), 2, "There is no folder nowhere"),
    ],
)
def test_cannot_score(run: Run, home: Path, orders: Path, flags: tuple[str, ...], code: int, problem: str) -> None:
    """What cannot be scored, or not be written, is refused before anything is published."""
    assert_refused(run("score", "--orders", "orders.csv", *flags, "--home", "home"), code, problem)
    with ScoreStore.open(sqlite_url(home / "scores.db")) as store:
        assert store.current_run() is None


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
def test_score(run: Run, home: Path, orders: Path, name: str) -> None:
    """Scores are written in the form that the ending asks for, and published; the lists then answer."""
    scored = run("score", "--orders", "orders.csv", *AS_OF, "--out", name, "--home", "home")
    assert scored.code == 0, scored.err
    assert "300 customers scored as of 1998-07-01 over 90 days" in scored.out
    written = pl.read_csv(name) if name.endswith(".csv") else pl.read_parquet(name)
    assert written.height == 300
    listed = run("at-risk", "--limit", "7", "--out", "list.csv", "--home", "home")
    assert (listed.code, listed.out) == (0, "7 customers written to list.csv.")
    assert pl.read_csv("list.csv")["value_at_risk"].is_sorted(descending=True)
    assert "Lifecycle map as of 1998-07-01" in run("stages", "--home", "home").out


def test_score_by_variable(run: Run, home: Path, orders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home folder may be named by LIFESTAGE_HOME, and then none appears in the working folder."""
    monkeypatch.setenv("LIFESTAGE_HOME", str(home))
    assert run("score", "--orders", "orders.csv", *AS_OF).code == 0
    assert run("stages").code == 0
    assert not Path(".lifestage").exists()


def test_silence(run: Run, home: Path, orders: Path) -> None:
    """An as-of date long after the last order is answered with a warning: the silence may be of the file."""
    scored = run("score", "--orders", "orders.csv", "--as-of", "2005-01-01", "--home", "home")
    assert scored.code == 0, scored.err
    assert "silence since then counts as no order" in scored.err


def test_odd_bases(run: Run, home: Path) -> None:
    """A base of one customer, of free orders, or with one huge customer, is scored like any other."""
    free = [f"free{number},1998-05-{1 + number % 28:02},0" for number in range(40)]
    daily = [f"daily,1998-{month:02}-{day:02},999999999" for month in range(1, 7) for day in range(1, 29)]
    for rows in (["one,1998-05-01,10"], free, daily, free + daily):
        _write(home.parent, HEADER, *rows)
        scored = run("score", "--orders", "orders.csv", *AS_OF, "--out", "s.parquet", "--home", "home")
        assert scored.code == 0, scored.err
        numbers = pl.read_parquet("s.parquet").select(pl.selectors.float())
        assert numbers.select(pl.all_horizontal(pl.all().is_finite()).all()).item()


def test_sum_beyond_all_bounds(run: Run, home: Path) -> None:
    """Orders of one customer that no 64-bit number of micros can sum are refused, not a traceback."""
    seconds = [f"1998-01-01T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}" for n in range(9_300)]
    _write(home.parent, HEADER, *(f"whale,{at},1e9" for at in seconds))
    outcome = run("score", "--orders", "orders.csv", *AS_OF, "--home", "home")
    assert outcome.code == 3
    assert "What to do: " in outcome.err


def test_keys(run: Run, folder: Path) -> None:
    """A key alone goes to stdout, once; it is nowhere in the file; it can be replaced after it was removed."""
    created = run("keys", "crm")
    assert created.code == 0
    assert len(created.out) >= 40
    assert " " not in created.out
    assert "Authorization: Bearer" in created.err
    assert created.out not in (folder / ".lifestage" / "keys.json").read_text(encoding="utf-8")
    assert_refused(run("keys", "crm"), 2, "exists already")
    assert run("keys", "crm", "--remove").code == 0
    assert_refused(run("keys", "crm", "--remove"), 2, "No key is named crm")
    assert run("keys", "crm").out != created.out


def test_damaged_key_file(run: Run, folder: Path) -> None:
    """A damaged key file opens nothing, and is not written over."""
    (folder / ".lifestage").mkdir()
    _write(folder / ".lifestage", "garbage", name="keys.json")
    for words in (("keys", "crm"), ("keys", "crm", "--remove"), ("serve",)):
        assert_refused(run(*words), 7, "is damaged")
    assert (folder / ".lifestage" / "keys.json").read_text(encoding="utf-8") == "garbage\n"


@pytest.mark.parametrize("words", [("models",), ("promote",)])
def test_damaged_training_records(run: Run, folder: Path, words: tuple[str, ...]) -> None:
    """A training store that is no database is refused."""
    (folder / ".lifestage").mkdir()
    _write(folder / ".lifestage", "garbage" * 1000, name="mlflow.db")
    assert_refused(run(*words), 5, "cannot be opened")


@pytest.mark.parametrize("words", ["stages", "at-risk", "segments", "metrics", "prospects", "changes"])
def test_damaged_score_store(run: Run, folder: Path, words: str) -> None:
    """A score store that is no database is refused."""
    (folder / ".lifestage").mkdir()
    _write(folder / ".lifestage", "garbage" * 1000, name="scores.db")
    assert_refused(run(words), 7, "scores.db")


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--orders", "orders.csv"),
        ("score", "--orders", "orders.csv", *AS_OF),
        ("demo",),
        ("stages",),
        ("at-risk",),
        ("history", "--orders", "orders.csv", *AS_OF, "--customer-id", "cdnow-0001"),
        ("keys", "crm"),
        ("serve", "--insecure-local", "--port", "0"),
    ],
)
def test_home_cannot_be_used(run: Run, orders: Path, words: tuple[str, ...]) -> None:
    """A home that is a file, or cannot be written, is a wrong flag: one message, exit code 2 or 5."""
    _write(orders.parent, "", name="file")
    outcome = run(*words, "--home", "file")
    assert outcome.code in {2, 5, 7}, outcome.err
    assert outcome.err.count("Error: ") == outcome.err.count("What to do: ") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("validate", "--orders", "orders.csv", "--config", "folder"),
        ("validate", "--orders", "orders.csv", "--quarantine", "folder.csv"),
        ("score", "--orders", "orders.csv", *AS_OF, "--home", "home", "--out", "folder.csv"),
        ("backtest", "--orders", "orders.csv", "--cutoffs", "1", "--json", "folder.csv"),
        ("history", "--orders", "orders.csv", *AS_OF, "--home", "home", "--out", "folder.csv"),
    ],
)
def test_folder_for_a_file(run: Run, home: Path, orders: Path, words: tuple[str, ...]) -> None:
    """A folder where a file is meant is a wrong flag."""
    Path("folder").mkdir()
    Path("folder.csv").mkdir()
    assert_refused(run(*words), 2, "folder")


@pytest.mark.slow
def test_backtest(run: Run, orders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A backtest prints pure JSON on stdout when asked to, with progress on stderr, and keeps no model."""
    _write(
        orders.parent,
        "[training]\nbootstrap_samples = 20\nmax_train_cutoffs = 2\nseeds = 1\nsearch_trials = 0\n",
        name="lifestage.toml",
    )
    told = run("backtest", "--orders", "orders.csv", "--cutoffs", "1", "--json", "-")
    assert told.code == 0, told.err
    rows = json.loads(told.out)
    assert {row["task"] for row in rows} == {"churn", "next_stage", "value", "coherence"}
    assert {"base_rate", "recency_rule", "bg_nbd", "lifestage"} <= {row["model"] for row in rows}
    assert len({row["cutoff"] for row in rows}) == 1
    assert "features" in told.err
    assert not Path(".lifestage").exists()


def command(*words: str, folder: Path) -> subprocess.Popen[str]:
    """Start a real command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "lifestage.py"), *words],
        cwd=folder,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_real_process(folder: Path) -> None:
    """As a process of its own, the command ends in the documented exit code, and speaks on stderr alone."""
    with command("validate", "--orders", "nowhere.csv", folder=folder) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (3, "")
    assert "There is no file at nowhere.csv" in single_spaced(err)
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_interrupted(orders: Path) -> None:
    """Ctrl+C in the middle of a training ends it at once with 130, without a traceback and without a model."""
    with command("train", "--orders", "orders.csv", folder=orders.parent) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        time.sleep(0.3)  # into the step that was announced
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert first.startswith("·")
    assert process.returncode == 130
    assert "Traceback" not in err
    assert list(orders.parent.glob(".lifestage/bundles/*")) == []
