"""Rows to PostgreSQL in the binary format of COPY, which the server need not parse: half the time of text.

The format: PostgreSQL documentation, COPY, "Binary Format".
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from serving.store.bulk import flatten

_ROWS_AT_ONCE = 20_000
_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_END = struct.pack("!h", -1)


def copy_rows(connection: Connection, table: str, rows: pl.DataFrame, run_id: int) -> None:
    """Send rows, and the run that they are of, within the transaction of a connection."""
    fixed = [s.name for s in rows if s.dtype.is_numeric() and not s.null_count()]
    ordered = rows.select(*fixed, *(name for name in rows.columns if name not in set(fixed)))
    names = ", ".join(("run_id", *ordered.columns))
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT binary)") as copy:
        copy.write(_HEADER)
        for part in ordered.iter_slices(_ROWS_AT_ONCE):
            copy.write(_encode(part, len(fixed), run_id))
        copy.write(_END)


def _encode(rows: pl.DataFrame, n_fixed: int, run_id: int) -> memoryview:
    """Encode rows for COPY: the number of columns, then each cell as its length and its bytes."""
    columns = rows.get_columns()
    pieces = [_pieces(_fixed_block(columns[:n_fixed], rows, run_id))]
    for values in columns[n_fixed:]:
        pieces += _variable_pieces(values)
    _, offsets, content = pc.binary_join_element_wise(*pieces, b"").buffers()
    return memoryview(content)[: np.frombuffer(offsets, np.int32)[rows.height]]


def _fixed_block(columns: Sequence[pl.Series], rows: pl.DataFrame, run_id: int) -> npt.NDArray[np.void]:
    """Return what is of the same length in every row: how many columns follow, the run, and numbers never absent."""
    fields = [("n", ">i2"), ("run_length", ">i4"), ("run", ">i4")]
    for i, values in enumerate(columns):
        fields += [(f"length_{i}", ">i4"), (f"value_{i}", _wire_type(values))]
    block = np.empty(rows.height, np.dtype(fields))
    block["n"], block["run_length"], block["run"] = rows.width + 1, 4, run_id
    for i, values in enumerate(columns):
        block[f"length_{i}"], block[f"value_{i}"] = np.dtype(_wire_type(values)).itemsize, values.to_numpy()
    return block


def _wire_type(values: pl.Series) -> str:
    return ">f8" if values.dtype.is_float() else ">i4"


def _variable_pieces(values: pl.Series) -> list[pa.BinaryArray]:
    """Return the lengths and the bytes of cells that may differ in length or be absent (length −1)."""
    if values.dtype == pl.List:
        content, ends = flatten(values)
        return [_pieces(_lengths(values.list.len() * 8)), _sliced(content, ends)]
    if values.dtype.is_numeric():
        width = np.dtype(_wire_type(values)).itemsize
        return [_pieces(_lengths(values.is_not_null().cast(pl.Int32) * (width + 1) - 1)), _present(values)]
    lengths = values.str.len_bytes().cast(pl.Int32).fill_null(-1)
    return [_pieces(_lengths(lengths)), values.fill_null("").cast(pl.Binary).to_arrow().cast(pa.binary())]


def _lengths(values: pl.Series) -> npt.NDArray[np.int32]:
    return values.to_numpy().astype(">i4")


def _present(values: pl.Series) -> pa.BinaryArray:
    width = np.dtype(_wire_type(values)).itemsize
    content = values.drop_nulls().to_numpy().astype(_wire_type(values))
    return _sliced(content, np.cumsum(values.is_not_null().to_numpy() * width))


def _pieces(content: npt.NDArray[Any]) -> pa.BinaryArray:
    """Wrap an array, one piece per element."""
    return _sliced(content, np.arange(1, len(content) + 1) * content.itemsize)


def _sliced(content: npt.NDArray[Any], ends: npt.NDArray[Any]) -> pa.BinaryArray:
    """Wrap the bytes of an array as pieces that end where they are said to."""
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(content).view(np.uint8))]
    return pa.BinaryArray.from_buffers(pa.binary(), len(ends), buffers)
