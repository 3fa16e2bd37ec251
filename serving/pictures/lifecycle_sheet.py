"""What the picture of the lifecycle map says: its words, and the map told in them."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from features.lifecycle.stages import PROSPECT_STAGES
from features.lifecycle.vocabularies import Wording, load_shipped_vocabulary
from serving.lifecycle_map import Flow, LifecycleMap, ProspectEntry, StageEntry
from serving.pictures.words import SHEET_WORDS, UNKNOWN, Numerals, SheetWords


@dataclass(frozen=True, slots=True, kw_only=True)
class MapWords(SheetWords):
    """The fixed words of the picture in one language, besides those of every picture."""

    title: str
    churn: str
    value: str
    before: str
    first_order: str
    new: str
    since: str
    not_observable: str
    onward: str
    leaving: str
    returning: str
    observed: str
    churn_meaning: str
    first_order_meaning: str
    not_drawn: str
    nobody_moved: str
    to: str


MAP_WORDS = {
    "en": MapWords(
        **SHEET_WORDS["en"],
        title="Customer lifecycle",
        churn="Churn risk",
        value="12-month value",
        before="Before the first order",
        first_order="First order",
        new="New customers",
        since="since {}",
        not_observable="Not observable",
        onward="onward",
        leaving="leaving",
        returning="coming back",
        observed="customers who changed stage since {}, observed; the wider, the more",
        churn_meaning="Churn risk: mean probability of no order {}",
        first_order_meaning="First order: mean probability of one {}; a visitor is a browser, not a person",
        not_drawn="Other moves, not drawn: {} (customers: {})",
        nobody_moved="No customer changed stage since {}.",
        to="to",
    ),
    "fr": MapWords(
        **SHEET_WORDS["fr"],
        title="Cycle de vie des clients",
        churn="Risque de départ",
        value="Valeur à 12 mois",
        before="Avant la première commande",
        first_order="1re commande",
        new="Nouveaux clients",
        since="depuis le {}",
        not_observable="Non observable",
        onward="progression",
        leaving="départ",
        returning="retour",
        observed="clients ayant changé d'étape depuis le {}, observés\u202f; plus large = plus nombreux",
        churn_meaning="Risque de départ\u202f: probabilité moyenne de ne rien commander {}",
        first_order_meaning="1re commande\u202f: probabilité moyenne {}\u202f; un visiteur est un navigateur, "
        "pas une personne",
        not_drawn="Autres mouvements, non tracés\u202f: {} (clients\u202f: {})",
        nobody_moved="Aucun client n'a changé d'étape depuis le {}.",
        to="vers",
    ),
}


@dataclass(frozen=True, slots=True)
class MapSheet:
    """All that the parts of the picture are drawn from."""

    map: LifecycleMap
    as_of: str
    horizon_days: int
    wording: Wording
    words: MapWords
    numerals: Numerals

    @property
    def within(self) -> str:
        """In how many days what is expected will be."""
        return self.words.within(self.horizon_days)

    @property
    def customers(self) -> int:
        """How many there are in all stages."""
        return sum(entry.customers for entry in self.map.stages)

    def moves(self) -> tuple[Flow, ...]:
        """Return the observed flows of those who are not where they were."""
        return tuple(flow for flow in self.map.observed if flow.from_stage != flow.to_stage)

    def name(self, stage: str | None) -> str:
        """Return a stage's name on one line, unlike that of any other stage here."""
        return self.words.new if stage is None else " – ".join(filter(None, self.names(stage)))

    def names(self, stage: str) -> tuple[str, str]:
        """Return a stage's label; and its plain name, where the vocabulary has one label for several stages."""
        label = self.wording.label(stage)
        shown = [*(entry.stage for entry in self.map.stages), *(entry.stage for entry in self.map.prospects)]
        is_shared = any(self.wording.label(other).code == label.code for other in shown if other != stage)
        plain = load_shipped_vocabulary("lifestage").label(stage, language=self.wording.language).text
        return label.text, plain if (is_shared or label.is_borrowed) and plain != label.text else ""


def hidden_prospects(sheet: MapSheet) -> tuple[str, ...]:
    """Return the stages before the first order that the data cannot show."""
    return tuple(entry.stage for entry in sheet.map.not_observable if entry.stage in PROSPECT_STAGES)


def write_notes(sheet: MapSheet, drawn: Collection[Flow]) -> Iterator[str]:
    """Write the lines below the picture: what its signs mean, and what it does not show.

    Args:
        sheet: The map and how it is told.
        drawn: The flows that have an arrow.
    """
    words, numerals = sheet.words, sheet.numerals
    yield words.explain_expected(numerals, sheet.horizon_days)
    yield words.churn_meaning.format(sheet.within)
    if sheet.map.prospects:
        yield words.first_order_meaning.format(sheet.within)
    rest = [flow.customers for flow in sheet.moves() if flow not in drawn]
    if rest:
        yield words.not_drawn.format(numerals.count(len(rest)), numerals.count(sum(rest)))
    if not sheet.moves():
        yield words.nobody_moved.format(sheet.map.observed_from)
    in_panel = () if sheet.map.prospects else hidden_prospects(sheet)
    hidden = [entry.stage for entry in sheet.map.not_observable if entry.stage not in in_panel]
    if hidden:
        yield _not_observable(sheet, hidden)


def _not_observable(sheet: MapSheet, stages: Iterable[str]) -> str:
    names = ", ".join(plain or label for label, plain in map(sheet.names, stages))
    return f"{sheet.words.not_observable}{sheet.words.colon} {names}"


def describe_map(sheet: MapSheet) -> str:
    """Say the whole picture in words and figures."""
    words, numerals = sheet.words, sheet.numerals
    lines = [f"{words.as_of.format(sheet.as_of)}; {words.customers.format(numerals.count(sheet.customers))}."]
    lines += [_describe_prospect(sheet, entry) for entry in sheet.map.prospects]
    lines += [_describe_stage(sheet, entry) for entry in sheet.map.stages]
    lines.append(_describe_moves(sheet))
    if sheet.map.not_observable:
        lines.append(f"{_not_observable(sheet, (entry.stage for entry in sheet.map.not_observable))}.")
    return " ".join(lines)


def _describe_moves(sheet: MapSheet) -> str:
    to, since = sheet.words.to, sheet.words.since.format(sheet.map.observed_from).capitalize()
    ends = ((f"{sheet.name(f.from_stage)} {to} {sheet.name(f.to_stage)}", f.customers) for f in sheet.moves())
    moves = "; ".join(f"{way} {sheet.numerals.count(customers)}" for way, customers in ends)
    return f"{since}{sheet.words.colon} {moves or UNKNOWN}."


def _describe_stage(sheet: MapSheet, entry: StageEntry) -> str:
    words, numerals = sheet.words, sheet.numerals
    today = f"{numerals.count(entry.customers)} → {numerals.expected(entry.expected_customers)} {sheet.within}"
    share = words.of_customers.format(numerals.share(entry.share))
    churn = f"{words.churn.lower()} {numerals.share(entry.mean_p_churn)}"
    value = f"{words.value.lower()} {numerals.count(entry.clv_12m)}"
    return f"{sheet.name(entry.stage)}{words.colon} {today}; {share}; {churn}; {value}."


def _describe_prospect(sheet: MapSheet, entry: ProspectEntry) -> str:
    words, numerals = sheet.words, sheet.numerals
    first = f"{words.first_order.lower()} {numerals.share(entry.mean_p_first_purchase)}"
    return f"{sheet.name(entry.stage)}{words.colon} {numerals.count(entry.people)}; {first}."
