"""All outputs of a customer base, from orders to the store, against the bare predictions of its trees."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

import polars as pl

from features.engine import connect
from features.records import Records
from features.settings import load_settings
from serving.scoring import score_whole
from serving.state import open_store
from serving.store.score_store import RunInfo
from tests.bench.orders import CUTOFF_DAY
from tests.bench.table import Row, race, say, timed
from tests.bench.workspace import NOW, Workspace
from training.models.reasons import find_reasons

_ROUNDS = 2


def run(workspace: Workspace) -> list[Row]:
    """Measure scoring and publication, together and each, and what reasons cost of those who are given some."""
    say(f"  scoring {workspace.n_customers:,} customers")
    scores = score_customers(workspace)
    parts: dict[str, Callable[[], object]] = {
        f"score and publish, {scores.height:,} customers": lambda: publish(workspace, score_customers(workspace)),
        "  scoring alone": partial(score_customers, workspace),
        "  publication alone": partial(publish, workspace, scores),
    }
    rows = []
    for work, part in parts.items():
        ours, theirs = race(timed(part), _predicting(workspace, workspace.customer_table), rounds=_ROUNDS)
        rows.append(Row(work, ours, "LightGBM predictions", theirs, "s", "" if work.startswith(" ") else "≤ 3"))
    explained = workspace.customer_table.head(load_settings().serving.max_reason_customers)
    model = workspace.bundle.model
    explaining = timed(lambda: find_reasons(model, model.see(explained), model.reference) if model.reference else None)
    ours, theirs = race(explaining, _predicting(workspace, explained), rounds=_ROUNDS)
    return [*rows, Row(f"  reasons, {explained.height:,} customers", ours, "predictions of them", theirs, "s", "")]


def _predicting(workspace: Workspace, table: pl.DataFrame) -> Callable[[], float]:
    """Return the work of the bare trees on these customers, timed."""
    model = workspace.bundle.model
    seen = model.see(table)
    inputs = (model.churn.tree_inputs(seen.inputs, seen.process), seen.inputs)
    parts = [(trees, x) for trees, x in zip((model.churn.trees, model.next_stage.trees), inputs, strict=True) if trees]
    return timed(lambda: [trees.predict(x) for trees, x in parts])


def score_customers(workspace: Workspace) -> pl.DataFrame:
    """Score all customers from their order file. One row per customer."""
    with connect() as connection:
        records = Records.wrap(connection.read_parquet(str(workspace.customer_orders)))
        most = load_settings().serving.max_reason_customers
        return score_whole(workspace.bundle, records, cutoff_day=CUTOFF_DAY, max_reasons=most).scores


def publish(workspace: Workspace, scores: pl.DataFrame) -> RunInfo:
    """Publish scores to the store of the home folder."""
    keep_runs = load_settings().serving.keep_runs
    with open_store(workspace.home) as store:
        return store.publish(scores, published_at=datetime.fromisoformat(NOW), keep_runs=keep_runs)
