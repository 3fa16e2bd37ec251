"""Connections to PostgreSQL that are given up when nothing comes back.

The server ends statements that take too long, and TCP notices a server that is gone. Neither helps where something in
between keeps the connection open and passes nothing on.
"""

from collections.abc import Generator
from functools import cache
from time import monotonic
from typing import Any

MOST_SECONDS = 15.0  # longer than the server takes to give up


@cache
def patient_connection() -> Any:
    """Return the class of such connections; the driver may not be installed, and takes a moment to import.

    Its attribute `most_seconds` says how long it waits for any one answer; None for ever.
    """
    from psycopg import Connection, OperationalError

    class PatientConnection(Connection[Any]):
        most_seconds: float | None

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.most_seconds = MOST_SECONDS

        def wait(self, gen: Any, *arguments: Any, **named: Any) -> Any:
            if self.most_seconds is not None:
                gen = self._give_up(gen, monotonic() + self.most_seconds)
            return super().wait(gen, *arguments, **named)

        def _give_up(self, waits: Generator[Any, Any, Any], at: float) -> Generator[Any, Any, Any]:
            """Pass on what a generator waits for, and what became ready, until it is too late."""
            try:
                wanted = next(waits)
                while True:
                    ready = yield wanted
                    if not ready and monotonic() > at:
                        self.pgconn.finish()  # whatever came now would be taken for the answer to the next question
                        raise OperationalError("no answer came")
                    wanted = waits.send(ready)
            except StopIteration as done:
                return done.value

    return PatientConnection
