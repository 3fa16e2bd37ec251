"""The BentoML service: the HTTP app, mounted at the root.

Importing this module loads no model and opens nothing, as a build imports it too. The state is opened
when a worker starts, from the environment variables that `lifestage serve` sets.
"""

import os
import sys

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # before the import: BentoML reads it once

import bentoml
from _bentoml_sdk import Service  # type: ignore[import-untyped]  # BentoML exports the class here alone
from bentoml._internal.configuration.containers import BentoMLContainer  # where BentoML keeps what traces
from starlette.types import ASGIApp

from serving.champion.watcher import watch_champion
from serving.environment import WORKERS_VARIABLE
from serving.garbage import spare_what_is_loaded
from serving.http.admission import Admission, some_patience
from serving.http.api import build_app, known_routes
from serving.http.arrival import Arrival
from serving.http.door import Door
from serving.http.draining import Draining
from serving.http.guards import ProblemBoundary
from serving.http.hiding import HiddenRequest, WholeRequest
from serving.http.scrape import add_metrics, served_version
from serving.http.shortcut import Shortcut
from serving.http.telemetry import Telemetry
from serving.http.tracing import choose_tracing, is_traced
from serving.state import LiveState
from serving.telemetry.logs import flush_logs, write_json_logs
from serving.telemetry.metrics import process_metrics

REQUEST_TIMEOUT_SECONDS = 60
# How long a thread that computes keeps the one that talks to callers waiting: Python's own 5 ms, per system call of the
# latter, are too long where it makes thousands of them a second.
SWITCH_SECONDS = 0.0005
TRACES_MILLISECONDS = 3000

write_json_logs(os.environ)
live = LiveState()
draining = Draining()
n_workers = int(os.environ.get(WORKERS_VARIABLE, "1"))
app = build_app(live)
add_metrics(app, live)


def _count_reload(outcome: str) -> None:
    process_metrics().count_reload(outcome)
    process_metrics().serve_model(served_version(live))


def _most_requests() -> int:
    return live.current.settings.max_concurrent_requests


def _max_body_bytes() -> int:
    return live.current.settings.max_body_bytes


class _BoundedService(Service["LifestageApi"]):  # type: ignore[misc]  # untyped base
    """A service whose own answers (overload, time-out, unknown path, readiness) are problems too, and are counted."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:  # noqa: FBT001, FBT002  # the signature of the base
        """Return the service inside layers that are also outside BentoML's own middleware."""
        routes = known_routes(app)
        bento = HiddenRequest(super().to_asgi(is_main))
        way = Shortcut(bento, app, is_traced=is_traced(os.environ), limit_seconds=REQUEST_TIMEOUT_SECONDS)
        admission = Admission(way, _most_requests, some_patience)
        Door(admission, routes=routes, live=live, metrics=process_metrics(), draining=draining).install()
        bounded = Arrival(ProblemBoundary(admission, routes), _max_body_bytes)
        return Telemetry(bounded, routes=routes, live=live, metrics=process_metrics(), draining=draining)


@bentoml.asgi_app(WholeRequest(app), path="/")
class LifestageApi:
    """Will a customer leave, which lifecycle stage comes next, and what is the customer worth."""

    def __init__(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        self._watcher = watch_champion(live, os.environ, tell=_count_reload)
        process_metrics().serve_model(served_version(live))
        draining.install()
        live.is_ending = lambda: draining.is_draining
        spare_what_is_loaded()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # untyped library
    def close(self) -> None:
        """Look for no other champion, close the store, and send the last traces and lines of the log."""
        self._watcher.stop()
        live.current.store.close()
        BentoMLContainer.tracer_provider.get().force_flush(TRACES_MILLISECONDS)
        flush_logs()

    def __is_ready__(self) -> bool:
        return live.is_ready


LifestageService = bentoml.service(
    name="lifestage",
    service_class=_BoundedService,
    workers=n_workers,
    # How many requests are let in at once is for Admission to say: BentoML's own limit knows no Retry-After.
    traffic={"timeout": REQUEST_TIMEOUT_SECONDS},
    # Our own logs and metrics say more, and by route templates.
    logging={"access": {"enabled": False}},
    metrics={"enabled": False, "namespace": "bentoml"},
    tracing=choose_tracing(os.environ),
)(LifestageApi)
