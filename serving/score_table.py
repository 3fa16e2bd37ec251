"""Columns of scores, side by side: a frame of a base, or the rows of a request's few customers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from training.models.summary import find_levels

_NO_DAY = -1.0  # no order lies before day 0


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of few values.

    Args:
        values: Them.
        codes: Which each row has, shape (n,).
    """

    values: Sequence[str | None]
    codes: npt.NDArray[np.intp] | npt.NDArray[np.int64]

    def to_series(self, name: str = "") -> pl.Series:
        """Return it as a series of texts."""
        return pl.Series(name, self.values, pl.String)[self.codes]

    def to_list(self) -> list[str | None]:
        """Return it as a list."""
        return [self.values[code] for code in self.codes.tolist()]


Values = Coded | npt.NDArray[Any] | pl.Series | list[str | None]


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The columns of n scores, by name.

    Args:
        columns: Texts; integers; numbers, NaN for none where the column may lack it; or lists of numbers, (n, k).
        schema: Their types in a frame, in their order.
        nullable: Those in which a number may be lacking.
    """

    columns: Mapping[str, Values]
    schema: pl.Schema
    nullable: frozenset[str]

    def to_frame(self) -> pl.DataFrame:
        """Return the scores as a frame, one row per customer."""
        return pl.DataFrame([self._to_series(name) for name in self.schema])

    def iterate_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the scores one by one, by name, as the rows of the frame would be."""
        for values in zip(*map(self._to_list, self.schema), strict=True):
            yield dict(zip(self.schema, values, strict=True))

    def _to_series(self, name: str) -> pl.Series:
        column, dtype = self.columns[name], self.schema[name]
        if isinstance(column, Coded):
            return column.to_series(name)
        if isinstance(column, np.ndarray):
            return pl.Series(name, column, nan_to_null=name in self.nullable).cast(dtype)
        return pl.Series(name, column, dtype=dtype)

    def _to_list(self, name: str) -> list[Any]:
        column = self.columns[name]
        if isinstance(column, list):
            return column
        if isinstance(column, np.ndarray):
            numbers: list[Any] = column.tolist()
            return [None if math.isnan(number) else number for number in numbers] if name in self.nullable else numbers
        return column.to_list()


def repeat(value: str, n: int) -> Coded:
    """Return a column of one value."""
    return Coded([value], np.zeros(n, dtype=np.intp))


def tell_days(*columns: npt.NDArray[Any]) -> list[Coded]:
    """Return day numbers as ISO dates, column by column; nothing where there is none."""
    days = np.concatenate(columns, dtype=np.float64)
    levels, codes = find_levels(np.where(np.isnan(days), _NO_DAY, days))
    texts = np.datetime_as_string(levels.astype("datetime64[D]")).tolist()
    dates = [None if day == _NO_DAY else text for day, text in zip(levels.tolist(), texts, strict=True)]
    return [Coded(dates, part) for part in np.split(codes, len(columns))]
