"""Scores computed from a request: the same computation as in a batch, nothing stored."""

from collections.abc import Iterator
from dataclasses import replace

import narwhals as nw

from features.errors import InputError
from features.intake.request_events import EventRow, events_from_rows
from features.intake.request_orders import OrderRow, records_from_rows
from features.lifecycle.vocabularies import Wording
from features.records import Records
from features.settings import ServingSettings
from features.snapshot import to_day
from serving.schemas import NotScored, Score, ScoreRequest, ScoreResponse
from serving.scoring import score_records
from training.bundle import Bundle

NO_ORDER = "no order before as_of: stage not observable"


def score_request(
    bundle: Bundle, request: ScoreRequest, *, settings: ServingSettings, wording: Wording
) -> ScoreResponse:
    """Score the customers of a request, in its order.

    Raises:
        InputError: If the request exceeds a limit of the settings.
    """
    _check_limits(request, settings)
    words = replace(wording, rfm_bins=bundle.model.segments.bins)
    scores = score_records(bundle, _records(request, bundle.manifest.timezone), cutoff_day=to_day(request.as_of))
    found = {row["customer_id"]: Score.from_row(row, words) for row in scores.iter_rows(named=True)}
    asked = [customer.customer_id for customer in request.customers]
    return ScoreResponse(
        as_of=request.as_of.isoformat(),
        horizon_days=bundle.manifest.horizon_days,
        model_version=bundle.manifest.version,
        scores=[found[customer_id] for customer_id in asked if customer_id in found],
        not_scored=[
            NotScored(customer_id=customer_id, reason=NO_ORDER) for customer_id in asked if customer_id not in found
        ],
    )


def _records(request: ScoreRequest, timezone: str) -> Records:
    """Read a request. Where no customer has `events`, none are known; otherwise whoever has none did nothing."""
    records = records_from_rows(list(_order_rows(request)), timezone=timezone)
    if all(customer.events is None for customer in request.customers):
        return records
    events = events_from_rows(list(_event_rows(request)), timezone=timezone)
    return replace(records, events=nw.from_native(events).lazy())


def _order_rows(request: ScoreRequest) -> Iterator[OrderRow]:
    for customer in request.customers:
        for order in customer.orders:
            yield OrderRow(customer_id=customer.customer_id, **dict(order))


def _event_rows(request: ScoreRequest) -> Iterator[EventRow]:
    for customer in request.customers:
        for event in customer.events or ():
            yield customer.customer_id, event.occurred_at, event.event_type, event.value, event.channel


def _check_limits(request: ScoreRequest, settings: ServingSettings) -> None:
    most_customers, most_orders = settings.max_customers_per_request, settings.max_orders_per_customer
    if len(request.customers) > most_customers:
        raise InputError(
            f"The request holds {len(request.customers)} customers; at most {most_customers} are accepted.",
            remedy="Split it into smaller requests, or score a file with lifestage score.",
        )
    longest = max(max(len(customer.orders), len(customer.events or ())) for customer in request.customers)
    if longest > most_orders:
        raise InputError(
            f"A customer of the request has {longest} orders or events; at most {most_orders} are accepted.",
            remedy="Score such customers from a file with lifestage score.",
        )
