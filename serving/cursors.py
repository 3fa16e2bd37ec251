"""Cursors: where the next page of a list begins, as a text that callers pass back unchanged."""

import base64
import binascii
import json
import math
from collections.abc import Mapping
from typing import Any

from features.errors import InputError
from serving.store.rows import is_storable

GREATEST_INTEGER = 2**31 - 1  # PostgreSQL holds no greater one; SQLite would


def encode_cursor(position: Mapping[str, Any]) -> str:
    """Write a position, of JSON values, as a cursor."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Read a position.

    Args:
        cursor: As a caller gave it.
        kinds: Exactly the names that it must hold, and their types.

    Raises:
        InputError: If it is not one of ours, or one of another list.
    """
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        found = {name: type(position[name]) for name in kinds}
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        position, found = {}, {}
    if found != dict(kinds) or not all(map(_is_storable, position.values())):
        raise InputError(
            "The cursor is not valid.", remedy="Pass next_cursor of the previous page, unchanged.", field="cursor"
        )
    return dict(position)


def _is_storable(value: Any) -> bool:
    """Tell whether a database can compare with a value; one that it cannot hold is none that we wrote."""
    if isinstance(value, str):
        return is_storable(value)
    if isinstance(value, int):
        return abs(value) <= GREATEST_INTEGER
    return not isinstance(value, float) or math.isfinite(value)
