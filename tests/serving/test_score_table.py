"""Columns of scores: a frame and its rows say the same."""

import numpy as np
import polars as pl

from serving.score_table import Coded, ScoreTable, Values, repeat, tell_days

SCHEMA = pl.Schema(
    {
        "id": pl.String(),
        "as_of": pl.String(),
        "stage": pl.String(),
        "days": pl.Int64(),
        "p": pl.Float64(),
        "p_maybe": pl.Float64(),
        "months": pl.List(pl.Float64()),
        "reasons": pl.String(),
    }
)


def test_same() -> None:
    """The rows are those of the frame, nothing where a number may lack and does, and of Python's own types."""
    columns: dict[str, Values] = {
        "reasons": [None, "[]"],
        "id": pl.Series(["a", "b"]),
        "as_of": repeat("2026-01-01", 2),
        "stage": Coded(("loyal", "lost", None), np.array([1, 2])),
        "days": np.full(2, 90),
        "p": np.array([0.5, 0.25]),
        "p_maybe": np.array([np.nan, 1.0]),
        "months": np.array([[1.0, 2.0], [3.0, 4.5]]),
    }
    table = ScoreTable(columns, SCHEMA, frozenset({"p_maybe", "stage"}))
    frame, rows = table.to_frame(), list(table.iterate_rows())
    assert frame.schema == SCHEMA
    assert rows == list(frame.iter_rows(named=True))
    assert rows[0]["p_maybe"] is None
    assert [type(value) for value in rows[1].values()] == [str, str, type(None), int, float, float, list, str]


def test_days() -> None:
    """Days read as ISO dates, in whichever column, and nothing where there is none."""
    first, second = tell_days(np.array([0, 20_454]), np.array([np.nan, 11_016.0]))
    assert first.to_list() == ["1970-01-01", "2026-01-01"]
    assert second.to_list() == [None, "2000-02-29"]
    assert second.to_series("on").equals(pl.Series("on", [None, "2000-02-29"]))
    assert tell_days(np.zeros(0))[0].to_list() == []
