import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Message, Receive, Scope, Send

from serving.http.admission import MOST_WAITING, Admission, some_patience


class Door:
    """An app inside the door: requests stay until they are told how to end."""

    def __init__(self, most: int, patience: Callable[[int], float] = lambda _n_waiting: 0.0) -> None:
        self.ends: list[asyncio.Future[None]] = []
        self.bodies: list[bytes] = []
        self.admission = Admission(self.stay, lambda: most, patience)

    async def stay(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Read, wait to be told, then answer."""
        self.bodies.append((await receive()).get("body", b""))
        end = asyncio.get_running_loop().create_future()
        self.ends.append(end)
        await end
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def knock(
        self, path: str = "/v1/scores", *, hung_up: asyncio.Event | None = None
    ) -> tuple[asyncio.Task[None], list[Message]]:
        """Send a request, and return what runs it and what it is answered."""
        sent: list[Message] = []
        body = [b"asked"]

        async def send(message: Message) -> None:  # as the protocol has it
            sent.append(message)

        async def receive() -> Message:
            if body:
                return {"type": "http.request", "body": body.pop()}
            await (hung_up or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        scope = {"type": "http", "path": path, "method": "GET", "headers": []}
        task = asyncio.create_task(_run(self.admission(scope, receive, send)))
        await turns()
        return task, sent


async def turns() -> None:
    """Let all that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def _run(awaited: Awaitable[None]) -> None:
    await awaited


def test_limit() -> None:
    """As many as are allowed get in; one more is refused at once, and told when to come again; probes never are."""

    async def scene() -> None:
        door = Door(most=2)
        within = [await door.knock() for _ in range(2)]
        _, refused = await door.knock()
        assert refused[0]["status"] == 503
        assert (b"retry-after", b"1") in refused[0]["headers"]
        assert b"urn:lifestage:problem:overloaded" in refused[1]["body"]
        for path in ("/livez", "/readyz", "/metrics"):
            await door.knock(path)
        assert len(door.ends) == 5
        door.ends[0].set_result(None)
        await within[0][0]
        assert (await door.knock())[1] == []
        assert (await door.knock())[1][0]["status"] == 503
        for end in door.ends[1:]:
            end.cancel()

    asyncio.run(scene())


def _answer(end: asyncio.Future[None], _task: asyncio.Task[None]) -> None:
    end.set_result(None)


def _fail(end: asyncio.Future[None], _task: asyncio.Task[None]) -> None:
    end.set_exception(RuntimeError("broken"))


def _cancel(_end: asyncio.Future[None], task: asyncio.Task[None]) -> None:
    task.cancel()


@pytest.mark.parametrize("end_it", [_answer, _fail, _cancel])
def test_every_end_frees_a_place(end_it: Callable[[asyncio.Future[None], asyncio.Task[None]], None]) -> None:
    """A place is free again however a request ended: answered, failed, or cancelled."""

    async def scene() -> None:
        door = Door(most=1)
        for _ in range(5):
            task, sent = await door.knock()
            assert sent == []
            end_it(door.ends[-1], task)
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()

    asyncio.run(scene())


def wait_unless_many(n_waiting: int) -> float:
    """Wait for as long as a test may run, unless two wait already."""
    return 0.0 if n_waiting >= 2 else 3600.0


def test_patience() -> None:
    """Who waits gets the next place that is left, in the order of coming, with all that was sent."""

    async def scene() -> None:
        door = Door(most=1, patience=wait_unless_many)
        first, _ = await door.knock()
        second, _ = await door.knock()
        third, third_sent = await door.knock()
        door.ends[0].set_result(None)
        await asyncio.wait([first])
        await turns()
        assert len(door.ends) == 2
        door.ends[1].cancel()
        await asyncio.wait([second])
        await turns()
        assert len(door.ends) == 3
        door.ends[2].set_result(None)
        await third
        assert third_sent[0]["status"] == 200
        assert door.bodies == [b"asked"] * 3
        assert (await door.knock())[1] == []
        assert len(door.ends) == 4
        door.ends[3].cancel()

    asyncio.run(scene())


def test_patience_ends() -> None:
    """Who waits is refused when the time is over, and the next is not let in for it."""

    async def scene() -> None:
        door = Door(most=1, patience=lambda _n_waiting: 1e-9)
        await door.knock()
        late, late_sent = await door.knock()
        await late
        assert late_sent[0]["status"] == 503
        door.ends[0].set_result(None)
        await turns()
        assert len(door.ends) == 1

    asyncio.run(scene())


def test_few_wait() -> None:
    """However many come, so many wait, and the rest are refused at once; who gave up makes room for another."""

    async def scene() -> None:
        door = Door(most=1, patience=wait_unless_many)
        await door.knock()
        waiting = [await door.knock() for _ in range(2)]
        assert door.admission.is_full()
        for _ in range(20):
            assert (await door.knock())[1][0]["status"] == 503
        waiting[0][0].cancel()
        await turns()
        assert not door.admission.is_full()
        assert (await door.knock())[1] == []
        assert (await door.knock())[1][0]["status"] == 503
        door.ends[0].cancel()

    asyncio.run(scene())


def test_hung_up() -> None:
    """Who hung up while waiting is not let in, and does not count as waiting."""

    async def scene() -> None:
        door = Door(most=1, patience=wait_unless_many)
        await door.knock()
        hung_up = asyncio.Event()
        gone, gone_sent = await door.knock(hung_up=hung_up)
        other, _ = await door.knock()
        hung_up.set()
        await gone
        assert gone_sent == []
        assert not door.admission.is_full()
        door.ends[0].set_result(None)
        await turns()
        assert len(door.ends) == 2
        door.ends[1].set_result(None)
        await other

    asyncio.run(scene())


def test_nothing_is_left() -> None:
    """Once all were answered, no timer and no watch of those who waited is left."""

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        door = Door(most=1, patience=wait_unless_many)
        first, _ = await door.knock()
        second, _ = await door.knock()
        timers: list[asyncio.TimerHandle] = getattr(loop, "_scheduled")  # noqa: B009  # asyncio tells it nowhere else
        assert len([timer for timer in timers if not timer.cancelled()]) == 1
        for end, task in ((0, first), (1, second)):
            door.ends[end].set_result(None)
            await task
            await turns()
        assert [timer for timer in timers if not timer.cancelled()] == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scene())


def test_some_patience() -> None:
    """Few wait, for a time that callers bear."""
    assert 0.0 < some_patience(0) == some_patience(MOST_WAITING - 1) <= 5.0
    assert some_patience(MOST_WAITING) == 0.0
