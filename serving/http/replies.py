"""How routes read what all of them may be asked, and write what all of them answer."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from features.errors import InputError, ModelError
from features.lifecycle.vocabularies import Wording
from serving import published
from serving.http.bodies import NDJSON
from serving.http.problems import build_problem
from serving.schemas import Problem, ScoreResponse
from serving.state import ServingState
from serving.store.score_store import RunInfo, ScoreStore
from serving.wording import choose_wording

DEFAULT_LIST_ROWS = 100
SVG = "image/svg+xml"
_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")

Limit = Annotated[int, Query(ge=1, description="Rows of a page.")]
Cursor = Annotated[str | None, Query(max_length=2000, description="next_cursor of the page before, unchanged.")]
_FORM = "Decides before the Accept header."
CsvForm = Annotated[Literal["json", "csv"] | None, Query(alias="format", description=_FORM)]
SvgForm = Annotated[Literal["json", "svg"] | None, Query(alias="format", description=_FORM)]


@dataclass(frozen=True, slots=True)
class Words:
    """In whose words a request wants its answer; None leaves it to the service."""

    vocabulary: str | None
    language: str | None

    def choose(self, state: ServingState) -> Wording:
        """Return them, for answers without RFM codes or of codes in the model's own bins."""
        if self.vocabulary is None and self.language is None:
            return state.wording
        return choose_wording(state.wording, vocabulary=self.vocabulary, language=self.language)

    def of_run(self, state: ServingState, store: ScoreStore, run: RunInfo) -> Wording:
        """Return them for the RFM codes of a published run."""
        return published.wording_of_run(store, run, self.choose(state))


def asked_words(
    vocabulary: Annotated[str | None, Query(max_length=100, description="A shipped vocabulary.")] = None,
    language: Annotated[str | None, Query(max_length=10, description="en or fr.")] = None,
) -> Words:
    """Read in whose words a request wants its answer."""
    return Words(vocabulary, language)


def asked_language(language: Annotated[str | None, Query(max_length=10, description="en or fr.")] = None) -> Words:
    """Read in which language a request wants an answer whose words are settled."""
    return Words(None, language)


@dataclass(frozen=True, slots=True)
class Source:
    """Where an answer comes from.

    Attributes:
        run: The published run.
        flags: What to know about all answers from it.
    """

    run: RunInfo
    flags: list[str]

    @property
    def headers(self) -> dict[str, str]:
        """The headers that say so beside an answer with no place for it, as a file or a picture."""
        return _headers({"Run": self.run.run_id, "As-Of": self.run.as_of}, self.run, self.flags)


def headers_of(answer: ScoreResponse) -> dict[str, str]:
    """Return the headers that tell of scores computed from a request."""
    dates = [answer.as_of] if isinstance(answer.as_of, str) else answer.as_of
    return _headers({"As-Of": ",".join(dates)}, answer, answer.flags)


def _headers(own: dict[str, Any], source: RunInfo | ScoreResponse, flags: list[str]) -> dict[str, str]:
    shared = {
        "Horizon-Days": source.horizon_days,
        "Model": source.model_version,
        "Catalogue": source.catalogue_hash,
        "Flags": ",".join(flags),
    }
    return {f"Lifestage-{name}": str(value) for name, value in {**own, **shared}.items()}


def find_source(state: ServingState, store: ScoreStore, run: RunInfo) -> Source:
    """Find out what to know about answers from a run today."""
    champion = None if isinstance(state.champion, ModelError) else state.champion.manifest.version
    return Source(run, published.flag_run(store, run, today=datetime.now(UTC).date(), champion=champion))


def check_limit(limit: int, state: ServingState) -> int:
    """Return the limit.

    Raises:
        InputError: If it exceeds that of the settings.
    """
    if limit > state.settings.max_list_rows:
        raise InputError(
            f"limit asks for more than the {state.settings.max_list_rows} rows that are given at a time.",
            remedy="Ask for fewer, and follow next_cursor.",
            field="limit",
        )
    return limit


def wants(request: Request, media_type: str, form: str | None) -> bool:
    """Tell whether a request wants another form than JSON: `format` decides, and without it the Accept header.

    Of forms that it accepts equally, and where it accepts anything, JSON is given.
    """
    if form is not None:
        return form != "json"
    accepted = dict(_read_accepted(request))
    whole_type = f"{media_type.partition('/')[0]}/*"
    json_types = ("application/json", "application/*", "*/*")
    as_json = next((accepted[name] for name in json_types if name in accepted), 0.0)
    return accepted.get(media_type, accepted.get(whole_type, 0.0)) > as_json


def _read_accepted(request: Request) -> Iterator[tuple[str, float]]:
    """Yield the media types that a request accepts, and how gladly, from 0, not at all, to 1 (RFC 9110, 12.5.1)."""
    for name in ",".join(request.headers.getlist("accept")).lower().split(","):
        media_type, *options = (part.strip() for part in name.split(";"))
        weights = [option[2:] for option in options if option.startswith("q=")]
        if not weights:
            yield media_type, 1.0
        elif _WEIGHT.fullmatch(weights[0]):
            yield media_type, float(weights[0])


def json_reply(answer: BaseModel) -> Response:
    """Reply with an answer as JSON."""
    return Response(answer.model_dump_json(), media_type="application/json")


def lines_reply(lines: Iterable[BaseModel], headers: Mapping[str, str]) -> Response:
    """Reply with answers as NDJSON, one per line."""
    return Response("".join(f"{line.model_dump_json()}\n" for line in lines), headers=headers, media_type=NDJSON)


def svg_reply(svg: str, source: Source) -> Response:
    """Reply with a picture."""
    return Response(svg, headers=source.headers, media_type=SVG)


def rows_reply(
    request: Request,
    form: str | None,
    *,
    told: Callable[[], BaseModel],
    csv: Callable[[], str],
    source: Source,
    name: str,
    next_cursor: str | None = None,
) -> Response:
    """Reply with rows, as JSON or as a CSV file; where more follow, the `Link` header of a file names the next page.

    Args:
        request: What was asked.
        form: The `format` that it names.
        told: Builds the JSON answer.
        csv: Writes the file.
        source: Where the rows come from, for the headers of the file.
        name: Of the file, without its ending.
        next_cursor: Of the page that follows, if any.
    """
    if not wants(request, "text/csv", form):
        return json_reply(told())
    headers = {**source.headers, "Content-Disposition": f'attachment; filename="{name}.csv"'}
    if next_cursor:
        query = request.url.include_query_params(cursor=next_cursor).query
        headers["Link"] = f'<?{query}>; rel="next"'
    return Response(csv(), media_type="text/csv; charset=utf-8", headers=headers)


def documented(*statuses: int, media: tuple[str, ...] = ()) -> dict[str, Any]:
    """Describe the problems of a route, and its media types beside JSON, in the OpenAPI document."""
    everywhere = (403, 429) if 401 in statuses else ()
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": build_problem(status).title, "model": Problem}
        for status in sorted({*statuses, *everywhere})
    }
    if media:
        responses[200] = {"content": {media_type: {"schema": {"type": "string"}} for media_type in media}}
    return {"responses": responses}
