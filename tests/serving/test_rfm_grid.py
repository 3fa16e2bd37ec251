"""The RFM grid: nobody and nothing is lost between today and the end of the horizon."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.lifecycle.segments import SIZES, Segments, rfm_codes
from serving.rfm_grid import RfmGrid, build_rfm_grid
from training.fitters.next_segment import fit_next_segment
from training.models.next_segment import CellForecast, NextSegmentModel

SEGMENTS = Segments((30.0, 60.0), (0.0, 2.0), (50.0, 100.0), medium_min_value=100.0, large_min_value=200.0)
GROUP_OF_SCORE = {"1": "dormant", "2": "fading", "3": "recent"}
HORIZON_DAYS = 90
AS_OF = "1998-01-01"

Customer = tuple[float, float, float, float]  # days since the last order, frequency, historic value, p_churn
customers = st.tuples(
    st.integers(1, 120).map(float), st.integers(0, 5).map(float), st.integers(0, 400).map(float), st.floats(0.0, 1.0)
)
bases = st.lists(customers, max_size=25)


def build_model() -> NextSegmentModel:
    """Fit to nobody: an order may come on any day, and moves frequency and value no more than it must."""
    groups = {code: GROUP_OF_SCORE[code[0]] for code in rfm_codes(3)}
    return fit_next_segment([], segments=SEGMENTS, groups=groups, horizon_days=HORIZON_DAYS)


def forecast_and_score(base: list[Customer]) -> tuple[CellForecast, pl.DataFrame]:
    """Forecast a base, and write the score columns that the grid reads."""
    model = build_model()
    columns = ("days_since_last_order", "frequency", "historic_value", "p_churn")
    table = pl.DataFrame(base, schema=dict.fromkeys(columns, pl.Float64), orient="row")
    forecast = model.predict(table, table["p_churn"].to_numpy(), segments=SEGMENTS, horizon_days=HORIZON_DAYS)
    group_of_code = {code: group for group, codes in model.codes_by_group().items() for code in codes}
    scores = table.select(
        "historic_value",
        "p_churn",
        rfm_group=pl.Series([group_of_code[code] for code in SEGMENTS.rfm(table)], dtype=pl.String),
        size=pl.Series(SEGMENTS.size(table), dtype=pl.String),
        clv_12m=2.0 * pl.col("historic_value"),
        p_leave_cell=pl.Series(forecast.p_leave_cell, dtype=pl.Float64),
    )
    return forecast, scores


def build_grid(base: list[Customer], **changes: Any) -> RfmGrid:
    """Build the grid of a base."""
    forecast, scores = forecast_and_score(base)
    given: dict[str, Any] = {
        "groups": build_model().codes_by_group(),
        "customer_flows": forecast.flows(),
        "value_flows": forecast.flows(scores["historic_value"].to_numpy()),
        "thresholds": SEGMENTS.thresholds(),
        "as_of": AS_OF,
        "horizon_days": HORIZON_DAYS,
    }
    return build_rfm_grid(changes.pop("scores", scores), **{**given, **changes})


def test_by_hand() -> None:
    """One recent medium customer, likely to stay silent: where they stand, and what is expected to move."""
    grid = build_grid([(10.0, 1.0, 150.0, 0.7)], min_flow_customers=0.05)
    cell = {(c.group, c.size): c for c in grid.cells}
    # Ordering (0.3) ends on any day of 90: a third of it each in the cells of recent, fading and dormant.
    recent, fading, dormant = (cell[group, "medium"] for group in ("recent", "fading", "dormant"))
    assert (recent.customers, recent.share, recent.historic_value, recent.clv_12m) == (1, 1.0, 150.0, 300.0)
    assert [recent.mean_p_churn, recent.p_leave] == pytest.approx([0.7, 0.9])
    assert [c.expected_customers for c in (recent, fading, dormant)] == pytest.approx([0.1, 0.1, 0.8])
    assert [c.expected_value_in for c in (recent, fading, dormant)] == pytest.approx([0.0, 15.0, 120.0])
    assert [c.expected_value_out for c in (recent, fading, dormant)] == pytest.approx([135.0, 0.0, 0.0])
    ends = ("recent", "medium", "dormant", "medium")
    assert next((f.from_group, f.from_size, f.to_group, f.to_size) for f in grid.flows) == ends
    assert [f.customers for f in grid.flows] == pytest.approx([0.8, 0.1])
    assert [f.historic_value for f in grid.flows] == pytest.approx([120.0, 15.0])


@given(bases)
@settings(deadline=None)
def test_conservation(base: list[Customer]) -> None:
    """Customers, today and expected, are all customers; what leaves a cell arrives in another."""
    grid = build_grid(base)
    assert sum(cell.customers for cell in grid.cells) == grid.customers == len(base)
    assert sum(cell.share for cell in grid.cells) == pytest.approx(1.0 if base else 0.0)
    assert sum(cell.expected_customers for cell in grid.cells) == pytest.approx(len(base))
    assert sum(cell.historic_value for cell in grid.cells) == pytest.approx(sum(value for _, _, value, _ in base))
    moved_in, moved_out = (
        sum(getattr(cell, name) for cell in grid.cells) for name in ("expected_value_in", "expected_value_out")
    )
    assert moved_in == pytest.approx(moved_out)


@given(bases)
@settings(deadline=None)
def test_flows(base: list[Customer]) -> None:
    """With every flow listed, a cell's number tomorrow is today's, less who leaves, plus who arrives."""
    grid = build_grid(base, min_flow_customers=0.0)
    for cell in grid.cells:
        out = sum(f.customers for f in grid.flows if (f.from_group, f.from_size) == (cell.group, cell.size))
        arriving = sum(f.customers for f in grid.flows if (f.to_group, f.to_size) == (cell.group, cell.size))
        assert cell.expected_customers == pytest.approx(cell.customers - out + arriving, abs=1e-9)
        assert out == pytest.approx(cell.customers * (cell.p_leave or 0.0), abs=1e-9)
        value = sum(f.historic_value for f in grid.flows if (f.to_group, f.to_size) == (cell.group, cell.size))
        assert cell.expected_value_in == pytest.approx(value, abs=1e-9)


@given(bases, st.floats(0.0, 3.0))
@settings(deadline=None)
def test_listed_flows(base: list[Customer], least: float) -> None:
    """Listed flows join two different cells, are no smaller than the least, and come most customers first."""
    flows = build_grid(base, min_flow_customers=least).flows
    assert all((f.from_group, f.from_size) != (f.to_group, f.to_size) for f in flows)
    assert all(f.customers >= least for f in flows)
    assert [f.customers for f in flows] == sorted((f.customers for f in flows), reverse=True)


def test_empty_base() -> None:
    """Without customers every cell is there and empty, and means are unknown, not 0."""
    grid = build_grid([])
    assert len(grid.cells) == len(GROUP_OF_SCORE) * len(SIZES)
    assert {(cell.customers, cell.share, cell.mean_p_churn, cell.p_leave) for cell in grid.cells} == {
        (0, 0.0, None, None)
    }
    assert grid.flows == ()


def test_json() -> None:
    """The grid is JSON values, and carries the thresholds, the codes of each group, the date and the horizon."""
    grid = json.loads(json.dumps(asdict(build_grid([(10.0, 1.0, 150.0, 0.7)])), allow_nan=False))
    assert grid["thresholds"] == SEGMENTS.thresholds()
    assert grid["rfm_of_group"]["recent"] == [code for code in reversed(rfm_codes(3)) if code[0] == "3"]
    assert (grid["as_of"], grid["horizon_days"], grid["min_flow_customers"]) == (AS_OF, HORIZON_DAYS, 0.5)


def test_flows_of_others() -> None:
    """Flows of other cells or of other customers are refused."""
    base = [(10.0, 1.0, 150.0, 0.7)]
    with pytest.raises(ValueError, match="between 9 cells"):
        build_grid(base, customer_flows=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="other customers"):
        build_grid(base, customer_flows=np.zeros((9, 9)))
    with pytest.raises(ValueError, match="other customers"):
        build_grid(base, value_flows=np.eye(9))


def test_unknown_group() -> None:
    """A customer of a group that the model does not know is refused."""
    _, scores = forecast_and_score([(10.0, 1.0, 150.0, 0.7)])
    with pytest.raises(ValueError, match="does not know"):
        build_grid([(10.0, 1.0, 150.0, 0.7)], scores=scores.with_columns(rfm_group=pl.lit("elsewhere")))
