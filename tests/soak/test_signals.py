from pathlib import Path

import pytest

from tests.callers import build_request
from tests.serving.test_signals import CONNECTIONS, SCORE, end_under_load


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("turn", range(5))
def test_none_is_lost(champion_home: Path, workers: int, turn: int) -> None:
    """SIGTERM under load, again and again, by one worker and by two, cuts no request."""
    told = end_under_load(champion_home, [SCORE, build_request("GET", "/v1/model")], workers=workers)
    assert told.cut == []
    assert told.refused == CONNECTIONS
    assert set(told.statuses) <= {200, 429, 503}
