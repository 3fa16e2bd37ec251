"""Work on all cores: nothing is lost, and results keep their order."""

from time import sleep

import polars as pl
import pytest

from features.cores import in_order, on_all_cores


@pytest.mark.parametrize("n_frames", [0, 1, 2, 40])
def test_in_order(n_frames: int) -> None:
    """Results come in the sequence of the frames, however long each took."""
    frames = (pl.DataFrame({"i": [i]}) for i in range(n_frames))
    assert list(in_order(_slow_first, frames)) == list(range(n_frames))


def test_failure() -> None:
    """What goes wrong with one frame is raised, and not lost in a thread."""
    frames = (pl.DataFrame({"i": [i]}) for i in range(9))
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda frame: 1 // (5 - frame["i"][0]), frames))


@pytest.mark.parametrize("n_rows", [0, 1, 250_000, 999_999])
def test_parts(n_rows: int) -> None:
    """Every row lies in one part."""
    done: list[slice] = []
    on_all_cores(done.append, n_rows)
    assert sorted(i for part in done for i in range(n_rows)[part]) == [*range(n_rows)]


def _slow_first(frame: pl.DataFrame) -> int:
    i = int(frame["i"][0])
    sleep(0.02 * (i % 3 == 0))
    return i
