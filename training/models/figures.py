"""Figures: what of customers can be told, and which tellings hold of them.

What is usual in the shop is the median of its active customers of whom it is known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from features.table import FEATURES
from training.models.tellings import ONE, OWN_GAP, SHOP, TELLINGS, Condition, Relation
from training.models.themes import THEMES

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Columns = Mapping[str, Vector]

_MIN_KNOWN = 10  # a median of fewer is noise, and may be a figure of one customer
_OWN_RHYTHM_MIN_REPEATS = 2.0  # one gap is not yet usual
_YOUNGEST_RATE_DAYS = 180.0  # a rate per year says nothing before


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of n customers.

    Args:
        values: Shape (n_figures, n), rows as `_FIGURES`; NaN where one is not known.
    """

    values: Matrix

    def __getitem__(self, name: str) -> Vector:
        figure: Vector = self.values[_PLACE[name]]
        return figure

    def at(self, name: str, row: int) -> float:
        """Return a figure of one customer."""
        return float(self.values.item(_PLACE[name], row))


def find_figures(known: Columns, usual: Mapping[str, float]) -> Figures:
    """Return the figures of each customer.

    Args:
        known: Features by name, NaN where one is not known of a customer; one that lacks is known of nobody.
        usual: What is usual in the shop, as `find_usual` returns it.
    """
    n = next(iter(known.values())).size
    figures = Figures(np.full((len(_FIGURES), n), np.nan))
    for name in _FEATURES:
        if name in known:
            figures[name][:] = known[name]
    for name, formula in _SUMS.items():
        figures[name][:] = formula(figures)
    for name, condition in _ONLY_WHERE.items():
        figures[name][~condition(figures)] = np.nan
    for name in _SHOP_FIGURES:
        figures[name][:] = usual.get(name, np.nan)
    figures[ONE][:] = 1.0
    return figures


def find_usual(known: Columns) -> dict[str, float]:
    """Return what is usual in the shop: `shop_<figure>` → median, of what is known of 10 customers or more.

    Args:
        known: Features by name of those who are active, as `find_figures` takes them.
    """
    figures = find_figures(known, {})
    own = {name: figures[name.removeprefix(SHOP)] for name in _SHOP_FIGURES}
    own[f"{SHOP}{OWN_GAP}"] = known.get(OWN_GAP, np.zeros(0))  # of one gap too: together they are many
    finite = {name: values[np.isfinite(values)] for name, values in own.items()}
    return {name: float(np.median(values)) for name, values in finite.items() if values.size >= _MIN_KNOWN}


def choose_tellings(figures: Figures, *, raises: Mask) -> npt.NDArray[np.int64]:
    """Return the position in `TELLINGS` of the first that tells each theme of each customer.

    Args:
        figures: Of the customers, those of the shop among them.
        raises: The direction to tell, (n,).

    Returns:
        Shape (n, n_themes), columns as `THEMES`; −1 where none does.
    """
    points = _IS_EITHER[:, None] | (_IS_RAISING[:, None] == raises)
    positions = np.where(points & holds(figures), _POSITIONS[:, None], len(TELLINGS))
    first = np.minimum.reduceat(positions, _FIRST_OF_THEME, axis=0).T
    return np.where(first < len(TELLINGS), first, -1)


def holds(figures: Figures) -> Mask:
    """Tell which tellings hold of which customers, shape (n_tellings, n)."""
    met = np.concatenate([compare(figures) for compare in _COMPARISONS])
    return np.asarray(met[_NEEDED].all(axis=1))


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Conditions of one relation, compared at once.

    Args:
        relation: Which.
        figure: Rows of the figures, (k,).
        times: How many times the others, (k, 1).
        other: Rows of those, (k,).
    """

    relation: Callable[[Matrix, Matrix], Mask]
    figure: npt.NDArray[np.intp]
    times: Matrix
    other: npt.NDArray[np.intp]

    @classmethod
    def of(cls, relation: Relation, conditions: Sequence[Condition]) -> Self:
        """Gather the conditions of a relation."""
        return cls(
            _RELATIONS[relation],
            np.array([_PLACE[condition.figure] for condition in conditions]),
            np.array([[condition.times] for condition in conditions]),
            np.array([_PLACE[condition.other] for condition in conditions]),
        )

    def __call__(self, figures: Figures) -> Mask:
        """Tell which conditions hold of which customers, shape (k, n)."""
        return self.relation(figures.values[self.figure], self.times * figures.values[self.other])


_RELATIONS: Mapping[Relation, Callable[[Matrix, Matrix], Mask]] = {
    "above": np.greater,
    "at least": np.greater_equal,
    "is": np.equal,
    "not below": lambda figure, other: ~(figure < other),
}

_SUMS: Mapping[str, Callable[[Figures], Vector]] = {
    "n_order_days": lambda f: f["frequency"] + 1.0,
    "order_days_before_90": lambda f: f["order_days_within_90"] - f["order_days_trend_90"],
    "value_before_90": lambda f: np.round(f["value_within_90"] - f["value_trend_90"], 6) + 0.0,  # money has micros
    "visits_before_30": lambda f: f["visits_within_30"] - f["visits_trend_30"],
}
# A feature that says something of a customer only where the condition holds.
_ONLY_WHERE: Mapping[str, Callable[[Figures], Mask]] = {
    OWN_GAP: lambda f: f["frequency"] >= _OWN_RHYTHM_MIN_REPEATS,
    "order_days_per_year": lambda f: f["T_days"] >= _YOUNGEST_RATE_DAYS,
}
_READ_TOO = {"frequency", "T_days", "order_days_trend_90", "value_trend_90", "visits_trend_30"}
_FACTS = {name for telling in TELLINGS for name in telling.facts}
_SHOP_FIGURES = sorted(name for name in _FACTS if name.startswith(SHOP))
_FEATURES = [feature.name for feature in FEATURES if feature.name in _FACTS | _READ_TOO]
_FIGURES = (*_FEATURES, *_SUMS, *_SHOP_FIGURES, ONE)
_PLACE = {name: place for place, name in enumerate(_FIGURES)}

_CONDITIONS = {
    relation: sorted({c for telling in TELLINGS for c in telling.conditions if c.relation == relation}, key=str)
    for relation in _RELATIONS
}
_COMPARISONS = [_Comparison.of(relation, conditions) for relation, conditions in _CONDITIONS.items()]
_NUMBERED = {c: number for number, c in enumerate(c for conditions in _CONDITIONS.values() for c in conditions)}
_MOST = max(len(telling.conditions) for telling in TELLINGS)
# The conditions of each telling, the first again where there are fewer than of another.
_NEEDED = np.array(
    [[_NUMBERED[c] for c in (telling.conditions + telling.conditions[:1] * _MOST)[:_MOST]] for telling in TELLINGS]
)
_POSITIONS = np.arange(len(TELLINGS))
_FIRST_OF_THEME = [[telling.theme for telling in TELLINGS].index(theme) for theme in THEMES]
_IS_EITHER = np.array([telling.direction == "either" for telling in TELLINGS])
_IS_RAISING = np.array([telling.direction == "raises" for telling in TELLINGS])
