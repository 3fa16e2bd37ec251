"""Bytes that are no HTTP, which never become a request: the server below us answers them, with a problem of ours."""

from contextlib import suppress
from importlib import import_module
from typing import Any

from serving.http.problems import MEDIA_TYPE, build_problem

# Whichever uvicorn finds.
_PROTOCOLS = (
    ("uvicorn.protocols.http.h11_impl", "H11Protocol"),
    ("uvicorn.protocols.http.httptools_impl", "HttpToolsProtocol"),
    ("uvicorn.protocols.http.zttp_impl", "ZttpProtocol"),
)
_BODY = (
    build_problem(
        400,
        slug="malformed-request",
        detail="This is no HTTP/1.1 request, or its head is longer than 65,536 bytes.",
        remedy="Send it with an HTTP library; /v1/reference shows how.",
    )
    .model_dump_json()
    .encode("utf-8")
)
_HEAD = (
    "HTTP/1.1 400 Bad Request",
    f"content-type: {MEDIA_TYPE}",
    f"content-length: {len(_BODY)}",
    "x-content-type-options: nosniff",
    "cache-control: no-store",
    "connection: close",
    "",
    "",
)
_ANSWER = "\r\n".join(_HEAD).encode("ascii") + _BODY


def answer_malformed_with_problems() -> None:
    """Make uvicorn, in this process, answer what it cannot read with a problem; it has no setting for that."""
    for module, name in _PROTOCOLS:
        with suppress(ImportError):
            getattr(import_module(module), name).send_400_response = _answer


def _answer(connection: Any, _message: str) -> None:
    connection.transport.write(_ANSWER)
    connection.transport.close()
