"""What the at-risk list says at a terminal beside its figures, in each language."""

from collections.abc import Mapping
from dataclasses import dataclass

_THIN = "\u202f"  # the narrow blank, where no line breaks, that French sets before such signs


@dataclass(frozen=True, slots=True, kw_only=True)
class AtRiskWords:
    """Headings, sizes and sentences; braces stand for figures and dates.

    Attributes:
        title: Of the list.
        columns: Of the figures.
        why: Of the first reason; a title too.
        sizes: Of customers.
        together: The sums.
        plays: Title of what to do.
        what_to_do: Heading of it.
    """

    title: str
    columns: tuple[str, ...]
    why: str
    sizes: Mapping[str, str]
    together: str
    plays: str
    what_to_do: str


_ENGLISH = AtRiskWords(
    title="{n} customers most worth saving, as of {as_of}",
    columns=("customer", "stage", "since", "p_churn", "12m", "interval", "at risk", "RFM", "size"),
    why="why",
    sizes={"small": "small", "medium": "medium", "large": "large"},
    together="Together: {value} ({low}–{high}) expected in 12 months; value at risk {at_risk}.",
    plays="Plays",
    what_to_do="what to do",
)
_FRENCH = AtRiskWords(
    title=f"Clients à retenir en priorité, au {{as_of}} (nombre{_THIN}: {{n}})",
    columns=("client", "étape", "depuis", "p_churn", "12 m", "intervalle", "à risque", "RFM", "taille"),
    why="pourquoi",
    sizes={"small": "petit", "medium": "moyen", "large": "gros"},
    together=f"Ensemble{_THIN}: {{value}} ({{low}}–{{high}}) attendus en 12 mois{_THIN}; valeur à risque {{at_risk}}.",
    plays="Actions",
    what_to_do="que faire",
)


def words_of_list(language: str) -> AtRiskWords:
    """Return the words of a language; the English ones where it has none."""
    return _FRENCH if language == "fr" else _ENGLISH
