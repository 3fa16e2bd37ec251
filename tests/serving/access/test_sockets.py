"""What passes over a real socket, where requests need not be well formed."""

import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.serving.access.conftest import MAX_BODY_BYTES, Served

pytestmark = pytest.mark.slow

PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx.Client]:
    """Call the server with a key that opens everything."""
    headers = {"Authorization": f"Bearer {served.keys['admin']}"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=60) as client:
        yield client


def send_raw(served: Served, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Send bytes over a connection of their own, and read one answer."""
    url = httpx.URL(served.url)
    key = served.keys["admin"]
    lines = [*head.splitlines(), "Host: x", f"Authorization: Bearer {key}", "", ""]
    with socket.create_connection((url.host, url.port or 80), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode() + body)
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = connection.recv(65_536)
            if not piece:
                break
            answer += piece
        head_bytes, _, rest = answer.partition(b"\r\n\r\n")
        status_line, *header_lines = head_bytes.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in header_lines)}
        while len(rest) < int(headers.get("content-length", "0")):
            rest += connection.recv(65_536)
    return int(status_line.split(" ")[1]), headers, rest


def test_statuses(client: httpx.Client) -> None:
    """Whatever goes wrong on whatever path, the answer is a problem that says what to do."""
    for method, path, status in [
        ("GET", "/v1/nothing", 404),
        ("GET", "/schema.json", 404),
        ("GET", "/docs.json", 404),
        ("GET", "/v1/scores/", 404),
        ("GET", "/%00", 404),
        ("GET", f"/{'x' * 9000}", 414),
        ("GET", f"/v1/scores?customer_id={'x' * 9000}", 414),
        ("POST", "/", 405),
        ("PUT", "/livez", 405),
        ("OPTIONS", "/v1/score", 405),
        ("TRACE", "/v1/scores", 405),
        ("BREW", "/v1/scores", 405),
        ("POST", "/metrics", 405),
        ("GET", "/v1/scores", 422),
        ("GET", "/v1/at-risk?limit=0", 422),
        ("POST", "/v1/score", 415),
    ]:
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), (method, path)
        problem = answer.json()
        assert problem["status"] == status
        assert problem["type"].startswith("urn:lifestage:problem:")
        assert problem["remedy"]
        assert "x" * 100 not in answer.text
        assert status != 405 or answer.headers["allow"]
    assert client.get("/v1/stages", headers={"X-Long": "x" * 40_000}).json()["status"] == 431
    head = client.head("/v1/at-risk")
    assert (head.status_code, head.headers["content-type"], head.content) == (405, PROBLEM, b"")


def test_scopes(served: Served) -> None:
    """Over HTTP, each key opens its own routes, and the metrics are open to nobody without one."""
    for path, needed in [
        ("/v1/stages", "read"),
        ("/metrics", "read"),
        ("/v1/at-risk", "lists"),
        ("/v1/objections", "admin"),
    ]:
        for scope, key in served.keys.items():
            answer = httpx.get(f"{served.url}{path}", headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == (200 if scope in {needed, "admin"} else 403), (path, scope)
        answer = httpx.get(f"{served.url}{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (401, PROBLEM)
    for path in ("/livez", "/readyz", "/"):
        assert httpx.get(f"{served.url}{path}").status_code == 200


@pytest.mark.parametrize("is_chunked", [False, True])
def test_size_limit(client: httpx.Client, *, is_chunked: bool) -> None:
    """A body of the limit is read, and one byte more is not, announced or not."""
    for size, status in ((MAX_BODY_BYTES, 422), (MAX_BODY_BYTES + 1, 413), (MAX_BODY_BYTES * 40, 413)):
        content = iter([b"x" * size]) if is_chunked else b"x" * size
        answer = client.post("/v1/score", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)


def test_lying_length(served: Served) -> None:
    """A body shorter than announced is never taken for whole; one that is longer is cut, and its rest is no request."""
    post = "POST /v1/score HTTP/1.1\r\nContent-Type: application/json\r\n"
    status, headers, body = send_raw(served, f"{post}Content-Length: {MAX_BODY_BYTES + 1}", b"{}")
    assert (status, headers["content-type"], json.loads(body)["status"]) == (413, PROBLEM, 413)
    status, _, _ = send_raw(served, f"{post}Content-Length: 1", b"{}")
    assert status == 422
    for length in ("-1", "abc", "1, 2"):
        status, _, _ = send_raw(served, f"{post}Content-Length: {length}", b"{}")
        assert status == 400


def test_malformed(served: Served) -> None:
    """Bytes that are no HTTP are answered with a problem too, and quote nothing."""
    for head in ("alice@example.org", "GET / FTP/1.0", "GET /\x01 HTTP/1.1", "GET / HTTP/1.1\r\nalice@example.org"):
        status, headers, body = send_raw(served, head)
        assert status == 400
        assert b"alice" not in body
        assert headers["content-type"] == PROBLEM


def test_websocket(served: Served) -> None:
    """A handshake for a websocket is answered with a problem."""
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
    key = "Sec-WebSocket-Key: YWJjZGVmZ2hpamtsbW5vcA=="
    status, headers, body = send_raw(served, f"GET /v1/scores HTTP/1.1\r\n{upgrade}\r\n{key}")
    assert (status, headers["content-type"], json.loads(body)["status"]) == (404, PROBLEM, 404)


def test_same_write_twice(client: httpx.Client) -> None:
    """A write that is repeated with its Idempotency-Key happens once."""
    first, second = (
        client.put("/v1/objections", params={"customer_id": "c7"}, headers={"Idempotency-Key": "k-1"}) for _ in range(2)
    )
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    answer = client.put("/v1/objections", params={"customer_id": "c8"}, headers={"Idempotency-Key": "k-1"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
