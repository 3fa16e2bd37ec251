"""What the service counts, for Prometheus: by route template, status and model version, never by what a caller sent.

Several workers count into files of one folder, which BentoML names in `PROMETHEUS_MULTIPROC_DIR`; `scrape` adds them
up. Without that variable a process counts for itself.
"""

from collections.abc import Collection, Sequence
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

UNKNOWN_ROUTE = "(unknown)"

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


class Metrics:
    """The counters of one process.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "lifestage_requests",
            "Requests that were answered.",
            ("route", "method", "status", "model_version"),
            registry=registry,
        )
        self._seconds = Histogram(
            "lifestage_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ("route", "method"),
            buckets=SECONDS,
            registry=registry,
        )
        self._in_flight = Gauge(
            "lifestage_requests_in_flight",
            "Requests that are being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._refusals = Counter(
            "lifestage_refusals", "Requests that were refused, by reason.", ("reason",), registry=registry
        )
        self._p_churn = Histogram(
            "lifestage_p_churn",
            "p_churn of the customers that requests asked to score.",
            ("model_version",),
            buckets=SHARES,
            registry=registry,
        )
        self._reloads = Counter(
            "lifestage_reloads",
            "Champions that a worker was given to load, by outcome.",
            ("outcome",),
            registry=registry,
        )
        self._workers = Gauge(
            "lifestage_workers",
            "Workers that answer with a model version.",
            ("model_version",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._store_errors = Counter("lifestage_store_errors", "Failures of the score store.", registry=registry)
        self._served = ""
        self._answered: dict[tuple[str, str, int, str], tuple[Counter, Histogram]] = {}

    def begin_request(self) -> None:
        """Count a request that is being answered."""
        self._in_flight.inc()

    def end_request(self, route: str, method: str, status: int, seconds: float, *, model_version: str) -> None:
        """Count a request that was answered; a status of 0 says that the caller was gone before.

        Args:
            route: A route template.
            method: Of the request; one that is not HTTP's becomes a common label.
            status: Of the answer.
            seconds: That it took.
            model_version: Of the champion that was loaded.
        """
        self._in_flight.dec()
        requests, duration = self._counted(route, method, status, model_version)
        requests.inc()
        duration.observe(seconds)

    def _counted(self, route: str, method: str, status: int, model_version: str) -> tuple[Counter, Histogram]:
        key = (route, method, status, model_version)
        found = self._answered.get(key)
        if found is None:
            name = method if method in METHODS else "(other)"
            counter = self._requests.labels(route, name, str(status), model_version)
            found = (counter, self._seconds.labels(route, name))
            if method in METHODS:
                self._answered[key] = found
        return found

    def count_refusal(self, reason: str, count: int = 1) -> None:
        """Count refused requests; the reason is one of a fixed set of words."""
        self._refusals.labels(reason).inc(count)

    def count_refused(self, route: str, method: str, status: int, count: int, *, model_version: str) -> None:
        """Count requests that were refused before they were read, which took no time worth telling."""
        self._counted(route, method, status, model_version)[0].inc(count)

    def observe_scores(self, model_version: str, p_churn: Sequence[float | None]) -> None:
        """Count customers that a request had scored, and how p_churn is spread over them."""
        histogram = self._p_churn.labels(model_version)
        for share in p_churn:
            if share is not None:
                histogram.observe(share)

    def count_reload(self, outcome: str) -> None:
        """Count a champion that was loaded, or refused; the outcome is one of a fixed set of words."""
        self._reloads.labels(outcome).inc()

    def count_store_error(self) -> None:
        """Count a failure of the score store."""
        self._store_errors.inc()

    def serve_model(self, model_version: str) -> None:
        """Note with which model version this worker answers from now on."""
        if self._served == model_version:
            return
        if self._served:
            self._workers.labels(self._served).set(0)
        self._served = model_version
        self._workers.labels(model_version).set(1)


@cache
def process_metrics() -> Metrics:
    """Return the counters of this process."""
    return Metrics(CollectorRegistry())


def known_route(routes: Collection[str], path: str) -> str:
    """Return the route template of a path; all that are not ours share one label."""
    return path if path in routes else UNKNOWN_ROUTE
