from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from features.errors import ServingError, SettingsError
from serving.batch import publish_scores, write_frame
from serving.store.score_store import RunInfo, ScoreStore
from serving.wording import with_labels
from tests.serving.score_rows import WORDING, build_customers, build_frame, build_publication, build_row

PUBLISHED_AT = datetime(2026, 1, 2, tzinfo=UTC)


def publish(store: ScoreStore, scores: pl.DataFrame, out: Path | None = None) -> RunInfo:
    """Publish rows written by hand."""
    made = build_publication(scores)
    return publish_scores(made, store, published_at=PUBLISHED_AT, keep_runs=3, wording=WORDING, out=out)


def test_parquet(store: ScoreStore, tmp_path: Path) -> None:
    """The Parquet file holds the scores unchanged, with their stages in words, and the store the same run."""
    scores = build_customers(5)
    run = publish(store, scores, out=tmp_path / "scores.parquet")
    written = pl.read_parquet(tmp_path / "scores.parquet")
    assert written.drop("stage_label", "is_label_borrowed").equals(scores)
    assert written.equals(with_labels(scores, WORDING))
    assert set(written["stage_label"]) == {"Repeat customer"}
    assert store.current_run() == run


def test_csv(tmp_path: Path) -> None:
    """The CSV file writes the months as JSON text, and ids so that no spreadsheet runs them."""
    write_frame(build_frame(build_row("@SUM(1)")), tmp_path / "scores.csv")
    row = pl.read_csv(tmp_path / "scores.csv", infer_schema=False).row(0, named=True)
    assert row["customer_id"] == "'@SUM(1)"
    assert row["clv_by_month"] == str([10.0] * 12)


@pytest.mark.parametrize("name", ["scores.xlsx", "scores", "absent/scores.csv"])
def test_bad_path(store: ScoreStore, tmp_path: Path, name: str) -> None:
    """A file that cannot be written is refused before anything is published."""
    with pytest.raises(SettingsError):
        publish(store, build_customers(1), out=tmp_path / name)
    assert store.current_run() is None


def test_overwriting(tmp_path: Path) -> None:
    """An existing file is replaced whole, and no draft stays behind."""
    out = tmp_path / "scores.csv"
    for count in (9, 2):
        write_frame(build_customers(count), out)
    assert pl.read_csv(out).height == 2
    assert list(tmp_path.iterdir()) == [out]


def test_without_file(store: ScoreStore) -> None:
    """Without a file the scores are published all the same, and refusals reach the caller."""
    assert publish(store, build_customers(2)).n_customers == 2
    with pytest.raises(ServingError):
        publish(store, build_customers(0))
