"""The fixed words and the numerals of pictures, in each language."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from features.errors import SettingsError

Words = TypeVar("Words")
UNKNOWN = "–"

_THIN = "\u202f"  # the narrow blank, where no line breaks, that French sets between groups of digits
_MILLION, _BILLION = 1e6, 1e9


@dataclass(frozen=True, slots=True)
class Numerals:
    """How a language writes numbers; what is unknown is a dash.

    Attributes:
        group: Between groups of three digits.
        decimal: Before decimals.
        blank: Before a unit, such as the sign of per cent.
        million: Short for it.
        billion: Short for it.
    """

    group: str
    decimal: str
    blank: str
    million: str
    billion: str

    def count(self, count: float) -> str:
        """Write a whole number."""
        return self._write(count, 0)

    def expected(self, count: float) -> str:
        """Write an expected number: one decimal where it is small, three digits from a million."""
        if not count < _MILLION:
            return self.short(count)
        return self._write(count, 1 if 0.05 <= count < 9.95 else 0)

    def short(self, count: float) -> str:
        """Write a whole number in full, or from a million with three digits."""
        for least, unit in ((_BILLION, self.billion), (_MILLION, self.million)):
            if least <= abs(count) < math.inf:
                scaled = count / least
                return f"{self._write(scaled, max(0, 2 - int(math.log10(abs(scaled)))))}{self.blank}{unit}"
        return self._write(count, 0)

    def limit(self, value: float) -> str:
        """Write a threshold, with decimals where it is small."""
        return self._write(value, 2 if abs(value) < 100 else 0)

    def change(self, value: float) -> str:
        """Write what is added to a value, with its sign: in full up to ten thousand, then with three digits."""
        sign = "+" if value > 0 else ""
        if 10_000 <= abs(value) < _MILLION:
            return f"{sign}{self._write(value / 1000, 1 if abs(value) < 100_000 else 0)}{self.blank}k"
        return sign + self.short(value)

    def share(self, share: float | None) -> str:
        """Write a share in per cent; what is not quite nothing or all is not written as that."""
        if share is None or not math.isfinite(share):
            return UNKNOWN
        if 0.0 < share < 0.0005:
            return f"<{self._write(0.1, 1)}{self.blank}%"
        if 0.9995 <= share < 1.0:
            return f">{self._write(99.9, 1)}{self.blank}%"
        return f"{self._write(100.0 * share, 1)}{self.blank}%"

    def _write(self, value: float, decimals: int) -> str:
        if not math.isfinite(value):
            return UNKNOWN
        written = f"{value:,.{decimals}f}"
        sign = "−" if written.startswith("-") and written.strip("-0.,") else ""
        return sign + written.lstrip("-").replace(",", "\0").replace(".", self.decimal).replace("\0", self.group)


NUMERALS: Mapping[str, Numerals] = {
    "en": Numerals(group=",", decimal=".", blank="", million="M", billion="bn"),
    "fr": Numerals(group=_THIN, decimal=",", blank=_THIN, million="M", billion="Md"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetWords:
    """What every picture says in one language; braces stand for a figure, a date or a period."""

    as_of: str
    customers: str
    horizon: str
    in_days: str
    in_one_day: str
    of_customers: str
    expected: str
    colon: str

    def within(self, horizon_days: int) -> str:
        """Say in how many days what is expected will be."""
        return self.in_one_day if horizon_days == 1 else self.in_days.format(horizon_days)

    def explain_expected(self, numerals: Numerals, horizon_days: int) -> str:
        """Say what a number, an arrow and another number mean."""
        return f"1{numerals.group}204 {self.expected.format(self.within(horizon_days))}"


SHEET_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "as_of": "As of {}",
        "customers": "customers: {}",
        "horizon": "horizon in days: {}",
        "in_days": "in {} days",
        "in_one_day": "in 1 day",
        "of_customers": "{} of customers",
        "expected": "today → expected {}, of today's customers alone",
        "colon": ":",
    },
    "fr": {
        "as_of": "Au {}",
        "customers": f"clients{_THIN}: {{}}",
        "horizon": f"horizon en jours{_THIN}: {{}}",
        "in_days": "d'ici {} jours",
        "in_one_day": "d'ici 1 jour",
        "of_customers": "{} des clients",
        "expected": "aujourd'hui → attendus {}, parmi les seuls clients d'aujourd'hui",
        "colon": f"{_THIN}:",
    },
}


def speak(by_language: Mapping[str, Words], language: str) -> Words:
    """Return what is said in a language.

    Raises:
        SettingsError: If nothing is.
    """
    if language not in by_language:
        raise SettingsError(
            f"There is no picture in the language {language!r}.", remedy=f"Take one of {', '.join(by_language)}."
        )
    return by_language[language]
