"""A vocabulary: every canonical stage has one of its labels, so that it is total and its labels exclude each other.

One of kind `rfm` also puts each RFM code into a group.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from features.errors import SettingsError
from features.lifecycle.rfm_codes import FIFTHS, to_fifths
from features.lifecycle.stages import SCALE, STAGES
from features.lifecycle.toml_nodes import listed, take_one_of

LANGUAGES = ("en", "fr")

Kind = Literal["stages", "rfm"]


@dataclass(frozen=True, slots=True)
class Label:
    """What a vocabulary calls a stage or a group, in one language.

    Attributes:
        code: Its name in files and columns; the same in every language.
        text: Its words.
        is_borrowed: Whether the vocabulary has no word for the stage, and lends its nearest one.
    """

    code: str
    text: str
    is_borrowed: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One label of a vocabulary, in all languages of it.

    Attributes:
        code: Name of the label.
        texts: Language → its words.
        plays: Language → what to do; empty where the vocabulary recommends nothing.
        notes: Language → what else there is to know of it; empty where there is nothing.
        is_unused: Whether no stage and no rule leads to it, on purpose.
    """

    code: str
    texts: Mapping[str, str]
    plays: Mapping[str, tuple[str, ...]]
    notes: Mapping[str, str]
    is_unused: bool


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Labels, and which stage or RFM code has which.

    Attributes:
        name: Name of a shipped one, or of the file without its ending.
        kind: `rfm` where codes have groups, else `stages`.
        titles: Language → its title; the languages of all its texts.
        entries: Label code → label, in their order.
        stages: Canonical stage → label code; total on `SCALE`.
        borrowed: The stages for which it has no word of its own.
        groups: RFM code in fifths → label code, for all 125; None for kind `stages`.
    """

    name: str
    kind: Kind
    titles: Mapping[str, str]
    entries: Mapping[str, Entry]
    stages: Mapping[str, str]
    borrowed: frozenset[str]
    groups: Mapping[str, str] | None

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that it has words in."""
        return tuple(self.titles)

    def title(self, language: str) -> str:
        """Return its title.

        Raises:
            SettingsError: If it lacks the language.
        """
        return self.titles[self._spoken(language)]

    def label(self, stage: str, *, language: str, rfm: str | None = None, rfm_bins: int = FIFTHS) -> Label:
        """Return what a customer in this stage is called.

        Args:
            stage: Canonical stage.
            language: Of the text.
            rfm: The customer's RFM code. It decides where the vocabulary has groups and the customer has ordered.
            rfm_bins: How many scores each digit of the code can have.

        Raises:
            SettingsError: If the language, the stage or the code is unknown.
        """
        spoken, code = self._spoken(language), self._code(stage, rfm, rfm_bins)
        return Label(code, self.entries[code].texts[spoken], self._is_borrowed(stage, rfm))

    def plays(self, stage: str, *, language: str, rfm: str | None = None, rfm_bins: int = FIFTHS) -> tuple[str, ...]:
        """Return what the vocabulary recommends to do; arguments and errors as for `label`.

        A borrowed label lends its word alone: its plays are made for another stage, so there are none.
        """
        spoken, code = self._spoken(language), self._code(stage, rfm, rfm_bins)
        return () if self._is_borrowed(stage, rfm) else self.entries[code].plays.get(spoken, ())

    def labels(self, *, language: str) -> tuple[Label, ...]:
        """Return all labels in their order, none of them borrowed.

        Raises:
            SettingsError: If it lacks the language.
        """
        spoken = self._spoken(language)
        return tuple(Label(entry.code, entry.texts[spoken], is_borrowed=False) for entry in self.entries.values())

    def group_of(self, rfm: str, *, rfm_bins: int = FIFTHS) -> str:
        """Return the label code of an RFM code's group.

        Raises:
            SettingsError: If this vocabulary has no groups, or the code is none.
        """
        if self.groups is None:
            raise SettingsError(
                f"The vocabulary {self.name} has no RFM groups.",
                remedy='Take one of kind "rfm", such as shopify_rfm or omnisend.',
            )
        return self.groups[to_fifths(rfm, rfm_bins=rfm_bins)]

    def _code(self, stage: str, rfm: str | None, rfm_bins: int) -> str:
        if stage not in self.stages:
            raise SettingsError(f"There is no stage {stage!r}.", remedy=take_one_of(stage, SCALE))
        return self.group_of(rfm, rfm_bins=rfm_bins) if rfm and self._has_group(stage) else self.stages[stage]

    def _is_borrowed(self, stage: str, rfm: str | None) -> bool:
        if self._has_group(stage):  # a group is of codes; a stage without one lends the nearest group's word
            return not rfm
        return stage in self.borrowed

    def _has_group(self, stage: str) -> bool:
        return self.groups is not None and stage in STAGES

    def _spoken(self, language: str) -> str:
        if language not in self.titles:
            raise SettingsError(
                f"The vocabulary {self.name} has no words in {language!r}.",
                remedy=f"It has {listed(self.languages)}: take one of these, or another vocabulary.",
            )
        return language
