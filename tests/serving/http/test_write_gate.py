import asyncio

from starlette.types import Message, Receive, Scope, Send

from serving.http.write_gate import MOST_WAITING, MOST_WRITES, WriteGate


class Store:
    """An app whose requests wait for the store until they may go on."""

    def __init__(self) -> None:
        self.n_within = 0
        self.go_on = asyncio.Event()
        self.gate = WriteGate(self.write)

    async def write(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Wait, then answer."""
        self.n_within += 1
        await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def ask(self, method: str, path: str) -> Message:
        """Send a request, and return how its answer begins."""
        sent: list[Message] = []

        async def send(message: Message) -> None:  # as the protocol has it
            sent.append(message)

        async def receive() -> Message:
            await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        await self.gate({"type": "http", "method": method, "path": path, "headers": []}, receive, send)
        return sent[0]


def test_few_writes() -> None:
    """A few writes wait for the store, some wait for those, the rest come again; readers do not notice."""

    async def scene() -> None:
        store = Store()
        writes = [("PUT", "/v1/objections"), ("DELETE", "/v1/customers"), ("POST", "/v1/admin/reload")] * 10
        writing = [asyncio.create_task(store.ask(*write)) for write in writes]
        await asyncio.sleep(0.01)
        assert store.n_within == MOST_WRITES
        refused = [task.result() for task in writing if task.done()]
        assert len(refused) == len(writes) - MOST_WRITES - MOST_WAITING
        assert all((b"retry-after", b"1") in answer["headers"] and answer["status"] == 503 for answer in refused)
        reading = [asyncio.create_task(store.ask("GET", "/v1/objections")) for _ in range(30)]
        await asyncio.sleep(0.01)
        assert store.n_within == MOST_WRITES + len(reading)
        store.go_on.set()
        answers = await asyncio.gather(*writing, *reading)
        assert [answer["status"] for answer in answers].count(200) == MOST_WRITES + MOST_WAITING + len(reading)

    asyncio.run(scene())
