"""The demo data: complete, deterministic, and read without importing its package."""

import sys
from datetime import date
from pathlib import Path

import duckdb
import pytest

from features.errors import SourceNotFoundError
from features.intake.cdnow import load_cdnow_sample, write_cdnow_csv
from features.intake.orders import read_orders
from tests.features.intake.conftest import orders_settings


def test_whole_log(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """All 69,659 orders of 23,570 customers are written, each accepted (Fader and Hardie's published counts)."""
    file = write_cdnow_csv(tmp_path / "demo")
    first_bytes = file.read_bytes()
    assert write_cdnow_csv(tmp_path / "demo").read_bytes() == first_bytes
    assert first_bytes.startswith(b"order_id,customer_id,ordered_at,amount\n1,00001,1997-01-01,11.77\n")
    assert [path.name for path in file.parent.iterdir()] == ["cdnow_orders.csv"]
    intake = read_orders([file], orders_settings(), connection=connection)
    assert (intake.report.n_orders, intake.report.n_quarantined) == (69_659, 0)
    assert (intake.report.first_day, intake.report.last_day) == (date(1997, 1, 1), date(1998, 6, 30))
    assert intake.orders.aggregate("count(DISTINCT customer_id)").fetchall() == [(23_570,)]


def test_sample() -> None:
    """The sample has 2,357 customers, each under one number."""
    sample = load_cdnow_sample()
    assert (sample.height, sample["customer_id"].n_unique()) == (6_919, 2_357)
    assert sample.row(0)[2:] == (9862, 29_330_000)


def test_absent_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, the refusal says how to install it."""
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "lifetimes", raising=False)
    with pytest.raises(SourceNotFoundError, match="pip install lifetimes"):
        write_cdnow_csv(tmp_path)
