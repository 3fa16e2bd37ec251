"""Reasons: the few themes behind a customer's probability of churn, each with the figures that tell it.

A theme is shown where it points the way of the whole and matters, where making its inputs ordinary does not contradict
it, and where a figure of the customer tells it. Whoever is late by their own usual gap is told so whatever the whole
says.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from training.models.contributions import merge_by_theme, share_out, view_process
from training.models.inputs import input_names, model_inputs
from training.models.lateness import find_lateness
from training.models.lifecycle import LifecycleModel
from training.models.reference import Reference
from training.models.tellings import OWN_LATENESS, TELLINGS, choose_telling, find_figures
from training.models.themes import SILENCE, THEMES, themes_of

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

MAX_REASONS = 3
_LEAST_SHARE = 0.1  # of the distance from the base: a theme that moves less is no reason for it ...
_ENOUGH, _TOO_LITTLE = 0.01, 0.001  # ... unless it moves a whole point; and a tenth of a point is none
_ROWS_AT_ONCE = 20_000
_DECIMALS = 4
_SILENCE_COLUMN = THEMES.index(SILENCE)


@dataclass(frozen=True, slots=True)
class Reason:
    """One theme behind a customer's probability of churn.

    Attributes:
        theme: One of `THEMES`.
        effect: What it adds to the probability; below 0, it lowers it. Of those who are late, what lateness adds.
        facts: The figures that tell it, by name: the customer's own, and `shop_<figure>` for what is usual.
    """

    theme: str
    effect: float
    facts: Mapping[str, float]


def find_reasons(model: LifecycleModel, table: pl.DataFrame, reference: Reference) -> list[tuple[Reason, ...]]:
    """Find the reasons behind the probability of churn of each customer, the greatest first.

    Returns:
        One tuple per row: at most `MAX_REASONS`, none where nothing stands out.
    """
    parts = (table.slice(start, _ROWS_AT_ONCE) for start in range(0, table.height, _ROWS_AT_ONCE))
    return [reasons for part in parts for reasons in _find_reasons(model, part, reference)]


def _find_reasons(model: LifecycleModel, table: pl.DataFrame, reference: Reference) -> list[tuple[Reason, ...]]:
    inputs = model_inputs(table, model.features)
    process = view_process(model, table)
    found = share_out(model, inputs, process, reference)
    effects = merge_by_theme(found, model)
    figures = find_figures(table, reference.usual)
    raises = found.p_churn > found.base
    candidates = _matters(effects, found.p_churn - found.base)
    tellings = np.full(effects.shape, -1, dtype=np.int64)
    for column, theme in enumerate(THEMES):
        rows = np.flatnonzero(candidates[:, column])
        if rows.size:
            usual = _p_churn_if_ordinary(model, inputs[rows], process[rows], reference, theme=theme)
            rows = rows[(found.p_churn[rows] - usual) * effects[rows, column] >= 0.0]
            tellings[rows, column] = choose_telling(theme, _take(figures, rows), raises=raises[rows])
    late, added = _find_late(model, table, found.p_churn, figures)
    effects[late, _SILENCE_COLUMN], tellings[late, _SILENCE_COLUMN] = added, OWN_LATENESS
    return _tell(effects, tellings, figures)


def _find_late(
    model: LifecycleModel, table: pl.DataFrame, p_churn: Vector, figures: Mapping[str, Vector]
) -> tuple[npt.NDArray[np.intp], Vector]:
    """Return the rows of those whom lateness by their own usual gap moves a point or more, and what it adds."""
    rows = np.flatnonzero(TELLINGS[OWN_LATENESS].holds(figures))
    added = find_lateness(model, table[rows], p_churn[rows])
    return rows[added >= _ENOUGH], added[added >= _ENOUGH]


def _matters(effects: Matrix, distance: Vector) -> npt.NDArray[np.bool_]:
    """Tell which themes point the way from the base to the customer, and move them far enough."""
    least = np.clip(_LEAST_SHARE * np.abs(distance), _TOO_LITTLE, _ENOUGH)
    return np.asarray(effects * np.sign(distance)[:, None] >= least[:, None])


def _p_churn_if_ordinary(
    model: LifecycleModel, inputs: Matrix, process: Matrix, reference: Reference, *, theme: str
) -> Vector:
    """Return the probability of churn, (n,), of customers who are as usual in one theme, and themselves in all else."""
    names = input_names(model.features)
    changed = inputs.copy()
    for column, (name, its_theme) in enumerate(zip(names, themes_of(names), strict=False)):
        if its_theme == theme:
            changed[:, column] = reference.input(name)
    its_process = np.tile(reference.process, (inputs.shape[0], 1)) if theme == SILENCE else process
    return model.churn.p_churn(changed, its_process)


def _take(figures: Mapping[str, Vector], rows: npt.NDArray[np.intp]) -> dict[str, Vector]:
    return {name: values[rows] for name, values in figures.items()}


def _tell(effects: Matrix, tellings: npt.NDArray[np.int64], figures: Mapping[str, Vector]) -> list[tuple[Reason, ...]]:
    """Return the told themes of each customer, the greatest first."""
    size = np.where(tellings >= 0, np.abs(effects), 0.0)
    order = np.argsort(-size, axis=1, kind="stable")[:, :MAX_REASONS]
    return [
        tuple(
            Reason(
                THEMES[column],
                round(float(effects[row, column]), _DECIMALS),
                _facts(tellings[row, column], row, figures),
            )
            for column in columns
            if tellings[row, column] >= 0
        )
        for row, columns in enumerate(order.tolist())
    ]


def _facts(telling: int, row: int, figures: Mapping[str, Vector]) -> dict[str, float]:
    return {name: _written(float(figures[name][row])) for name in TELLINGS[telling].facts}


def _written(value: float) -> float:
    """Return a figure as it is kept: whole where it is whole."""
    return int(value) if value.is_integer() else round(value, _DECIMALS)
