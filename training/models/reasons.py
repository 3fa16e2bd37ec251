"""Reasons: the few themes behind a customer's probability of churn, each with the figures that tell it.

A theme is shown where it points the way of the whole and matters, where making its inputs ordinary does not contradict
it, and where a figure of the customer tells it. Whoever is late by their own usual gap is told so whatever the whole
says.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.models.contributions import merge_by_theme, share_out
from training.models.figures import Figures, choose_tellings, find_figures, holds
from training.models.lateness import put_on_time
from training.models.lifecycle import LifecycleModel, Seen
from training.models.reference import Reference
from training.models.tellings import OWN_LATENESS, TELLINGS
from training.models.themes import SILENCE, THEMES

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


def find_reasons(model: LifecycleModel, seen: Seen, reference: Reference) -> list[tuple[Reason, ...]]:
    """Find the reasons behind the probability of churn of each customer, the greatest first.

    Args:
        model: Which.
        seen: What the model sees of customers (see `LifecycleModel.see`).
        reference: What customers are compared with.

    Returns:
        One tuple per customer: at most `MAX_REASONS`, none where nothing stands out.
    """
    parts = [slice(start, start + _ROWS_AT_ONCE) for start in range(0, seen.p_churn.size, _ROWS_AT_ONCE)]
    return [reasons for part in parts for reasons in _find_reasons(model, seen.take(part), reference)]


def _find_reasons(model: LifecycleModel, seen: Seen, reference: Reference) -> list[tuple[Reason, ...]]:
    found = share_out(model, seen, reference)
    effects = merge_by_theme(found, model)
    figures = find_figures(dict(zip(model.inputs, seen.inputs.T, strict=True)), reference.usual)
    tellings = choose_tellings(figures, raises=found.p_churn > found.base)
    candidates = (tellings >= 0) & _matters(effects, found.p_churn - found.base)
    late = np.flatnonzero(holds(figures)[OWN_LATENESS])
    usual, on_time = _ask(model, seen, reference, candidates=candidates, late=late)
    contradicts = (seen.p_churn[:, None] - usual) * effects < 0.0
    tellings[~candidates | contradicts] = -1
    added = seen.p_churn[late] - on_time
    late, added = late[added >= _ENOUGH], added[added >= _ENOUGH]
    effects[late, _SILENCE_COLUMN], tellings[late, _SILENCE_COLUMN] = added, OWN_LATENESS
    return _tell(effects, tellings, figures)


def _matters(effects: Matrix, distance: Vector) -> npt.NDArray[np.bool_]:
    """Tell which themes point the way from the base to the customer, and move them far enough."""
    least = np.clip(_LEAST_SHARE * np.abs(distance), _TOO_LITTLE, _ENOUGH)
    return np.asarray(effects * np.sign(distance)[:, None] >= least[:, None])


def _ask(
    model: LifecycleModel, seen: Seen, reference: Reference, *, candidates: npt.NDArray[np.bool_], late: Rows
) -> tuple[Matrix, Vector]:
    """Ask the model what it would say of customers who differ in one thing, all at once: each time has its price.

    Args:
        model: Which.
        seen: What it sees of n customers.
        reference: What is usual.
        candidates: Of which themes to ask, of which customers, shape (n, n_themes).
        late: Rows of those who are late by their own usual gap.

    Returns:
        Their probability of churn as usual in one theme, and themselves in all else, shape (n, n_themes), as it is
        where it was not asked for; and that of the late on time, shape (n_late,).
    """
    themes, rows = np.nonzero(candidates.T)
    inputs, process = reference.make_ordinary(seen.inputs, seen.process, model.inputs, rows=rows, themes=themes)
    usual = np.repeat(seen.p_churn[:, None], len(THEMES), axis=1)
    if late.size:
        moved, timing = put_on_time(seen.take(late), model.inputs)
        inputs, process = np.vstack([inputs, moved]), np.vstack([process, model.process_view(timing)])
    told = model.churn.p_churn(inputs, process)
    usual[rows, themes] = told[: rows.size]
    return usual, told[rows.size :]


def _tell(effects: Matrix, tellings: npt.NDArray[np.int64], figures: Figures) -> list[tuple[Reason, ...]]:
    """Return the told themes of each customer, the greatest first."""
    size = np.where(tellings >= 0, np.abs(effects), 0.0)
    order = np.argsort(-size, axis=1, kind="stable")[:, :MAX_REASONS]
    chosen, its_effects = (np.take_along_axis(values, order, axis=1).tolist() for values in (tellings, effects))
    return [
        tuple(
            Reason(THEMES[column], round(effect, _DECIMALS), _facts(telling, row, figures))
            for column, telling, effect in zip(columns, chosen[row], its_effects[row], strict=True)
            if telling >= 0
        )
        for row, columns in enumerate(order.tolist())
    ]


def _facts(telling: int, row: int, figures: Figures) -> dict[str, float]:
    return {name: _written(figures.at(name, row)) for name in TELLINGS[telling].facts}


def _written(value: float) -> float:
    """Return a figure as it is kept: whole where it is whole."""
    return int(value) if value.is_integer() else round(value, _DECIMALS)
