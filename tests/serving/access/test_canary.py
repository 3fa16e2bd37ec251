"""A thousand things that only callers know, sent wherever a caller can put one: none may come out where others look."""

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving.access.conftest import Served
from tests.serving.access.test_sockets import send_raw

pytestmark = pytest.mark.slow

N_TOKENS = 1000
WORD, NUMBER = "canary", "739182645"  # how tokens begin, in letters and in digits

Sent = tuple[str, str, dict[str, str], bytes]
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}


class Tokens:
    """Makes tokens, and counts them."""

    def __init__(self) -> None:
        self.made: set[str] = set()

    def word(self) -> str:
        """Make a token that may be a name, an id or a key."""
        return self._keep(f"{WORD}{secrets.token_hex(6)}")

    def number(self) -> str:
        """Make a token that may be an amount or a number."""
        return self._keep(f"{NUMBER}{secrets.randbelow(10**6):06}")

    def _keep(self, token: str) -> str:
        self.made.add(token)
        return token


def _score(customer: dict[str, object], **more: object) -> bytes:
    return json.dumps({"as_of": "1998-04-01", "customers": [customer], **more}).encode()


def _order(ordered_at: object = "1997-01-04", amount: object = 10.0, **more: object) -> dict[str, object]:
    return {"ordered_at": ordered_at, "amount": amount, **more}


def _cursor(token: str) -> str:
    return base64.urlsafe_b64encode(json.dumps({"id": token, "run_id": token}).encode()).decode()


def everywhere(t: Tokens) -> Iterator[Sent]:
    """Give one request for each place that a caller can put something in."""
    w, n = t.word, t.number
    yield "POST", "/v1/score", JSON, _score({"customer_id": w(), "orders": [_order()]})
    yield "POST", "/v1/score", JSON, _score({"customer_id": w(), "orders": [_order(amount=w())]})
    yield "POST", "/v1/score", JSON, _score({"customer_id": w(), "orders": [_order(amount=float(f"{n()}e300"))]})
    yield "POST", "/v1/score", JSON, _score({"customer_id": w(), "orders": [_order(ordered_at=w())]})
    yield "POST", "/v1/score", JSON, _score({"customer_id": w(), "orders": [_order(**{w(): w()})], w(): w()})
    yield (
        "POST",
        "/v1/score",
        JSON,
        _score({"customer_id": w(), "events": [{"event_type": w(), "properties": {w(): w()}}]}),
    )
    yield "POST", "/v1/score", JSON, _score({"customer_id": [w(), {w(): n()}], "orders": {w(): w()}}, as_of=w())
    yield (
        "POST",
        "/v1/score",
        JSON,
        json.dumps({w(): w(), "as_of": n(), "customers": w(), "horizons_days": [w()]}).encode(),
    )
    yield "POST", "/v1/score", JSON, f'{{"{w()}": {w()}'.encode()
    yield "POST", "/v1/score", JSON, f'[{n()}, {n()}, "{w()}"]'.encode()
    yield "POST", "/v1/score", JSON, b"\xff\xfe" + w().encode()
    yield "POST", "/v1/score", NDJSON, f'{{"customer_id": "{w()}"}}\n{{"{w()}": 1}}\n{w()}\n'.encode()
    yield (
        "POST",
        f"/v1/score?as_of={w()}&{w()}={w()}&horizons_days={n()}",
        NDJSON,
        f'{{"customer_id": "{w()}"}}'.encode(),
    )
    yield "POST", "/v1/score", {"Content-Type": f"text/{w()}; charset={w()}"}, w().encode()
    yield "POST", "/v1/score", {"Content-Type": "application/json", "Content-Encoding": w()}, w().encode()
    yield (
        "POST",
        f"/v1/score?language={w()[:9]}&vocabulary={w()}",
        JSON,
        _score({"customer_id": w(), "orders": [_order()]}),
    )
    yield "GET", f"/v1/scores?customer_id={w()}", {"Accept": w(), "User-Agent": w(), "Referer": w()}, b""
    yield "GET", f"/v1/scores?customer_id={w()}&{w()}={w()}", {"Cookie": f"{w()}={w()}", w(): w()}, b""
    yield "GET", f"/v1/at-risk?cursor={w()}&stage={w()}&size={w()}&limit={w()}&min_p_churn={w()}&format={w()}", {}, b""
    yield "GET", f"/v1/at-risk?cursor={_cursor(w())}&limit={n()}", {}, b""
    yield "GET", f"/v1/prospects?cursor={_cursor(w())}&stage={w()}", {}, b""
    yield "GET", f"/v1/changes?cursor={_cursor(w())}&since_run={n()}", {}, b""
    yield "GET", f"/v1/stages?vocabulary={w()}&language={w()}", {"Accept-Language": w(), "Accept": f"image/{w()}"}, b""
    yield "GET", f"/{w()}/{w()}", {"X-Request-Id": w(), "X-Forwarded-For": w(), "Forwarded": f"for={w()}"}, b""
    yield "GET", f"/v1/scores/{w()}", {"traceparent": w(), "tracestate": f"{w()}={w()}", "baggage": f"{w()}={w()}"}, b""
    yield "GET", f"/v1/customers/{w()}%00{w()}", {"X-Forwarded-Host": w(), "X-Forwarded-Proto": w()}, b""
    yield "GET", "/v1/stages", {"Authorization": f"Bearer {w()}"}, b""
    yield "GET", "/v1/stages", {"Authorization": f"{w()} {w()}"}, b""
    yield "GET", f"/metrics?name[]={w()}", {"Authorization": f"Basic {w()}"}, b""
    yield "GET", f"/metrics?name[]={w()}", {"Accept": f"application/{w()}; version={w()}"}, b""
    yield w().upper(), "/v1/stages", {}, b""
    yield w(), f"/{w()}", {}, w().encode()
    yield "PUT", f"/v1/objections?customer_id={w()}", {"Idempotency-Key": w()}, b""
    yield "PUT", f"/v1/objections?customer_id={w()}&customer_id=%01{w()}", {"Idempotency-Key": w() * 20}, b""
    yield "DELETE", f"/v1/objections?customer_id={w()}", {"Idempotency-Key": f"{w()} {w()}"}, b""
    yield "DELETE", f"/v1/objections?{w()}={w()}", JSON, f'{{"{w()}": "{w()}"}}'.encode()
    yield "GET", f"/v1/objections?cursor={_cursor(w())}&limit={w()}", {}, b""
    yield "POST", f"/v1/admin/reload?{w()}={w()}", {"Idempotency-Key": w(), **JSON}, f'{{"{w()}": {w()}'.encode()
    yield "GET", f"/?vocabulary={w()}&language={w()}", {}, f"{w()}".encode()
    yield "GET", f"/v1/openapi.json?{w()}={w()}", {"If-None-Match": w(), "Range": f"bytes={w()}"}, b""


def misshapen(t: Tokens) -> Iterator[str]:
    """Give heads that are no HTTP, or hardly."""
    w = t.word
    yield f"{w()} {w()}"
    yield f"GET /{w()} {w()}/1.1"
    yield f"GET / HTTP/1.1\r\n{w()}"
    yield f"GET /\x01{w()} HTTP/1.1"
    yield f"POST /v1/score HTTP/1.1\r\nContent-Length: {w()}"
    yield f"POST /v1/score HTTP/1.1\r\nTransfer-Encoding: {w()}"
    yield f"GET http://{w()}/{w()} HTTP/1.1"


def leaked(text: str) -> str:
    """Return the surroundings of the first token in a text, or nothing."""
    lowered = text.lower()
    places = [place for beginning in (WORD, NUMBER) if (place := lowered.find(beginning)) >= 0]
    return text[max(0, min(places) - 100) : min(places) + 100] if places else ""


def seen_by_others(served: Served, is_ours: Callable[[Path], bool]) -> Iterator[tuple[str, str]]:
    """Give what those who run the service look at: its files, but the store's, and its metrics."""
    for path in sorted(served.home.rglob("*")):
        if path.is_file() and is_ours(path):
            yield path.name, path.read_bytes().decode("utf-8", errors="replace")
    answer = httpx.get(f"{served.url}/metrics", headers={"Authorization": f"Bearer {served.keys['read']}"})
    assert answer.status_code == 200
    yield "/metrics", answer.text


def test_canary(served: Served) -> None:
    """None of a thousand tokens is in a log, a metric, the audit log, or an answer that refuses something."""
    tokens = Tokens()
    statuses: set[int] = set()
    leaks: dict[str, str] = {}
    with httpx.Client(base_url=served.url, timeout=60) as client:
        client.headers["Authorization"] = f"Bearer {served.keys['admin']}"
        while len(tokens.made) < N_TOKENS:
            for method, url, headers, content in everywhere(tokens):
                answer = client.request(method, url, headers=headers, content=content)
                statuses.add(answer.status_code)
                told = f"{answer.headers} {answer.text if answer.is_error else ''}"
                if found := leaked(told):
                    leaks[f"{method} {url}"] = found
        for head in misshapen(tokens):
            status, headers, body = send_raw(served, head)
            if status >= 400 and (found := leaked(f"{headers} {body.decode()}")):
                leaks[head] = found
        erased = tokens.word()
        assert client.delete("/v1/customers", params={"customer_id": erased}).status_code == 200

    assert leaks == {}
    assert {200, 400, 401, 404, 405, 415, 422} <= statuses
    assert not any(status >= 500 for status in statuses)
    seen = dict(seen_by_others(served, lambda path: not path.name.startswith("scores.db")))
    assert {"serve.log", "audit.jsonl", "/metrics"} <= set(seen)
    assert {name: leaked(text) for name, text in seen.items() if leaked(text)} == {}
