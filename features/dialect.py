"""Which library's expressions a frame takes: one definition serves every engine, and arrays in memory.

A definition that is written for all uses only names that all have.
"""

from types import ModuleType
from typing import Any, TypeVar

import narwhals as nw
import polars as pl

from features import expressions
from features.arrays import Arrays

Frame = TypeVar("Frame", nw.LazyFrame[Any], nw.DataFrame[Any], pl.LazyFrame, Arrays)


def dialect_of(frame: object) -> Any:
    """Return the module that makes expressions for a frame: `features.expressions`, `polars` or `narwhals`."""
    module: ModuleType = expressions if isinstance(frame, Arrays) else pl if isinstance(frame, pl.LazyFrame) else nw
    return module
