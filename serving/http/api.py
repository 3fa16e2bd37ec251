"""The HTTP interface: routes that read a request, call one function, and write its answer.

Most routes are plain functions, so that FastAPI runs them on worker threads and the event loop stays free; they
serialise their own answers, so that this work stays there too.
"""

from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.cards import ModelCard, build_model_card
from serving.http import pages
from serving.http.admin_routes import add_admin
from serving.http.bare import BareRoutes
from serving.http.bodies import JSON, NDJSON, BodyGuard
from serving.http.guards import KeyGuard, ProblemBoundary
from serving.http.idempotency import IdempotencyGuard
from serving.http.lifecycle_routes import add_maps
from serving.http.list_routes import add_lists
from serving.http.people_routes import add_people
from serving.http.probes import add_probes
from serving.http.problems import answer_with_problems
from serving.http.queries import StrictRoute
from serving.http.reference import add_reference
from serving.http.replies import documented, json_reply
from serving.http.score_routes import SCORE_PATH, add_scores
from serving.http.write_gate import WriteGate
from serving.state import LiveState


class Api(FastAPI):
    """FastAPI behind guards, which stand before its own layers."""

    way_in: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request come in by the guards."""
        await self.way_in(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that has passed them."""
        await super().__call__(scope, receive, send)


def build_app(live: LiveState) -> Api:
    """Build the app; it reads the state anew for each request."""
    app = Api(
        title="Lifestage",
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.router.route_class = StrictRoute
    answer_with_problems(app)
    add_scores(app, live)
    _add_model(app, live)
    add_lists(app, live)
    add_maps(app, live)
    add_people(app, live)
    add_admin(app, live)
    add_probes(app, live)
    pages.add_pages(app, live)
    add_reference(app, live)
    app.way_in = _guard(BareRoutes(WriteGate(IdempotencyGuard(app.answer, live)), app.routes), live)
    return app


def _guard(app: ASGIApp, live: LiveState) -> ASGIApp:
    """Put an app behind what every request passes, the last of it first."""
    limited = BodyGuard(app, {SCORE_PATH: (JSON, NDJSON)}, lambda: live.current.settings.max_body_bytes)
    keyed = KeyGuard(limited, keys=lambda: live.current.keys, settings=lambda: live.current.settings)
    return ProblemBoundary(keyed)


def known_routes(app: FastAPI) -> dict[str, frozenset[str]]:
    """Return the paths that an app answers, none of which has parameters in it, with the methods of each."""
    methods: dict[str, frozenset[str]] = {}
    for route in app.routes:
        if isinstance(path := getattr(route, "path", None), str):
            methods[path] = methods.get(path, frozenset()) | frozenset(getattr(route, "methods", None) or ())
    return methods


def _add_model(app: FastAPI, live: LiveState) -> None:
    @app.get("/v1/model", response_model=ModelCard, **documented(401, 503))
    def model() -> Response:
        """Return the model card of the champion: what it is for, what it learned from, how well it did, its limits."""
        state = live.current
        run = state.store.current_run()
        run_id = None if run is None else run.run_id
        card = build_model_card(state.bundle.manifest, state.promotion, run_id=run_id, refused=state.refused)
        return json_reply(card)
