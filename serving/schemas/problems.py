"""Every error that goes over the wire."""

from typing import Annotated

from pydantic import Field

from serving.schemas.wire import Wire


class FieldProblem(Wire):
    """One field that is wrong, and what to do about it."""

    field: Annotated[str, Field(examples=["customers[0].orders[1].amount"])]
    remedy: Annotated[str, Field(examples=["Must be a finite number."])]


class Problem(Wire):
    """An error, as application/problem+json (RFC 9457)."""

    type: Annotated[str, Field(examples=["urn:lifestage:problem:invalid-request"])]
    title: str
    status: int
    detail: str
    remedy: str
    errors: Annotated[list[FieldProblem], Field(default_factory=list)]
