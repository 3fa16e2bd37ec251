import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.access.rates import Rate, RateLimits, address_group


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A standing clock."""
    return Clock()


def test_burst_then_rate(clock: Clock) -> None:
    """A burst passes at once; then as many as the rate says, and a wait is told in whole seconds that suffice."""
    limits, rate = RateLimits(clock=clock), Rate(per_second=0.4, burst=3)
    assert [limits.take("crm", rate) for _ in range(4)] == [0, 0, 0, 3]
    clock.now += 2
    assert limits.take("crm", rate) == 1
    clock.now += 1
    assert [limits.take("crm", rate) for _ in range(2)] == [0, 2]
    clock.now += 3600
    assert [limits.take("crm", rate) for _ in range(4)] == [0, 0, 0, 3]


def test_callers_apart(clock: Clock) -> None:
    """One caller's haste does not slow another."""
    limits, rate = RateLimits(clock=clock), Rate(per_second=1, burst=1)
    assert [limits.take(name, rate) for name in ("a", "a", "b", "b")] == [0, 1, 0, 1]


def test_bounded_memory(clock: Clock) -> None:
    """Names beyond the limit push out the least recently seen one, and no other."""
    limits, rate = RateLimits(clock=clock, max_buckets=3), Rate(per_second=1, burst=1)
    for name in ("a", "b", "c", "a", "d"):
        limits.take(name, rate)
    assert [limits.take(name, rate) for name in ("a", "c", "d", "b")] == [1, 1, 1, 0]


def test_kinds_apart(clock: Clock) -> None:
    """However many addresses try wrong keys, no key's haste is forgotten for it."""
    limits, rate = RateLimits(clock=clock, max_buckets=3), Rate(per_second=1, burst=1)
    limits.take("key crm", rate)
    for number in range(10):
        limits.take(f"wrong 10.0.0.{number}", rate)
    assert limits.take("key crm", rate) == 1


@given(
    per_second=st.floats(0.01, 1000),
    burst=st.integers(1, 50),
    steps=st.lists(st.floats(0, 5), max_size=60),
)
def test_never_exceeded(per_second: float, burst: int, steps: list[float]) -> None:
    """Over any time, no more pass than burst + rate × time; and who waits as long as told, passes."""
    clock = Clock()
    limits, rate = RateLimits(clock=clock), Rate(per_second, burst)
    passed = 0
    for step in steps:
        clock.now += step
        wait = limits.take("crm", rate)
        passed += wait == 0
        assert passed <= burst + per_second * (clock.now - 1000.0) + 1e-6
    wait = limits.take("crm", rate)
    clock.now += wait
    assert wait == 0 or limits.take("crm", rate) == 0


def test_shared_by_workers() -> None:
    """Workers share a limit, and each can answer at least one request."""
    assert Rate(200, 400).shared_by(4) == Rate(50, 100)
    assert Rate(1, 2).shared_by(8) == Rate(0.125, 1)


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("testclient", "unknown"),
        ("", "unknown"),
    ],
)
def test_address_group(host: str, group: str) -> None:
    """Failures are counted by address, and by site where addresses cost nothing."""
    assert address_group(host) == group
