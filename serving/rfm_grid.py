"""The grid of RFM group × size: who stands where, who is expected to leave, and what moves between the cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from features.lifecycle.segments import SIZES, IntArray, Vector

Matrix = npt.NDArray[np.float64]
Names = Sequence[tuple[str, str]]  # group and size of each cell, in the order of their numbers
MIN_FLOW_CUSTOMERS = 0.5  # a flow that rounds to nobody is not worth an arrow


@dataclass(frozen=True, slots=True)
class GridCell:
    """One cell of the grid; money is in the currency of the orders.

    Attributes:
        group: RFM group.
        size: `small`, `medium` or `large`.
        customers: How many stand here today.
        share: Their share of all customers.
        historic_value: Sum of theirs.
        clv_12m: Sum of theirs.
        mean_p_churn: Mean of theirs; None where nobody stands.
        p_leave: Share of them expected to stand in another cell at the horizon's end; None where nobody stands.
        expected_customers: How many, of today's customers, are expected to stand here at the horizon's end.
        expected_value_in: Historic value of today of those expected to come from other cells.
        expected_value_out: Historic value of today of those expected to leave for other cells.
    """

    group: str
    size: str
    customers: int
    share: float
    historic_value: float
    clv_12m: float
    mean_p_churn: float | None
    p_leave: float | None
    expected_customers: float
    expected_value_in: float
    expected_value_out: float


@dataclass(frozen=True, slots=True)
class CellFlow:
    """What is expected to move from one cell to another by the horizon's end.

    Attributes:
        from_group: RFM group today.
        from_size: Size today.
        to_group: RFM group at the end.
        to_size: Size at the end.
        customers: Expected number of customers who move.
        historic_value: Expected sum of what they had brought by today.
    """

    from_group: str
    from_size: str
    to_group: str
    to_size: str
    customers: float
    historic_value: float


@dataclass(frozen=True, slots=True)
class RfmGrid:
    """The whole grid. `dataclasses.asdict` makes JSON values of it.

    Attributes:
        as_of: ISO date of today's standing.
        horizon_days: Days from there to the expected one.
        customers: All customers with an order before `as_of`; those yet to come are in no number here.
        cells: One per group and size, also where nobody stands.
        flows: Moves between different cells, most customers first, of at least `min_flow_customers`.
        min_flow_customers: Least expected customers of a flow that is listed; the cells' numbers count all flows.
        thresholds: What scores and sizes stand for, as `Segments.thresholds`.
        rfm_of_group: RFM group → its RFM codes, highest first.
    """

    as_of: str
    horizon_days: int
    customers: int
    cells: tuple[GridCell, ...]
    flows: tuple[CellFlow, ...]
    min_flow_customers: float
    thresholds: Mapping[str, Any]
    rfm_of_group: Mapping[str, tuple[str, ...]]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a grid from its JSON values."""
        rebuilt = {
            "cells": tuple(GridCell(**cell) for cell in values["cells"]),
            "flows": tuple(CellFlow(**flow) for flow in values["flows"]),
            "rfm_of_group": {group: tuple(codes) for group, codes in values["rfm_of_group"].items()},
        }
        return cls(**{**values, **rebuilt})


def build_rfm_grid(
    scores: pl.DataFrame,
    *,
    groups: Mapping[str, Sequence[str]],
    customer_flows: Matrix,
    value_flows: Matrix,
    thresholds: Mapping[str, Any],
    as_of: str,
    horizon_days: int,
    min_flow_customers: float = MIN_FLOW_CUSTOMERS,
) -> RfmGrid:
    """Build the grid from scored customers and the forecast's flows between cells.

    Args:
        scores: One row per customer: `rfm_group, size, historic_value, clv_12m, p_churn, p_leave_cell`.
        groups: RFM group → its RFM codes, in the order of the model, which numbers the cells
            `group * len(SIZES) + size` (see `NextSegmentModel.codes_by_group`).
        customer_flows: Expected customers from cell (row) to cell (column), those who stay on the diagonal.
        value_flows: The same in historic value.
        thresholds: As `Segments.thresholds`.
        as_of: ISO date of the scores.
        horizon_days: Horizon of the flows.
        min_flow_customers: Least expected customers of a flow that is listed.

    Raises:
        ValueError: If the flows are of other cells or other customers than the scores.
    """
    names = tuple(product(groups, SIZES))
    stands_in = _cell_numbers(scores, names)
    return RfmGrid(
        as_of=as_of,
        horizon_days=horizon_days,
        customers=scores.height,
        cells=_fill_cells(names, scores, stands_in, customer_flows, value_flows),
        flows=_list_flows(names, customer_flows, value_flows, min_flow_customers),
        min_flow_customers=min_flow_customers,
        thresholds=dict(thresholds),
        rfm_of_group={group: tuple(codes) for group, codes in groups.items()},
    )


def _fill_cells(
    names: Names, scores: pl.DataFrame, stands_in: IntArray, customer_flows: Matrix, value_flows: Matrix
) -> tuple[GridCell, ...]:
    counts = np.bincount(stands_in, minlength=len(names)).astype(np.int64)
    summed = ("historic_value", "clv_12m", "p_churn", "p_leave_cell")
    value, clv, p_churn, p_leave = (_sums(scores, column, stands_in, len(names)) for column in summed)
    _check_flows(customer_flows, counts.astype(np.float64))
    _check_flows(value_flows, value)
    moving = _without_stays(value_flows)
    columns = zip(
        names,
        counts.tolist(),
        (counts / max(scores.height, 1)).tolist(),
        value.tolist(),
        clv.tolist(),
        _means(p_churn, counts),
        _means(p_leave, counts),
        customer_flows.sum(axis=0).tolist(),
        moving.sum(axis=0).tolist(),
        moving.sum(axis=1).tolist(),
        strict=True,
    )
    return tuple(GridCell(*name, *row) for name, *row in columns)


def _cell_numbers(scores: pl.DataFrame, names: Names) -> IntArray:
    known = pl.DataFrame([(*name, i) for i, name in enumerate(names)], ["rfm_group", "size", "cell"], orient="row")
    joined = scores.select("rfm_group", "size").join(known, on=("rfm_group", "size"), how="left", maintain_order="left")
    if joined["cell"].has_nulls():
        raise ValueError("a customer stands in a cell that the model does not know")
    return joined["cell"].to_numpy().astype(np.int64)


def _check_flows(flows: Matrix, today: Vector) -> None:
    """Refuse flows that do not begin with what the cells hold."""
    if flows.shape != (today.size, today.size):
        raise ValueError(f"flows between {today.size} cells are needed, and these have shape {flows.shape}")
    if not np.allclose(flows.sum(axis=1), today, rtol=1e-6, atol=1e-6):
        raise ValueError("the flows are of other customers than the scores")


def _sums(scores: pl.DataFrame, column: str, cell: IntArray, n_cells: int) -> Vector:
    return np.bincount(cell, weights=scores[column].to_numpy(), minlength=n_cells).astype(np.float64)


def _means(sums: Vector, counts: IntArray) -> list[float | None]:
    return [total / count if count else None for total, count in zip(sums.tolist(), counts.tolist(), strict=True)]


def _without_stays(flows: Matrix) -> Matrix:
    return np.asarray(flows * ~np.eye(len(flows), dtype=np.bool_))


def _list_flows(names: Names, customers: Matrix, value: Matrix, min_customers: float) -> tuple[CellFlow, ...]:
    moving = _without_stays(customers)
    rows, columns = np.nonzero((moving >= min_customers) & (moving > 0.0))
    most_first = np.argsort(-moving[rows, columns], kind="stable")
    found = zip(rows[most_first].tolist(), columns[most_first].tolist(), strict=True)
    return tuple(_flow((*names[a], *names[b]), moving[a, b], value[a, b]) for a, b in found)


def _flow(ends: tuple[str, str, str, str], customers: float, value: float) -> CellFlow:
    return CellFlow(*ends, customers=float(customers), historic_value=float(value))
