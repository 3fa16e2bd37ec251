"""The tables of an experiment: as the report shows them, and as MLflow takes their figures."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

_BLOCK = re.compile(r"(?<=<!-- generated )([\w.]+)( -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)
_NAME = re.compile(r"[\w.-]+")
_EXACT = {"log_likelihood", "aic", "bic"}
_SHARES = (
    *("relative_bias", "top_decile_share", "silent_", "common_error", "coverage_", "all_", "if_ordered_", "shown_"),
    *("held_", "random_", "stages", "tenths", "skill", "base_rate", "share_"),
)

Row = dict[str, Any]
Tables = Mapping[str, pl.DataFrame]


def to_markdown(table: pl.DataFrame) -> str:
    """Write a table as the report shows it."""
    head = [table.columns, ["---"] * table.width]
    body = [[_cell(name, row[name]) for name in table.columns] for row in table.iter_rows(named=True)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (*head, *body))


def _cell(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (str, int)):
        return str(value)
    if value is None or not np.isfinite(value):
        return "–"
    return _number(name, value).replace("-", "−")


def _number(name: str, value: float) -> str:
    if name in _EXACT:
        return f"{value:.1f}"
    if name.startswith(_SHARES):
        return f"{100 * value:.1f} %"
    return f"{value:.4g}" if abs(value) >= 1 else f"{value:.4f}"


def write_report(path: Path, shop: str, tables: Tables) -> None:
    """Write the tables of a shop anew where the report shows them."""
    fresh = {f"{shop}.{name}": to_markdown(table) for name, table in tables.items()}
    text = path.read_text(encoding="utf-8")
    renewed = _BLOCK.sub(lambda found: f"{found[1]}{found[2]}{fresh.get(found[1], found[3])}", text)
    path.write_text(renewed, encoding="utf-8", newline="\n")


def to_metrics(tables: Tables) -> dict[str, float]:
    """Name each finite number: `<table>.<what its row is about>.<column>`."""
    found: dict[str, float] = {}
    for name, table in tables.items():
        for row in table.with_columns(pl.col("^(days|learned_days)$").cast(pl.String)).iter_rows(named=True):
            about = [value for value in row.values() if isinstance(value, str) and _NAME.fullmatch(value)]
            numbers = {key: value for key, value in row.items() if isinstance(value, (int, float))}
            prefix = ".".join((name, *about))
            found |= {f"{prefix}.{key}": float(value) for key, value in numbers.items() if np.isfinite(value)}
    return found
