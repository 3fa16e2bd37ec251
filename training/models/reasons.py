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

from training.models.contributions import merge_by_theme, share_out
from training.models.inputs import input_names
from training.models.lateness import find_lateness
from training.models.lifecycle import LifecycleModel, Seen
from training.models.reference import Reference
from training.models.tellings import OWN_LATENESS, TELLINGS, choose_telling, find_figures
from training.models.themes import SILENCE, THEMES, themes_of

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

MAX_REASONS = 3
_LEAST_SHARE = 0.1  # of the distance from the base: a theme that moves less is no reason for it ...
_ENOUGH, _TOO_LITTLE = 0.01, 0.001  # ... unless it moves a whole point; and a tenth of a point is none
_ROWS_AT_ONCE = 5_000
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


def find_reasons(
    model: LifecycleModel, table: pl.DataFrame, reference: Reference, *, seen: Seen | None = None
) -> list[tuple[Reason, ...]]:
    """Find the reasons behind the probability of churn of each customer, the greatest first.

    Args:
        model: Which.
        table: A customer table.
        reference: What customers are compared with.
        seen: What the model sees of the table, where that is known already.

    Returns:
        One tuple per row: at most `MAX_REASONS`, none where nothing stands out.
    """
    whole = model.see(table) if seen is None else seen
    parts = [slice(start, start + _ROWS_AT_ONCE) for start in range(0, table.height, _ROWS_AT_ONCE)]
    return [
        reasons for part in parts for reasons in _find_reasons(model, table[part], reference, seen=whole.take(part))
    ]


def _find_reasons(
    model: LifecycleModel, table: pl.DataFrame, reference: Reference, *, seen: Seen
) -> list[tuple[Reason, ...]]:
    inputs, process = seen.inputs, seen.process
    found = share_out(model, inputs, process, reference)
    effects = merge_by_theme(found, model)
    figures = find_figures(table, reference.usual)
    raises = found.p_churn > found.base
    candidates = _matters(effects, found.p_churn - found.base)
    tellings = np.full(effects.shape, -1, dtype=np.int64)
    asked = {theme: np.flatnonzero(candidates[:, column]) for column, theme in enumerate(THEMES)}
    usual = _p_churn_if_ordinary(model, inputs, process, reference, asked)
    for column, theme in enumerate(THEMES):
        rows = asked[theme]
        rows = rows[(found.p_churn[rows] - usual[theme]) * effects[rows, column] >= 0.0]
        if rows.size:
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
    model: LifecycleModel, inputs: Matrix, process: Matrix, reference: Reference, asked: Mapping[str, Rows]
) -> dict[str, Vector]:
    """Return the probability of churn of customers who are as usual in one theme, and themselves in all else.

    Args:
        model: Which.
        inputs: Of all customers, shape (n, n_inputs).
        process: What the process says of them, shape (n, 3).
        reference: What is usual.
        asked: Theme → rows of the customers to ask for. The model is asked once for all: a question costs more than
            its rows.

    Returns:
        Theme → shape (n_asked,).
    """
    names = input_names(model.features)
    its_columns = {
        theme: [i for i, its in enumerate(themes_of(names)[: len(names)]) if its == theme] for theme in asked
    }
    changed, views = [], []
    for theme, rows in asked.items():
        changed.append(inputs[rows])
        changed[-1][:, its_columns[theme]] = [reference.input(names[column]) for column in its_columns[theme]]
        views.append(np.tile(reference.process, (rows.size, 1)) if theme == SILENCE else process[rows])
    told = model.churn.p_churn(np.concatenate(changed), np.concatenate(views))
    borders = np.cumsum([rows.size for rows in asked.values()])[:-1]
    return dict(zip(asked, np.split(told, borders), strict=True))


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
