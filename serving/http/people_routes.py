"""The routes of people's rights: to be erased, and to object to being scored and listed."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated

from fastapi import FastAPI, Query, Request
from starlette.responses import Response

from features.errors import ServingError
from serving.http.guards import CALLER
from serving.http.replies import DEFAULT_LIST_ROWS, Cursor, Limit, check_limit, documented, json_reply
from serving.people.desk import PeopleDesk
from serving.people.schemas import ObjectionRecorded, Objections, Receipt, Withdrawal
from serving.state import LiveState, ServingState

CUSTOMERS_PATH, OBJECTIONS_PATH = "/v1/customers", "/v1/objections"

_OBJECTION = "An objection of this customer is on record, so no score is given."

CustomerId = Annotated[
    str,
    Query(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="As in the order files; blanks around it do not count.",
        examples=["c-17"],
    ),
]
_PROBLEMS = documented(401, 403, 422, 429, 503)


def add_people(app: FastAPI, live: LiveState) -> None:
    """Add the routes of people's rights; all of them need a key that may administer."""
    _add_erasure(app, live)
    _add_objections(app, live)


def find_withheld(state: ServingState, customer_ids: Iterable[str]) -> Mapping[str, str]:
    """Return who of a request is not to be scored: id → reason."""
    return {} if state.people is None else state.people.withheld(customer_ids)


def say_why_absent(state: ServingState, customer_id: str) -> str:
    """Say that an objection keeps a customer's score back; nothing of others, and nothing of who was erased."""
    is_objecting = state.people is not None and state.people.is_objecting(customer_id)
    return _OBJECTION if is_objecting else ""


def _add_erasure(app: FastAPI, live: LiveState) -> None:
    @app.delete(CUSTOMERS_PATH, response_model=Receipt, **_PROBLEMS)
    def erase(request: Request, customer_id: CustomerId) -> Response:
        """Erase a person from all that is kept here, for good, and return the receipt.

        An id that nobody knows is kept out of later batches all the same. Repeating the request does no harm.
        """
        return json_reply(_desk(live).erase(customer_id, actor=_caller(request), at=_now()))


def _add_objections(app: FastAPI, live: LiveState) -> None:
    @app.put(OBJECTIONS_PATH, response_model=ObjectionRecorded, **_PROBLEMS)
    def record_objection(request: Request, customer_id: CustomerId) -> Response:
        """Keep a person out of every list and score, from the next read on, until the objection is withdrawn."""
        return json_reply(_desk(live).record_objection(customer_id, actor=_caller(request), at=_now()))

    @app.delete(OBJECTIONS_PATH, response_model=Withdrawal, **_PROBLEMS)
    def withdraw_objection(request: Request, customer_id: CustomerId) -> Response:
        """Withdraw a person's objection: lists and scores hold the person again."""
        was_objecting = _desk(live).withdraw_objection(customer_id, actor=_caller(request), at=_now())
        return json_reply(Withdrawal(was_objecting=was_objecting))

    @app.get(OBJECTIONS_PATH, response_model=Objections, **_PROBLEMS)
    def objections(limit: Limit = DEFAULT_LIST_ROWS, cursor: Cursor = None) -> Response:
        """List the objections on record, by customer id."""
        most = check_limit(limit, live.current)
        return json_reply(_desk(live).list_objections(limit=most, cursor=cursor))


def _desk(live: LiveState) -> PeopleDesk:
    desk = live.current.people
    if desk is None:
        raise ServingError(
            "This service keeps no home folder, so nothing can be recorded here.",
            remedy="Start it with lifestage serve, or use the command line.",
        )
    return desk


def _caller(request: Request) -> str:
    return str(request.scope.get("state", {}).get(CALLER, "unknown"))


def _now() -> datetime:
    return datetime.now(UTC)
