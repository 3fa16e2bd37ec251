"""The shop's clock: one table of UTC offsets, read by SQL for a base and by Python for a request.

DuckDB and Python carry time zone databases of their own, which disagree wherever a country changed its
rules between their releases. Both paths therefore read the same offsets, taken from `zoneinfo` once.
A stamp in a repeated hour is its first occurrence; one in a skipped hour moves forward by the gap.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

FIRST_DAY = date(1970, 1, 1)
LAST_DAY = date(2099, 12, 31)
MICROS_PER_SECOND = 1_000_000
MICROS_PER_DAY = 86_400 * MICROS_PER_SECOND

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the zero of a wall clock
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Steps:
    """A step function of time: `offsets[i + 1]` holds from `starts[i]` on, `offsets[0]` before. In microseconds."""

    starts: tuple[int, ...]
    offsets: tuple[int, ...]

    def at(self, micros: int) -> int:
        """Return the offset at one time."""
        return self.offsets[bisect_right(self.starts, micros)]

    def sql(self, column: str) -> str:
        """Return the SQL expression of the offset at each time of a column, as a balanced tree of cases."""
        return _case_tree(column, self.starts, self.offsets)


@dataclass(frozen=True, slots=True)
class Clock:
    """The offsets of one time zone, from local time and from UTC."""

    from_local: Steps
    from_utc: Steps

    def utc_micros(self, stamp: datetime) -> int:
        """Return microseconds since the epoch; a naive stamp is read in this zone."""
        if stamp.tzinfo is not None:
            return (stamp - _EPOCH_UTC) // _MICROSECOND
        local = (stamp - _EPOCH) // _MICROSECOND
        return local - self.from_local.at(local)

    def day(self, utc_micros: int) -> int:
        """Return the local day number, in days since 1970-01-01."""
        return (utc_micros + self.from_utc.at(utc_micros)) // MICROS_PER_DAY


@lru_cache(maxsize=32)
def load_clock(timezone: str) -> Clock:
    """Load the offsets of an IANA time zone, from 1970 to 2099."""
    zone = ZoneInfo(timezone)
    days = range(-2, (LAST_DAY - FIRST_DAY).days + 3)
    seconds = [day * 86_400 for day in days]
    changes = [_change(zone, a, b) for a, b in pairwise(seconds) if _offset(zone, a) != _offset(zone, b)]
    offsets = (_offset(zone, seconds[0]), *(_offset(zone, at) for at in changes))
    local = [at + max(before, after) for at, (before, after) in zip(changes, pairwise(offsets), strict=True)]
    return Clock(from_local=_steps(local, offsets), from_utc=_steps(changes, offsets))


def _steps(starts: Sequence[int], offsets: Sequence[int]) -> Steps:
    scaled = [tuple(value * MICROS_PER_SECOND for value in values) for values in (starts, offsets)]
    return Steps(*scaled)


def _offset(zone: ZoneInfo, second: int) -> int:
    offset = (_EPOCH_UTC + timedelta(seconds=second)).astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _change(zone: ZoneInfo, low: int, high: int) -> int:
    """Find the first second in (low, high] with the offset of `high`."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(zone, middle) != _offset(zone, high) else (low, middle)
    return high


def _case_tree(column: str, starts: Sequence[int], offsets: Sequence[int]) -> str:
    if not starts:
        return f"{offsets[0]}::BIGINT"
    half = len(starts) // 2
    early = _case_tree(column, starts[:half], offsets[: half + 1])
    late = _case_tree(column, starts[half + 1 :], offsets[half + 1 :])
    return f"CASE WHEN {column} < {starts[half]} THEN {early} ELSE {late} END"
