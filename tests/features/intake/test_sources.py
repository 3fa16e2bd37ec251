"""Finding and opening files, and resolving their columns: each refusal says what to do."""

import gzip
from pathlib import Path

import duckdb
import polars as pl
import pytest

from features.errors import EmptySourceError, InputError, MissingColumnError, SettingsError, SourceNotFoundError
from features.intake.columns import resolve_columns
from features.intake.orders import read_orders
from tests.features.intake.conftest import ReadText, orders_settings

GOOD = "customer_id,ordered_at,amount\na,2024-01-01,1\n"


@pytest.mark.parametrize(
    ("found", "theirs"),
    [
        (["CustomerID", "Invoice Date", "Revenue"], ["CustomerID", "Invoice Date", "Revenue"]),
        (["USER_ID", "date", "dollar_value", "price"], ["USER_ID", "date", "dollar_value"]),
        (["customer_id", "timestamp", "amount", "unit_price"], ["customer_id", "timestamp", "amount"]),
    ],
)
def test_common_names(found: list[str], theirs: list[str]) -> None:
    """Common names are recognised without regard to case, spaces and underscores."""
    assert list(resolve_columns(found, {}, source="f").values()) == theirs


def test_mapping_wins() -> None:
    """An explicit mapping decides between candidates."""
    resolved = resolve_columns(["client", "date", "total", "sales"], {"amount": "sales"}, source="f")
    assert resolved == {"customer_id": "client", "ordered_at": "date", "amount": "sales"}


@pytest.mark.parametrize(
    ("found", "mapping", "message"),
    [
        (
            ["client", "date", "total", "sales"],
            {},
            r"2 columns could be amount: total, sales\. .*--column amount=THEIR",
        ),
        (
            ["client", "date", "x"],
            {},
            r"recognised as amount; its columns are: client, date, x\. .*amount = \"THEIR_NAME\"",
        ),
        (["client", "date", "x"], {"amount": "X"}, r"no column 'X', to which amount is mapped.*--column amount="),
        (["client", "date", "total", "total"], {}, "2 columns could be amount.*different names"),
    ],
)
def test_missing_columns(found: list[str], mapping: dict[str, str], message: str) -> None:
    """An absent or ambiguous column is refused, with the columns found and how to map them."""
    with pytest.raises(MissingColumnError, match=message):
        resolve_columns(found, mapping, source="f")


def test_unknown_key() -> None:
    """A mapping of a column that is not ours is refused; our names are case-sensitive."""
    with pytest.raises(SettingsError, match=r"'Amount'.*customer_id"):
        resolve_columns(["a"], {"Amount": "a"}, source="f")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("", EmptySourceError, "is empty"),
        ("\n \n", EmptySourceError, "is empty"),
        ("customer_id,ordered_at,amount\n\n", EmptySourceError, "no rows"),
        ("x,2024-01-01,4711.25\n", InputError, r"holds values, not column names.*header line"),
        ("customer_id,ordered_at,amount\ra,2024-01-01,1\r", InputError, "carriage returns.*line ends"),
        ("customer_id,ordered_at,amount\n\0", InputError, "not a text file"),
        ('"customer_id,ordered_at,amount\n', InputError, "header line of .* cannot be read"),
        (GOOD.encode("utf-16"), InputError, "UTF-8"),
    ],
)
def test_unusable_text(read_text: ReadText, content: str | bytes, error: type[InputError], message: str) -> None:
    """Files that are empty or no table are refused by name, and their values are not repeated."""
    with pytest.raises(error, match=rf"orders\.csv.*{message}|{message}") as raised:
        read_text(content)
    assert "4711.25" not in str(raised.value)


def test_unusable_paths(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Missing files, folders, unknown suffixes, repeated and broken files each have their own refusal."""
    (tmp_path / "o.xlsx").write_text(GOOD, encoding="utf-8")
    (tmp_path / "o.csv").write_text(GOOD, encoding="utf-8")
    (tmp_path / "bad.parquet").write_text(GOOD, encoding="utf-8")
    (tmp_path / "bad.csv.gz").write_text(GOOD, encoding="utf-8")
    pl.DataFrame({"customer_id": ["a"], "ordered_at": ["b"], "amount": [1]}).clear().write_parquet(
        tmp_path / "no.parquet"
    )
    cases: list[tuple[list[str], type[InputError], str]] = [
        (["absent.csv"], SourceNotFoundError, "no file at .*absent.csv"),
        (["*.tsv"], SourceNotFoundError, "No file matches"),
        ([], SourceNotFoundError, "No order file"),
        ([""], InputError, "is a folder"),
        (["o.xlsx"], InputError, "neither CSV nor Parquet.*Export"),
        (["o.csv", "*.csv"], InputError, "given twice"),
        (["bad.parquet"], InputError, "not a readable Parquet"),
        (["bad.csv.gz"], InputError, "not a complete gzip"),
        (["no.parquet"], EmptySourceError, "no rows"),
    ]
    for names, error, message in cases:
        with pytest.raises(error, match=message):
            read_orders([tmp_path / name for name in names], orders_settings(), connection=connection)


def test_gzip_and_many(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Several files, compressed or not, with columns of their own, make one set of orders."""
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(GOOD.encode()))
    (tmp_path / "b's.tsv").write_text("Total\tdate\tclient\n2\t2024-01-02\tb\nx\t2024-01-02\tb\n", encoding="utf-8")
    intake = read_orders([tmp_path / "a.csv.gz", tmp_path / "b's.tsv"], orders_settings(), connection=connection)
    assert sorted(row[0] for row in intake.orders.fetchall()) == ["a", "b"]
    assert intake.report.quarantine.select("file", "line").rows() == [(str(tmp_path / "b's.tsv"), 3)]
