"""Scores computed from requests: the same computation as in a batch, nothing stored.

Several requests are scored together: of a few customers nearly all of the cost is that of asking at all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import product

import narwhals as nw

from features.errors import InputError, LifestageError
from features.intake.request_events import Event, EventRow, check_events, events_from_values
from features.intake.request_orders import OrderRow, RowValues, check_rows, records_from_values
from features.lifecycle.vocabularies import Wording
from features.records import Records
from features.snapshot import to_day
from serving.schemas import CustomerIn, NotScored, NotScoredLine, Score, ScoreRequest, ScoreResponse
from serving.scoring import score_rows, shop_flags
from training.bundle import Bundle

NO_ORDER = "no order before as_of: stage not observable"

_TAG_DIGITS = 4
_TAG_END = "\x1f"  # no customer id holds it


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to score.

    Args:
        request: What was asked.
        wording: In whose words to answer.
        withheld: Who of them is not to be scored: id → reason.
    """

    request: ScoreRequest
    wording: Wording
    withheld: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_events(self) -> bool:
        """Whether any customer comes with events: whoever has none then did nothing; else none are known."""
        return any(customer.events is not None for customer in self.request.customers)


def score_request(
    bundle: Bundle, request: ScoreRequest, *, wording: Wording, withheld: Mapping[str, str] | None = None
) -> ScoreResponse:
    """Score the customers of one request; see `score_requests`.

    Raises:
        InputError: If rows of the request do not fit together.
    """
    [answer] = score_requests(bundle, [Asked(request, wording, withheld or {})])
    if isinstance(answer, LifestageError):
        raise answer
    return answer


def score_requests(bundle: Bundle, asked: Sequence[Asked]) -> list[ScoreResponse | LifestageError]:
    """Score the customers of several requests, in their order; each at each of its dates, as if asked alone.

    Returns:
        One answer per request; an error in the place of one whose rows do not fit together.
    """
    timezone = bundle.manifest.timezone
    rows = [_check(one, timezone) for one in asked]
    words = [replace(one.wording, rfm_bins=bundle.model.segments.bins) for one in asked]
    found: list[dict[tuple[str, date], Score]] = [{} for _ in asked]
    for (as_of, horizons_days, has_events), members in _group(asked, rows).items():
        together = {number: checked for number in members if isinstance(checked := rows[number], _Checked)}
        records = _join(together, has_events=has_events)
        scored = score_rows(bundle, records, cutoff_day=to_day(as_of), horizons_days=horizons_days)
        for row, by_horizon in scored:
            number, customer_id = _untag(row["customer_id"])
            score = Score.from_row({**row, "customer_id": customer_id}, words[number], by_horizon=by_horizon)
            found[number][customer_id, as_of] = score
    return [
        checked if isinstance(checked, LifestageError) else _answer(bundle, one, its)
        for one, checked, its in zip(asked, rows, found, strict=True)
    ]


def iterate_lines(response: ScoreResponse, request: ScoreRequest) -> Iterator[Score | NotScoredLine]:
    """Yield what a request was answered, one line per customer and date, in its order."""
    shared = response.model_dump(include={"horizon_days", "model_version", "catalogue_hash", "flags"})
    lines: dict[tuple[str, str], Score | NotScoredLine] = {
        **{(score.customer_id, score.as_of): score for score in response.scores},
        **{(one.customer_id, one.as_of): NotScoredLine(**dict(one), **shared) for one in response.not_scored},
    }
    for customer, as_of in product(request.customers, request.dates):
        yield lines[customer.customer_id, as_of.isoformat()]


@dataclass(frozen=True, slots=True)
class _Checked:
    """The rows of one request, checked."""

    orders: list[RowValues]
    events: list[Event]


def _check(asked: Asked, timezone: str) -> _Checked | LifestageError:
    """Check the rows of one request, so that what is wrong with them is told to its caller alone."""
    checked = _Checked([], [])
    for number, customer in enumerate(asked.request.customers):
        if customer.customer_id not in asked.withheld:
            try:
                checked.orders.extend(check_rows(_order_rows(customer), timezone=timezone))
                checked.events.extend(check_events(_event_rows(customer), timezone=timezone))
            except InputError as error:
                field = f"{asked.request.place_of(number)}{error.field}"
                return InputError(error.problem, remedy=error.remedy, field=field)
    return checked


def _group(
    asked: Sequence[Asked], rows: Sequence[_Checked | LifestageError]
) -> dict[tuple[date, tuple[int, ...], bool], list[int]]:
    """Return the numbers of the requests that are scored together: they ask for one date, and of the same kind."""
    groups: dict[tuple[date, tuple[int, ...], bool], list[int]] = {}
    for number, (one, checked) in enumerate(zip(asked, rows, strict=True)):
        if isinstance(checked, _Checked):
            for as_of in one.request.dates:
                groups.setdefault((as_of, one.request.horizons_days, one.has_events), []).append(number)
    return groups


def _join(together: Mapping[int, _Checked], *, has_events: bool) -> Records:
    """Join the rows of requests, their customers told apart by the number of their request."""
    orders = [(_tag(number, row[0]), *row[1:]) for number, checked in together.items() for row in checked.orders]
    records = records_from_values(orders)
    if not has_events:
        return records
    events = [(_tag(number, row[0]), *row[1:]) for number, checked in together.items() for row in checked.events]
    return replace(records, events=nw.from_native(events_from_values(events)).lazy())


def _tag(number: int, customer_id: object) -> str:
    return f"{number:0{_TAG_DIGITS}x}{_TAG_END}{customer_id}"


def _untag(tagged: str) -> tuple[int, str]:
    return int(tagged[:_TAG_DIGITS], 16), tagged[_TAG_DIGITS + 1 :]


def _answer(bundle: Bundle, asked: Asked, found: Mapping[tuple[str, date], Score]) -> ScoreResponse:
    request, manifest = asked.request, bundle.manifest
    dates = [as_of.isoformat() for as_of in request.dates]
    wanted = list(product((customer.customer_id for customer in request.customers), request.dates))
    return ScoreResponse(
        as_of=dates if isinstance(request.as_of, tuple) else dates[0],
        horizon_days=manifest.horizon_days,
        model_version=manifest.version,
        catalogue_hash=manifest.catalogue_hash,
        flags=shop_flags(bundle.model),
        scores=[found[one] for one in wanted if one in found],
        not_scored=[
            NotScored(customer_id=one[0], as_of=one[1].isoformat(), reason=asked.withheld.get(one[0], NO_ORDER))
            for one in wanted
            if one not in found
        ],
    )


def _order_rows(customer: CustomerIn) -> list[OrderRow]:
    whose = customer.customer_id
    return [
        OrderRow(whose, o.ordered_at, o.amount, o.order_id, o.refund_of, o.channel, o.category, o.quantity, o.cost)
        for o in customer.orders
    ]


def _event_rows(customer: CustomerIn) -> list[EventRow]:
    whose = customer.customer_id
    return [(whose, e.occurred_at, e.event_type, e.value, e.channel) for e in customer.events or ()]
