"""Scores as CSV that a spreadsheet can open without running any of it."""

import json

import polars as pl

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def to_csv(frame: pl.DataFrame) -> str:
    """Write a frame as CSV: lists as JSON text, and no cell that a spreadsheet takes for a formula.

    A text that begins with =, +, -, @, a tab or a carriage return gets an apostrophe in front.
    """
    lists = [name for name, dtype in frame.schema.items() if dtype.base_type() == pl.List]
    as_text = frame.with_columns(pl.Series(name, [_json(cell) for cell in frame[name]], pl.String) for name in lists)
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    return as_text.with_columns(_formula_safe(name) for name in texts).write_csv()


def _json(cell: pl.Series | None) -> str | None:
    return None if cell is None else json.dumps(cell.to_list())


def _formula_safe(name: str) -> pl.Expr:
    text = pl.col(name)
    is_formula = pl.any_horizontal(text.str.starts_with(start) for start in _FORMULA_STARTS)
    return pl.when(is_formula).then(pl.lit("'") + text).otherwise(text).alias(name)
