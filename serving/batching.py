"""Concurrent questions, answered together: what arrives while the last answers are computed is asked next, at once."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

MAX_TOGETHER = 64  # more would let the first wait for the last, and save little
QUIET_SECONDS = 0.001  # callers who were answered together ask again together: wait until no more arrive ...
LONGEST_WAIT_SECONDS = 0.01  # ... but so long at most


@dataclass(frozen=True, slots=True)
class _Asked(Generic[Question, Answer]):
    """A question that waits, how much work it is, and who waits for its answer."""

    question: Question
    work: int
    answer: asyncio.Future[Answer]


class Batcher(Generic[Question, Answer]):
    """Gathers the questions of one event loop and has them answered together, one lot after the other.

    Args:
        answer_all: Answers some questions, in their order, on a thread; an exception in the place of an answer goes to
            its asker alone. Where it fails as a whole, each question is asked alone.
        executor: Where.
        work_of: How much work a question is; a lot holds `MAX_TOGETHER` of it, or one question.
    """

    def __init__(
        self,
        answer_all: Callable[[Sequence[Question]], Sequence[Answer | Exception]],
        executor: Executor,
        work_of: Callable[[Question], int] = lambda _: 1,
    ) -> None:
        self._answer_all = answer_all
        self._executor = executor
        self._work_of = work_of
        self._waiting: deque[_Asked[Question, Answer]] = deque()
        self._waiting_work = 0
        self._timer: asyncio.TimerHandle | None = None
        self._latest = 0.0
        self._is_busy = False

    async def ask(self, question: Question) -> Answer:
        """Wait for the answer to a question.

        Raises:
            Exception: What stands in the place of the answer.
        """
        loop = asyncio.get_running_loop()
        asked: _Asked[Question, Answer] = _Asked(question, self._work_of(question), loop.create_future())
        if not self._waiting:
            self._latest = loop.time() + LONGEST_WAIT_SECONDS
        self._waiting.append(asked)
        self._waiting_work += asked.work
        if not self._is_busy:
            self._wait_for_more(loop)
        return await asked.answer

    def _wait_for_more(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        soon = loop.time() if self._waiting_work >= MAX_TOGETHER else loop.time() + QUIET_SECONDS
        self._timer = loop.call_at(min(soon, self._latest), self._start, loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        lot = self._take_lot()
        if not lot:
            return
        try:
            answering = loop.run_in_executor(self._executor, self._answer, [asked.question for asked in lot])
        except RuntimeError as error:  # no thread could be started
            _settle(lot, [error] * len(lot))
            return
        self._is_busy = True
        answering.add_done_callback(lambda done: self._finish(loop, lot, done))

    def _take_lot(self) -> list[_Asked[Question, Answer]]:
        """Take from the front what makes a lot, passing over those whose asker has gone."""
        lot: list[_Asked[Question, Answer]] = []
        work = 0
        while self._waiting and (not lot or work + self._waiting[0].work <= MAX_TOGETHER):
            asked = self._waiting.popleft()
            self._waiting_work -= asked.work
            if not asked.answer.done():
                lot.append(asked)
                work += asked.work
        return lot

    def _answer(self, questions: Sequence[Question]) -> Sequence[Answer | Exception]:
        """Answer a lot; what fails for all is tried for each alone, so that it fails for its asker alone."""
        try:
            return self._answer_all(questions)
        except Exception as error:  # noqa: BLE001  # it goes to the asker
            if len(questions) == 1:
                return [error]
            return [answer for question in questions for answer in self._answer([question])]

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        lot: Sequence[_Asked[Question, Answer]],
        done: asyncio.Future[Sequence[Answer | Exception]],
    ) -> None:
        self._is_busy = False
        error = done.exception()
        _settle(lot, [error] * len(lot) if error else done.result())
        if self._waiting:
            self._latest = loop.time() + LONGEST_WAIT_SECONDS
            self._wait_for_more(loop)


def _settle(lot: Sequence[_Asked[Any, Any]], answers: Sequence[Any]) -> None:
    """Give each asker who still waits the answer, or what stands in its place."""
    for asked, answer in zip(lot, answers, strict=True):
        if asked.answer.done():
            continue
        if isinstance(answer, BaseException):
            asked.answer.set_exception(answer)
        else:
            asked.answer.set_result(answer)
