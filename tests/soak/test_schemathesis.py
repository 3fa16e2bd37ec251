"""Five hundred drawn calls of each operation over a real socket, through BentoML and all that stands before our app.

Reloads take longest: each tries the champion in a process apart.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from serving.batch import Publication
from serving.http.openapi import OPENAPI_PATH
from tests.serving.conftest import publications as publications  # noqa: PLC0414 - fixtures, for pytest to find here
from tests.serving.conftest import visited_bundle as visited_bundle  # noqa: PLC0414 - as above
from tests.serving.conftest import visited_folder as visited_folder  # noqa: PLC0414 - as above
from tests.serving.conftest import visited_home as visited_home  # noqa: PLC0414 - as above
from tests.serving.conftest import visited_rows as visited_rows  # noqa: PLC0414 - as above
from tests.serving.conftest import visited_shop as visited_shop  # noqa: PLC0414 - as above
from tests.serving.http.drawn_calls import OPERATIONS, Case, draw_calls
from tests.serving.served_copy import serve_copy

N_CALLS = 500


class Service(NamedTuple):
    """A running service."""

    url: str
    key: str
    document: dict[str, Any]


@pytest.fixture(scope="module")
def service(
    visited_home: Path, publications: tuple[Publication, Publication], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Serve a copy of the visited shop's home, as fast as one likes."""
    folder, most = tmp_path_factory.mktemp("soak"), 1_000_000
    serving = serve_copy(visited_home, folder, requests_per_second=most, burst_requests=most, key_names=["all"])
    with serving as (url, [key]):
        answer = httpx.get(f"{url}{OPENAPI_PATH}", headers={"Authorization": f"Bearer {key}"})
        yield Service(url, key, answer.json())


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_operation(service: Service, operation_id: str) -> None:
    """Over HTTP too, calls of an operation never end in a server error, and in nothing that is not described."""

    def send(case: Case) -> Any:
        return case.call(base_url=service.url, headers={"Authorization": f"Bearer {service.key}"})

    draw_calls(service.document, operation_id, send, n_calls=N_CALLS)
