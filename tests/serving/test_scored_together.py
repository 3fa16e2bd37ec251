"""Requests that are scored together get what each gets alone."""

from datetime import date
from typing import Any

import polars as pl
import pytest

from features.errors import InputError
from features.intake.shop import Shop
from serving.live import Asked, score_requests
from serving.schemas import ScoreRequest, ScoreResponse
from tests.serving.score_rows import WORDING
from tests.serving.test_live import build_request
from tests.whole_shop import AS_OF
from training.bundle import Bundle


@pytest.fixture(scope="module")
def orders(visited_shop: Shop) -> pl.DataFrame:
    """The orders of a shop that records everything."""
    collected: pl.DataFrame = visited_shop.records.orders.collect("polars").to_native()
    return collected


def ask(*bodies: dict[str, Any]) -> list[Asked]:
    """Read requests."""
    return [Asked(ScoreRequest.model_validate(body), WORDING) for body in bodies]


def test_as_alone(visited_bundle: Bundle, orders: pl.DataFrame) -> None:
    """Other dates, horizons, events, people of one id, people withheld: nothing of one request touches another."""
    ids = orders["customer_id"].unique().sort().to_list()[:14]
    bodies = [build_request(orders, ids[i : i + 3], as_of=AS_OF) for i in range(0, 12, 2)]
    bodies[1]["as_of"] = [date(AS_OF.year, 1, 5).isoformat(), AS_OF.isoformat()]
    bodies[2]["horizons_days"] = [7, 365]
    bodies[3]["customers"][0]["events"] = [{"occurred_at": f"{AS_OF.year}-01-20", "event_type": "visit"}]
    bodies[4]["customers"][0]["customer_id"] = bodies[0]["customers"][0]["customer_id"]
    asked = ask(*bodies)
    asked[5] = Asked(asked[5].request, WORDING, withheld={ids[10]: "erased"})
    together = score_requests(visited_bundle, asked)
    alone = [answer for one in asked for answer in score_requests(visited_bundle, [one])]
    assert together == alone
    assert len(set(map(repr, together))) == len(bodies)


def test_refused(visited_bundle: Bundle, orders: pl.DataFrame) -> None:
    """Rows that do not fit together are refused to their caller alone."""
    first, last = (build_request(orders, [orders["customer_id"][i]], as_of=AS_OF) for i in (0, -1))
    wrong = {"as_of": AS_OF.isoformat(), "customers": [{"customer_id": "a", "orders": []}]}
    wrong["customers"][0]["orders"] = [{"ordered_at": "2024-01-01", "amount": 1e9}] * 9_001  # type: ignore[index]
    before, refused, after = score_requests(visited_bundle, ask(first, wrong, last))
    assert isinstance(refused, InputError)
    assert isinstance(before, ScoreResponse)
    assert isinstance(after, ScoreResponse)
    assert [before, after] == score_requests(visited_bundle, ask(first, last))
