"""docs/api.md, and the client beside it, against a real server."""

import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import crm_client
import httpx
import pytest
from crm_client import CrmClient, Customer, LifestageError

from serving.access.scopes import METRICS_PATH
from serving.batch import Publication
from serving.http.api import build_app, known_routes
from serving.state import LiveState
from tests.serving.served_copy import serve_copy
from tests.test_docs import ROOT
from tests.whole_shop import AS_OF, WholeShop

KNOWN = "shopper-002"
PAPER = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


class Server(NamedTuple):
    """A running service, and keys that open all of it."""

    url: str
    key: str
    other_key: str


@pytest.fixture(scope="module")
def server(
    visited_home: Path, publications: tuple[Publication, Publication], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Serve a copy of the visited shop's home, in a hurry with nobody."""
    folder, names = tmp_path_factory.mktemp("docs"), ("docs", "crm")
    with serve_copy(visited_home, folder, requests_per_second=20.0, burst_requests=30, key_names=names) as (url, keys):
        yield Server(url, *keys)


@pytest.fixture
def client(server: Server) -> Iterator[CrmClient]:
    """The client of the documents."""
    with CrmClient(server.url, server.key) as opened:
        yield opened


def curl_lines() -> list[list[str]]:
    """Return the words of each command of the page."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAPER, re.DOTALL | re.MULTILINE)
    commands = re.split(r"^(?=curl )", "".join(blocks).replace("\\\n", " "), flags=re.MULTILINE)
    return [shlex.split(command) for command in commands if command.startswith("curl ")]


def run_curl(words: list[str], server: Server) -> httpx.Response:
    """Do what a command says, with someone known instead of c-17."""
    told = {"$LIFESTAGE_URL": server.url, "$LIFESTAGE_KEY": server.key, "c-17": KNOWN}
    words = [re.sub("|".join(map(re.escape, told)), lambda found: told[found[0]], word) for word in words[1:]]
    url, headers, method, body = "", {}, "GET", None
    while words:
        word = words.pop(0)
        if word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word == "-X":
            method = words.pop(0)
        elif word in {"-d", "--data-binary"}:
            method, body = "POST", words.pop(0)
        elif word == "-o":
            words.pop(0)
        else:
            url = word
    if body == "@customers.ndjson":
        [body] = [
            block for block in re.findall(r"^```json\n(.*?)^```$", PAPER, re.DOTALL | re.MULTILINE) if "c-18" in block
        ]
    return httpx.request(method, url, headers=headers, content=body)


@pytest.mark.slow
def test_curl(server: Server) -> None:
    """Every command of the page is answered as the page says, and together they call every route there is."""
    asked = set()
    for words in curl_lines():
        answer = run_curl(words, server)
        assert answer.status_code == 200, (words, answer.text)
        assert answer.headers["content-type"] != "application/problem+json"
        asked.add((answer.request.method, answer.request.url.path))
    routes = {(method, path) for path, methods in known_routes(build_app(LiveState())).items() for method in methods}
    assert asked == {(method, path) for method, path in routes if path != "/" and method != "HEAD"}


def test_scopes() -> None:
    """The page names the scope of each route."""
    from serving.access import scopes

    rows = {cells[0]: cells[1] for cells in re.findall(r"^\| `(\w+)` \| (.*) \|$", PAPER, re.MULTILINE)}
    for path in {path for _, path in scopes._SCOPES} - {METRICS_PATH}:
        for method, scope in ((m, s) for (m, p), s in scopes._SCOPES.items() if p == path):
            assert f"{path}`" in rows[scope], (method, path)


@pytest.mark.slow
def test_client(client: CrmClient, whole_rows: WholeShop) -> None:
    """The client reads a stored score and a whole list, and scores from orders what is stored."""
    stored = client.stored_score(KNOWN)
    assert stored is not None
    assert client.stored_score("nobody") is None
    listed = list(client.at_risk(page_rows=7))
    assert stored in listed
    assert len({score.customer_id for score in listed}) == len(listed) > 14
    assert [score.value_at_risk for score in listed] == sorted((s.value_at_risk for s in listed), reverse=True)
    customers: list[Customer] = [whole_rows.customer(KNOWN), {"customer_id": "new", "orders": []}]  # type: ignore[list-item]  # events too
    assert list(client.score(customers, as_of=[AS_OF.isoformat()])) == [stored]


@pytest.mark.slow
def test_client_is_refused(client: CrmClient) -> None:
    """What the client sends wrongly comes back as an error that names the field."""
    with pytest.raises(LifestageError, match="wrong") as refused:
        list(client.score([{"customer_id": "a", "orders": []}], as_of=["yesterday"]))
    assert refused.value.status == 422
    assert set(refused.value.fields) == {"as_of"}


@pytest.mark.slow
def test_client_waits(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the service asks for patience, the client waits as long as it is told, and then has its answers."""
    waits: list[float] = []
    sleep = time.sleep

    def wait(seconds: float) -> None:
        waits.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", wait)
    with CrmClient(server.url, server.other_key) as client:
        assert all(client.stored_score(KNOWN) for _ in range(60))
    assert waits
    assert min(waits) >= 1.0


def test_client_cannot_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody answers, the client tries some times, each later than the one before, and then says so."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    with CrmClient("http://127.0.0.1:9", "key") as client, pytest.raises(httpx.TransportError):
        client.stored_score(KNOWN)
    assert len(waits) == crm_client.ATTEMPTS - 1
