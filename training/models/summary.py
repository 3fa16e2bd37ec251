"""What a purchase-process model knows of a customer: the four sufficient statistics of the BTYD papers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]

YEAR_DAYS = 365.25
_TABLE_SLOTS_PER_ROW = 16
_COLUMNS = ("frequency", "recency_days", "T_days", "monetary_value", "year_day")


@dataclass(frozen=True, slots=True)
class Cells:
    """The distinct rows of some columns.

    Attributes:
        first: (n_cells,) a row number that represents each cell.
        inverse: (n,) the cell of each row, so that `table[inverse]` spreads a table of cells over rows.
        counts: (n_cells,) rows in each cell.
    """

    first: IndexArray
    inverse: IndexArray
    counts: IndexArray


@dataclass(frozen=True, slots=True)
class PurchaseSummary:
    """Order timing and value before the cutoff. One element per customer.

    Attributes:
        frequency: (n,) order days − 1, whole numbers.
        recency_days: (n,) last − first order day; 0 where frequency is 0.
        T_days: (n,) cutoff − first order day, at least `recency_days`.
        monetary_value: (n,) mean value of the repeat order days; 0 where frequency is 0. A value of 0 or
            less says nothing about the next order, and models take the population's mean there.
        year_day: (n,) place of the cutoff in the year: days since 1970-01-01 modulo 365.25; None where it is not known.
            Read by `SeasonalNbd` alone.

    Raises:
        ValueError: An array has the wrong shape, a value that is not finite, or statistics that no order log can give.
    """

    frequency: FloatArray
    recency_days: FloatArray
    T_days: FloatArray
    monetary_value: FloatArray
    year_day: FloatArray | None = None
    _cells: list[Cells] = field(default_factory=list, init=False, repr=False, compare=False)  # one, once it is known

    def __post_init__(self) -> None:
        for name in _columns_of(self):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        _validate(self)

    def __len__(self) -> int:
        return len(self.frequency)

    def take(self, rows: IndexArray | BoolArray | slice) -> PurchaseSummary:
        """Select customers by row number, by mask or from one row to another. One element per selected customer."""
        return PurchaseSummary(**{name: getattr(self, name)[rows] for name in _columns_of(self)})

    def cells_of_age(self) -> Cells:
        """Group customers of equal frequency and T; found once, for every formula asks for it."""
        if not self._cells:
            self._cells.append(find_cells(self.frequency, self.T_days))
        return self._cells[0]

    def monetary_is_known(self) -> BoolArray:
        """Tell which customers' repeat orders say something about the value of the next."""
        return (self.frequency > 0) & (self.monetary_value > 0)


def find_cells(*columns: FloatArray) -> Cells:
    """Group rows that agree in all `columns`.

    Customers share few values of (frequency, recency, T), so that costly formulas run once per cell.
    """
    codes, size = _encode(columns[0])
    for column in columns[1:]:
        more, more_size = _encode(column)
        codes, size = _compact(codes * more_size + more, size * more_size)
    first = np.empty(size, dtype=np.intp)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return Cells(first=first, inverse=codes, counts=np.bincount(codes, minlength=size))


def find_levels(column: FloatArray) -> tuple[FloatArray, IndexArray]:
    """Return the distinct values of a column, and the position of each row's value among them."""
    codes, size = _encode(column)
    levels = np.empty(size)
    levels[codes] = column
    return levels, codes


def _encode(column: FloatArray) -> tuple[IndexArray, int]:
    if len(column) == 0:
        return np.zeros(0, dtype=np.intp), 0
    low, high = float(np.min(column)), float(np.max(column))
    is_small = high - low < _TABLE_SLOTS_PER_ROW * len(column)
    if is_small and low == np.floor(low) and bool((column == np.rint(column)).all()):
        return _compact((column - low).astype(np.intp), int(high - low) + 1)
    return _compact_by_sorting(column)


def _compact(codes: IndexArray, size: int) -> tuple[IndexArray, int]:
    """Renumber codes below `size` without gaps, by a look-up table where that is small and by sorting otherwise."""
    if size > _TABLE_SLOTS_PER_ROW * len(codes):
        return _compact_by_sorting(codes)
    is_used = np.zeros(size, dtype=np.bool_)
    is_used[codes] = True
    numbers = np.cumsum(is_used) - 1
    return numbers[codes], int(is_used.sum())


def _compact_by_sorting(values: npt.NDArray[np.float64] | IndexArray) -> tuple[IndexArray, int]:
    distinct, inverse = np.unique(values, return_inverse=True)
    return inverse, len(distinct)


def _columns_of(summary: PurchaseSummary) -> tuple[str, ...]:
    return _COLUMNS if summary.year_day is not None else _COLUMNS[:-1]


def _validate(summary: PurchaseSummary) -> None:
    n = summary.frequency.size
    columns: dict[str, FloatArray] = {name: getattr(summary, name) for name in _columns_of(summary)}
    for name, values in columns.items():
        if values.shape != (n,):
            raise ValueError(f"{name} has shape {values.shape}; all four arrays must have shape ({n},).")
    is_finite = np.isfinite(list(columns.values())).all(axis=1)
    if not is_finite.all():
        raise ValueError(f"{list(columns)[int(np.argmin(is_finite))]} holds values that are not finite.")
    frequency, recency, age = summary.frequency, summary.recency_days, summary.T_days
    refusals = {
        "frequency must be whole numbers from 0 (order days - 1)": (frequency < 0) | (frequency != np.floor(frequency)),
        "recency_days must be 0 where frequency is 0, and above 0 elsewhere": (frequency > 0) != (recency > 0),
        "recency_days must not be negative": recency < 0,
        "T_days must not be below recency_days (an order after the cutoff?)": age < recency,
        "monetary_value must be 0 where frequency is 0": (frequency == 0) & (summary.monetary_value != 0),
        "year_day must be from 0 to 365.25": _is_no_year_day(summary),
    }
    counts = np.count_nonzero(list(refusals.values()), axis=1).tolist()
    for rule, n_refused in zip(refusals, counts, strict=True):
        if n_refused:
            raise ValueError(f"{rule}; {n_refused} of {n} customers differ.")


def _is_no_year_day(summary: PurchaseSummary) -> BoolArray:
    if summary.year_day is None:
        return np.zeros(summary.frequency.size, dtype=np.bool_)
    return np.asarray((summary.year_day < 0.0) | (summary.year_day > YEAR_DAYS))
