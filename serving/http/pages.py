"""Pages for people: one self-contained page that works without JavaScript."""

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Annotated

from fastapi import Depends, FastAPI
from jinja2 import Environment
from markupsafe import Markup
from starlette.responses import HTMLResponse

from features.errors import ModelError, ServingError
from features.lifecycle.vocabularies import SHIPPED, Wording
from serving import answers, lists, published
from serving.http.replies import Words, asked_words
from serving.state import LiveState, ServingState
from serving.templating import build_environment

LISTED_CUSTOMERS = 10


def add_pages(app: FastAPI, live: LiveState) -> None:
    """Add the pages to an app."""

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def home(words: Annotated[Words, Depends(asked_words)]) -> HTMLResponse:
        """Show the published run, or how to get at it."""
        return HTMLResponse(
            render_home(live.current, words), headers={"Content-Security-Policy": content_security_policy()}
        )


def render_home(state: ServingState, words: Words) -> str:
    """Render the home page: figures in insecure-local mode, otherwise how to use a key."""
    if state.keys is not None:
        return page_environment().get_template("keyed.html").render()
    version = None if isinstance(state.champion, ModelError) else state.champion.manifest.version
    try:
        with state.store.at_one_moment() as store:
            stage_map = published.load_stage_map(store)
            at_risk = lists.load_at_risk(store, limit=LISTED_CUSTOMERS)
            wording, totals = words.of_run(state, store, stage_map.run), store.totals(stage_map.run)
        stages = answers.tell_stages(stage_map, totals, wording)
        listed = answers.tell_at_risk(at_risk, wording)
    except ServingError as error:
        return page_environment().get_template("empty.html").render(problem=error.problem, champion=version)
    return (
        page_environment()
        .get_template("home.html")
        .render(
            run=stage_map.run,
            map=stages,
            at_risk=listed,
            champion=version,
            vocabularies=_offered(state.wording, wording.language),
            languages=[name for name in wording.vocabulary.languages if _has_plays(wording, name)],
        )
    )


def _has_plays(wording: Wording, language: str) -> bool:
    return all(language in plays for plays in wording.own_plays.values())


def _offered(own: Wording, language: str) -> dict[str, str]:
    """Return the vocabularies to choose from, and the language to ask each for: the present one where it has words."""
    offered = dict.fromkeys((own.vocabulary.name, *SHIPPED), language)
    spoken = language if language in own.vocabulary.languages else own.language
    return {**offered, own.vocabulary.name: spoken}


@cache
def content_security_policy() -> str:
    """Return the policy of the pages: nothing but our own style sheet, recognised by its hash, and our pictures."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    closed = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return f"{closed}; style-src 'sha256-{digest}'; img-src 'self'"


@cache
def _style() -> str:
    return resources.files("serving").joinpath("templates/page.css").read_text(encoding="utf-8")


@cache
def page_environment() -> Environment:
    """Build the environment of the pages, with their style and their filters."""
    environment = build_environment()
    environment.globals["style"] = Markup(_style())  # noqa: S704  # our own file; escaping would break its hash
    environment.filters.update(
        money=lambda value: f"{value:,.2f}",
        percent=lambda value: "–" if value is None else f"{value:.1%}",
        minute=lambda moment: f"{moment[:16].replace('T', ' ')} UTC",
        count=lambda value: f"{value:,}",
        told=_tell_code,
    )
    return environment


def _tell_code(text: str) -> Markup:
    """Set what stands between backticks as code, and escape all of it."""
    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))
