"""Next segment: the cells of tomorrow, coherent with p_churn and with the frozen thresholds."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.lifecycle.segments import SIZES, Segments, rfm_codes
from training.models.next_segment import CellForecast, NextSegmentModel, number_groups, value_bins

# Two bins and two groups, small enough to work out by hand: recent within 30 days, frequent above 1, much above 100.
SEGMENTS = Segments((30.0,), (1.0,), (100.0,), medium_min_value=50.0, large_min_value=200.0)
GROUPS = {code: "good" if code[0] == "2" else "gone" for code in rfm_codes(2)}
HORIZON_DAYS = 90


def build_model(segments: Segments = SEGMENTS, *, seed: int | None = None) -> NextSegmentModel:
    """Build a model in which an order makes everybody recent and changes nothing else, or one of random tables."""
    bins, n_values = segments.bins, value_bins(segments).score.size
    groups, numbers = number_groups({code: "good" if code > "2" else "gone" for code in rfm_codes(bins)}, bins)
    if seed is None:
        recency = np.tile(np.eye(bins)[-1], (bins, 1))
        return NextSegmentModel(groups, numbers, recency, np.eye(bins), np.eye(n_values))
    rng = np.random.default_rng(seed)
    moves = [rng.dirichlet(np.ones(size), size=size) for size in (bins, bins, n_values)]
    return NextSegmentModel(groups, numbers, *moves)


def build_table(*rows: tuple[float, float, float]) -> pl.DataFrame:
    """Build a customer table of (days since the last order, frequency, historic value)."""
    names = ("days_since_last_order", "frequency", "historic_value")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Float64), orient="row")


def predict(model: NextSegmentModel, table: pl.DataFrame, *p_churn: float) -> CellForecast:
    """Forecast with these probabilities."""
    return model.predict(table, np.array(p_churn), segments=SEGMENTS, horizon_days=HORIZON_DAYS)


def draw_edges(n_edges: int) -> st.SearchStrategy[tuple[float, ...]]:
    """Draw ascending edges, some of them equal."""
    drawn = st.lists(st.integers(0, 9), min_size=n_edges, max_size=n_edges)
    return drawn.map(lambda edges: tuple(sorted(map(float, edges))))


def draw_segments(n_edges: int) -> st.SearchStrategy[Segments]:
    """Draw segments whose sizes begin on, between and beside the edges of value."""
    edges, sizes = draw_edges(n_edges), draw_edges(2).map(lambda drawn: tuple(size + 1.0 for size in drawn))
    return st.tuples(edges, edges, edges, sizes).map(lambda d: Segments(d[0], d[1], d[2], d[3][0], d[3][1]))


customers = st.tuples(st.integers(1, 200).map(float), st.integers(0, 4).map(float), st.integers(-10, 300).map(float))
bases = st.lists(st.tuples(customers, st.floats(0.0, 1.0)), min_size=1, max_size=20)


@given(st.integers(1, 8).flatmap(draw_segments), st.lists(st.integers(-2, 12).map(float), min_size=1))
@settings(deadline=None)
def test_value_bins(segments: Segments, values: list[float]) -> None:
    """Each bin of value lies within one score and one size, whatever the edges, on them and beside them."""
    beside = [np.nextafter(value, to) for value in values for to in (-np.inf, value, np.inf)]
    table = build_table(*((1.0, 0.0, float(value)) for value in beside))
    bins = value_bins(segments)
    found = bins.locate(table["historic_value"].to_numpy())
    assert bins.score[found].tolist() == segments.scores(table)[:, 2].tolist()
    assert bins.size[found].tolist() == segments.size_numbers(table).tolist()


def test_numbered_groups() -> None:
    """Groups are numbered from the best code down, whatever the order in which they are given."""
    ascending = {code: GROUPS[code] for code in rfm_codes(2)}
    descending = {code: GROUPS[code] for code in reversed(rfm_codes(2))}
    for groups in (ascending, descending):
        names, numbers = number_groups(groups, 2)
        assert names == ("good", "gone")
        assert numbers.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("groups", [{}, {"111": "all"}, dict.fromkeys(rfm_codes(3), "all")])
def test_codes_without_group(groups: dict[str, str]) -> None:
    """A map that is not of exactly the codes of so many bins is refused."""
    with pytest.raises(ValueError, match="each of the 8 RFM codes"):
        number_groups(groups, 2)


def test_codes_by_group() -> None:
    """Each code belongs to one group, and groups list theirs best first."""
    assert build_model().codes_by_group() == {
        "good": ("222", "221", "212", "211"),
        "gone": ("122", "121", "112", "111"),
    }


def test_by_hand() -> None:
    """Silence takes the recent to `gone`, an order brings the gone back to `good`, and value stays."""
    table = build_table((10.0, 0.0, 60.0), (100.0, 3.0, 300.0))
    forecast = predict(build_model(), table, 0.75, 0.9)
    good_medium, good_large, gone_medium, gone_large = 0 + 1, 0 + 2, 3 + 1, 3 + 2
    assert forecast.cell.tolist() == [good_medium, gone_large]
    assert forecast.silent_cell.tolist() == [gone_medium, gone_large]
    assert forecast.p_leave_cell.tolist() == pytest.approx([0.75, 0.1])
    expected = np.zeros((2, 6))
    expected[0, [good_medium, gone_medium]] = 0.25, 0.75
    expected[1, [good_large, gone_large]] = 0.1, 0.9
    assert forecast.distribution() == pytest.approx(expected)
    value = forecast.flows(np.array([60.0, 300.0]))
    assert value[good_medium, gone_medium] == pytest.approx(45.0)
    assert value[gone_large, good_large] == pytest.approx(30.0)


@given(bases, st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_identities(base: list[tuple[tuple[float, float, float], float]], seed: int) -> None:
    """Flows are the sums of the customers' own vectors, which sum to 1; who leaves is who does not stay."""
    table, p_churn = build_table(*(row for row, _ in base)), [p for _, p in base]
    forecast = predict(build_model(seed=seed), table, *p_churn)
    p, weights = forecast.distribution(), table["historic_value"].to_numpy()
    today = np.eye(forecast.given_order.shape[1])[forecast.cell]
    assert p.sum(axis=1) == pytest.approx(np.ones(len(base)))
    assert (p >= 0).all()
    assert forecast.p_leave_cell == pytest.approx(1.0 - (p * today).sum(axis=1), abs=1e-12)
    assert ((forecast.p_leave_cell >= 0) & (forecast.p_leave_cell <= 1)).all()
    assert forecast.flows() == pytest.approx(today.T @ p, abs=1e-9)
    assert forecast.flows(weights) == pytest.approx((today * weights[:, None]).T @ p, abs=1e-9)
    assert forecast.flows().sum(axis=1) == pytest.approx(today.sum(axis=0))
    assert forecast.flows(weights).sum() == pytest.approx(weights.sum(), abs=1e-9)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_order_branch(seed: int) -> None:
    """P(cell | an order comes) is the product of the three tables, summed by hand over the codes of each cell."""
    model = build_model(seed=seed)
    row = (10.0, 3.0, 120.0)
    bins = value_bins(SEGMENTS)
    start = int(bins.locate(np.array([row[2]]))[0])
    expected = np.zeros((len(model.groups), len(SIZES)))
    for r in range(2):
        for f in range(2):
            for v in range(bins.score.size):
                group = model.groups.index(GROUPS[f"{r + 1}{f + 1}{bins.score[v]}"])
                expected[group, bins.size[v]] += model.recency[1, r] * model.frequency[1, f] * model.value[start, v]
    assert predict(model, build_table(row), 0.0).distribution()[0] == pytest.approx(expected.ravel())


def test_certain_silence() -> None:
    """Whoever surely stays silent stands where the rule says, and nowhere else."""
    table = build_table((10.0, 0.0, 60.0), (29.0, 2.0, 10.0))
    forecast = predict(build_model(seed=1), table, 1.0, 1.0)
    assert (forecast.distribution() == np.eye(6)[forecast.silent_cell]).all()


def test_nobody() -> None:
    """Of an empty base nothing flows."""
    forecast = predict(build_model(), build_table())
    assert forecast.p_leave_cell.shape == (0,)
    assert (forecast.flows() == np.zeros((6, 6))).all()


@given(bases)
@settings(deadline=None)
def test_one_by_one(base: list[tuple[tuple[float, float, float], float]]) -> None:
    """A customer forecast alone is forecast as among all others, to the last digit."""
    model, table = build_model(seed=7), build_table(*(row for row, _ in base))
    whole = predict(model, table, *(p for _, p in base))
    for i, (row, p) in enumerate(base):
        alone = predict(model, build_table(row), p)
        assert (alone.cell[0], alone.p_leave_cell[0]) == (whole.cell[i], whole.p_leave_cell[i])


@pytest.mark.parametrize("segments", [SEGMENTS, Segments((9.0,) * 8, tuple(range(8)), tuple(range(8)), 3.5, 100.0)])
def test_round_trip(segments: Segments) -> None:
    """A model survives its own JSON text, and holds no customer."""
    model = build_model(segments, seed=3)
    again = NextSegmentModel.from_dict(json.loads(json.dumps(model.to_dict(), sort_keys=True)))
    assert again.to_dict() == model.to_dict()
    assert again.groups == model.groups


@pytest.mark.parametrize(
    "change",
    [
        {"groups": ["good", "good"]},
        {"groups": ["good", ""]},
        {"groups": ["good", "gone", "nowhere"]},
        {"groups": None},
        {"group_of_code": [0] * 8},
        {"group_of_code": [0, 1] * 3},
        {"group_of_code": [0, 1, 0, 1, 0, 1, 0, 2]},
        {"group_of_code": [0.0, 1.0] * 4},
        {"recency": [[0.5, 0.6], [0.5, 0.5]]},
        {"recency": [[1.5, -0.5], [0.5, 0.5]]},
        {"recency": [[1.0]]},
        {"recency": None},
        {"frequency": [[1.0, 0.0, 0.0]] * 3},
        {"frequency": [[float("nan"), 1.0], [0.5, 0.5]]},
        {"value": [[1.0, 0.0], [1.0]]},
        {"value": "much"},
    ],
)
def test_nonsense(change: dict[str, Any]) -> None:
    """Values that are no model are refused."""
    with pytest.raises(ValueError, match=r"."):
        NextSegmentModel.from_dict({**build_model().to_dict(), **change})


def test_missing_part() -> None:
    """A model that lacks a table is refused."""
    values = build_model().to_dict()
    del values["value"]
    with pytest.raises(ValueError, match="next-segment"):
        NextSegmentModel.from_dict(values)


def test_other_segments() -> None:
    """Segments with other bins than those of the fit are refused."""
    other = Segments((30.0, 60.0), (1.0, 2.0), (100.0, 200.0), 50.0, 200.0)
    with pytest.raises(ValueError, match="other bins"):
        build_model().predict(build_table((1.0, 0.0, 1.0)), np.ones(1), segments=other, horizon_days=HORIZON_DAYS)
