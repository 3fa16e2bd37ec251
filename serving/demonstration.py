"""The service shown at work: a real server on a free port, two requests, their answers."""

import json
from pathlib import Path
from typing import Any

import httpx

from features.errors import ServingError
from serving import terminal
from serving.server import running_server

_NEW_CUSTOMER = "new-1"
_ORDERS = (("1998-01-12", 29.95), ("1998-02-20", 14.50), ("1998-04-03", 41.20), ("1998-05-09", 22.75))
_TIMEOUT_SECONDS = 60.0


def show_exchange(home: Path, *, as_of: str, customer_id: str) -> None:
    """Start the service, score a customer from a raw order history, read a stored score, and stop the service.

    Args:
        home: The home folder, with a champion and published scores.
        as_of: ISO date of the question.
        customer_id: A customer of the published run.

    Raises:
        ServingError: If the service does not start.
    """
    orders = [{"ordered_at": day, "amount": amount} for day, amount in _ORDERS]
    body = {"as_of": as_of, "customers": [{"customer_id": _NEW_CUSTOMER, "orders": orders}]}
    with (
        running_server(home, insecure_local=True) as url,
        httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS) as client,
    ):
        terminal.out.print(f"Listening at {url}.")
        scored = client.post("/v1/score", json=body)
        terminal.print_exchange(f"POST /v1/score\n{json.dumps(body, indent=1)}", _answer(scored))
        stored = client.get("/v1/scores", params={"customer_id": customer_id})
        terminal.print_exchange(f"GET /v1/scores?customer_id={customer_id}", _answer(stored))
    terminal.out.print("The server was stopped.")


def _answer(response: httpx.Response) -> Any:
    if response.status_code != httpx.codes.OK:
        raise ServingError(
            f"The service answered {response.request.method} {response.request.url.path} with {response.status_code}.",
            remedy="Its log is logs/serve.log in the home folder.",
        )
    return response.json()
