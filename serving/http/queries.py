"""Query parameters: routes refuse those that are not theirs, and some have all of theirs read by one model.

FastAPI passes over parameters that it does not know, so that a filter with a typing error would filter nothing. It also
reads parameters one by one, which takes longer than the rest of a short answer; routes that are asked often have all of
theirs read at once.
"""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from inspect import iscoroutinefunction, signature
from typing import Any, TypeVar

from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

Query = TypeVar("Query", bound=BaseModel)
Answering = Callable[[Request], Coroutine[Any, Any, Response]]

_CHECKED = "/v1/"


class StrictRoute(APIRoute):
    """A route that refuses query parameters which it does not know, or which come twice and are no lists.

    Only under /v1/: a load balancer may ask its probe as it likes.
    """

    def get_route_handler(self) -> Answering:
        """Return what answers a request."""
        return self._checked(super().get_route_handler())

    def get_bare_handler(self) -> Answering | None:
        """Return what answers a request without FastAPI, where it has nothing to do; None where it has."""
        asked = signature(self.endpoint)
        is_bare = [one.annotation for one in asked.parameters.values()] == [Request] and not self.dependencies
        if is_bare and asked.return_annotation is Response and iscoroutinefunction(self.endpoint):
            return self._checked(self.endpoint)
        return None

    def _checked(self, handle: Answering) -> Answering:
        if not self.path.startswith(_CHECKED):
            return handle
        known = dict(_list_parameters(self))

        async def check_and_handle(request: Request) -> Response:
            if request.scope["query_string"]:
                _check_names(request, known)
            return await handle(request)

        return check_and_handle


def _list_parameters(route: APIRoute) -> Iterator[tuple[str, bool]]:
    """Yield the query parameters of a route, and whether each may be repeated: none of those that FastAPI reads."""
    yield from ((name, False) for name in _names(route.dependant))
    for parameter in (route.openapi_extra or {}).get("parameters", ()):
        schema = parameter["schema"]
        yield parameter["name"], any(one.get("type") == "array" for one in (schema, *schema.get("anyOf", ())))


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _names(inner)


def _check_names(request: Request, known: Mapping[str, bool]) -> None:
    """Refuse parameters that a route does not know, or that come too often.

    Args:
        request: What was asked.
        known: Name → whether it may be repeated.

    Raises:
        RequestValidationError: If there are any.
    """
    asked = request.query_params
    if len(asked.multi_items()) == len(asked) and asked.keys() <= known.keys():
        return
    counts = Counter(name for name, _ in asked.multi_items())
    words = {
        name: "stands several times: give it once" if name in known else "there is no such parameter here: remove it"
        for name, count in counts.items()
        if name not in known or (count > 1 and not known[name])
    }
    if words:
        raise RequestValidationError(
            [{"type": "value_error", "loc": ("query", name), "ctx": {"error": told}} for name, told in words.items()]
        )


def read_query(request: Request, model: type[Query], *, repeated: Iterable[str] = ()) -> Query:
    """Read the query of a request to a route that knows the model's parameters and no others.

    Args:
        request: What was asked.
        model: Its parameters, by their names.
        repeated: Those that may come several times.

    Raises:
        RequestValidationError: If it is not what the model describes; the place is named, never the value.
    """
    lists = {name: values for name in repeated if (values := request.query_params.getlist(name))}
    try:
        return model.model_validate({**request.query_params, **lists})
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**one, "loc": ("query", *one["loc"])} for one in found]) from None


def describe_query(model: type[BaseModel]) -> dict[str, Any]:
    """Return the parameters of a model as the OpenAPI document describes them."""
    schema = model.model_json_schema()
    required = schema.get("required", [])
    parameters = []
    for name, its in schema["properties"].items():
        told = {"description": its.pop("description")} if "description" in its else {}
        parameters.append({"name": name, "in": "query", "required": name in required, "schema": its, **told})
    return {"parameters": parameters}
