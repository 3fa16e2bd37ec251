"""Reasons in words: from the figures that a score keeps to a sentence, in the language asked for."""

import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import chain, zip_longest
from typing import Any, NamedTuple

import polars as pl

from serving.pictures.words import NUMERALS, Numerals
from training.models.reasons import Reason
from training.models.themes import THEMES

SEPARATOR = " · "
_PLACE = re.compile(r"\{(\w+):(\w+)\}")
_DIRECTIONS = ("raises", "lowers")
_PACKER = json.JSONEncoder(allow_nan=False)
_MONEY = ("money", "spent")
_NEEDS_CENTS = 100.0  # an amount below says little without them

Nouns = Mapping[str, Mapping[str, tuple[str, str]]]


class ToldReason(NamedTuple):
    """One reason as people read it.

    Attributes:
        theme: Its code.
        direction: `raises` or `lowers` the probability of churn.
        effect: By how much, in probability.
        text: A sentence.
    """

    theme: str
    direction: str
    effect: float
    text: str


@dataclass(frozen=True, slots=True)
class ReasonWords:
    """All words for reasons.

    Attributes:
        names: Theme → language → its name.
        texts: Theme, direction and names of the figures → language → text.
        nouns: Noun → language → singular and plural.
        nothing: Language → what is said of money where there was none.
    """

    names: Mapping[str, Mapping[str, str]]
    texts: Mapping[tuple[str, str, frozenset[str]], Mapping[str, str]]
    nouns: Nouns
    nothing: Mapping[str, str]

    def tell(self, theme: str, effect: float, facts: Mapping[str, float], *, language: str) -> ToldReason:
        """Tell a reason; by the name of its theme alone where there is no text for its figures any more."""
        direction = _DIRECTIONS[effect < 0.0]
        texts = self.texts.get((theme, direction, frozenset(facts)))
        if texts is None:
            return ToldReason(theme, direction, effect, f"{self.names[theme][language]}.")
        return ToldReason(theme, direction, effect, self._fill(texts[language], facts, language))

    def _fill(self, text: str, facts: Mapping[str, float], language: str) -> str:
        pieces = _split(text)
        places = list(zip(pieces[1::3], pieces[2::3], strict=True))
        has_cents = any(kind in _MONEY and 0.0 < abs(facts[figure]) < _NEEDS_CENTS for figure, kind in places)
        written = [self._write(facts[figure], kind, language, has_cents=has_cents) for figure, kind in places]
        filled = "".join(chain.from_iterable(zip_longest(pieces[::3], written, fillvalue="")))
        return filled[:1].upper() + filled[1:]

    def _write(self, value: float, kind: str, language: str, *, has_cents: bool) -> str:
        numerals = NUMERALS[language]
        if kind in _MONEY:
            return self.nothing[language] if kind == "spent" and value == 0.0 else _money(numerals, value, has_cents)
        if kind in _WRITERS:
            return _WRITERS[kind](numerals, value)
        whole = _rounded(value)
        return f"{numerals.count(whole)} {self.nouns[kind][language][_is_plural(whole, language)]}"


@lru_cache(maxsize=1)
def load_reason_words() -> ReasonWords:
    """Load the words that come with Lifestage."""
    file = resources.files("features").joinpath("lifecycle", "reasons.toml")
    return read_reason_words(tomllib.loads(file.read_text(encoding="utf-8")))


def read_reason_words(values: Mapping[str, Any]) -> ReasonWords:
    """Read words; a text for either direction stands for both."""
    themes = {theme: values[theme] for theme in THEMES}
    texts = {
        (theme, direction, _facts(text)): {language: text[language] for language in NUMERALS}
        for theme, words in themes.items()
        for given, directions in (("either", _DIRECTIONS), ("raises", ("raises",)), ("lowers", ("lowers",)))
        for text in words.get(given, ())
        for direction in directions
    }
    nouns = {
        name: {language: tuple(forms) for language, forms in noun.items()} for name, noun in values["nouns"].items()
    }
    names = {theme: words["name"] for theme, words in themes.items()}
    return ReasonWords(names, texts, nouns, nothing=values["nothing"])


@lru_cache(maxsize=512)
def _split(text: str) -> tuple[str, ...]:
    """Split a text at its places: words, figure, kind, words, … and at last words."""
    return tuple(_PLACE.split(text))


def pack_reasons(reasons: Sequence[Reason]) -> str:
    """Write the reasons of one score as JSON text: codes and figures, in no language."""
    told = [{"theme": r.theme, "effect": r.effect, "facts": dict(r.facts)} for r in reasons]
    return _PACKER.encode(told)


def tell_reasons(packed: str | None, *, language: str) -> list[ToldReason] | None:
    """Tell the reasons of one score; None where they were not computed."""
    if packed is None:
        return None
    words = load_reason_words()
    return [words.tell(r["theme"], r["effect"], r["facts"], language=language) for r in json.loads(packed)]


def with_reason_texts(rows: pl.DataFrame, *, language: str) -> pl.DataFrame:
    """Replace the column `reasons`, one JSON text per row, by sentences joined with a dot; null stays null."""
    texts = [_joined(tell_reasons(packed, language=language)) for packed in rows["reasons"]]
    return rows.with_columns(pl.Series("reasons", texts, pl.String))


def _joined(told: Sequence[ToldReason] | None) -> str | None:
    return None if told is None else SEPARATOR.join(reason.text for reason in told)


def _facts(text: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(text.get("facts") or [place[0] for place in _PLACE.findall(text["en"])])


def _rounded(value: float) -> int:
    return math.floor(value + 0.5)


def _is_plural(count: int, language: str) -> bool:
    """Tell whether a noun stands in the plural: in French from 2, in English for all but 1."""
    return count >= 2 if language == "fr" else count != 1


def _write_number(numerals: Numerals, value: float) -> str:
    return numerals.count(value) if float(value).is_integer() else numerals.expected(value)


def _money(numerals: Numerals, value: float, has_cents: bool) -> str:  # noqa: FBT001 - of a private writer
    """Write an amount; with cents where another of the same sentence needs them, so that the two compare."""
    if not has_cents:
        return numerals.count(value)
    whole, cents = divmod(_rounded(100.0 * abs(value)), 100)
    return f"{'−' if value < 0.0 else ''}{numerals.count(whole)}{numerals.decimal}{cents:02d}"


_WRITERS: Mapping[str, Callable[[Numerals, float], str]] = {
    "whole": lambda numerals, value: numerals.count(_rounded(value)),
    "number": _write_number,
    "percent": lambda numerals, value: f"{numerals.count(_rounded(100.0 * value))}{numerals.blank}%",
}
