"""Segments: ties share a score, and sizes are shares of value."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InsufficientHistoryError
from features.lifecycle.segments import SIZES, Segments, learn_segments, rfm_codes
from features.settings import SegmentSettings, load_settings

SETTINGS = load_settings().segments


def _table(values: list[float], *, silences: list[float] | None = None) -> pl.DataFrame:
    numbers = [float(value) for value in values]
    return pl.DataFrame(
        {"days_since_last_order": silences or numbers, "frequency": numbers, "historic_value": numbers},
        schema=dict.fromkeys(("days_since_last_order", "frequency", "historic_value"), pl.Float64),
    )


def _settings(bins: int) -> SegmentSettings:
    return SegmentSettings(rfm_bins=bins, large_value_share=0.5, medium_value_share=0.3)


def _digits(values: list[float], position: int) -> list[str]:
    """Return one digit of each customer's code, scored with what these customers teach."""
    return [code[position] for code in learn_segments(_table(values), SETTINGS).rfm(_table(values))]


values_lists = st.lists(st.integers(0, 30).map(float), min_size=1, max_size=40)
any_values = st.lists(st.integers(-5, 30).map(float), min_size=1, max_size=40)


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
@settings(deadline=None)
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
@settings(deadline=None)
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
    table = _table([float(i) for i in range(100)])
    assert {code[1] for code in learn_segments(table, _settings(bins)).rfm(table)} == {str(i + 1) for i in range(bins)}


def test_frozen() -> None:
    """Learned segments score customers whom they never saw, and survive their own JSON values."""
    segments = learn_segments(_table([1.0, 2.0, 3.0, 4.0, 5.0]), SETTINGS)
    assert Segments.from_dict(segments.to_dict()) == segments
    assert segments.rfm(_table([0.0, 99.0])) == ["511", "155"]


@pytest.mark.parametrize(("n_once", "rest"), [(70, "44445"), (85, "5555"), (99, "5")])
def test_mostly_one_time_buyers(n_once: int, rest: str) -> None:
    """However many ordered once, they score 1 in frequency, and whoever ordered most scores 5."""
    returned = [1.0] * (100 - n_once - 1) + [9.0]
    scores = _digits([0.0] * n_once + returned, 1)
    assert set(scores[:n_once]) == {"1"}
    assert scores[-1] == "5"
    assert set(scores[n_once:]) == set(rest)


def test_tie_at_the_end() -> None:
    """Where most share the greatest value, or the longest silence, that is still the end of the scale."""
    mostly_most = [float(i) for i in range(30)] + [100.0] * 70
    assert set(_digits(mostly_most, 0)[30:]) == {"1"}
    assert set(_digits(mostly_most, 2)[30:]) == {"5"}


@pytest.mark.parametrize("n_customers", [1, 2, 500])
def test_all_alike(n_customers: int) -> None:
    """Customers who are all alike score best in recency and lowest in frequency and value, and are large."""
    table = _table([7.0] * n_customers)
    segments = learn_segments(table, SETTINGS)
    assert set(zip(segments.rfm(table), segments.size(table), strict=True)) == {("511", "large")}


@given(any_values, st.integers(2, 9))
@settings(deadline=None)
def test_ends_of_the_scale(values: list[float], bins: int) -> None:
    """Where two differ, the lowest scores 1 and the highest as many as there are bins; recency runs the other way."""
    table = _table(values)
    scores = learn_segments(table, _settings(bins)).scores(table)
    assert scores.min() >= 1
    assert scores.max() <= bins
    if len(set(values)) > 1:
        lowest, highest = values.index(min(values)), values.index(max(values))
        assert scores[lowest].tolist() == [bins, 1, 1]
        assert scores[highest].tolist() == [1, bins, bins]


@given(any_values, st.integers(2, 9))
@settings(deadline=None)
def test_one_by_one(values: list[float], bins: int) -> None:
    """A customer scored alone scores as among all others."""
    table = _table(values)
    segments = learn_segments(table, _settings(bins))
    alone = [(*segments.rfm(row), *segments.size(row)) for row in table.iter_slices(1)]
    assert alone == list(zip(segments.rfm(table), segments.size(table), strict=True))


@given(any_values, st.integers(2, 9))
@settings(deadline=None)
def test_codes(values: list[float], bins: int) -> None:
    """A code is the three scores as digits, and its number finds it among all codes."""
    table = _table(values)
    segments = learn_segments(table, _settings(bins))
    codes = segments.rfm(table)
    assert codes == ["".join(map(str, row)) for row in segments.scores(table).tolist()]
    assert [rfm_codes(bins)[number] for number in segments.code_numbers(table)] == codes
    assert [SIZES[number] for number in segments.size_numbers(table)] == segments.size(table)
    assert len(set(rfm_codes(bins))) == bins**3


@given(values_lists, st.integers(0, 40))
@settings(deadline=None)
def test_silence(values: list[float], days: int) -> None:
    """Silence moves recency alone, as if the customer table were built that much later."""
    table = _table(values)
    segments = learn_segments(table, SETTINGS)
    later = table.with_columns(pl.col("days_since_last_order") + days)
    assert (segments.scores(table, silent_days=days) == segments.scores(later)).all()
    assert (segments.scores(later)[:, 1:] == segments.scores(table)[:, 1:]).all()


def test_debts() -> None:
    """Who gave back more than they bought is small, scores 1 in value, and changes nobody else's size."""
    bought = [50.0, 30.0, 15.0, 5.0]
    table = _table([*bought, -60.0, -80.0], silences=[1.0] * 6)
    segments = learn_segments(table, SETTINGS)
    assert segments.size(table)[:4] == learn_segments(_table(bought), SETTINGS).size(_table(bought))
    assert segments.size(table) == ["large", "medium", "small", "small", "small", "small"]
    assert segments.rfm(table)[-1][2] == "1"


def test_only_debts() -> None:
    """Where refunds exceed orders for everyone, nobody is large."""
    table = _table([-1.0, -2.0])
    assert set(learn_segments(table, SETTINGS).size(table)) == {"small"}


def test_nobody() -> None:
    """Without customers there is nothing to learn, and the error says what to give."""
    with pytest.raises(InsufficientHistoryError, match=r"no customers .* later as-of date"):
        learn_segments(_table([]), SETTINGS)


def test_thresholds_in_words() -> None:
    """Every score and size says whom it holds, in numbers and words; one that ties left empty says so."""
    segments = Segments((7.0, 30.0), (0.0, 0.0), (12.5, 1000.0), 20.0, 310.25)
    told = segments.thresholds()
    assert json.loads(json.dumps(told)) == told
    assert [row["words"] for row in told["recency"]] == [
        "up to 7 days since the last order",
        "more than 7, up to 30 days since the last order",
        "more than 30 days since the last order",
    ]
    assert [(row["score"], row["words"]) for row in told["frequency"]] == [
        (3, "more than 0 order days after the first"),
        (2, "nobody: too many customers tie"),
        (1, "up to 0 order days after the first"),
    ]
    assert told["value"][1] == {
        "score": 2,
        "above": 12.5,
        "up_to": 1000.0,
        "words": "more than 12.5, up to 1,000 of historic value",
    }
    assert [(row["size"], row["from"], row["below"]) for row in told["size"]] == [
        ("large", 310.25, None),
        ("medium", 20.0, 310.25),
        ("small", None, 20.0),
    ]
    assert told["size"][1]["words"] == "from 20, below 310.25 of historic value"


@given(any_values, st.integers(2, 9))
@settings(deadline=None)
def test_thresholds_hold(values: list[float], bins: int) -> None:
    """What the thresholds say of a score and of a size is true of every customer who has it."""
    table = _table(values)
    segments = learn_segments(table, _settings(bins))
    told = segments.thresholds()
    for position, name in enumerate(("recency", "frequency", "value")):
        bands = {row["score"]: row for row in told[name]}
        for value, score in zip(values, segments.scores(table)[:, position].tolist(), strict=True):
            assert bands[score]["above"] is None or value > bands[score]["above"]
            assert bands[score]["up_to"] is None or value <= bands[score]["up_to"]
    sizes = {row["size"]: row for row in told["size"]}
    for value, size in zip(values, segments.size(table), strict=True):
        assert sizes[size]["from"] is None or value >= sizes[size]["from"]
        assert sizes[size]["below"] is None or value < sizes[size]["below"]


@pytest.mark.parametrize(
    "change",
    [
        {"silence_edges_days": [3.0, 2.0, 4.0, 5.0]},
        {"frequency_edges": [0.0, 1.0]},
        {"value_edges": [1.0, 2.0, 3.0, float("nan")]},
        {"medium_min_value": 500.0},
        {"medium_min_value": 0.0},
        {"large_min_value": float("inf")},
        {"silence_edges_days": [], "frequency_edges": [], "value_edges": []},
        {"silence_edges_days": [1.0] * 9, "frequency_edges": [1.0] * 9, "value_edges": [1.0] * 9},
    ],
)
def test_nonsense(change: dict[str, Any]) -> None:
    """Thresholds that cannot be are refused."""
    values = learn_segments(_table([1.0, 2.0, 3.0, 4.0, 5.0]), SETTINGS).to_dict()
    with pytest.raises(ValueError, match=r"edges"):
        Segments.from_dict({**values, **change})
