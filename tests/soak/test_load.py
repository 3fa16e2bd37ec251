"""The service under more load than it can bear; prints what it did. Other work on the machine blurs the figures.

Requests are offered in an open loop: each at its time, whatever became of those before. Each asks for ten customers,
so that ten times what the service can bear stays within what a process beside it can send on the same two cores. Of
requests for one customer it would be several thousand a second, and their sender would take the time that is measured.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import httpx
import numpy as np
import pytest

from serving.server import running_server
from tests.arrivals import Offered, offer
from tests.callers import Told, build_request, call

FACTORS = (1, 2, 5, 10)
TURNS = 2
SECONDS = 5.0
BEARABLE = 64
LEAST_OFFERED = 0.9
MOST_RECOVERY_SECONDS = 5.0
CUSTOMER = (
    '{"customer_id":"c%d","orders":'
    '[{"ordered_at":"1997-01-04","amount":29.33},{"ordered_at":"1997-03-22","amount":29.73}]}'
)
CUSTOMERS = ",".join(CUSTOMER % number for number in range(10))
BODY = f'{{"as_of":"1998-04-01","customers":[{CUSTOMERS}]}}'
REQUEST = build_request("POST", "/v1/score", BODY.encode("ascii"))
SETTINGS = "[serving]\nrequests_per_second = 1000000\nburst_requests = 1000000\n"


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def port(request: pytest.FixtureRequest, champion_home: Path, tmp_path: Path) -> Iterator[int]:
    """Run a service whose callers are limited by what it can bear alone."""
    config = tmp_path / "lifestage.toml"
    config.write_text(SETTINGS, encoding="ascii")
    with running_server(champion_home, insecure_local=True, config=config, workers=request.param) as url:
        found = httpx.URL(url).port
        assert found is not None
        yield found


def ask(port: int, *, connections: int, seconds: float) -> Told:
    """Ask for scores, each caller as soon as it was answered."""
    return asyncio.run(call(port, [REQUEST], connections=connections, seconds=seconds))


def wait_quantile(waits: list[float], share: float) -> float:
    """Return the wait that a share of the good answers did not exceed, in seconds."""
    return float(np.quantile(waits, share))


def recovery_seconds(told: Told, usual: float) -> float:
    """Return after how long answers were good and in time, and stayed so."""
    late = [answer.at for answer in told.answers if answer.status != 200 or answer.waited > 3 * usual + 0.1]
    return max(late, default=0.0)


def test_overload(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    """At ten times what it can bear, it answers as many as ever, refuses the rest in words, and recovers at once."""
    warm = ask(port, connections=BEARABLE, seconds=2.0)
    calm = ask(port, connections=BEARABLE, seconds=SECONDS)
    capacity = len(calm.good()) / SECONDS
    usual = wait_quantile([answer.waited for answer in calm.good()], 0.5)
    turns: dict[int, list[Offered]] = {factor: [] for factor in FACTORS}
    for _ in range(TURNS):  # what else the machine does should fall on all alike
        for factor in FACTORS:
            turns[factor].append(offer(port, REQUEST, per_second=factor * capacity, seconds=SECONDS))
    after = ask(port, connections=4, seconds=MOST_RECOVERY_SECONDS + 1)
    recovered = recovery_seconds(after, usual=usual)
    told = {factor: reduce(Offered.join, offered) for factor, offered in turns.items()}
    best = max(offered.good_per_second for offered in told.values())
    with capsys.disabled():
        print(f"\n  capacity {capacity:,.0f}/s, median wait {usual:.3f} s")  # noqa: T201  # figures
        for factor, offered in told.items():
            print(f"  {factor:>3}x: {describe(offered)}")  # noqa: T201
        print(f"  10x gives {told[10].good_per_second / best:.0%} of the best; recovered after {recovered:.2f} s")  # noqa: T201
    for factor, offered in told.items():
        assert offered.sent >= LEAST_OFFERED * factor * capacity * offered.seconds
        assert set(offered.statuses) <= {200, 429, 503}, offered.statuses
        assert (offered.cut, offered.untold) == (0, 0)
        assert sum(offered.statuses.values()) == offered.sent
    assert told[10].statuses[503] > 0
    everything = [*(Counter(offered.statuses) for offered in told.values()), warm.statuses, calm.statuses]
    assert counted(port) == sum(everything, after.statuses)
    assert told[10].good_per_second >= 0.8 * best
    assert recovered <= MOST_RECOVERY_SECONDS


def describe(offered: Offered) -> str:
    """Say in a line what became of the requests."""
    waits = " ".join(f"p{share:.0%} {wait_quantile(offered.waits, share):.2f} s" for share in (0.5, 0.99))
    rate, statuses = offered.sent / offered.seconds, dict(offered.statuses)
    return f"{rate:,.0f}/s, good {offered.good_per_second:,.0f}/s, {waits.replace('%', '')}, {statuses}"


def counted(port: int) -> Counter[int]:
    """Return how many requests for scores all workers say they answered, by status."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    found = re.findall(r'^lifestage_requests_total{.*route="/v1/score",status="(\d+)"} (\d+)', text, re.MULTILINE)
    return Counter({int(status): int(count) for status, count in found})
