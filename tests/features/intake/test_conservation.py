"""No row is lost: each is accepted or refused, once, of every source."""

from pathlib import Path

import duckdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import InputError
from features.intake.orders import read_orders
from tests.features.intake.conftest import orders_settings

HEADER = "customer_id,ordered_at,amount\n"
WIDE = "customer_id,ordered_at,amount,order_id,event_type,quantity,refund_of\n"

_CELLS = st.sampled_from(
    ["a", "2024-01-01", "3.5", "", "-1", '"q"', '"x,y"', '"', 'x"y', '"a""b"', " ", "é", "#", "\\"]
)
_LINES = st.lists(_CELLS, min_size=0, max_size=5).map(",".join)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines=st.lists(_LINES | st.just("good,2024-01-01,1"), min_size=1, max_size=12))
def test_ragged_lines(tmp_path: Path, engine: duckdb.DuckDBPyConnection, lines: list[str]) -> None:
    """Accepted and refused rows make up the input exactly, however ragged; each line is told once."""
    filled = [line for line in lines if line.strip()]
    file = tmp_path / "messy.csv"
    file.write_text(HEADER + "good,2024-01-01,1\n" + "\n".join(lines), encoding="utf-8")
    intake = read_orders([file], orders_settings(delimiter=","), connection=engine)
    told = [line for (line,) in intake.quarantine.select("line").fetchall()]
    report = intake.report
    assert len(set(told)) == len(told) == report.n_quarantined
    assert report.n_accepted + report.n_quarantined == report.n_input
    assert sum(report.by_reason.values()) == report.n_quarantined
    assert report.n_input <= 1 + len(filled)
    if not any(line.count('"') % 2 for line in lines):
        assert report.n_input == 1 + len(filled)
        assert all(lines[line - 3].strip() for line in told)


_ROWS = st.tuples(
    *(st.sampled_from(["a", "b", ""]), st.sampled_from(["2024-01-01", "2024-01-02", "", "x"])),
    *(st.sampled_from(["1", "2", "-1", "0", "", "x"]), st.sampled_from(["", "1", "2"])),
    *(st.sampled_from(["", "refund", "visit"]), st.sampled_from(["", "1", "x"]), st.sampled_from(["", "1", "9"])),
).map(",".join)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    files=st.lists(st.lists(_ROWS, min_size=1, max_size=8), min_size=1, max_size=3),
    kind=st.sampled_from(["auto", "lines", "orders"]),
)
def test_fates(tmp_path: Path, engine: duckdb.DuckDBPyConnection, files: list[list[str]], kind: str) -> None:
    """Of every source and in total, rows are refused, guests, other events, repeats, or in what comes out."""
    paths = [tmp_path / f"{index}.csv" for index in range(len(files))]
    for path, lines in zip(paths, files, strict=True):
        path.write_text(WIDE + "\n".join(lines) + "\n", encoding="utf-8")
    try:
        intake = read_orders(paths, orders_settings(rows=kind), connection=engine)
    except InputError as error:
        expected = ("names a customer", "differ only in columns that are not read")[: 1 + (kind == "auto")]
        assert any(words in error.problem for words in expected)  # noqa: PT017 - some draws are refused so
        return
    quarantine = intake.quarantine.aggregate("file, count(*)").fetchall()
    report = intake.report
    assert {s.file: s.n_quarantined for s in report.by_source if s.n_quarantined} == dict(quarantine)
    assert [s.n_input for s in report.by_source] == [len(lines) for lines in files]
    assert all(s.n_accepted + s.n_quarantined == s.n_input for s in report.by_source)
    assert sum(s.n_accepted for s in report.by_source) == report.n_accepted
    assert sum(s.n_guests for s in report.by_source) == report.n_guests
    n_used = report.n_accepted - report.n_guests - report.n_other_events - report.n_repeats
    n_entries = report.n_orders + report.refunds.n_rows
    assert n_entries <= n_used
    if report.rows_are == "orders":
        assert n_entries == n_used
