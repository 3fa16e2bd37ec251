"""Work on all cores of this machine, in threads: numpy and Polars let them run side by side."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_N_CORES = os.cpu_count() or 1
_PART_ROWS = 250_000  # fewer are done before another thread has begun


def in_order(work: Callable[[Item], Result], items: Iterator[Item]) -> Iterator[Result]:
    """Do some work on each item, on all cores where there are several; results come in the order of items."""
    first, second = next(items, None), next(items, None)
    if first is None or second is None:
        yield from (work(item) for item in (first, second) if item is not None)
        return
    with ThreadPoolExecutor(_N_CORES) as pool:
        waiting = deque([pool.submit(work, first), pool.submit(work, second)])
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > _N_CORES:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)


def on_all_cores(work: Callable[[slice], None], n_rows: int) -> None:
    """Do some work on each part of so many rows."""
    n_parts = max(1, min(_N_CORES, n_rows // _PART_ROWS))
    borders = [n_rows * i // n_parts for i in range(n_parts + 1)]
    list(in_order(work, (slice(first, last) for first, last in pairwise(borders))))
