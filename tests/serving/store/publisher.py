"""A publisher for others to kill: `python -m tests.serving.store.publisher URL SCORES.parquet KEEP_RUNS`.

It says on stdout when its rows are being written, and when it is about to make them last. It imports little, to be
there quickly.
"""

import sys
from datetime import UTC, datetime
from typing import Any

import polars as pl
from sqlalchemy import event

from serving.store.score_store import ScoreStore

WRITING, LASTING, DONE = "writing", "lasting", "done"


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _tell(store: ScoreStore) -> None:
    """Say when a run has begun, within its transaction, and when that transaction is about to end."""

    @event.listens_for(store.engine, "after_cursor_execute")
    def _begun(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO runs"):
            _say(WRITING)

    @event.listens_for(store.engine, "commit")
    def _lasting(_connection: Any) -> None:
        _say(LASTING)


if __name__ == "__main__":
    _, url, file, keep_runs = sys.argv
    with ScoreStore.open(url) as store:
        scores = pl.read_parquet(file)
        _tell(store)
        store.publish(scores, published_at=datetime(2026, 1, 1, tzinfo=UTC), keep_runs=int(keep_runs))
        _say(DONE)
