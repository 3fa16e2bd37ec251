"""The BentoML service: the HTTP app, mounted at the root.

Importing this module loads no model and opens nothing, as a build imports it too. The state is opened
when a worker starts, from the environment variables that `lifestage serve` sets.
"""

import os

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # before the import: BentoML reads it once

import bentoml
from _bentoml_sdk import Service  # type: ignore[import-untyped]  # BentoML exports the class here alone
from starlette.types import ASGIApp

from serving.api import build_app, known_paths
from serving.guards import ProblemBoundary
from serving.state import LiveState, open_state

REQUEST_TIMEOUT_SECONDS = 60
MAX_CONCURRENT_REQUESTS = 64

live = LiveState()
app = build_app(live)


class _BoundedService(Service["LifestageApi"]):  # type: ignore[misc]  # untyped base
    """A service whose own answers (overload, time-out, unknown path, readiness) are problems too."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:  # noqa: FBT001, FBT002  # the signature of the base
        """Return the service inside a boundary that is also outside BentoML's own middleware."""
        return ProblemBoundary(super().to_asgi(is_main), known_paths(app) | {"/metrics"})


@bentoml.asgi_app(app, path="/")
class LifestageApi:
    """Will a customer leave, which lifecycle stage comes next, and what is the customer worth."""

    def __init__(self) -> None:
        live.replace(open_state(os.environ))

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # untyped library
    def close(self) -> None:
        """Close the store."""
        live.current.store.close()

    def __is_ready__(self) -> bool:
        return live.is_ready


LifestageService = bentoml.service(
    name="lifestage",
    service_class=_BoundedService,
    traffic={"timeout": REQUEST_TIMEOUT_SECONDS, "max_concurrency": MAX_CONCURRENT_REQUESTS},
    # No access log: it would grow without bound and name callers; /metrics counts requests.
    logging={"access": {"enabled": False}},
)(LifestageApi)
