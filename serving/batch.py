"""Scores of a whole customer base: written to a file, published to the store."""

import secrets
from datetime import datetime
from pathlib import Path

import polars as pl

from features.errors import SettingsError
from serving.csv_export import to_csv
from serving.store import RunInfo, ScoreStore


def publish_scores(
    scores: pl.DataFrame,
    store: ScoreStore,
    *,
    published_at: datetime,
    keep_runs: int,
    out: Path | None = None,
) -> RunInfo:
    """Write scores to a file where one is wanted, then publish them.

    The file comes first: a file that cannot be written must not leave a publication behind.

    Raises:
        SettingsError: If the file is neither .parquet nor .csv, or its folder does not exist.
        ServingError: If the scores cannot be published.
    """
    if out is not None:
        write_frame(scores, out)
    return store.publish(scores, published_at=published_at, keep_runs=keep_runs)


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame as Parquet or CSV; readers of the path see the old file or the new, whole.

    Raises:
        SettingsError: If the path is neither .parquet nor .csv, or its folder does not exist.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise SettingsError(f"{path.name} is neither .parquet nor .csv.", remedy="Give --out one of these two endings.")
    if not path.parent.is_dir():
        raise SettingsError(f"There is no folder {path.parent}.", remedy="Create it, or write elsewhere.")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
    try:
        if path.suffix == ".parquet":
            frame.write_parquet(draft)
        else:
            draft.write_text(to_csv(frame), encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
