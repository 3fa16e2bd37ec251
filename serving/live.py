"""Scores computed from a request: the same computation as in a batch, nothing stored."""

from collections.abc import Iterator
from datetime import datetime

from features.errors import InputError
from features.intake.request_orders import orders_from_rows
from features.settings import ServingSettings
from features.snapshot import to_day
from serving.schemas import NotScored, Score, ScoreRequest, ScoreResponse
from serving.scoring import score_orders
from training.bundle import Bundle

NO_ORDER = "no order before as_of: stage not observable"


def score_request(bundle: Bundle, request: ScoreRequest, *, settings: ServingSettings) -> ScoreResponse:
    """Score the customers of a request, in its order.

    Raises:
        InputError: If the request exceeds a limit of the settings.
    """
    _check_limits(request, settings)
    orders = orders_from_rows(list(_order_rows(request)), timezone=bundle.manifest.timezone)
    scores = score_orders(bundle, orders, cutoff_day=to_day(request.as_of))
    found = {row["customer_id"]: Score.from_row(row) for row in scores.iter_rows(named=True)}
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


def _order_rows(request: ScoreRequest) -> Iterator[tuple[str, datetime, float]]:
    for customer in request.customers:
        for order in customer.orders:
            yield customer.customer_id, order.ordered_at, order.amount


def _check_limits(request: ScoreRequest, settings: ServingSettings) -> None:
    most_customers, most_orders = settings.max_customers_per_request, settings.max_orders_per_customer
    if len(request.customers) > most_customers:
        raise InputError(
            f"The request holds {len(request.customers)} customers; at most {most_customers} are accepted.",
            remedy="Split it into smaller requests, or score a file with lifestage score.",
        )
    longest = max(len(customer.orders) for customer in request.customers)
    if longest > most_orders:
        raise InputError(
            f"A customer of the request has {longest} orders; at most {most_orders} are accepted.",
            remedy="Score such customers from a file with lifestage score.",
        )
