"""Which published run an answer comes from."""

from typing import Annotated

from pydantic import Field

from serving.schemas.wire import CATALOGUE_HASH, Wire


class PublishedRun(Wire):
    """Which published run an answer comes from."""

    run_id: int
    as_of: str
    horizon_days: int
    model_version: str
    catalogue_hash: Annotated[str, Field(description=CATALOGUE_HASH)]
    n_customers: int
    published_at: Annotated[str, Field(description="ISO 8601 time.")]
    flags: Annotated[list[str], Field(default_factory=list, description="Of all answers from this run.")]
