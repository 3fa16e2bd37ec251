"""The CDNOW 1/10 sample of Fader and Hardie, as the lifetimes package carries it, summarised as the papers do."""

from __future__ import annotations

import importlib.util
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np

from training.models.summary import PurchaseSummary

CALIBRATION_END = date(1997, 9, 30)  # inclusive; the papers measure T to this day
N_CUSTOMERS = 2357


def _sample_path() -> Path:
    spec = importlib.util.find_spec("lifetimes")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "datasets" / "CDNOW_sample.txt"


@cache
def load_order_days() -> dict[int, dict[date, float]]:
    """Read the sample: customer → order day → value. Orders of one day are one order."""
    customers: dict[int, dict[date, float]] = {}
    for line in _sample_path().read_text().splitlines():
        if not line.strip():
            continue
        _, customer, day_text, _, value = line.split()
        day = date(int(day_text[:4]), int(day_text[4:6]), int(day_text[6:]))
        days = customers.setdefault(int(customer), {})
        days[day] = days.get(day, 0.0) + float(value)
    return customers


@cache
def load_summary() -> PurchaseSummary:
    """Summarise the 39 calibration weeks. One element per customer."""
    rows = [_summarise(days) for days in load_order_days().values()]
    columns = np.array(rows, dtype=np.float64).T
    return PurchaseSummary(*columns)


def _summarise(days: dict[date, float]) -> tuple[float, float, float, float]:
    known = sorted(day for day in days if day <= CALIBRATION_END)
    repeats = [days[day] for day in known[1:]]
    mean = sum(repeats) / len(repeats) if repeats else 0.0
    return len(repeats), (known[-1] - known[0]).days, (CALIBRATION_END - known[0]).days, mean
