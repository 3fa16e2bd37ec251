"""Vocabularies: in whose words stages are told, and which plays go with them.

Each is data: a TOML file in `vocabularies/`, or the shop's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path

from features.errors import SettingsError
from features.lifecycle.rfm_codes import FIFTHS, check_bins
from features.lifecycle.stages import SCALE
from features.lifecycle.toml_nodes import listed, load_toml, parse_toml, take_one_of
from features.lifecycle.vocabulary import LANGUAGES, Label, Vocabulary
from features.lifecycle.vocabulary_files import read_plays, read_vocabulary

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
    return read_vocabulary(parse_toml(file.read_bytes(), file=file.name), name=name)


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
    return read_vocabulary(load_toml(path), name=path.stem)


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
