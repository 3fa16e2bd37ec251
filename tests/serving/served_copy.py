"""A real service over a copy of a home, with keys that open all of it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from serving.access.keys import create_key, keys_path
from serving.server import running_server

_AT = datetime(2026, 1, 2, tzinfo=UTC)


@contextmanager
def serve_copy(
    home: Path, folder: Path, *, requests_per_second: float, burst_requests: int, key_names: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """Serve a copy of a home, made in a folder; yield the URL, and one key per name."""
    copy = Path(shutil.copytree(home, folder / "home"))
    config = folder / "lifestage.toml"
    limits = f"requests_per_second = {requests_per_second}\nburst_requests = {burst_requests}\n"
    config.write_text(f"[serving]\n{limits}", encoding="utf-8")
    keys = [create_key(keys_path(copy), name=name, created_at=_AT, scopes=("admin",)) for name in key_names]
    with running_server(copy, config=config) as url:
        yield url, keys
