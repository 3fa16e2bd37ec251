"""In whose words an answer is told: the service's own choice, or that of a request."""

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from features.errors import InputError, SettingsError
from features.lifecycle.vocabularies import SHIPPED, Wording, load_shipped_vocabulary, load_wording
from features.lifecycle.vocabulary import Label
from features.settings import LifecycleSettings


def build_wording(
    settings: LifecycleSettings, *, vocabulary: str | None = None, language: str | None = None
) -> Wording:
    """Build the words of the settings, or of flags that win over them.

    Raises:
        SettingsError: If the vocabulary, the language or the shop's own plays are unknown or wrong.
    """
    return load_wording(
        vocabulary=vocabulary or settings.vocabulary, language=language or settings.language, plays=settings.plays
    )


def choose_wording(default: Wording, *, vocabulary: str | None, language: str | None) -> Wording:
    """Choose the words of one request, which may name a shipped vocabulary or the service's own, but never a file.

    Raises:
        InputError: If the vocabulary or the language is unknown.
    """
    known = tuple(dict.fromkeys((default.vocabulary.name, *SHIPPED)))
    if vocabulary is not None and vocabulary not in known:
        raise InputError("There is no such vocabulary.", remedy=f"Take one of {', '.join(known)}.", field="vocabulary")
    is_own = vocabulary in {None, default.vocabulary.name}
    chosen = default.vocabulary if is_own else load_shipped_vocabulary(str(vocabulary))
    spoken = language or default.language
    if spoken not in chosen.languages:
        raise InputError(
            f"The vocabulary {chosen.name} has no words in that language.",
            remedy=f"Take one of {', '.join(chosen.languages)}.",
            field="language",
        )
    try:
        return replace(default, vocabulary=chosen, language=spoken)
    except SettingsError as error:
        raise InputError(error.problem, remedy=error.remedy, field="language") from None


def with_labels(rows: pl.DataFrame, wording: Wording, *, with_plays: bool = False) -> pl.DataFrame:
    """Add `stage_label` and `is_label_borrowed` behind `stage`, and at the end `plays`, as one text, where wanted.

    Args:
        rows: Columns `stage` and `rfm`, or `stage` alone.
        wording: Whose words.
        with_plays: Whether to add what to do.
    """
    keys = [name for name in ("stage", "rfm") if name in rows.columns]
    pairs = rows.select(keys).unique()
    named = [(*key, label.text, label.is_borrowed, " · ".join(plays)) for key, label, plays in _told(pairs, wording)]
    told = {"stage_label": pl.String, "is_label_borrowed": pl.Boolean, "plays": pl.String}
    words = pl.DataFrame(named, {**dict.fromkeys(keys, pl.String), **told}, orient="row")
    joined = rows.join(words, on=keys, how="left", maintain_order="left")
    behind = ("stage", "stage_label", "is_label_borrowed")
    names = [name for name in rows.columns for name in (behind if name == "stage" else (name,))]
    return joined.select(*names, *(["plays"] if with_plays else []))


def _told(pairs: pl.DataFrame, wording: Wording) -> Iterator[tuple[tuple[str, ...], Label, tuple[str, ...]]]:
    for key in pairs.iter_rows():
        yield key, wording.label(*key), wording.plays(*key)
