"""All outputs of a customer base, from orders to the store, against the bare predictions of its trees."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

import polars as pl

from features.engine import connect
from features.records import Records
from features.settings import load_settings
from serving.scoring import score_records
from serving.state import open_store
from serving.store import RunInfo
from tests.bench.orders import CUTOFF_DAY
from tests.bench.table import Row, race, say, timed
from tests.bench.workspace import NOW, Workspace
from training.models.inputs import model_inputs

_ROUNDS = 2


def run(workspace: Workspace) -> list[Row]:
    """Measure scoring and publication, together and each."""
    inputs = model_inputs(workspace.customer_table, workspace.bundle.model.features)
    trees = [model for model in (workspace.bundle.model.churn.trees, workspace.bundle.model.next_stage.trees) if model]
    say(f"  scoring {workspace.n_customers:,} customers")
    scores = score_customers(workspace)
    parts: dict[str, Callable[[], object]] = {
        f"score and publish, {scores.height:,} customers": lambda: publish(workspace, score_customers(workspace)),
        "  scoring alone": partial(score_customers, workspace),
        "  publication alone": partial(publish, workspace, scores),
    }
    predict = timed(lambda: [model.predict(inputs) for model in trees])
    rows = []
    for work, part in parts.items():
        ours, theirs = race(timed(part), predict, rounds=_ROUNDS)
        rows.append(Row(work, ours, "LightGBM predictions", theirs, "s", "" if work.startswith(" ") else "≤ 3"))
    return rows


def score_customers(workspace: Workspace) -> pl.DataFrame:
    """Score all customers from their order file. One row per customer."""
    with connect() as connection:
        records = Records.wrap(connection.read_parquet(str(workspace.customer_orders)))
        return score_records(workspace.bundle, records, cutoff_day=CUTOFF_DAY)


def publish(workspace: Workspace, scores: pl.DataFrame) -> RunInfo:
    """Publish scores to the store of the home folder."""
    keep_runs = load_settings().serving.keep_runs
    with open_store(workspace.home) as store:
        return store.publish(scores, published_at=datetime.fromisoformat(NOW), keep_runs=keep_runs)
