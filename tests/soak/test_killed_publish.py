"""Publishers killed twenty times, on either database."""

from pathlib import Path

from tests.serving.store.conftest import empty_url
from tests.serving.store.killed_publisher import kill_publishers

__all__ = ["empty_url"]  # a fixture


def test_killed(empty_url: str, tmp_path: Path) -> None:
    """A publisher that is killed leaves the run before it, whole, to all who read meanwhile; the next one completes."""
    kill_publishers(empty_url, tmp_path, times=20)
