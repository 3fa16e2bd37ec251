"""How many requests one caller may make: token buckets.

A bucket holds at most `burst` tokens and gains `per_second` of them; a request takes one. Each worker counts on its
own, so that a limit is divided by the number of workers: exact while requests spread evenly, and never exceeded.
Whoever sends all on one connection talks to one worker, and has that worker's part alone.

Callers who have a key and those who have none are remembered apart: no number of the latter pushes out the former.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from time import monotonic

MAX_BUCKETS = 4096

_IPV6_SITE_BITS = 64
_ROUNDING = 1e-9  # of the time that a caller was told to wait


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something may happen: `burst` times at once, `per_second` in the long run."""

    per_second: float
    burst: float

    def shared_by(self, workers: int) -> "Rate":
        """Return the part of one worker; at least one request at a time, or it could answer none."""
        return Rate(self.per_second / workers, max(1.0, self.burst / workers))


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class RateLimits:
    """One bucket per name; the least recently used one of a kind is forgotten when there are too many.

    Args:
        clock: Tells seconds that never run backwards.
        max_buckets: How many names of a kind are remembered.
    """

    def __init__(self, *, clock: Callable[[], float] = monotonic, max_buckets: int = MAX_BUCKETS) -> None:
        self._clock = clock
        self._max_buckets = max_buckets
        self._kinds: dict[str, OrderedDict[str, _Bucket]] = {}

    def take(self, name: str, rate: Rate) -> int:
        """Take a token, and return 0; or, where there is none, in how many whole seconds there will be.

        Args:
            name: Whose tokens; the first of several words is the kind.
            rate: How many there are.
        """
        now = self._clock()
        bucket = self._bucket(name, rate, now)
        tokens = min(rate.burst, bucket.tokens + (now - bucket.filled_at) * rate.per_second)
        is_enough = tokens >= 1.0 - _ROUNDING
        bucket.tokens, bucket.filled_at = tokens - is_enough, now
        return 0 if is_enough else max(1, math.ceil((1.0 - tokens) / rate.per_second))

    def _bucket(self, name: str, rate: Rate, now: float) -> _Bucket:
        kind, _, rest = name.partition(" ")
        buckets = self._kinds.setdefault(kind if rest else "", OrderedDict())
        bucket = buckets.get(name)
        if bucket is None:
            bucket = buckets[name] = _Bucket(rate.burst, now)
            if len(buckets) > self._max_buckets:
                buckets.popitem(last=False)
        else:
            buckets.move_to_end(name)
        return bucket


def address_group(host: str) -> str:
    """Return the address that failures are counted by: an IPv6 site hands out addresses by the 2^64."""
    try:
        address = ip_address(host)
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:  # as a socket for both tells of an IPv4 caller
            return str(address.ipv4_mapped)
        return str(ip_network((address, _IPV6_SITE_BITS), strict=False))
    return host
