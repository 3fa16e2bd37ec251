"""What those who run the service ask of it."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from features.errors import LifestageError, ModelError, ServingError, UntriedError
from serving.http.guards import CALLER
from serving.http.problems import build_problem, problem_response
from serving.http.replies import documented, json_reply
from serving.state import LiveState

RELOAD_PATH = "/v1/admin/reload"

_NO_PAGE = "Ask with curl or a program of your own."


class ReloadAnswer(BaseModel):
    """What a reload led to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_version: Annotated[str, Field(description="The version that serves from now on.")]
    previous_version: Annotated[str | None, Field(description="The one that served before; null where none did.")]
    catalogue_hash: Annotated[str, Field(description="Hash of the features that it reads.")]
    was_changed: Annotated[bool, Field(description="Whether the two differ.")]


def add_admin(app: FastAPI, live: LiveState) -> None:
    """Add the routes of those who run the service."""

    @app.post(RELOAD_PATH, response_model=ReloadAnswer, **documented(401, 409, 503))
    def reload(request: Request) -> Response:
        """Load the champion anew.

        Where it is refused, with 409, or could not be tried, with 503, what served before serves on; what could not be
        tried is tried again.
        """
        if _is_foreign(request):
            return problem_response(build_problem(403, detail="A page of another site asked for it.", remedy=_NO_PAGE))
        if live.reloader is None:
            raise ServingError("This process takes no other champion.", remedy="Start it with lifestage serve.")
        try:
            told = live.reloader.reload(actor=request.scope["state"][CALLER])
        except ModelError as error:
            return _tell(error, HTTPStatus.CONFLICT, "champion-refused")
        except UntriedError as error:
            return _tell(error, HTTPStatus.SERVICE_UNAVAILABLE, "champion-untried")
        return json_reply(ReloadAnswer(**asdict(told)))


def _is_foreign(request: Request) -> bool:
    """Tell whether a page of another site sent a request: a service without keys could not know its own by a key."""
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")


def _tell(error: LifestageError, status: HTTPStatus, slug: str) -> Response:
    return problem_response(build_problem(status, slug=slug, detail=error.problem, remedy=error.remedy))
