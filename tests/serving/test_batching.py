"""Questions asked at once are answered together, and each asker hears only of their own."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from serving.batching import MAX_TOGETHER, Batcher


class Doubler:
    """Doubles numbers, refuses 13, breaks on 99; remembers how many came at once."""

    def __init__(self) -> None:
        self.lots: list[int] = []

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        """Answer a lot."""
        self.lots.append(len(numbers))
        if 99 in numbers:
            raise RuntimeError("broken")
        return [ValueError("13") if number == 13 else 2 * number for number in numbers]


@pytest.fixture
def doubler() -> Doubler:
    """What answers."""
    return Doubler()


@pytest.fixture
def batcher(doubler: Doubler) -> Iterator[Batcher[int, int]]:
    """Ask it."""
    with ThreadPoolExecutor(1) as threads:
        yield Batcher(doubler, threads)


def test_together(batcher: Batcher[int, int], doubler: Doubler) -> None:
    """Everybody gets their own answer, in few lots of bounded size."""

    async def ask_all() -> list[int]:
        return await asyncio.gather(*map(batcher.ask, range(100, 300)))

    assert asyncio.run(ask_all()) == [2 * number for number in range(100, 300)]
    assert sum(doubler.lots) == 200
    assert max(doubler.lots) <= MAX_TOGETHER
    assert len(doubler.lots) <= 6


def test_one_after_the_other(batcher: Batcher[int, int], doubler: Doubler) -> None:
    """Whoever asks alone is answered at once."""

    async def ask() -> list[int]:
        return [await batcher.ask(number) for number in range(5)]

    assert asyncio.run(ask()) == [0, 2, 4, 6, 8]
    assert doubler.lots == [1] * 5


def test_refused(batcher: Batcher[int, int]) -> None:
    """A refusal reaches its asker alone."""

    async def ask_all() -> list[int | BaseException]:
        return await asyncio.gather(*map(batcher.ask, (1, 13, 2)), return_exceptions=True)

    first, refused, last = asyncio.run(ask_all())
    assert (first, last) == (2, 4)
    assert isinstance(refused, ValueError)


def test_broken(batcher: Batcher[int, int]) -> None:
    """What breaks a lot reaches the one who broke it; the others are asked for again."""

    async def ask_all() -> list[int | BaseException]:
        return await asyncio.gather(*map(batcher.ask, (1, 99, 2)), return_exceptions=True)

    first, broken, last = asyncio.run(ask_all())
    assert (first, last) == (2, 4)
    assert isinstance(broken, RuntimeError)


def test_no_thread(doubler: Doubler) -> None:
    """Where no thread can be had, askers hear of it, and later ones are answered."""

    class Short(ThreadPoolExecutor):
        """Has no thread at first."""

        is_short = True

        def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
            """Start a piece of work."""
            if self.is_short:
                raise RuntimeError("can't start new thread")
            return super().submit(*args, **kwargs)

    async def ask_all(threads: Short, batcher: Batcher[int, int]) -> tuple[list[int | BaseException], int]:
        refused = await asyncio.gather(*map(batcher.ask, (1, 2)), return_exceptions=True)
        threads.is_short = False
        return refused, await batcher.ask(3)

    with Short(1) as threads:
        refused, after = asyncio.run(ask_all(threads, Batcher(doubler, threads)))
    assert [type(error) for error in refused] == [RuntimeError, RuntimeError]
    assert after == 6


def test_work(doubler: Doubler) -> None:
    """A lot holds a bounded amount of work, whatever the number of its questions."""

    async def ask_all(batcher: Batcher[int, int]) -> list[int]:
        return await asyncio.gather(*map(batcher.ask, [MAX_TOGETHER // 2, MAX_TOGETHER // 2 + 1, 500, 1, 1]))

    with ThreadPoolExecutor(1) as threads:
        answers = asyncio.run(ask_all(Batcher(doubler, threads, work_of=lambda number: number)))
    assert answers == [MAX_TOGETHER, MAX_TOGETHER + 2, 1000, 2, 2]
    assert doubler.lots == [1, 1, 1, 2]


def test_gone(batcher: Batcher[int, int]) -> None:
    """An asker who gives up keeps nobody else from an answer."""

    async def ask_all() -> int:
        leaving = asyncio.ensure_future(batcher.ask(1))
        staying = asyncio.ensure_future(batcher.ask(2))
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert asyncio.run(ask_all()) == 4
