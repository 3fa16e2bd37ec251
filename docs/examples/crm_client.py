"""A typed client of the Lifestage API, to copy from: scores, lists page by page, and patience when told to wait.

It needs httpx alone. Run as a program, it asks for the customers most worth saving:

    LIFESTAGE_URL=http://127.0.0.1:3000 LIFESTAGE_KEY=… python crm_client.py
"""

import json
import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NotRequired, Self, TypedDict

import httpx

REPEATABLE = frozenset({429, 503})
NO_SCORE = "urn:lifestage:problem:not-found"  # told apart from a service that has published nothing yet
ATTEMPTS = 5
LONGEST_WAIT_SECONDS = 30.0
LINES_PER_REQUEST = 500


class Order(TypedDict):
    """One order of a customer."""

    ordered_at: str
    amount: float
    order_id: NotRequired[str]


class Customer(TypedDict):
    """One customer with all orders known."""

    customer_id: str
    orders: list[Order]


@dataclass(frozen=True, slots=True)
class Score:
    """What a CRM usually keeps of a score."""

    customer_id: str
    as_of: str
    model_version: str
    stage: str
    p_churn: float
    clv_12m: float
    value_at_risk: float
    flags: tuple[str, ...]

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any]) -> Self:
        """Take from an answer what is kept; fields that a later version adds do no harm."""
        kept = {name: answer[name] for name in cls.__slots__}
        return cls(**{**kept, "flags": tuple(answer["flags"])})


class LifestageError(Exception):
    """A problem that repeating the request does not solve."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.status = int(problem["status"])
        self.kind = str(problem["type"])
        self.fields = {error["field"]: error["remedy"] for error in problem["errors"]}
        super().__init__(f"{problem['detail']} {problem['remedy']}")


class CrmClient:
    """Calls one service with one key, on one connection pool; use it as a context manager.

    Args:
        url: Where the service is.
        key: An API key.
        timeout_seconds: For one attempt.
    """

    def __init__(self, url: str, key: str, *, timeout_seconds: float = 30.0) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_seconds)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self._http.close()

    def stored_score(self, customer_id: str) -> Score | None:
        """Return a customer's score from the published run, or None."""
        try:
            return Score.from_answer(self._ask("GET", "/v1/scores", params={"customer_id": customer_id}).json())
        except LifestageError as error:
            if error.kind == NO_SCORE:
                return None
            raise

    def at_risk(self, *, page_rows: int = 500, **filters: str | float) -> Iterator[Score]:
        """Yield the customers most worth saving, page by page, all from one published run."""
        cursor: str | None = None
        while True:
            params = {**filters, "limit": page_rows, **({"cursor": cursor} if cursor else {})}
            page = self._ask("GET", "/v1/at-risk", params=params).json()
            yield from map(Score.from_answer, page["customers"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def score(self, customers: Iterable[Customer], *, as_of: Sequence[str]) -> Iterator[Score]:
        """Yield scores of any number of customers at each date, in their order; who has not ordered has none."""
        for part in _parts(customers, LINES_PER_REQUEST):
            lines = "".join(f"{json.dumps(customer)}\n" for customer in part)
            media_type = "application/x-ndjson"
            answer = self._ask(
                "POST",
                "/v1/score",
                params={"as_of": list(as_of)},
                content=lines,
                headers={"Content-Type": media_type, "Accept": media_type},
            )
            for line in filter(None, answer.text.split("\n")):  # not splitlines: ids may hold other line ends
                told = json.loads(line)
                if "reason" not in told:
                    yield Score.from_answer(told)

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, and again as often as the service, or the network, asks for patience.

        Raises:
            LifestageError: If the service refuses it.
            httpx.TransportError: If it cannot be reached.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError:
                if attempt == ATTEMPTS:
                    raise
                time.sleep(_patience(attempt, None))
                continue
            if answer.is_success:
                return answer
            if answer.status_code not in REPEATABLE or attempt == ATTEMPTS:
                raise LifestageError(answer.json())
            time.sleep(_patience(attempt, answer.headers.get("Retry-After")))
        raise AssertionError("unreachable")


def _patience(attempt: int, retry_after: str | None) -> float:
    """Return how long to wait: at least as the service says, twice as long each time, and never all at once."""
    told = float(retry_after) if retry_after and retry_after.isdecimal() else 0.0
    backoff = min(LONGEST_WAIT_SECONDS, 0.5 * 2**attempt)
    return told + random.uniform(0.0, backoff)  # noqa: S311 - spreads load, keeps no secret


def _parts(customers: Iterable[Customer], size: int) -> Iterator[list[Customer]]:
    part: list[Customer] = []
    for customer in customers:
        part.append(customer)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def main() -> None:
    """Print the customers most worth saving."""
    with CrmClient(os.environ["LIFESTAGE_URL"], os.environ["LIFESTAGE_KEY"]) as client:
        for number, score in enumerate(client.at_risk(page_rows=10), start=1):
            print(f"{score.customer_id}\t{score.p_churn:.0%}\t{score.value_at_risk:,.2f}")  # noqa: T201
            if number == 10:
                return


if __name__ == "__main__":
    main()
