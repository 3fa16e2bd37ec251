from pathlib import Path

from tests.serving.store.killed_publisher import kill_publishers


def test_killed(empty_url: str, tmp_path: Path) -> None:
    """A publisher that is killed leaves the run before it, whole, to all who read meanwhile; the next one completes."""
    kill_publishers(empty_url, tmp_path, times=3)
