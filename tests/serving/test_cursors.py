import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InputError
from serving.cursors import GREATEST_INTEGER, decode_cursor, encode_cursor

STORABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
KINDS = {"run": int, "p": float, "id": str}


@given(st.integers(1, GREATEST_INTEGER), st.floats(0.0, 1.0), st.text(STORABLE))
def test_round_trip(run: int, p: float, customer_id: str) -> None:
    """A cursor is read as it was written, whatever the id, and stands in a query as it is."""
    position = {"run": run, "p": p, "id": customer_id}
    cursor = encode_cursor(position)
    assert decode_cursor(cursor, KINDS) == position
    assert cursor.replace("-", "").replace("_", "").isalnum()


def test_torn() -> None:
    """A cursor that lost its end or its beginning is refused, wherever it was torn."""
    cursor = encode_cursor({"run": 1, "p": 0.5, "id": "a"})
    for at in range(1, len(cursor)):
        for part in (cursor[:at], cursor[at:]):
            with pytest.raises(InputError, match="not valid"):
                decode_cursor(part, KINDS)


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "é",
        "null",
        _encoded("null"),
        _encoded("[" * 1400),
        _encoded('{"run": 1, "p": 0.5}'),
        _encoded('{"run": 1, "p": NaN, "id": "a"}'),
        _encoded('{"run": 1, "p": 1e999, "id": "a"}'),
        _encoded('{"run": 1, "p": 0.5, "id": "\\ud800"}'),
        _encoded('{"run": 2147483648, "p": 0.5, "id": "a"}'),
        _encoded('{"run": ' + "9" * 30 + ', "p": 0.5, "id": "a"}'),
        _encoded('{"run": ' + "9" * 1400 + ', "p": 0.5, "id": "a"}'),
    ],
)
def test_foreign(cursor: str) -> None:
    """What no list gave is refused, also where it is built so as to break a parser or the database."""
    with pytest.raises(InputError, match="not valid"):
        decode_cursor(cursor, KINDS)


@pytest.mark.parametrize("change", [{"run": "1"}, {"run": True}, {"run": None}, {"p": 1}, {"id": 7}, {"id": ["a"]}])
def test_other_types(change: dict[str, Any]) -> None:
    """A value of another type than ours is refused."""
    with pytest.raises(InputError, match="not valid"):
        decode_cursor(_encoded(json.dumps({"run": 1, "p": 0.5, "id": "a"} | change)), KINDS)
