"""Grouping millions of rows by customer and day, in memory: sorts of numbers in place of a sort of texts.

A key of 64 bits ends in the number of its row, so that sorting keys carries the rows along. Rows of a customer are
brought together by a hash of the text; then the texts are sorted, each once, and the rows by the rank of their text.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features.cores import on_all_cores
from features.reduce import Ints

Keys = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

_ROW_BITS, _DAY_BITS = 24, 16
_HASH_BITS = 64 - _ROW_BITS  # of the hash, in the first keys
_CHECK_SEED = 1

MAX_ROWS = 1 << _ROW_BITS


@dataclass(frozen=True, slots=True)
class GroupedRows:
    """Rows in the order of customer and day; their columns stay where they are.

    Args:
        customer_ids: Sorted, each once.
        starts: Where the rows of each customer begin; and the number of rows.
        keys: In order; of each row the number of its customer, its day since `first_day`, and its own number.
        first_day: The earliest day of all.
        columns: The other columns, as they came.
    """

    customer_ids: pl.Series
    starts: Ints
    keys: Keys
    first_day: int
    columns: Mapping[str, Ints]

    def of_customers(self, first: int, last: int) -> tuple[Flags, dict[str, Ints]]:
        """Return the rows of customers number `first` to before `last`: whether each begins a customer; the columns."""
        begin, end = self.starts[first], self.starts[last]
        begins = np.zeros(end - begin, dtype=np.bool_)
        begins[self.starts[first:last] - begin] = True
        keys = self.keys[begin:end]
        day = (keys >> _ROW_BITS & (2**_DAY_BITS - 1)).astype(np.int64) + self.first_day
        row = _row_of(keys)
        return begins, {"day": day} | {name: values[row] for name, values in self.columns.items()}


def group_rows(rows: pl.DataFrame) -> GroupedRows | None:
    """Group rows by `customer_id` and `day`.

    Args:
        rows: `customer_id`, `day`, and other int64 columns.

    Returns:
        The rows in order; None where there are none or more than `MAX_ROWS`, where days span more than 65,535, or where
        two customers share a hash of 64 bits.
    """
    if not 0 < rows.height <= MAX_ROWS:
        return None
    columns = {name: rows[name].to_numpy() for name in rows.columns if name != "customer_id"}
    ids = rows["customer_id"]
    del rows  # the texts are large, and needed only until they are ranked
    day = columns.pop("day")
    first_day = int(day.min())
    if int(day.max()) - first_day >= 2**_DAY_BITS:
        return None
    keys, details = _by_hash(ids, (day - first_day).view(np.uint64))
    begins = _part_customers(keys, details)
    if begins is None:
        return None
    starts = np.flatnonzero(begins)
    sizes = np.diff(starts, append=keys.size)
    customer_ids = ids[_row_of(keys[starts])].sort()
    del ids, begins
    rank = np.argsort(_hash(customer_ids))  # customers stand in the order of their hashes, each with one of its own
    details &= 2**_DAY_BITS - 1
    details <<= _ROW_BITS
    details |= np.repeat(rank.astype(np.uint64) << (_DAY_BITS + _ROW_BITS), sizes)
    keys &= MAX_ROWS - 1
    keys |= details
    keys.sort()
    ends = np.zeros(rank.size + 1, dtype=np.int64)
    ends[rank + 1] = sizes
    return GroupedRows(customer_ids, np.cumsum(ends), keys, first_day, columns)


def _by_hash(ids: pl.Series, day: Keys) -> tuple[Keys, Keys]:
    """Sort rows by the hash of their customer.

    Returns:
        Keys, in order: the head of the hash, and the number of the row. Details, in that order: the rest of the hash,
        as much of a second hash, by which unequal customers of equal hash are found out, and the day.
    """
    keys, details = np.empty(len(ids), dtype=np.uint64), np.empty(len(ids), dtype=np.uint64)

    def fill(part: slice) -> None:
        hashed = _hash(ids[part])
        details[part] = _hash(ids[part], _CHECK_SEED) >> _HASH_BITS << _DAY_BITS
        details[part] |= hashed << _HASH_BITS
        details[part] |= day[part]
        hashed &= ~np.uint64(MAX_ROWS - 1)
        keys[part] = hashed | np.arange(part.start, part.stop, dtype=np.uint64)

    on_all_cores(fill, len(ids))
    keys.sort()
    return keys, _taken(details, keys)


def _part_customers(keys: Keys, details: Keys) -> Flags | None:
    """Tell of each row whether it begins a customer; rows of customers whose heads are alike are parted, in place.

    Returns:
        Shape (n_rows,); None where two customers share a hash of 64 bits.
    """
    is_same_head = keys[1:] ^ keys[:-1] < MAX_ROWS
    differs = details[1:] ^ details[:-1] >= 2**_DAY_BITS
    begins = np.append([True], differs | ~is_same_head)
    for head in np.unique(keys[1:][is_same_head & differs] >> _ROW_BITS):  # a handful, among millions
        first_key = head << _ROW_BITS
        first, end = keys.searchsorted(first_key), keys.searchsorted(first_key | (MAX_ROWS - 1), side="right")
        rows = slice(first, end)
        order = np.argsort(details[rows])
        keys[rows], details[rows] = keys[rows][order], details[rows][order]
        change = details[first + 1 : end] ^ details[first : end - 1]
        if ((2**_DAY_BITS <= change) & (change < 2**_HASH_BITS)).any():
            return None
        begins[first + 1 : end] = change >= 2**_DAY_BITS
    return begins


def _taken(details: Keys, keys: Keys) -> Keys:
    """Return the details of the rows that the keys name."""
    taken = np.empty_like(details)

    def take(part: slice) -> None:
        taken[part] = details[_row_of(keys[part])]

    on_all_cores(take, keys.size)
    return taken


def _hash(ids: pl.Series, seed: int = 0) -> Keys:
    hashed: Keys = pl.DataFrame([ids]).hash_rows(seed).to_numpy(writable=True)
    return hashed


def _row_of(keys: Keys) -> Ints:
    rows: Ints = (keys & (MAX_ROWS - 1)).view(np.int64)
    return rows
