"""What pictures are made of: rectangles, paths and texts with their places, and how wide a text will be."""

import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from jinja2 import Environment

from serving.templating import build_environment

MARGIN = 24.0
LEAST_SIZE = 13.0  # smaller letters would be lost when a page shows the picture at two thirds of its size

_MOST_CHARS = 300
_BLANKS = re.compile(r"[ \t\r\n]+")  # not the blanks that French sets to hold words together
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Widths in ems, after DejaVu Sans: the widest of the usual fonts, so that what fits here fits everywhere.
_EMS = (
    ("\u202f\u2009", 0.2),
    ("iIjlrtf.,:;!'|·/()[] \u00a0", 0.41),
    ("mwMWOQ@%—…→≥", 0.99),
    ("0123456789", 0.64),
    ("+−<>=×", 0.84),
)
_EMS_BY_CHAR = {char: ems for chars, ems in _EMS for char in chars}
_BOLD = 1.1


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; `tail` follows it, smaller and softer.

    Attributes:
        x: Where it is anchored.
        y: Its baseline.
        text: The words.
        size: In units of the picture.
        kind: CSS class.
        anchor: Which end of it stands at `x`.
        is_bold: Whether its letters are heavy; those of the tail never are.
        tail: What follows.
        tail_size: The size of that.
    """

    x: float
    y: float
    text: str
    size: float = 14.0
    kind: str = "ink"
    anchor: Literal["start", "middle", "end"] = "start"
    is_bold: bool = False
    tail: str = ""
    tail_size: float = 14.0

    @property
    def width(self) -> float:
        """How wide it is at most."""
        return measure(self.text, self.size, is_bold=self.is_bold) + measure(self.tail, self.tail_size)


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle; `kind` is its CSS class, `strength` how opaque it is."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    radius: float = 0.0
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Path:
    """A path; `kind` is its CSS class, `width` that of its stroke, 0 where it is filled instead."""

    d: str
    kind: str
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Group:
    """What belongs together, drawn in this order; `title` is shown to who points at it."""

    rects: tuple[Rect, ...] = ()
    paths: tuple[Path, ...] = ()
    texts: tuple[Text, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A whole picture.

    Attributes:
        width: Of the view box.
        height: Of the view box.
        title: What it shows.
        desc: The same in words, with all figures.
        groups: From the ground up.
    """

    width: float
    height: float
    title: str
    desc: str
    groups: tuple[Group, ...]


def render_drawing(drawing: Drawing, *, template: str, language: str) -> str:
    """Render a drawing as an SVG document, without the characters that XML forbids."""
    return _NOT_XML.sub("", _environment().get_template(template).render(drawing=drawing, language=language))


def measure(text: str, size: float, *, is_bold: bool = False) -> float:
    """Estimate the width of a text from above."""
    return sum(map(_ems, text)) * size * (_BOLD if is_bold else 1.0)


def fit_text(
    text: str, width: float, *, size: float, most_lines: int, is_bold: bool = False
) -> tuple[tuple[str, ...], float]:
    """Break a text into lines; make it smaller, and at last shorter, until it fits.

    Returns:
        The lines, and the size of their letters.
    """
    words = _BLANKS.split(text[:_MOST_CHARS].strip())
    while True:
        lines = _fill_lines(words, width, size, is_bold=is_bold)
        fits = len(lines) <= most_lines and all(measure(line, size, is_bold=is_bold) <= width for line in lines)
        if fits or size <= LEAST_SIZE:
            break
        size = max(size - 1.0, LEAST_SIZE)
    return (tuple(lines) if fits else _cut_lines(lines, width, size, most_lines, is_bold=is_bold)), size


def shrink_text(text: Text, width: float) -> Text:
    """Make a line of figures smaller until it fits; figures are never cut."""
    while text.width > width and text.size > LEAST_SIZE:
        text = replace(text, size=text.size - 1.0, tail_size=max(text.tail_size - 0.5, LEAST_SIZE))
    return text


def wrap_text(text: str, width: float, *, size: float) -> tuple[str, ...]:
    """Break a text into as many lines as it takes, and a word that is wider than a line into pieces."""
    words = [piece for word in text.split(" ") for piece in _pieces(word, width, size)]
    return tuple(_fill_lines(words, width, size, is_bold=False))


def number(value: float) -> str:
    """Write a coordinate."""
    return f"{value:.1f}".removesuffix(".0")


def _ems(char: str) -> float:
    if char in _EMS_BY_CHAR:
        return _EMS_BY_CHAR[char]
    if unicodedata.combining(char):
        return 0.0
    if unicodedata.east_asian_width(char) in "WF" or ord(char) >= 0x1F000:
        return 1.2
    return 0.75 if char.isupper() else 0.63 if char.isalpha() else 0.85


def _fill_lines(words: list[str], width: float, size: float, *, is_bold: bool) -> list[str]:
    lines = words[:1] or [""]
    for word in words[1:]:
        longer = f"{lines[-1]} {word}"
        if measure(longer, size, is_bold=is_bold) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _pieces(word: str, width: float, size: float) -> list[str]:
    pieces = [""]
    for char in word:
        if measure(pieces[-1] + char, size) > width:
            pieces.append("")
        pieces[-1] += char
    return pieces


def _cut_lines(lines: list[str], width: float, size: float, most_lines: int, *, is_bold: bool) -> tuple[str, ...]:
    kept = lines[:most_lines]
    if len(lines) > most_lines:
        kept[-1] += "…"
    return tuple(_cut(line, width, size, is_bold=is_bold) for line in kept)


def _cut(line: str, width: float, size: float, *, is_bold: bool) -> str:
    while measure(line, size, is_bold=is_bold) > width:
        line = line.removesuffix("…")[:-1] + "…"
    return line


@cache
def _environment() -> Environment:
    environment = build_environment()
    environment.filters["number"] = number
    return environment
