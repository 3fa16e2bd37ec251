"""Which library's expressions a frame takes: one definition serves narwhals and Polars, whose names narwhals follows.

Frames in memory, some of them of a single customer, go straight to Polars: translating an expression through narwhals
takes longer than computing it on a few rows. A definition that is written for both uses only names that both have.
"""

from types import ModuleType
from typing import Any, TypeVar

import narwhals as nw
import polars as pl

Frame = TypeVar("Frame", nw.LazyFrame[Any], nw.DataFrame[Any], pl.LazyFrame)


def dialect_of(frame: object) -> Any:
    """Return the module that makes expressions for a frame: `polars` or `narwhals`."""
    module: ModuleType = pl if isinstance(frame, pl.LazyFrame) else nw
    return module
