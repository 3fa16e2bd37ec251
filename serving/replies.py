"""How routes read what all of them may be asked, and write what all of them answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.responses import Response

from features.errors import InputError
from features.lifecycle.vocabularies import Wording
from serving import published
from serving.problems import build_problem
from serving.schemas import Problem
from serving.state import ServingState
from serving.store import RunInfo
from serving.wording import choose_wording

DEFAULT_LIST_ROWS = 100
SVG = "image/svg+xml"

Limit = Annotated[int, Query(ge=1)]
Cursor = Annotated[str | None, Query(max_length=2000)]
CsvForm = Annotated[Literal["json", "csv"] | None, Query(alias="format")]
SvgForm = Annotated[Literal["json", "svg"] | None, Query(alias="format")]


@dataclass(frozen=True, slots=True)
class Words:
    """In whose words a request wants its answer; None leaves it to the service."""

    vocabulary: str | None
    language: str | None

    def choose(self, state: ServingState) -> Wording:
        """Return them, for answers without RFM codes or of codes in the model's own bins."""
        return choose_wording(state.wording, vocabulary=self.vocabulary, language=self.language)

    def of_run(self, state: ServingState, run: RunInfo) -> Wording:
        """Return them for the RFM codes of a published run."""
        return published.wording_of_run(state.store, run, self.choose(state))


def asked_words(
    vocabulary: Annotated[str | None, Query(max_length=100, description="A shipped vocabulary.")] = None,
    language: Annotated[str | None, Query(max_length=10, description="en or fr.")] = None,
) -> Words:
    """Read in whose words a request wants its answer."""
    return Words(vocabulary, language)


def asked_language(language: Annotated[str | None, Query(max_length=10, description="en or fr.")] = None) -> Words:
    """Read in which language a request wants an answer whose words are settled."""
    return Words(None, language)


def check_limit(limit: int, state: ServingState) -> int:
    """Return the limit.

    Raises:
        InputError: If it exceeds that of the settings.
    """
    if limit > state.settings.max_list_rows:
        raise InputError(
            f"limit is {limit}; at most {state.settings.max_list_rows} rows are given at a time.",
            remedy="Ask for fewer, and follow next_cursor.",
        )
    return limit


def wants(request: Request, media_type: str, form: str | None) -> bool:
    """Tell whether a request wants another form than JSON: `format` decides, and without it the Accept header."""
    return form not in {None, "json"} or (form is None and media_type in request.headers.get("accept", ""))


def json_reply(answer: BaseModel) -> Response:
    """Reply with an answer as JSON."""
    return Response(answer.model_dump_json(), media_type="application/json")


def svg_reply(svg: str) -> Response:
    """Reply with a picture."""
    return Response(svg, media_type=SVG)


def rows_reply(
    request: Request,
    form: str | None,
    *,
    told: Callable[[], BaseModel],
    csv: Callable[[], str],
    name: str,
    next_cursor: str | None = None,
) -> Response:
    """Reply with rows, as JSON or as a CSV file; where more follow, the `Link` header of a file names the next page.

    Args:
        request: What was asked.
        form: The `format` that it names.
        told: Builds the JSON answer.
        csv: Writes the file.
        name: Of the file, without its ending.
        next_cursor: Of the page that follows, if any.
    """
    if not wants(request, "text/csv", form):
        return json_reply(told())
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    if next_cursor:
        query = request.url.include_query_params(cursor=next_cursor).query
        headers["Link"] = f'<?{query}>; rel="next"'
    return Response(csv(), media_type="text/csv; charset=utf-8", headers=headers)


def documented(*statuses: int, media: tuple[str, ...] = ()) -> dict[str, Any]:
    """Describe the problems of a route, and the key it asks for, in the OpenAPI document."""
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": build_problem(status).title, "model": Problem} for status in statuses
    }
    if media:
        responses[200] = {"content": {media_type: {"schema": {"type": "string"}} for media_type in media}}
    has_key = 401 in statuses
    return {"responses": responses, "dependencies": [Depends(HTTPBearer(auto_error=False))] if has_key else []}
