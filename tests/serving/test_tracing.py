import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from serving.server import running_server

pytestmark = pytest.mark.slow

SENT = "alice@example.org"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Take traces in, as OTLP over HTTP, and yield where, and what came."""
    came: list[bytes] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the name in the base
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", came
        server.shutdown()
        thread.join()


def read_spans(came: list[bytes]) -> list[Span]:
    """Return the spans that came."""
    requests = [ExportTraceServiceRequest.FromString(body) for body in came]
    scopes = [scope for request in requests for resource in request.resource_spans for scope in resource.scope_spans]
    return [span for scope in scopes for span in scope.spans]


def test_traces(champion_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that the environment names gets a span per request, by its route, with nothing of its sender."""
    with collector() as (endpoint, came):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "User-Agent": SENT, "X-Customer": SENT}
        with running_server(champion_home, insecure_local=True) as url:
            httpx.get(f"{url}/v1/scores", params={"customer_id": SENT}, headers=headers)
            httpx.post(f"{url}/v1/score", json={SENT: SENT}, headers=headers)
            httpx.get(f"{url}/{SENT}", headers=headers)
    spans = [span for span in read_spans(came) if span.trace_id.hex() == TRACE]
    names = {span.name for span in spans if span.kind == Span.SPAN_KIND_SERVER}
    assert names == {"GET /v1/scores", "POST /v1/score"}
    assert "alice" not in str(spans)
