import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from serving.http.guards import ProblemBoundary
from serving.http.idempotency import GIVEN_UP_SECONDS, IdempotencyGuard
from serving.state import LiveState, ServingState
from serving.store.score_store import ScoreStore
from serving.store.tables import WRITES

ERASE = "/v1/customers?customer_id=alice"


class Writes:
    """An app that counts what it did, and may be told to wait or to fail."""

    def __init__(self) -> None:
        self.n_done = 0
        self.status = 200
        self.is_within, self.may_end = Event(), Event()
        self.may_end.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do something, and tell how often it was done."""
        body = await Request(scope, receive).body()
        self.is_within.set()
        await asyncio.to_thread(self.may_end.wait, 20)
        if self.status == 0:
            raise ZeroDivisionError
        self.n_done += self.status < 300
        await JSONResponse({"done": self.n_done, "bytes": len(body)}, self.status)(scope, receive, send)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.now


@pytest.fixture
def writes() -> Writes:
    """An app that writes."""
    return Writes()


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


@pytest.fixture
def client(state: ServingState, writes: Writes, clock: Clock) -> TestClient:
    """Call it through the guard, as whoever the header X-Caller names."""
    guard = IdempotencyGuard(writes, LiveState(state), clock)

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            caller = dict(scope["headers"]).get(b"x-caller", b"crm").decode()
            scope = {**scope, "state": {"caller": caller}}
        await guard(scope, receive, send)

    return TestClient(ProblemBoundary(named))


def test_repeated(client: TestClient, writes: Writes) -> None:
    """A repeated write is answered as the first was, says so, and does nothing again."""
    first, second = (client.delete(ERASE, headers={"Idempotency-Key": "k-1"}) for _ in range(2))
    assert first.json() == second.json() == {"done": 1, "bytes": 0}
    assert (first.status_code, second.status_code, writes.n_done) == (200, 200, 1)
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["content-type"] == "application/json"


def test_other_keys_and_callers(client: TestClient, writes: Writes) -> None:
    """Another key, another caller, or no key at all, is another write."""
    for headers in ({"Idempotency-Key": "a"}, {"Idempotency-Key": "b"}, {"Idempotency-Key": "a", "X-Caller": "b"}):
        assert client.delete(ERASE, headers=headers).status_code == 200
    for _ in range(2):
        client.delete(ERASE)
    assert writes.n_done == 5


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("DELETE", "/v1/customers?customer_id=bob", b""),
        ("DELETE", "/v1/objections?customer_id=alice", b""),
        ("PUT", "/v1/objections?customer_id=alice", b""),
        ("DELETE", ERASE, b"{}"),
    ],
)
def test_key_reused(client: TestClient, writes: Writes, method: str, url: str, body: bytes) -> None:
    """The same key with another method, path, query or body is refused, and does nothing."""
    client.delete(ERASE, headers={"Idempotency-Key": "k-1"})
    answer = client.request(method, url, content=body, headers={"Idempotency-Key": "k-1"})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:lifestage:problem:idempotency-key-reused")
    assert writes.n_done == 1


def test_still_running(client: TestClient, writes: Writes) -> None:
    """While the first runs, a repetition is asked to wait; then it gets the first one's answer."""
    writes.may_end.clear()
    first = Thread(target=client.delete, args=(ERASE,), kwargs={"headers": {"Idempotency-Key": "k-1"}})
    first.start()
    assert writes.is_within.wait(20)
    answer = client.delete(ERASE, headers={"Idempotency-Key": "k-1"})
    assert (answer.status_code, answer.headers["retry-after"]) == (409, "1")
    writes.may_end.set()
    first.join()
    assert client.delete(ERASE, headers={"Idempotency-Key": "k-1"}).json()["done"] == 1


def test_many_at_once(client: TestClient, writes: Writes) -> None:
    """Of many at the same time, one does the work, and the others are told to wait or given its answer."""
    statuses: list[int] = []

    def send() -> None:
        statuses.append(client.delete(ERASE, headers={"Idempotency-Key": "k-1"}).status_code)

    threads = [Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writes.n_done == 1
    assert set(statuses) <= {200, 409}


@pytest.mark.parametrize("status", [0, 404, 422, 503])
def test_failed(client: TestClient, writes: Writes, status: int) -> None:
    """A write that failed did nothing: the same key may try again."""
    writes.status = status
    assert client.delete(ERASE, headers={"Idempotency-Key": "k-1"}).status_code == (status or 500)
    writes.status = 200
    assert client.delete(ERASE, headers={"Idempotency-Key": "k-1"}).json()["done"] == 1


def test_forgotten(client: TestClient, writes: Writes, clock: Clock, state: ServingState) -> None:
    """A key is forgotten after the hours of the settings, with its answer."""
    for hours, expected in ((0, 1), (state.settings.idempotency_hours, 1), (0.01, 2)):
        clock.now += timedelta(hours=hours)
        client.delete(ERASE, headers={"Idempotency-Key": "k-1"})
        assert writes.n_done == expected


def kept(store: ScoreStore) -> list[dict[str, object]]:
    """Read what is stored."""
    with store.reading() as connection:
        return [dict(row._mapping) for row in connection.execute(select(WRITES))]


def test_first_attempt_died(client: TestClient, writes: Writes, clock: Clock, state: ServingState) -> None:
    """A write whose process died may be tried again after two minutes, and not before."""
    client.delete(ERASE, headers={"Idempotency-Key": "k-1"})
    with state.store.writing() as connection:
        connection.execute(WRITES.update().values(status=None, answer=None))
    clock.now += timedelta(seconds=GIVEN_UP_SECONDS)
    assert client.delete(ERASE, headers={"Idempotency-Key": "k-1"}).status_code == 409
    clock.now += timedelta(seconds=1)
    assert client.delete(ERASE, headers={"Idempotency-Key": "k-1"}).status_code == 200
    assert writes.n_done == 2


def test_nothing_in_the_clear(client: TestClient, state: ServingState, tmp_path: Path) -> None:
    """Neither the key nor the request can be read from the store; the caller and the answer can."""
    client.delete(ERASE, headers={"Idempotency-Key": "erase-alice-1"})
    (row,) = kept(state.store)
    assert (row["caller"], row["status"], json.loads(str(row["answer"]))) == ("crm", 200, {"done": 1, "bytes": 0})
    content = b"".join(path.read_bytes() for path in tmp_path.glob("scores.db*"))
    assert b"alice" not in content


@pytest.mark.parametrize("key", ["", " ", "a b", "é".encode("latin-1"), "x" * 256, "a\tb"])
def test_unfit_keys(client: TestClient, writes: Writes, key: str | bytes) -> None:
    """A key that is empty, too long or not visible ASCII is refused, and not repeated."""
    answer = client.delete(ERASE, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:lifestage:problem:idempotency-key-unfit")
    assert writes.n_done == 0


def test_two_keys(client: TestClient) -> None:
    """Two keys on one request are refused."""
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert client.delete(ERASE, headers=headers).status_code == 400
    assert client.delete(ERASE, headers={"Idempotency-Key": "x" * 255}).status_code == 200


def test_reads_pass(client: TestClient, state: ServingState) -> None:
    """What changes nothing is not remembered, whatever key it carries."""
    for _ in range(2):
        assert "idempotency-replayed" not in client.post("/v1/score", headers={"Idempotency-Key": "k"}).headers
    assert kept(state.store) == []


def test_cancelled(state: ServingState, writes: Writes, clock: Clock) -> None:
    """A write that is cancelled halfway may have happened: its key waits until it is given up."""
    guard = IdempotencyGuard(writes, LiveState(state), clock)
    writes.may_end.clear()

    async def scene() -> None:
        async def send(_message: Message) -> None:
            raise AssertionError

        async def receive() -> Message:  # as the protocol has it
            return {"type": "http.request", "body": b"", "more_body": False}

        scope: Scope = {
            "type": "http",
            "method": "DELETE",
            "path": "/v1/customers",
            "query_string": b"",
            "headers": [(b"idempotency-key", b"k")],
            "state": {"caller": "crm"},
        }
        task = asyncio.create_task(guard(scope, receive, send))
        await asyncio.to_thread(writes.is_within.wait, 20)
        task.cancel()
        writes.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    assert [row["status"] for row in kept(state.store)] == [None]
