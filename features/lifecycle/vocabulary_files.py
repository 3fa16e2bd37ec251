"""The files of vocabularies, read strictly: what is missing, unknown, unused or told twice is refused by its key."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from features.lifecycle.rfm_codes import FIFTHS, RFM_CODES
from features.lifecycle.stages import SCALE
from features.lifecycle.toml_nodes import Node, listed
from features.lifecycle.vocabulary import LANGUAGES, Entry, Kind, Vocabulary

_CODE = re.compile(r"[a-z][a-z0-9_]{0,59}")
_RANGES = ("r", "f", "m", "fm")


@dataclass(frozen=True, slots=True)
class _Rule:
    """A group, and the scores that lead to it."""

    group: str
    ranges: Mapping[str, tuple[float, float]]

    def covers(self, code: str) -> bool:
        r, f, m = map(int, code)
        scores = {"r": r, "f": f, "m": m, "fm": (f + m) / 2}
        return all(low <= scores[name] <= high for name, (low, high) in self.ranges.items())


def read_vocabulary(root: Node, *, name: str) -> Vocabulary:
    """Read a vocabulary from its file, once it is whole: every stage and code has a label, and every label a use.

    Args:
        root: All that the file holds.
        name: Of the vocabulary.

    Raises:
        SettingsError: If a key is missing, unknown or wrong; the message names it.
    """
    tables = root.table(("kind", "title", "labels", "stages", "borrowed", "rfm"))
    for key in ("kind", "title", "labels", "stages"):
        if key not in tables:
            raise root.fault(f"{key} is missing", "Add it; lifestage.toml in features/lifecycle/vocabularies has all.")
    titles = {key: node.text() for key, node in _in_order(tables["title"].table(LANGUAGES, least_one=True)).items()}
    labels = tables["labels"].table(least_one=True)
    entries = {code: _entry(node, code, tuple(titles)) for code, node in labels.items()}
    stages, borrowed = _stage_map(root, tables, entries)
    kind: Kind = "rfm" if tables["kind"].one_of(("stages", "rfm")) == "rfm" else "stages"
    if (kind == "rfm") != ("rfm" in tables):
        raise tables["kind"].fault('"rfm" and [[rfm]] rules go together', "Give both, or neither.")
    groups = _groups(tables["rfm"], entries) if kind == "rfm" else None
    _check_distinct(labels, entries)
    _check_used(labels, entries, {*stages.values(), *(groups or {}).values()})
    return Vocabulary(
        name=name, kind=kind, titles=titles, entries=entries, stages=stages, borrowed=borrowed, groups=groups
    )


def read_plays(given: Mapping[str, Node]) -> dict[str, tuple[str, ...]]:
    """Read a list of plays for each language given.

    Raises:
        SettingsError: If one is no list of texts; the message names it.
    """
    return {language: tuple(item.text() for item in inner.items()) for language, inner in _in_order(given).items()}


def _entry(node: Node, code: str, languages: Sequence[str]) -> Entry:
    if not _CODE.fullmatch(code):
        raise node.fault("a label's name is up to 60 of a–z, 0–9 and _, a letter first", "Put other signs in its text.")
    fields = node.table((*LANGUAGES, "plays", "note", "unused"))
    texts = _spoken(node, {key: fields[key] for key in LANGUAGES if key in fields}, languages)
    inner = {
        key: _spoken(fields[key], fields[key].table(LANGUAGES), languages) for key in ("plays", "note") if key in fields
    }
    return Entry(
        code,
        texts={key: text.text() for key, text in texts.items()},
        plays=read_plays(inner.get("plays", {})),
        notes={key: text.text() for key, text in inner.get("note", {}).items()},
        is_unused="unused" in fields and fields["unused"].flag(),
    )


def _spoken(node: Node, given: Mapping[str, Node], languages: Sequence[str]) -> dict[str, Node]:
    """Return texts in the order of `LANGUAGES`, once they are in exactly the languages of the title."""
    if set(given) != set(languages):
        raise node.fault(
            f"it has a text in {listed(given) or 'no language'}, but the title in {listed(languages)}",
            "The languages of [title] are those of the whole file: give a text in each of them, and in no other.",
        )
    return _in_order(given)


def _in_order(given: Mapping[str, Node]) -> dict[str, Node]:
    return {language: given[language] for language in LANGUAGES if language in given}


def _stage_map(
    root: Node, tables: Mapping[str, Node], entries: Collection[str]
) -> tuple[dict[str, str], frozenset[str]]:
    own, lent = (tables[key].table(SCALE) if key in tables else {} for key in ("stages", "borrowed"))
    for stage in own.keys() & lent.keys():
        raise lent[stage].fault("the stage also stands under [stages]", "Keep one of the two.")
    nodes = own | lent
    missing = [stage for stage in SCALE if stage not in nodes]
    if missing:
        raise root.fault(
            f"no label for {listed(missing)}",
            "Give each a label under [stages]; or, where there is no word for it, the nearest label under [borrowed].",
        )
    return {stage: nodes[stage].one_of(entries) for stage in SCALE}, frozenset(lent)


def _groups(node: Node, entries: Collection[str]) -> dict[str, str]:
    """Return the group of every RFM code, by the first rule that covers it."""
    items = node.items()
    rules = [_rule(item, entries) for item in items]
    firsts = {code: next((i for i, rule in enumerate(rules) if rule.covers(code)), None) for code in RFM_CODES}
    left = [code for code, first in firsts.items() if first is None]
    if left:
        raise node.fault(
            f"no rule covers {len(left)} of the {len(RFM_CODES)} RFM codes, such as {listed(left[:3])}",
            "Widen a rule, or end with one that has only a group: it takes all the rest.",
        )
    for i, item in enumerate(items):
        if i not in firsts.values():
            raise item.fault(
                f"the rule for {rules[i].group} covers no code that an earlier rule has not taken",
                "Move it up, change its ranges, or remove it.",
            )
    return {code: rules[first].group for code, first in firsts.items() if first is not None}


def _rule(node: Node, entries: Collection[str]) -> _Rule:
    fields = node.table(("group", *_RANGES))
    if "group" not in fields:
        raise node.fault("the rule has no group", f"Add group = one of {listed(entries)}.")
    ranges = {name: _range(fields[name]) for name in _RANGES if name in fields}
    return _Rule(fields["group"].one_of(entries), ranges)


def _range(node: Node) -> tuple[float, float]:
    """Return least and greatest score; a single number is both."""
    ends = node.value if isinstance(node.value, list) else [node.value, node.value]
    numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
    if len(ends) != 2 or len(numbers) != 2 or not 1 <= numbers[0] <= numbers[1] <= FIFTHS:
        raise node.fault(
            "it must be a score from 1 to 5, or a least and a greatest one", "Write it as 5, or as [4, 5]: 5 is best."
        )
    return numbers[0], numbers[1]


def _check_distinct(labels: Mapping[str, Node], entries: Mapping[str, Entry]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for code, entry in entries.items():
        for key in ((language, text.casefold()) for language, text in entry.texts.items()):
            if seen.setdefault(key, code) != code:
                raise labels[code].fault(
                    f"its text in {key[0]} is that of {seen[key]}", "Make one label of the two, or tell them apart."
                )


def _check_used(labels: Mapping[str, Node], entries: Mapping[str, Entry], used: Collection[str]) -> None:
    for code, entry in entries.items():
        if code in used and entry.is_unused:
            raise labels[code].fault("it is marked as unused, but a stage or a rule leads to it", "Remove unused.")
        if code not in used and not entry.is_unused:
            raise labels[code].fault(
                "no stage and no rule leads to it",
                "Give it a stage or a rule; or write unused = true, if that is meant.",
            )
