"""The types of event, as data in `event_types.toml`; and which of them a shop's own names mean."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from features.errors import SettingsError
from features.intake.values.texts import BLANKS, literal_sql

ORDER_LIKE = ("purchase", "refund")  # read with the orders, not with the events
MARKETING_COST = "marketing_cost"

_SEPARATORS = f"[{BLANKS}-]+"


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event.

    Attributes:
        name: Our name.
        meaning: What the customer did, for people.
        value: What `value` holds; empty where it holds nothing.
        aliases: Names under which tools export it, as `plain_type` writes them.
    """

    name: str
    meaning: str
    value: str
    aliases: tuple[str, ...]


@lru_cache(maxsize=1)
def load_event_types() -> Mapping[str, EventType]:
    """Load our event types, by name, in the order of the customer's way."""
    text = resources.files("features.intake.rules").joinpath("event_types.toml").read_text(encoding="utf-8")
    return {
        name: EventType(name, entry["meaning"], entry.get("value", ""), tuple(entry["aliases"]))
        for name, entry in tomllib.loads(text).items()
    }


def types_with_value() -> tuple[str, ...]:
    """List the types whose value is read here. That of an order is judged where it is read as one."""
    return tuple(name for name, entry in load_event_types().items() if entry.value and name not in ORDER_LIKE)


def names_of(event_type: str) -> tuple[str, ...]:
    """List the plain names of one of our types: its own, and its aliases."""
    return (event_type, *load_event_types()[event_type].aliases)


def plain_type(name: str) -> str:
    """Write a type's name in lower case, blanks and dashes as underscores."""
    lower = "".join(char.lower()[0] for char in name.strip(BLANKS))  # one for one, as in SQL
    return re.sub(_SEPARATORS, "_", lower)


def list_sql(names: Iterable[str]) -> str:
    """Return the SQL list of names."""
    return f"[{', '.join(map(literal_sql, names))}]"


def is_in_sql(column: str, names: Iterable[str]) -> str:
    """Return the SQL condition that a column holds one of these names."""
    return f"{column} IN {list_sql(names)}"


def plain_type_sql(text: str) -> str:
    """Return the SQL of `plain_type` over a trimmed text."""
    return f"regexp_replace(lower({text}), '{_SEPARATORS}', '_', 'g')"


def build_type_names(mapping: Mapping[str, str]) -> dict[str, str]:
    """Build the dictionary from plain names, of the shop and of tools, to our types.

    Args:
        mapping: Their name → ours, as the user gave it; it wins over our own names and aliases.

    Raises:
        SettingsError: If a name is mapped to a type that is not ours, or to two of them.
    """
    known = load_event_types()
    names = {alias: name for name in known for alias in names_of(name)}
    own: dict[str, str] = {}
    for theirs, ours in mapping.items():
        if ours not in known:
            raise SettingsError(
                f"Setting events.types maps {theirs!r} to {ours!r}, which is not an event type of ours.",
                remedy=f"Map it to one of {', '.join(known)}.",
            )
        if own.setdefault(plain_type(theirs), ours) != ours:
            raise SettingsError(
                f"Setting events.types maps {theirs!r} twice, to {own[plain_type(theirs)]} and to {ours}.",
                remedy="Names are compared without case, and blanks and dashes count as underscores: give each once.",
            )
    return names | own
