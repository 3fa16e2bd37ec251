"""Bytes that are no HTTP, which never become a request: the connection itself answers them, with a problem of ours."""

from serving.http.problems import MEDIA_TYPE, build_problem

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
ANSWER = "\r\n".join(_HEAD).encode("ascii") + _BODY
