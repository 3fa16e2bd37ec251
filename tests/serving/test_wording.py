"""Wording: a service's own words, those of a request, and labels beside rows."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from features.errors import InputError, SettingsError
from features.lifecycle.stages import SCALE, STAGES
from features.lifecycle.vocabularies import SHIPPED, Wording, load_shipped_vocabulary, load_wording
from features.settings import load_settings
from serving.columns import SCORE_SCHEMA
from serving.wording import build_wording, choose_wording, with_labels
from tests.serving.own_words import write_plays, write_vocabulary
from tests.serving.score_rows import WORDING, build_customers


def test_defaults() -> None:
    """Without a wish, the words are those of the settings."""
    assert build_wording(load_settings().lifecycle) == WORDING
    assert choose_wording(WORDING, vocabulary=None, language=None) == WORDING


def test_flags_win(tmp_path: Path) -> None:
    """A flag wins over the settings, and each of the two alone."""
    own = str(write_vocabulary(tmp_path / "ours.toml"))
    settings = load_settings(overrides={"lifecycle": {"vocabulary": own, "language": "fr"}}).lifecycle
    assert build_wording(settings).label("lost").text == "à nous : lost"
    assert build_wording(settings, language="en").label("lost").text == "ours: lost"
    assert build_wording(settings, vocabulary="lifestage").label("lost").text == "Client perdu"


@pytest.mark.parametrize("flags", [{"vocabulary": "nonsense"}, {"language": "de"}, {"vocabulary": "nowhere.toml"}])
def test_unknown_flags(flags: dict[str, str]) -> None:
    """A vocabulary or language that is not there is a wrong setting."""
    with pytest.raises(SettingsError):
        build_wording(load_settings().lifecycle, **flags)


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("name", SHIPPED)
def test_request(name: str, language: str) -> None:
    """A request may ask for every shipped vocabulary in both languages, and gets its words for every stage."""
    chosen = choose_wording(WORDING, vocabulary=name, language=language)
    vocabulary = load_shipped_vocabulary(name)
    assert chosen == replace(WORDING, vocabulary=vocabulary, language=language)
    for stage in SCALE:
        assert chosen.label(stage) == vocabulary.label(stage, language=language)
        assert chosen.plays(stage)


def test_own_by_name(tmp_path: Path) -> None:
    """The service's own vocabulary is one of those offered, by its name; beside it the shipped ones are."""
    own = load_wording(vocabulary=str(write_vocabulary(tmp_path / "ours.toml")))
    assert choose_wording(own, vocabulary="ours", language="fr").label("lost").text == "à nous : lost"
    assert choose_wording(own, vocabulary="lifestage", language=None) == WORDING
    with pytest.raises(InputError) as refused:
        choose_wording(own, vocabulary="theirs", language=None)
    assert refused.value.remedy == f"Take one of ours, {', '.join(SHIPPED)}."


def test_own_of_a_shipped_name(tmp_path: Path) -> None:
    """An own vocabulary that is named as a shipped one stands in its place."""
    own = load_wording(vocabulary=str(write_vocabulary(tmp_path / "hubspot.toml")))
    assert choose_wording(own, vocabulary="hubspot", language=None) == own


def test_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request names no file: not even one that is a vocabulary, and not even that of the service."""
    path = write_vocabulary(tmp_path / "ours.toml")
    monkeypatch.chdir(tmp_path)
    assert load_wording(vocabulary="ours.toml").label("lost").text == "ours: lost"
    own = load_wording(vocabulary=str(path))
    for default in (WORDING, own):
        for asked in (str(path), "ours.toml", "./ours.toml", "../ours", f"file://{path}", "/etc/x.toml", ""):
            with pytest.raises(InputError, match="no such vocabulary") as refused:
                choose_wording(default, vocabulary=asked, language=None)
            assert str(tmp_path) not in str(refused.value)


def test_language_of_a_request(tmp_path: Path) -> None:
    """A language that the vocabulary lacks is refused with those that it has, though another vocabulary had it."""
    own = load_wording(vocabulary=str(write_vocabulary(tmp_path / "ours.toml", languages=("fr",))), language="fr")
    for asked in ("en", "de", "FR", "../fr"):
        with pytest.raises(InputError) as refused:
            choose_wording(own, vocabulary=None, language=asked)
        assert refused.value.remedy == "Take one of fr."
    assert choose_wording(own, vocabulary="hubspot", language="en").language == "en"


def test_own_plays(tmp_path: Path) -> None:
    """A shop's own plays replace those of every vocabulary; a language that they lack is refused, not made up for."""
    plays = write_plays(tmp_path / "plays.toml", languages=("en",))
    own = load_wording(plays=str(plays))
    for name in SHIPPED:
        chosen = choose_wording(own, vocabulary=name, language=None)
        assert chosen.plays("lost") == ("Call lost", "Write to lost")
        assert chosen.plays("repeat") == replace(chosen, own_plays={}).plays("repeat")
    with pytest.raises(InputError, match="no text in 'fr'"):
        choose_wording(own, vocabulary=None, language="fr")


@pytest.mark.parametrize("bins", [2, 3, 5, 9])
@pytest.mark.parametrize("name", ["shopify_rfm", "omnisend"])
def test_labels_follow_the_code(name: str, bins: int) -> None:
    """An RFM vocabulary names a customer by the code, whatever the stage and the number of bins."""
    vocabulary = load_shipped_vocabulary(name)
    wording = Wording(vocabulary, "en", rfm_bins=bins)
    codes = [f"{bins}{bins}{bins}", "111", f"{bins}11", f"1{bins}{bins}"]
    rows = pl.DataFrame([(stage, code) for stage in STAGES for code in codes], ["stage", "rfm"], orient="row")
    labelled = with_labels(rows, wording)
    texts = {label.code: label.text for label in vocabulary.labels(language="en")}
    expected = [texts[vocabulary.group_of(code, rfm_bins=bins)] for _ in STAGES for code in codes]
    assert labelled["stage_label"].to_list() == expected
    assert len(set(expected)) > 2


@pytest.mark.parametrize("name", SHIPPED)
def test_with_labels(name: str) -> None:
    """Labels stand behind the stage, plays at the end; rows keep their order and their values."""
    wording = Wording(load_shipped_vocabulary(name), "fr")
    rows = build_customers(7).vstack(build_customers(3, stage="lost", rfm="111")).reverse()
    labelled = with_labels(rows, wording, with_plays=True)
    at = rows.columns.index("stage") + 1
    words = ("stage_label", "is_label_borrowed")
    assert labelled.columns == [*rows.columns[:at], *words, *rows.columns[at:], "plays"]
    assert labelled.select(rows.columns).equals(rows)
    for row in labelled.iter_rows(named=True):
        label = wording.label(row["stage"], row["rfm"])
        assert (row["stage_label"], row["is_label_borrowed"]) == (label.text, label.is_borrowed)
        assert row["plays"] == " · ".join(wording.plays(row["stage"], row["rfm"]))


def test_nobody() -> None:
    """Of no rows, there are no labels, in the same columns."""
    labelled = with_labels(SCORE_SCHEMA.to_frame(), WORDING, with_plays=True)
    assert labelled.is_empty()
    told = {"stage_label": pl.String, "is_label_borrowed": pl.Boolean, "plays": pl.String}
    assert {name: labelled.schema[name] for name in told} == told
