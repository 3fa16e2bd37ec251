import csv
import io

import polars as pl
import pytest

from serving.csv_export import to_csv


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_formula(start: str) -> None:
    """A text that a spreadsheet would run is written as a text."""
    frame = pl.DataFrame({"customer_id": [f"{start}HYPERLINK(1)"]})
    rows = list(csv.reader(io.StringIO(to_csv(frame), newline="")))
    assert rows[1] == [f"'{start}HYPERLINK(1)"]


def test_harmless_cells() -> None:
    """Ordinary texts, negative numbers, lists and nulls keep their value."""
    frame = pl.DataFrame(
        {"id": ["a-b", 'say "x", y', None], "n": [-1.5, 2.0, None], "m": [[1.0, 2.5], [], None]},
        schema={"id": pl.String, "n": pl.Float64, "m": pl.List(pl.Float64)},
    )
    rows = list(csv.reader(io.StringIO(to_csv(frame))))
    assert rows[1:] == [["a-b", "-1.5", "[1.0, 2.5]"], ['say "x", y', "2.0", "[]"], ["", "", ""]]
