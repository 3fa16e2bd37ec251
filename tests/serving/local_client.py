"""A test client that calls from this machine, as the insecure-local mode demands."""

from starlette.testclient import TestClient

from serving.http.api import build_app
from serving.state import LiveState, ServingState


def build_client(state: ServingState | None, *, host: str = "127.0.0.1", caller: str = "127.0.0.1") -> TestClient:
    """Build a client of an app that answers from a state."""
    return TestClient(
        build_app(LiveState(state)),
        base_url=f"http://{host}",
        client=(caller, 50_000),
        follow_redirects=False,
    )
