"""`/metrics`: what all workers counted, which run is published and which model is loaded, as Prometheus reads it."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from features.errors import LifestageError, ModelError
from serving.access.scopes import METRICS_PATH
from serving.published import published_run
from serving.state import LiveState
from serving.store.score_store import RunInfo
from serving.telemetry.metrics import process_metrics
from serving.telemetry.unexpected import count_store_error

NO_MODEL = "(none)"

_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PID = re.compile(r"_(\d+)\.db$")


def served_version(live: LiveState) -> str:
    """Return the version of the loaded champion."""
    if not live.is_ready:
        return NO_MODEL
    champion = live.current.champion
    return NO_MODEL if isinstance(champion, ModelError) else champion.manifest.version


def add_metrics(app: FastAPI, live: LiveState) -> None:
    """Answer `/metrics`."""

    @app.get(METRICS_PATH, include_in_schema=False)
    def metrics() -> Response:
        """Return what all workers counted, and what is published, as Prometheus reads it."""
        return Response(write_metrics(live, os.environ), media_type=CONTENT_TYPE_LATEST)

    app.add_api_route(METRICS_PATH, metrics, methods=["HEAD"], include_in_schema=False)


def write_metrics(live: LiveState, environment: Mapping[str, str]) -> bytes:
    """Write the metrics of all workers, and of the published run, in the text format of Prometheus."""
    counted = CollectorRegistry()
    folder = environment.get(_FOLDER_VARIABLE)
    if folder:
        _forget_ended_workers(Path(folder))
        MultiProcessCollector(counted, path=folder)  # type: ignore[no-untyped-call]  # untyped library
    else:
        counted = process_metrics().registry
    told = CollectorRegistry()
    told.register(_Published(live))
    return generate_latest(counted) + generate_latest(told)


class _Published(Collector):
    """Tells, when asked, which run is published and which model is loaded."""

    def __init__(self, live: LiveState) -> None:
        self._live = live

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield _gauge("lifestage_ready", "Whether a champion is loaded.", float(self._live.is_ready))
        yield _info("lifestage_model", "The loaded champion.", {"model_version": served_version(self._live)})
        run = self._run()
        if run is not None:
            published_at = datetime.fromisoformat(run.published_at).timestamp()
            yield _gauge("lifestage_published_run_timestamp_seconds", "When the run was published.", published_at)
            yield _gauge("lifestage_published_customers", "Customers that it scored.", float(run.n_customers))
            labels = {"run_id": str(run.run_id), "as_of": run.as_of, "model_version": run.model_version}
            yield _info("lifestage_published_run", "The published run.", labels)

    def _run(self) -> RunInfo | None:
        try:
            return published_run(self._live.current.store)
        except (LifestageError, SQLAlchemyError) as error:
            count_store_error(error)
            return None


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value=value)


def _info(name: str, meaning: str, labels: Mapping[str, str]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{name}_info", meaning, labels=[*labels])
    family.add_metric([*labels.values()], 1.0)
    return family


def _forget_ended_workers(folder: Path, is_running: Callable[[int], bool] | None = None) -> None:
    """Drop what workers that ended say of the present; what they counted stays."""
    running = is_running or _is_running
    pids = {int(found[1]) for path in folder.glob("gauge_live*.db") if (found := _PID.search(path.name))}
    for pid in pids:
        if not running(pid):
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]  # likewise


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
