import asyncio
from collections.abc import Iterator

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from serving.http.bodies import JSON, NDJSON, BodyGuard

LIMIT = 1000


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body."""
    await PlainTextResponse(await Request(scope, receive).body())(scope, receive, send)


def build_client() -> TestClient:
    """Build a client of an app that reads bodies."""
    return TestClient(BodyGuard(echo, media_types={"/score": (JSON, NDJSON)}, max_body_bytes=lambda: LIMIT))


def in_pieces(size: int) -> Iterator[bytes]:
    """Give a body of a size in pieces, so that it is sent chunked."""
    for start in range(0, size, 100):
        yield b"x" * min(100, size - start)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_size_limit(*, is_chunked: bool) -> None:
    """A body of the limit passes whole, and one byte more does not, announced or not."""
    client = build_client()
    for size, status in ((LIMIT, 200), (LIMIT + 1, 413)):
        content = in_pieces(size) if is_chunked else b"x" * size
        answer = client.post("/score", content=content, headers={"Content-Type": JSON})
        assert answer.status_code == status
        assert len(answer.content) == LIMIT or f"exceeds {LIMIT} bytes" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": JSON}, 200),
        ({"Content-Type": "Application/JSON; charset=utf-8"}, 200),
        ({"Content-Type": NDJSON}, 200),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/json-seq"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=application/json"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Type": JSON, "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": JSON, "Content-Encoding": "Identity"}, 200),
    ],
)
def test_media_types(headers: dict[str, str], status: int) -> None:
    """Only uncompressed JSON, and NDJSON where it is read; the refusal says which."""
    answer = build_client().post("/score", content=b"{}", headers=headers)
    assert answer.status_code == status
    assert status == 200 or JSON in answer.json()["remedy"]


def test_without_a_body() -> None:
    """What needs no body passes without one; what needs one is told so by its media type."""
    client = build_client()
    assert [client.request(method, "/other").status_code for method in ("GET", "POST", "DELETE")] == [200, 200, 200]
    assert client.post("/score").status_code == 415


@pytest.mark.parametrize(("method", "path"), [("GET", "/score"), ("PUT", "/score"), ("POST", "/x"), ("DELETE", "/x")])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_unread_body(method: str, path: str, *, is_chunked: bool) -> None:
    """A body on a request that reads none is refused, not ignored."""
    content = in_pieces(10) if is_chunked else b"{}"
    answer = build_client().request(method, path, content=content, headers={"Content-Type": JSON})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:lifestage:problem:unexpected-body")


def ask(messages: list[Message], *, seconds: float) -> list[Message]:
    """Send a request's messages, then nothing more, and return what was answered."""
    sent: list[Message] = []

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop(0)

    async def send(message: Message) -> None:  # as the protocol has it
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": "/score", "headers": headers}
    guard = BodyGuard(echo, media_types={"/score": (JSON,)}, max_body_bytes=lambda: LIMIT, seconds=seconds)
    asyncio.run(guard(scope, receive, send))
    return sent


def test_slow_body() -> None:
    """A body that does not arrive in time is not waited for."""
    sent = ask([{"type": "http.request", "body": b"{", "more_body": True}], seconds=0.05)
    assert (sent[0]["status"], (b"connection", b"close") in sent[0]["headers"]) == (408, True)


def test_half_a_body() -> None:
    """A body whose sender has gone is not taken for a whole one: the app does not see it."""
    first: Message = {"type": "http.request", "body": b"{}", "more_body": True}
    assert ask([first, {"type": "http.disconnect"}], seconds=5.0) == []
