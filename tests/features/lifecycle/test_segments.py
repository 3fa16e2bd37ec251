"""Segments: ties share a score, and sizes are shares of value."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.lifecycle.segments import Segments, learn_segments
from features.settings import SegmentSettings, load_settings

SETTINGS = load_settings().segments


def _table(values: list[float], *, silences: list[float] | None = None) -> pl.DataFrame:
    numbers = [float(value) for value in values]
    return pl.DataFrame(
        {"days_since_last_order": silences or numbers, "frequency": numbers, "historic_value": numbers},
        schema=dict.fromkeys(("days_since_last_order", "frequency", "historic_value"), pl.Float64),
    )


values_lists = st.lists(st.integers(0, 30).map(float), min_size=1, max_size=40)


@pytest.mark.parametrize("n_customers", [1, 2, 3, 4])
def test_tiny_base(n_customers: int) -> None:
    """A base smaller than the bins has scores from 1 to 5 and sizes."""
    table = _table([float(10 * i + 1) for i in range(n_customers)])
    segments = learn_segments(table, SETTINGS)
    assert all(len(code) == 3 and set(code) <= set("12345") for code in segments.rfm(table))
    assert segments.size(table)[-1] == "large"


def test_quintiles() -> None:
    """Ten customers fill five bins by twos; the fewest days of silence score best."""
    table = _table([float(i) for i in range(1, 11)])
    codes = learn_segments(table, SETTINGS).rfm(table)
    assert codes == ["511", "511", "422", "422", "333", "333", "244", "244", "155", "155"]


@given(values_lists)
def test_ties(values: list[float]) -> None:
    """Customers who tie share a score and a size, and more is never scored worse."""
    table = _table(values)
    segments = learn_segments(table, SETTINGS)
    rows = sorted(zip(values, segments.rfm(table), segments.size(table), strict=True))
    assert len({value: (code, size) for value, code, size in rows}) == len(set(rows))
    for position, ascending in ((0, False), (1, True), (2, True)):
        digits = [code[position] for _, code, _ in rows]
        assert digits == sorted(digits, reverse=not ascending)


@given(values_lists.filter(lambda values: sum(values) > 0))
def test_sizes(values: list[float]) -> None:
    """Large customers are the fewest, by value, who make half of all value; with the medium they make 80 %."""
    sizes = learn_segments(_table(values), SETTINGS).size(_table(values))
    for names, share in (({"large"}, 0.5), ({"large", "medium"}, 0.8)):
        chosen = [value for value, size in zip(values, sizes, strict=True) if size in names]
        without_last = [value for value in chosen if value > min(chosen)]
        assert sum(chosen) >= share * sum(values) - 1e-9
        assert sum(without_last) < share * sum(values) + 1e-9


def test_no_value() -> None:
    """Where nobody has spent anything, nobody is large."""
    table = _table([0.0, 0.0, 0.0])
    assert set(learn_segments(table, SETTINGS).size(table)) == {"small"}


@pytest.mark.parametrize("bins", [2, 9])
def test_bins(bins: int) -> None:
    """The number of bins is a setting, and the best score is that number."""
    settings = SegmentSettings(rfm_bins=bins, large_value_share=0.5, medium_value_share=0.3)
    table = _table([float(i) for i in range(100)])
    assert {code[1] for code in learn_segments(table, settings).rfm(table)} == {str(i + 1) for i in range(bins)}


def test_frozen() -> None:
    """Learned segments score customers whom they never saw, and survive their own JSON values."""
    segments = learn_segments(_table([1.0, 2.0, 3.0, 4.0, 5.0]), SETTINGS)
    assert Segments.from_dict(segments.to_dict()) == segments
    assert segments.rfm(_table([0.0, 99.0])) == ["511", "155"]
