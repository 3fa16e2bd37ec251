"""Orders are a set: rows that come twice count once, and rows of one order become one order."""

# ruff: noqa: DTZ001 - naive stamps are the subject of these tests

from datetime import datetime
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import InputError
from features.intake.orders import Intake, read_orders
from tests.features.intake.conftest import ReadText, orders_settings

HEADER = "customer_id,ordered_at,amount,order_id,channel,quantity,category,sku\n"


def rows(intake: Intake) -> list[tuple[str, datetime, int]]:
    """List customer, time and amount of the orders, sorted."""
    return sorted(intake.orders.select("customer_id", "ordered_at", "amount_micros").fetchall())


def refunds(intake: Intake) -> list[tuple[int, int | None, int, int]]:
    """List the refunds, sorted, without their customer."""
    relation = intake.records.refunds
    return [] if relation is None else sorted(row[1:] for row in relation.to_native().fetchall())


def test_equal_rows(read_text: ReadText) -> None:
    """A row that repeats another in every column counts once, also one of a column that we do not read."""
    text = "customer_id,ordered_at,amount,sku\na,2024-01-01,1,x\na,2024-01-01,1,x\na,2024-01-01,1,y\n"
    report = read_text(text).report
    assert (report.n_accepted, report.n_repeats, report.n_orders) == (3, 1, 2)
    assert report.notes[0].startswith("Rows that repeat another one count once (1);")


_ROW = st.tuples(
    *(st.sampled_from("ab"), st.integers(1, 3), st.integers(-3, 5), st.sampled_from(["", "1", "2", "3"])),
    *(st.sampled_from(["", "web", "shop"]), st.sampled_from(["", "1", "x"]), st.sampled_from(["", "tea"])),
    st.integers(0, 2),
)


def _write(file: Path, lines: list[tuple[str, int, int, str, str, str, str, int]]) -> Path:
    body = "".join(
        f"{a},2024-01-0{day}T0{day}:{sku}0,{','.join(map(str, rest))},{sku}\n" for a, day, *rest, sku in lines
    )
    file.write_text(HEADER + "safe,2024-01-01,1,,,,,\n" + body, encoding="utf-8")
    return file


def _outcome(files: list[Path], kind: str, engine: duckdb.DuckDBPyConnection) -> object:
    """Return what comes out, or that there was no saying what the rows are."""
    try:
        report = read_orders(files, orders_settings(rows=kind), connection=engine).report
    except InputError:
        return InputError
    return report.digest, report.n_orders, report.refunds


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines=st.lists(_ROW, max_size=14), kind=st.sampled_from(["auto", "lines", "orders"]), data=st.data())
def test_order_streams_are_sets(
    tmp_path: Path,
    engine: duckdb.DuckDBPyConnection,
    lines: list[tuple[str, int, int, str, str, str, str, int]],
    kind: str,
    data: st.DataObject,
) -> None:
    """Neither row order, nor a split into files, nor overlapping files change what comes out."""
    whole = _write(tmp_path / "whole.csv", lines)
    shuffled = data.draw(st.permutations(lines))
    cut = data.draw(st.integers(0, len(lines)))
    parts = [_write(tmp_path / "a.csv", shuffled[: cut + 3]), _write(tmp_path / "b.csv", shuffled[cut:])]
    assert _outcome([whole], kind, engine) == _outcome(parts, kind, engine)


def test_lines(read_text: ReadText) -> None:
    """Lines of one customer's order and day add up: the first time, the first channel; others stay single."""
    intake = read_text(
        HEADER + "a,2024-01-01T10:05,1.10,1,shop,1,,\na,2024-01-01T10:00,2.20,1,,1,,\na,2024-01-01T10:01,1,1,web,1,,\n"
        "b,2024-01-01,4,1,,,,\na,2024-01-02,1,,,1,,x\na,2024-01-02,1,,,1,,y\na,2024-01-03,7,1,app,,,\n",
        rows="lines",
    )
    assert rows(intake) == [
        ("a", datetime(2024, 1, 1, 10), 4_300_000),
        ("a", datetime(2024, 1, 2), 1_000_000),
        ("a", datetime(2024, 1, 2), 1_000_000),
        ("a", datetime(2024, 1, 3), 7_000_000),
        ("b", datetime(2024, 1, 1), 4_000_000),
    ]
    assert sorted(row[4] or "" for row in intake.orders.fetchall()) == ["", "", "", "app", "web"]
    assert intake.report.rows_are == "lines"


def test_discounts_and_returns(read_text: ReadText) -> None:
    """A negative line nets within the order of its day, is its refund on a later day, and alone is a refund too."""
    text = HEADER + "a,2024-01-01,10,1,,,,\na,2024-01-01,-3,1,,,,\na,2024-01-04,-2,1,,,,\na,2024-01-05,-5,C9,,,,\n"
    intake = read_text(text + "b,2024-01-01,2,7,,,,\nb,2024-01-01,-9,7,,,,\n", rows="lines")
    assert rows(intake) == [("a", datetime(2024, 1, 1), 7_000_000)]
    assert refunds(intake) == [
        (19723, None, 7_000_000, 0),
        (19726, 19723, 2_000_000, 2_000_000),
        (19727, 19723, 5_000_000, 5_000_000),
    ]


def test_whole_orders(read_text: ReadText) -> None:
    """Rows of a whole order that agree are one order, the earliest; those that differ go to quarantine together."""
    text = HEADER + "a,2024-01-01T10:00,5,1,,1,tea,\na,2024-01-01T09:00,5,1,,1,tea,\na,2024-01-02,-2,1,,,,\n"
    intake = read_text(text + "a,2024-01-03,5,2,,,,\na,2024-01-03,6,2,,,,\nb,2024-01-03,6,2,,,,\n", rows="orders")
    assert rows(intake) == [("a", datetime(2024, 1, 1, 9), 5_000_000), ("b", datetime(2024, 1, 3), 6_000_000)]
    assert refunds(intake) == [(19724, 19723, 2_000_000, 2_000_000)]
    assert intake.records.items is not None
    assert ("a", 19723, "tea", 1, 1_000_000) in intake.records.items.to_native().fetchall()
    refused = intake.quarantine.select("line", '"column"', "value_class", "reason").fetchall()
    assert sorted(refused) == [(line, "order_id", "several amounts or days", "conflicting_order") for line in (5, 6)]
    assert (intake.report.n_accepted, intake.report.n_repeats) == (4, 1)


@pytest.mark.parametrize(("n_pairs", "rows_are"), [(1, "orders"), (2, "lines")])
def test_auto(read_text: ReadText, n_pairs: int, rows_are: str) -> None:
    """Rows are lines where enough orders stand on several rows; a note tells, and how to say otherwise."""
    lines = [f"a,2024-01-01,{5 + row},{i},,,,\n" for i in range(10) for row in range(1 + (i < n_pairs))]
    report = read_text(HEADER + "".join(lines)).report
    assert report.rows_are == rows_are
    assert f"{n_pairs * 10}% of the orders" in report.notes[0]
    assert f'orders.rows = "{"orders" if rows_are == "lines" else "lines"}"' in report.notes[0]


def test_auto_refuses_to_guess(read_text: ReadText) -> None:
    """Where rows of one order differ only in a column that is not read, nobody can tell lines from exports."""
    text = "customer_id,ordered_at,amount,order_id,exported_at\n"
    text += "".join(f"a,2024-01-0{i},5,{i},{day}\n" for i in range(1, 6) for day in ("monday", "tuesday"))
    with pytest.raises(InputError, match="100% of the orders") as refused:
        read_text(text)
    assert "orders.rows" in refused.value.remedy
    assert len(rows(read_text(text, rows="orders"))) == 5
    assert rows(read_text(text, rows="lines"))[0] == ("a", datetime(2024, 1, 1), 10_000_000)


def test_order_of_columns(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """The same rows count once though another export has its columns in another order."""
    (tmp_path / "a.csv").write_text("customer_id,ordered_at,amount\nx,2024-01-01,5\ny,2024-01-02,7\n")
    (tmp_path / "b.csv").write_text("amount,customer_id,ordered_at\n7,y,2024-01-02\n5,x,2024-01-01\n")
    report = read_orders([tmp_path / "a.csv", tmp_path / "b.csv"], orders_settings(), connection=connection).report
    assert (report.n_orders, report.n_repeats) == (2, 2)


def test_later_row_of_an_order(read_text: ReadText) -> None:
    """A row of the same id on a later day is refused alone: what was known on the first day stays."""
    text = HEADER + "a,2024-01-01,5,1,,,,\na,2024-03-01,6,1,,,,\n"
    intake = read_text(text, rows="orders")
    assert rows(intake) == [("a", datetime(2024, 1, 1), 5_000_000)]
    assert intake.quarantine.select("line").fetchall() == [(3,)]


def test_digest_covers_everything(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """The digest changes with an order, a refund, or an item."""
    base = ["a,2024-01-01,5,1,web,1,tea,", "b,2024-01-02,5,2,web,1,tea,", "a,2024-01-02,-1,3,,,,"]
    variants = [
        base,
        [base[0].replace("5", "6"), *base[1:]],
        [base[0].replace("web", "shop"), *base[1:]],
        [base[0].replace("tea", "pot"), *base[1:]],
        [base[0].replace(",1,tea", ",2,tea"), *base[1:]],
        [*base[:2], base[2].replace("-1", "-2")],
        [base[0].replace("a,", "b,"), base[1].replace("b,", "a,"), base[2]],
        base[:2],
    ]
    digests = []
    for lines in variants:
        file = tmp_path / "o.csv"
        file.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
        digests.append(read_orders([file], orders_settings(rows="lines"), connection=connection).report.digest)
    assert len(set(digests)) == len(variants)
