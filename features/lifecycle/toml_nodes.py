"""TOML that people write by hand, read strictly: every refusal names the file, the key and what to write instead."""

import re
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from features.errors import SettingsError

_MAX_BYTES = 256 * 1024
_MAX_CHARS = 300
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # the blanks that French sets before a colon are none


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a TOML file and the way to it, so that every refusal names file and key."""

    file: str
    key: str
    value: Any

    def fault(self, problem: str, remedy: str) -> SettingsError:
        """Return the error that says what is wrong here, and what to do."""
        return SettingsError(f"{self.file}: {self.key + ': ' if self.key else ''}{problem}.", remedy=remedy)

    def table(self, known: Collection[str] | None = None, *, least_one: bool = False) -> dict[str, "Node"]:
        """Return the nodes of a table that has no other keys than the known ones."""
        if not isinstance(self.value, dict):
            raise self.fault("it must be a table", f"Write its keys under [{self.key}].")
        if least_one and not self.value:
            raise self.fault("it is empty", f"Give at least one of {listed(known or ['your labels'])}.")
        nodes = {key: self._inner(f"{self.key}.{key}" if self.key else key, v) for key, v in self.value.items()}
        for key, node in nodes.items():
            if known is not None and key not in known:
                raise node.fault("there is no such key", take_one_of(key, known))
        return nodes

    def items(self) -> list["Node"]:
        """Return the nodes of a list that holds something."""
        if not isinstance(self.value, list) or not self.value:
            raise self.fault("it must be a list that holds something", 'Write it in brackets, such as ["…", "…"].')
        return [self._inner(f"{self.key}[{i}]", value) for i, value in enumerate(self.value, start=1)]

    def text(self) -> str:
        """Return a text of one line."""
        text = self.value.strip() if isinstance(self.value, str) else ""
        if not 0 < len(text) <= _MAX_CHARS or _CONTROL.search(text):
            raise self.fault(f"it must be a text of one line, up to {_MAX_CHARS} characters", "Write it in quotes.")
        return text

    def one_of(self, known: Collection[str]) -> str:
        """Return a text that is one of the known ones."""
        text = self.text()
        if text not in known:
            raise self.fault(f"there is no {text!r}", take_one_of(text, known))
        return text

    def flag(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            raise self.fault("it must be true or false", "Write it without quotes.")
        return self.value

    def _inner(self, key: str, value: Any) -> "Node":
        return Node(self.file, key, value)


def load_toml(path: Path) -> Node:
    """Load a TOML file.

    Returns:
        The table that the file is.

    Raises:
        SettingsError: If it cannot be read, is too large, no UTF-8 or no TOML.
    """
    return parse_toml(_read_file(path), file=str(path))


def parse_toml(content: bytes, *, file: str) -> Node:
    """Read TOML, with or without the byte order mark that some editors write.

    Args:
        content: Of the file.
        file: What refusals call it.

    Raises:
        SettingsError: If it is too large, no UTF-8 or no TOML.
    """
    whole = Node(file, "", {})
    if len(content) > _MAX_BYTES:
        raise whole.fault(f"the file is larger than {_MAX_BYTES // 1024} KiB", "Check that it is the file you mean.")
    try:
        return Node(file, "", tomllib.loads(content.decode("utf-8-sig")))
    except UnicodeDecodeError:
        raise whole.fault("the file is not UTF-8", "Save it with the encoding UTF-8.") from None
    except RecursionError:
        raise whole.fault("the file nests too deeply", "Check that it is the file you mean.") from None
    except ValueError as error:  # tomllib's own error, and a number of thousands of digits
        raise whole.fault(f"the file is not valid TOML: {error}", "Correct the line that it names.") from None


def take_one_of(given: str, known: Collection[str]) -> str:
    """Return the remedy for an unknown name: the known one that is close to it, and all of them."""
    close = get_close_matches(given, known, n=1)
    return f"{f'Did you mean {close[0]}? ' if close else ''}Take one of {listed(known)}."


def listed(names: Iterable[str]) -> str:
    """Return names as people list them."""
    return ", ".join(names)


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise SettingsError(f"There is no file {path}.", remedy="Give the path of an existing TOML file.") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no path"
        raise SettingsError(f"{path} cannot be read: {why}.", remedy="Give a readable TOML file.") from None
