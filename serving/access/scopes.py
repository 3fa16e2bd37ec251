"""Which scope each route needs. A route that is not named here needs `admin`, so that none opens by oversight."""

from serving.access.keys import ADMIN

LIVE_PATH, READY_PATH, METRICS_PATH = "/livez", "/readyz", "/metrics"
PROBES = frozenset({LIVE_PATH, READY_PATH})
# Open to all: whether the service lives and is ready, and the page that says how to use a key.
OPEN_PATHS = frozenset({"/", *PROBES})

_SCOPES: dict[tuple[str, str], str] = {
    ("POST", "/v1/score"): "score",
    ("GET", "/v1/scores"): "read",
    ("GET", "/v1/stages"): "read",
    ("GET", "/v1/segments"): "read",
    ("GET", "/v1/metrics-sheet"): "read",
    ("GET", "/v1/model"): "read",
    ("GET", "/v1/openapi.json"): "read",
    ("GET", "/v1/reference"): "read",
    ("GET", METRICS_PATH): "read",
    ("GET", "/v1/at-risk"): "lists",
    ("GET", "/v1/prospects"): "lists",
    ("GET", "/v1/changes"): "lists",
    ("DELETE", "/v1/customers"): ADMIN,
    ("GET", "/v1/objections"): ADMIN,
    ("PUT", "/v1/objections"): ADMIN,
    ("DELETE", "/v1/objections"): ADMIN,
    ("POST", "/v1/admin/reload"): ADMIN,
}
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def needed_scope(method: str, path: str) -> str:
    """Return the scope that a route needs; asking for the head of an answer needs what the answer does."""
    return _SCOPES.get(_route(method, path), ADMIN)


def is_listed(method: str, path: str) -> bool:
    """Tell whether a route has a scope of its own, or is open to all."""
    return path in OPEN_PATHS or _route(method, path) in _SCOPES


def is_write(method: str, path: str) -> bool:
    """Tell whether a route changes what we keep, so that repeating it needs an Idempotency-Key to be safe."""
    return method not in _READING and needed_scope(method, path) == ADMIN


def _route(method: str, path: str) -> tuple[str, str]:
    return ("GET" if method == "HEAD" else method, path)
