"""Pages for people: one self-contained page that works without JavaScript."""

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from fastapi import FastAPI
from jinja2 import Environment
from markupsafe import Markup
from starlette.responses import HTMLResponse

from features.errors import ModelError, ServingError
from serving import lists
from serving.state import LiveState, ServingState
from serving.templating import build_environment

LISTED_CUSTOMERS = 10

_BAR_WIDTH = 420.0
_STAGE_NAMES = {
    "first_time_buyer": "First-time buyer",
    "repeat": "Repeat",
    "loyal": "Loyal",
    "at_risk": "At risk",
    "lost": "Lost",
    "won_back": "Won back",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the stage chart."""

    name: str
    customers: int
    y: int
    width: float


def add_pages(app: FastAPI, live: LiveState) -> None:
    """Add the pages to an app."""

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def home() -> HTMLResponse:
        """Show the published run, or how to get at it."""
        return HTMLResponse(render_home(live.current), headers={"Content-Security-Policy": content_security_policy()})


def render_home(state: ServingState) -> str:
    """Render the home page: figures in insecure-local mode, otherwise how to use a key."""
    if state.keys is not None:
        return _environment().get_template("keyed.html").render()
    version = None if isinstance(state.champion, ModelError) else state.champion.manifest.version
    try:
        stage_map = lists.load_stage_map(state.store)
        at_risk = lists.load_at_risk(state.store, limit=LISTED_CUSTOMERS)
    except ServingError as error:
        return _environment().get_template("empty.html").render(problem=error.problem, champion=version)
    return (
        _environment()
        .get_template("home.html")
        .render(run=stage_map.run, stages=stage_map.stages, bars=_bars(stage_map), at_risk=at_risk, champion=version)
    )


@cache
def content_security_policy() -> str:
    """Return the policy of the pages: nothing but our own style sheet, recognised by its hash."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    closed = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return f"{closed}; style-src 'sha256-{digest}'"


def _bars(stage_map: lists.StageMap) -> list[Bar]:
    most = max(entry.customers for entry in stage_map.stages) or 1
    return [
        Bar(
            _STAGE_NAMES[entry.stage],
            entry.customers,
            y=index * 34,
            width=round(_BAR_WIDTH * entry.customers / most, 1),
        )
        for index, entry in enumerate(stage_map.stages)
    ]


@cache
def _style() -> str:
    return resources.files("serving").joinpath("templates/page.css").read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = build_environment()
    environment.globals["style"] = Markup(_style())  # noqa: S704  # our own file; escaping would break its hash
    environment.filters.update(
        stage=lambda code: _STAGE_NAMES[code],
        money=lambda value: f"{value:,.2f}",
        percent=lambda value: "–" if value is None else f"{value:.1%}",
        minute=lambda moment: f"{moment[:16].replace('T', ' ')} UTC",
        count=lambda value: f"{value:,}",
    )
    return environment
