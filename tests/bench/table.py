"""What a benchmark returns, how it is timed, and how it is printed."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Args:
        work: What was done.
        ours: Our figure.
        against: What ours is compared with.
        theirs: Its figure.
        unit: Of both figures.
        target: The target of the ratio, or of the difference; empty where none was set.
        is_difference: Whether ours − theirs is printed in place of ours ÷ theirs.
    """

    work: str
    ours: float
    against: str
    theirs: float
    unit: str
    target: str = ""
    is_difference: bool = False

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the line."""
        figure = f"{self.ours - self.theirs:+.2f}" if self.is_difference else f"{self.ours / self.theirs:.3f}"
        ours, theirs = (f"{_figure(value)} {self.unit}" for value in (self.ours, self.theirs))
        return self.work, ours, self.against, theirs, figure, self.target


def print_table(rows: Sequence[Row]) -> None:
    """Print the lines, in columns."""
    lines = [("work", "ours", "against", "theirs", "ratio", "target"), *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    work, ours, against, theirs, ratio, target = widths
    print()
    for w, o, a, t, r, goal in lines:
        print(f"{w:{work}}  {o:>{ours}}  {a:{against}}  {t:>{theirs}}  {r:>{ratio}}  {goal:{target}}".rstrip())


def say(text: str) -> None:
    """Tell what is going on, apart from the table."""
    print(text, file=sys.stderr, flush=True)


def race(ours: Callable[[], float], theirs: Callable[[], float], *, rounds: int = ROUNDS) -> tuple[float, float]:
    """Run both by turns, and return the least seconds that each reported."""
    reported = [(theirs(), ours()) for _ in range(rounds)]
    return min(own for _, own in reported), min(other for other, _ in reported)


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """Turn work into a function that does it and returns the seconds it took."""

    def run() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return run


def _figure(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
