"""Vocabularies: in whose words stages are told, and which plays go with them.

A vocabulary maps every canonical stage to one of its labels, so that it is total and its labels exclude each other;
one of kind `rfm` also puts each RFM code into a group. Each is data: a TOML file in `vocabularies/`, or the shop's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path

from features.errors import SettingsError
from features.lifecycle.rfm_codes import FIFTHS, check_bins, to_fifths
from features.lifecycle.stages import SCALE, STAGES
from features.lifecycle.toml_nodes import listed, load_toml, parse_toml, take_one_of
from features.lifecycle.vocabulary_files import LANGUAGES, Entry, Kind, read_plays, read_vocabulary

SHIPPED = (
    "lifestage",
    "reach_to_loyalty",
    "visitor_to_regular",
    "awareness_to_advocacy",
    "discovery_to_defence",
    "stranger_to_ambassador",
    "omnisend",
    "shopify_rfm",
    "hubspot",
)

_SILENT = ("at_risk", "lost")

Plays = Mapping[str, Mapping[str, tuple[str, ...]]]


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


@dataclass(frozen=True, slots=True)
class Wording:
    """How an answer names stages and what it recommends.

    Args:
        vocabulary: Whose words.
        language: Of the words and the plays.
        own_plays: Canonical stage → language → the shop's own plays, which replace all others for that stage.
        rfm_bins: How many scores each digit of an RFM code can have.

    Raises:
        SettingsError: If the vocabulary or some own plays lack the language, or `rfm_bins` lies outside 2 to 9.
    """

    vocabulary: Vocabulary
    language: str
    own_plays: Plays = field(default_factory=dict)
    rfm_bins: int = FIFTHS

    def __post_init__(self) -> None:
        """Refuse what would fail for some customers only."""
        self.vocabulary.title(self.language)
        check_bins(self.rfm_bins)
        lacking = [stage for stage, plays in self.own_plays.items() if self.language not in plays]
        if lacking:
            raise SettingsError(
                f"Your own plays of {listed(lacking)} have no text in {self.language!r}.",
                remedy="Add them in that language to your file of plays, or ask for another language.",
            )

    def label(self, stage: str, rfm: str | None = None) -> Label:
        """Return what a customer is called; see `Vocabulary.label`."""
        return self.vocabulary.label(stage, language=self.language, rfm=rfm, rfm_bins=self.rfm_bins)

    def plays(self, stage: str, rfm: str | None = None) -> tuple[str, ...]:
        """Return what to do: the shop's own plays, else the vocabulary's, else those of `lifestage` for the stage."""
        if stage in self.own_plays:
            return self.own_plays[stage][self.language]
        rfm = None if stage in _SILENT else rfm  # however good a customer was: win back first
        given = self.vocabulary.plays(stage, language=self.language, rfm=rfm, rfm_bins=self.rfm_bins)
        return given or load_shipped_vocabulary("lifestage").plays(stage, language=self.language)


@lru_cache(maxsize=len(SHIPPED))
def load_shipped_vocabulary(name: str) -> Vocabulary:
    """Load a vocabulary that comes with Lifestage; never a file of the caller's choice.

    Raises:
        SettingsError: If there is none of that name.
    """
    _check_shipped(name)
    file = resources.files("features").joinpath("lifecycle", "vocabularies", f"{name}.toml")
    return Vocabulary(name, *read_vocabulary(parse_toml(file.read_bytes(), file=file.name)))


def load_vocabulary(name_or_path: str) -> Vocabulary:
    """Load a shipped vocabulary by its name, or the shop's own by the path of its TOML file.

    Args:
        name_or_path: One of `SHIPPED`; or a path, which ends with `.toml`.

    Raises:
        SettingsError: If there is none, or the file is no vocabulary; the message names the key to correct.
    """
    if not name_or_path.lower().endswith(".toml"):
        _check_shipped(name_or_path, or_else="; or give the path of a .toml file")
        return load_shipped_vocabulary(name_or_path)
    path = Path(name_or_path)
    return Vocabulary(path.stem, *read_vocabulary(load_toml(path)))


def load_plays(path: Path) -> Plays:
    """Load a shop's own plays: a table per canonical stage, with a list of texts per language.

    Returns:
        Stage → language → plays, of the stages that the file names.

    Raises:
        SettingsError: If the file cannot be read, or a stage, a language or a list is not as it must be.
    """
    stages = load_toml(path).table(SCALE)
    return {stage: read_plays(node.table(LANGUAGES, least_one=True)) for stage, node in stages.items()}


def load_wording(
    *, vocabulary: str = "lifestage", language: str = "en", plays: str = "", rfm_bins: int = FIFTHS
) -> Wording:
    """Load how to name stages and what to recommend.

    Args:
        vocabulary: A shipped vocabulary, or the path of a TOML file.
        language: One of `LANGUAGES`.
        plays: Path of a TOML file with the shop's own plays; empty for none.
        rfm_bins: How many scores each digit of an RFM code can have.

    Raises:
        SettingsError: If one of them is unknown, wrong, or lacks the language.
    """
    if language not in LANGUAGES:
        raise SettingsError(f"There is no language {language!r}.", remedy=take_one_of(language, LANGUAGES))
    own_plays = load_plays(Path(plays)) if plays else {}
    return Wording(load_vocabulary(vocabulary), language, own_plays, rfm_bins)


def _check_shipped(name: str, *, or_else: str = "") -> None:
    if name not in SHIPPED:
        remedy = take_one_of(name, SHIPPED).removesuffix(".")
        raise SettingsError(f"There is no vocabulary {name!r}.", remedy=f"{remedy}{or_else}.")
