"""Vocabularies: every stage has one label, every RFM code one group, and what is wrong in a file is named.

`python -m tests.features.lifecycle.test_vocabularies` writes the tables of docs/vocabularies.md anew.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import SettingsError
from features.lifecycle.rfm_codes import RFM_CODES, to_fifths
from features.lifecycle.stages import SCALE, STAGES
from features.lifecycle.vocabularies import (
    SHIPPED,
    Wording,
    load_plays,
    load_shipped_vocabulary,
    load_vocabulary,
    load_wording,
)
from features.lifecycle.vocabulary import LANGUAGES, Entry, Label, Vocabulary

PAPER = Path(__file__).resolve().parents[3] / "docs" / "vocabularies.md"
BEFORE_AN_ORDER = tuple(stage for stage in SCALE if stage not in STAGES)
WITH_GROUPS = ("omnisend", "shopify_rfm")

# What the sources call each stage, in French; None where they have no word for it.
FRENCH: dict[str, tuple[str | None, ...]] = {
    "reach_to_loyalty": (
        *(None, "Portée", "Acquisition", "Acquisition", "Acquisition", "Acquisition", "Conversion"),
        *("Rétention", "Fidélité", "Désengagement", "Désengagement", "Reconquête", "Fidélité"),
    ),
    "visitor_to_regular": (
        *(None, None, "Première visite", "Visiteur de retour", "Utilisateur enregistré", "Utilisateur enregistré"),
        *("Primo-acheteur", "Client régulier", "Client régulier", "Client à risque", "Client perdu"),
        *("Client reconquis", None),
    ),
    "awareness_to_advocacy": (
        *(None, "Conscience", "Engagement", "Engagement", "Engagement", "Engagement", "Conversion"),
        *("Rétention", "Rétention", "Rétention", None, "Conversion", "Plaidoyer"),
    ),
    "discovery_to_defence": (
        *(None, "Prise de conscience", "Découverte", "Considération", "Considération", "Considération"),
        *("Sélection ou achat", "Satisfaction et rachat", "Fidélisation", None, None),
        *("Satisfaction et rachat", "Défense"),
    ),
    "stranger_to_ambassador": (
        *("Étranger", None, "Visiteur", "Visiteur", "Prospect froid", "Prospect chaud"),
        *("Client", "Client", "Client", "Client", "Client", "Client", "Ambassadeur"),
    ),
}
# The stage that comes before, for labels that are borrowed.
BEFORE = {
    "reached": "unaware",
    "at_risk": "repeat",
    "lost": "at_risk",
    "ambassador": "loyal",
}

OWN = """
kind = "stages"
[title]
en = "Ours"
fr = "À nous"
[stages]
{stages}
[labels.all]
en = "Everyone"
fr = "Tout le monde"
""".format(stages="\n".join(f'{stage} = "all"' for stage in SCALE))
RULES = OWN.replace('"stages"', '"rfm"') + '[labels.best]\nen = "Best"\nfr = "Meilleurs"\n'
BEST, REST = '[[rfm]]\ngroup = "best"\nr = 5\n', '[[rfm]]\ngroup = "all"\n'

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a text to a TOML file."""

    def _write(text: str) -> Path:
        path = tmp_path / "ours.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def _load(path: Path) -> Vocabulary:
    return load_vocabulary(str(path))


def _groups(name: str) -> Mapping[str, str]:
    groups = load_vocabulary(name).groups
    assert groups is not None
    return groups


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SHIPPED)
def test_total(name: str, language: str) -> None:
    """Every stage has exactly one label in every language, and an answer always knows what to do."""
    vocabulary, wording = load_vocabulary(name), load_wording(vocabulary=name, language=language)
    labels = vocabulary.labels(language=language)
    assert tuple(vocabulary.stages) == SCALE
    assert vocabulary.title(language)
    assert len({label.text for label in labels}) == len({label.code for label in labels}) == len(labels)
    for stage in SCALE:
        label = vocabulary.label(stage, language=language)
        assert replace(label, is_borrowed=False) in labels
        assert label == wording.label(stage)
        assert wording.plays(stage)


@pytest.mark.parametrize("name", SHIPPED)
def test_both_languages(name: str) -> None:
    """A label says the same number of things in each language, and no English is left in French."""
    for entry in load_vocabulary(name).entries.values():
        for told in (entry.texts, entry.plays, entry.notes):
            assert tuple(told) in {(), LANGUAGES}
        english, french = (entry.plays.get(language, ()) for language in LANGUAGES)
        assert len(english) == len(french)
        assert not set(english) & set(french)


def test_lifestage() -> None:
    """The first vocabulary calls each stage by its own name, and has plays for all of them."""
    vocabulary = load_vocabulary(SHIPPED[0])
    assert SHIPPED[0] == "lifestage"
    assert tuple(vocabulary.stages.values()) == tuple(vocabulary.entries) == SCALE
    assert all(vocabulary.plays(stage, language="fr") for stage in SCALE)


@pytest.mark.parametrize("name", FRENCH)
def test_sources(name: str) -> None:
    """Each source's vocabulary says what the source says, and a label is borrowed exactly where it says nothing."""
    labels = [load_vocabulary(name).label(stage, language="fr") for stage in SCALE]
    assert [None if label.is_borrowed else label.text for label in labels] == list(FRENCH[name])


@pytest.mark.parametrize("name", SHIPPED)
def test_borrowed(name: str) -> None:
    """A borrowed label is that of the stage before, or of the first stage that has a word."""
    vocabulary = load_vocabulary(name)
    first = next(vocabulary.stages[stage] for stage in SCALE if stage not in vocabulary.borrowed)
    for stage in vocabulary.borrowed:
        before = BEFORE.get(stage, "unaware")
        is_first = stage in BEFORE_AN_ORDER and before in {*vocabulary.borrowed}
        assert vocabulary.stages[stage] == (first if is_first else vocabulary.stages[before])


def test_borrowed_plays() -> None:
    """A borrowed label lends its word, not its plays: those of lifestage stand in."""
    wording = load_wording(vocabulary="awareness_to_advocacy")
    assert wording.label("lost") == Label("retention", "Retention", is_borrowed=True)
    assert wording.vocabulary.plays("lost", language="en") == ()
    assert wording.plays("lost") == load_vocabulary("lifestage").plays("lost", language="en")
    assert wording.plays("at_risk")[-1] == "Behavioural e-mail"


def test_use() -> None:
    """Without events of use, a first-time buyer stays at the purchase; the label of use is there, and says why."""
    vocabulary = load_vocabulary("discovery_to_defence")
    assert vocabulary.label("first_time_buyer", language="en").text == "Purchase"
    assert vocabulary.entries["use"].is_unused
    assert "delivery" in vocabulary.entries["use"].notes["en"]
    assert "use" not in vocabulary.stages.values()


@pytest.mark.parametrize("name", WITH_GROUPS)
def test_groups(name: str) -> None:
    """Each of the 125 codes has one group, and each group that customers can be in has a code."""
    groups = _groups(name)
    unreached = {"prospects"} if name == "shopify_rfm" else set()
    assert sorted(groups) == sorted(RFM_CODES)
    assert len(groups) == 125
    assert set(groups.values()) == set(load_vocabulary(name).entries) - unreached


@pytest.mark.parametrize("name", WITH_GROUPS)
def test_monotone(name: str) -> None:
    """Groups stand from best to worst: a score higher by one, all else equal, never leads to a worse group."""
    groups, ranks = _groups(name), list(load_vocabulary(name).entries)
    for code, group in groups.items():
        for position in range(3):
            higher = code[:position] + str(int(code[position]) + 1) + code[position + 1 :]
            assert ranks.index(groups.get(higher, group)) <= ranks.index(group), (code, higher)


@pytest.mark.parametrize(
    ("code", "shopify", "omnisend"),
    [
        ("555", "champions", "champions"),
        ("511", "new", "recent"),
        ("533", "active", "loyalists"),
        ("445", "loyal", "champions"),
        ("411", "promising", "recent"),
        ("333", "needs_attention", "high_potential"),
        ("311", "promising", "need_nurturing"),
        ("315", "needs_attention", "high_potential"),
        ("255", "at_risk", "about_to_lose"),
        ("211", "almost_lost", "at_risk"),
        ("155", "previously_loyal", "about_to_lose"),
        ("133", "almost_lost", "about_to_lose"),
        ("111", "dormant", "at_risk"),
    ],
)
def test_golden_groups(code: str, shopify: str, omnisend: str) -> None:
    """Codes lie in the groups that the tools' descriptions mean."""
    assert load_vocabulary("shopify_rfm").group_of(code) == shopify
    assert load_vocabulary("omnisend").group_of(code) == omnisend


@pytest.mark.parametrize("name", WITH_GROUPS)
def test_group_or_stage(name: str) -> None:
    """A customer's code decides on label and plays; without one the stage lends the word of its nearest group."""
    wording = load_wording(vocabulary=name)
    for stage in SCALE:
        by_stage, by_code = wording.label(stage), wording.label(stage, "555")
        assert by_stage == wording.label(stage, "")
        assert by_code == (by_stage if stage in BEFORE_AN_ORDER else Label("champions", "Champions", is_borrowed=False))
        assert by_stage.is_borrowed or stage in BEFORE_AN_ORDER
    assert wording.plays("loyal", "555") == wording.vocabulary.entries["champions"].plays["en"]


@pytest.mark.parametrize("name", WITH_GROUPS)
def test_win_back_first(name: str) -> None:
    """Whoever is at risk or lost is told to be won back, however good a customer they were."""
    wording, own = load_wording(vocabulary=name), load_wording()
    for stage in ("at_risk", "lost"):
        assert wording.plays(stage, "555") == own.plays(stage) != ()


def test_code_of_no_use() -> None:
    """A vocabulary of stages answers by the stage, whatever the code, and has no groups."""
    vocabulary = load_vocabulary("hubspot")
    assert vocabulary.label("lost", language="fr", rfm="555").text == "Client"
    with pytest.raises(SettingsError, match="hubspot has no RFM groups"):
        vocabulary.group_of("555")


codes = st.integers(2, 9).flatmap(
    lambda bins: st.tuples(st.just(bins), *[st.integers(1, bins)] * 3).map(lambda drawn: (drawn[0], drawn[1:]))
)


@given(codes, st.sampled_from(WITH_GROUPS), st.sampled_from(SCALE), st.sampled_from(LANGUAGES))
def test_any_bins(drawn: tuple[int, tuple[int, ...]], name: str, stage: str, language: str) -> None:
    """A code of any number of bins has a group, that of the fifths which hold the middles of its bins."""
    bins, scores = drawn
    code = "".join(map(str, scores))
    fifths = "".join(str(next(k for k in range(1, 6) if (score - 0.5) / bins < k / 5)) for score in scores)
    vocabulary = load_vocabulary(name)
    assert to_fifths(code, rfm_bins=bins) == fifths
    assert vocabulary.group_of(code, rfm_bins=bins) == vocabulary.group_of(fifths)
    wording = Wording(vocabulary, language, rfm_bins=bins)
    assert wording.label(stage, code) == vocabulary.label(stage, language=language, rfm=fifths)
    assert wording.plays(stage, code)


@pytest.mark.parametrize("bins", range(2, 10))
def test_bins_ascend(bins: int) -> None:
    """A better bin is never a worse fifth; five bins are the fifths, and from three on the ends are the ends."""
    fifths = [int(to_fifths(f"1{d}1", rfm_bins=bins)[1]) for d in range(1, bins + 1)]
    assert fifths == sorted(fifths)
    assert bins != 5 or fifths == [1, 2, 3, 4, 5]
    assert (fifths[0], fifths[-1]) == ((2, 4) if bins == 2 else (1, 5))


@pytest.mark.parametrize("code", ["", "55", "5555", "056", "1.5", "-11", "abc", "５５５"])
def test_no_code(code: str) -> None:
    """What is not an RFM code is refused."""
    with pytest.raises(SettingsError, match="not an RFM code"):
        load_vocabulary("shopify_rfm").group_of(code)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: load_vocabulary("shopify"), r"'shopify'.*Did you mean shopify_rfm\?.*lifestage.*\.toml file"),
        (lambda: load_vocabulary(""), "no vocabulary ''"),
        (lambda: load_vocabulary("../lifestage"), "Did you mean lifestage"),
        (lambda: load_shipped_vocabulary("lifestage.toml"), "no vocabulary 'lifestage.toml'"),
        (lambda: load_vocabulary("absent.toml"), "no file absent.toml"),
        (lambda: load_vocabulary("\0.toml"), "cannot be read"),
        (lambda: load_wording(language="de"), r"no language 'de'.*en, fr"),
        (lambda: load_wording(rfm_bins=10), "2 to 9"),
        (lambda: load_wording(plays="absent.toml"), "no file absent.toml"),
        (lambda: load_vocabulary("lifestage").label("at_riks", language="en"), "Did you mean at_risk"),
        (lambda: load_vocabulary("lifestage").label("lost", language="de"), r"no words in 'de'.*en, fr"),
        (lambda: load_vocabulary("lifestage").labels(language="EN"), "no words in 'EN'"),
        (lambda: load_vocabulary("omnisend").label("lost", language="en", rfm="666"), "not an RFM code"),
    ],
)
def test_unknown(ask: Callable[[], object], says: str) -> None:
    """A name, language, stage or code that is none is refused, with the ones that there are."""
    with pytest.raises(SettingsError, match=says):
        ask()


def test_shipped_is_cached() -> None:
    """A shipped vocabulary is read once."""
    assert load_vocabulary("omnisend") is load_vocabulary("omnisend")


def test_own(write: Write) -> None:
    """A shop's own vocabulary names stages and groups, whatever its line ends and byte order mark."""
    path = write(RULES + BEST + REST)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    vocabulary = _load(path)
    assert (vocabulary.name, vocabulary.kind, vocabulary.languages) == ("ours", "rfm", LANGUAGES)
    assert vocabulary.title("fr") == "À nous"
    assert vocabulary.label("repeat", language="fr", rfm="511") == Label("best", "Meilleurs", is_borrowed=False)
    assert vocabulary.label("repeat", language="fr", rfm="455").code == "all"
    assert load_wording(vocabulary=str(path)).plays("lost") == load_wording().plays("lost")


def test_ranges(write: Write) -> None:
    """A rule takes scores as one number or as least and greatest, of R, F, M and the mean of F and M."""
    ranges = "r = [2, 3]\nf = [1, 4]\nm = 5\nfm = [3.5, 4]\n"
    groups = _load(write(f'{RULES}[[rfm]]\ngroup = "best"\n{ranges}{REST}')).groups or {}
    assert {code for code, group in groups.items() if group == "best"} == {"225", "235", "325", "335"}


def test_one_language(write: Write) -> None:
    """A vocabulary may speak one language, and says so where another is asked for."""
    path = write(re.sub(r"^en = .*\n", "", OWN, flags=re.MULTILINE))
    assert load_wording(vocabulary=str(path), language="fr").label("lost").text == "Tout le monde"
    with pytest.raises(SettingsError, match=r"ours has no words in 'en'. It has fr"):
        load_wording(vocabulary=str(path), language="en")


def test_french_blanks(write: Write) -> None:
    """The narrow blank that French sets before a colon is part of a text."""
    text = "Nous\u202f: tous"
    assert _load(write(OWN.replace("Tout le monde", text))).label("lost", language="fr").text == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind = ", "not valid TOML"),
        (f"kind = {'9' * 5000}", "not valid TOML"),
        (f"kind = {'[' * 5000}", "nests too deeply"),
        ("", "kind is missing"),
        (OWN.replace("[title]", "[name]"), r"name: there is no such key.*labels"),
        (OWN.replace('kind = "stages"', 'kind = "stage"'), "kind: there is no 'stage'. Did you mean stages"),
        (OWN.replace('kind = "stages"', "kind = 1"), "kind: it must be a text"),
        (OWN.replace('kind = "stages"', 'kind = "rfm"'), "kind: .* go together"),
        (OWN + REST, "kind: .* go together"),
        (OWN.replace("[title]", "title = 1\n[stages.x]"), "title: it must be a table"),
        (OWN.replace('en = "Ours"\nfr = "À nous"', ""), "title: it is empty"),
        (OWN.replace('en = "Ours"', 'de = "Unser"'), "title.de: there is no such key"),
        (OWN.replace('en = "Ours"\n', ""), r"labels.all: it has a text in en, fr, but the title in fr"),
        (OWN.replace('en = "Everyone"\n', ""), r"labels.all: it has a text in fr, but the title in en, fr"),
        (OWN.replace('en = "Everyone"\nfr = "Tout le monde"', ""), r"labels.all: it has a text in no language"),
        (OWN.replace('"Everyone"', '" "'), "labels.all.en: it must be a text"),
        (OWN.replace('"Everyone"', '"a\\u001bb"'), "labels.all.en: it must be a text of one line"),
        (OWN.replace('"Everyone"', '"a\\nb"'), "labels.all.en: it must be a text of one line"),
        (OWN.replace('"Everyone"', f'"{"a" * 301}"'), "labels.all.en: .* up to 300"),
        (OWN + 'play = "x"', r"labels.all.play: there is no such key. Did you mean plays\?"),
        (OWN + 'plays.en = ["x"]', "labels.all.plays: it has a text in en, but the title in en, fr"),
        (OWN + 'plays = { en = ["x"], fr = [] }', "labels.all.plays.fr: it must be a list"),
        (OWN + 'plays = { en = ["x"], fr = "x" }', "labels.all.plays.fr: it must be a list"),
        (OWN + 'plays = { en = ["x"], fr = ["x", 1] }', r"labels.all.plays.fr\[2\]: it must be a text"),
        (OWN + 'note = "x"', "labels.all.note: it must be a table"),
        (OWN + 'unused = "yes"', "labels.all.unused: it must be true or false"),
        (OWN + "unused = true", "labels.all: it is marked as unused"),
        (OWN + '[labels.b]\nen = "B"\nfr = "B"\n', "labels.b: no stage and no rule leads to it"),
        (OWN + '[labels.b]\nen = "B"\nfr = "tout le monde"\nunused = true', "labels.b: its text in fr is that of all"),
        (OWN + '[labels.B-1]\nen = "B"\nfr = "B"\n', "labels.B-1: a label's name"),
        (OWN + '[labels.all]\nen = "B"\n', "not valid TOML"),
        (OWN.replace('lost = "all"', 'lost = "al"'), "stages.lost: there is no 'al'. Did you mean all"),
        (OWN.replace('lost = "all"', 'losst = "all"'), r"stages.losst: there is no such key. Did you mean lost\?"),
        (OWN.replace('lost = "all"\n', ""), "no label for lost"),
        (OWN.replace("lost =", "repeat ="), "not valid TOML"),
        (OWN + '[borrowed]\nlost = "all"', "borrowed.lost: the stage also stands under"),
        (OWN.replace('"stages"', '"rfm"') + "[rfm]\nx = 1", "rfm: it must be a list"),
        (RULES + BEST, "rfm: no rule covers 100 of the 125 RFM codes, such as 455, 454, 453"),
        (RULES + REST + BEST, r"rfm\[2\]: the rule for best covers no code"),
        (RULES + BEST + "f = 5.5\n" + REST, r"rfm\[1\].f: it must be a score"),
        (RULES + BEST + "f = [5, 4]\n" + REST, r"rfm\[1\].f: it must be a score"),
        (RULES + BEST + "f = [0, 4]\n" + REST, r"rfm\[1\].f: it must be a score"),
        (RULES + BEST + "f = [1, 2, 3]\n" + REST, r"rfm\[1\].f: it must be a score"),
        (RULES + BEST + "f = [nan, 5]\n" + REST, r"rfm\[1\].f: it must be a score"),
        (RULES + BEST + "f = true\n" + REST, r"rfm\[1\].f: it must be a score"),
        (RULES + BEST + "f = '5'\n" + REST, r"rfm\[1\].f: it must be a score"),
        (RULES + BEST + "recency = 5\n" + REST, r"rfm\[1\].recency: there is no such key"),
        (RULES + BEST.replace('"best"', '"bets"') + REST, r"rfm\[1\].group: there is no 'bets'. Did you mean best"),
        (RULES + "[[rfm]]\nr = 5\n" + REST, r"rfm\[1\]: the rule has no group"),
        (RULES + "[[rfm]]\ngroup = 'best'\nfm = 4.2\n" + REST, r"rfm\[1\]: the rule for best covers no code"),
    ],
)
def test_refused(write: Write, text: str, says: str) -> None:
    """A fault in a vocabulary is refused by file and key."""
    with pytest.raises(SettingsError, match=says) as caught:
        _load(write(text))
    assert "ours.toml: " in caught.value.problem
    assert caught.value.remedy.endswith(".")


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\xff\xfe", "not UTF-8"), (b"#" * (256 * 1024 + 1), "larger than 256 KiB")],
)
@pytest.mark.parametrize("load", [_load, load_plays])
def test_bad_file(tmp_path: Path, load: Callable[[Path], object], content: bytes, says: str) -> None:
    """A file in another encoding, or of no sensible size, is refused."""
    path = tmp_path / "ours.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=says):
        load(path)


def test_folder(tmp_path: Path) -> None:
    """A folder is no vocabulary, whatever its name."""
    (tmp_path / "ours.toml").mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        _load(tmp_path / "ours.toml")


def test_own_plays(write: Write) -> None:
    """The shop's own plays replace all others for the stages that it names, with every vocabulary and code."""
    path = write('[at_risk]\nen = ["Call", "Write"]\nfr = ["Appeler"]\n')
    for name in SHIPPED:
        wording = load_wording(vocabulary=name, language="en", plays=str(path))
        assert wording.plays("at_risk") == wording.plays("at_risk", "255") == ("Call", "Write")
        assert wording.plays("lost") == load_wording(vocabulary=name).plays("lost")
    assert load_wording(language="fr", plays=str(path)).plays("at_risk") == ("Appeler",)


def test_own_plays_in_one_language(write: Write) -> None:
    """Own plays in one language serve that one; asked for another, they are not mixed with those they replace."""
    path = write('[at_risk]\nfr = ["Appeler"]\n')
    french = load_wording(language="fr", plays=str(path))
    assert french.plays("at_risk") == ("Appeler",)
    with pytest.raises(SettingsError, match="plays of at_risk have no text in 'en'"):
        replace(french, language="en")


def test_no_plays(write: Write) -> None:
    """A file that names no stage replaces nothing."""
    assert load_plays(write("# all as before\n")) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[at_riks]\nen = ["x"]', r"at_riks: there is no such key. Did you mean at_risk\?"),
        ('[at_risk]\nde = ["x"]', "at_risk.de: there is no such key"),
        ("[at_risk]\nen = []", "at_risk.en: it must be a list that holds something"),
        ('[at_risk]\nen = "x"', "at_risk.en: it must be a list"),
        ("[at_risk]\nen = [1]", r"at_risk.en\[1\]: it must be a text"),
        ("[at_risk]", "at_risk: it is empty"),
        ("at_risk = 1", "at_risk: it must be a table"),
        ("[at_risk\n", "not valid TOML"),
    ],
)
def test_refused_plays(write: Write, text: str, says: str) -> None:
    """A fault in a file of plays is refused by file and key."""
    with pytest.raises(SettingsError, match=f"ours.toml: .*{says}|ours.toml: {says}"):
        load_plays(write(text))


def _example(name: str) -> str:
    [text] = re.findall(rf"^```toml {name}\n(.*?)^```$", PAPER.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return str(text)


def test_documented_vocabulary(write: Write) -> None:
    """The vocabulary in the documents is complete, and is one."""
    wording = load_wording(vocabulary=str(write(_example("vocabulary"))), language="fr")
    assert wording.label("reached") == Label("curieux", "Curieux", is_borrowed=True)
    assert wording.plays("lost") == ("Écrire personnellement",)


def test_documented_plays(write: Write) -> None:
    """The plays in the documents are plays."""
    wording = load_wording(plays=str(write(_example("plays"))))
    assert wording.plays("won_back") == ("Send a handwritten card with the next parcel",)


def test_documented_tables() -> None:
    """The documents show each shipped vocabulary as it is."""
    assert PAPER.read_text(encoding="utf-8") == _renewed(PAPER.read_text(encoding="utf-8"))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ("---",) * len(head), *rows))


def _stage_table(vocabulary: Vocabulary) -> str:
    rows = []
    for stage in SCALE:
        english, french = (vocabulary.label(stage, language=language) for language in LANGUAGES)
        mark = r" \*" if english.is_borrowed else ""
        rows.append((f"`{stage}`", f"`{english.code}`", f"{english.text}{mark}", f"{french.text}{mark}"))
    return _table(("stage", "label", "English", "French"), rows)


def _label_table(vocabulary: Vocabulary) -> str:
    rows = [(f"`{e.code}`", *(_told(e, language) for language in LANGUAGES)) for e in vocabulary.entries.values()]
    return _table(("label", "plays, and *notes*", "actions, et *notes*"), rows)


def _told(entry: Entry, language: str) -> str:
    plays = [f"{play}." for play in entry.plays.get(language, ())]
    notes = [f"*{entry.notes[language]}.*"] if language in entry.notes else []
    return " ".join([f"**{entry.texts[language]}**", *plays, *notes])


def _group_table(vocabulary: Vocabulary) -> str:
    """Return the groups as a grid: R down, and across what the vocabulary's rules ask of F and M."""
    by_mean = {
        "FM 1 to 2": ("11", "22"),
        "FM 2.5": ("23",),
        "FM 3 and 3.5": ("33", "34"),
        "FM 4 to 5": ("44", "55"),
    }
    apart = {
        "F 1–2, M 1–3": ("11", "23"),
        "F 1–2, M 4–5": ("14", "25"),
        "F 3–5, M 1–3": ("31", "53"),
        "F 3–5, M 4–5": ("34", "55"),
    }
    columns = by_mean if vocabulary.name == "shopify_rfm" else apart
    rows = []
    for r in "54321":
        cells = [{f"`{vocabulary.group_of(r + fm)}`" for fm in scores} for scores in columns.values()]
        assert all(len(cell) == 1 for cell in cells)
        rows.append((r, *(cell.pop() for cell in cells)))
    return _table(("R", *columns), rows)


def _tables(vocabulary: Vocabulary) -> str:
    english, french = map(vocabulary.title, LANGUAGES)
    titles = english if english == french else f"{english} · {french}"
    groups = f"\n{_group_table(vocabulary)}" if vocabulary.groups else ""
    return f"\n### {vocabulary.name}\n\n{titles}\n{groups}\n{_stage_table(vocabulary)}\n{_label_table(vocabulary)}"


def _renewed(paper: str) -> str:
    above = paper.split("\n### ", 1)[0].rstrip("\n") + "\n"
    return above + "".join(_tables(load_vocabulary(name)) for name in SHIPPED)


if __name__ == "__main__":
    PAPER.write_text(_renewed(PAPER.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
