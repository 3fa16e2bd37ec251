"""Promotion and rollback: the gate's decision, carried out in the champion file and told to MLflow."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from features.errors import ModelError, SettingsError
from features.settings import GateSettings
from training import tracking
from training.bundle import Manifest, load_bundle, read_manifest
from training.card.model_card import build_card
from training.card.model_card_text import render_markdown
from training.promotion.champion import (
    Promotion,
    append_promotion,
    bundles_folder,
    find_predecessor,
    read_champion,
    read_history,
)
from training.promotion.conditions import Freshness
from training.promotion.gate import Decision, decide

MIN_FORCE_WORDS, MAX_FORCE_LENGTH = 3, 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a challenger.

    Args:
        manifest: Of the challenger.
        decision: Of the gate, with its reasons.
        is_forced: Whether it serves in spite of the gate's objections.
    """

    manifest: Manifest
    decision: Decision
    is_forced: bool = False

    @property
    def serves(self) -> bool:
        """Whether the challenger serves from now on."""
        return self.decision.is_promoted or self.is_forced


def promote_challenger(home: Path, gate: GateSettings, *, at: str, force_reason: str | None = None) -> Verdict:
    """Let the challenger serve if the gate lets it through; a refusal is recorded with its reasons.

    Args:
        home: Where bundles and the MLflow store live.
        gate: Margins.
        at: ISO 8601 time of the decision.
        force_reason: Why it should serve even if the gate objects, in words; the objections are recorded with it.

    Raises:
        ModelError: If there is no challenger.
        BundleError: If its bundle does not load.
        SettingsError: If the reason says too little or too much, or is more than one line of text.
    """
    force = None if force_reason is None else _checked(force_reason)
    read_history(home)  # a damaged file must stop the promotion before MLflow hears of it
    version = tracking.challenger_bundle_version(home)
    manifest = load_bundle(bundles_folder(home) / version).manifest
    freshness = find_freshness(home, trained_as_of=manifest.trained_as_of, data=manifest.data, at=at)
    decision = decide(manifest.evaluation, gate, freshness=freshness)
    verdict = Verdict(manifest, decision, is_forced=force is not None and not decision.is_promoted)
    if not verdict.serves:
        tracking.refuse(home, bundle_version=version, reasons=decision.objections, at=at)
    elif not verdict.is_forced:
        _let_serve(home, manifest, Promotion(version, at, "passed the gate"))
    else:
        _let_serve(home, manifest, _by_force(version, at, str(force), decision))
    return verdict


def find_freshness(home: Path, *, trained_as_of: str, data: Mapping[str, Any], at: str | None = None) -> Freshness:
    """Find how old a challenger's data are, beside their source and the standing champion's.

    Args:
        home: Where bundles live.
        trained_as_of: ISO date; nothing at or after it was seen.
        data: As the manifest describes them.
        at: ISO 8601 time of the decision; None where none is taken yet.

    Raises:
        ModelError: If the champion file is damaged.
    """
    return Freshness(
        trained_as_of,
        source_last_day=data.get("source_last_day"),
        champion_as_of=_champion_as_of(home, str(data.get("digest"))),
        promoted_at=at,
        is_demo=bool(data.get("is_demo")),
    )


def _champion_as_of(home: Path, digest: str) -> str | None:
    """Return the date that the champion was trained for; None where none serves this shop, or it is gone."""
    if not read_history(home):
        return None
    try:
        champion = read_manifest(read_champion(home))
    except ModelError:
        return None
    return None if champion.is_demo_of_other_orders(digest) else champion.trained_as_of


def _checked(force_reason: str) -> str:
    reason = force_reason.strip()
    n_words = sum(any(map(str.isalpha, word)) for word in reason.split())
    if n_words >= MIN_FORCE_WORDS and len(reason) <= MAX_FORCE_LENGTH and all(map(_is_shown, reason)):
        return reason
    given = repr(reason[:60]) + ("…" if len(reason) > 60 else "")
    raise SettingsError(
        f"Forcing a promotion takes a reason of at least {MIN_FORCE_WORDS} words and at most {MAX_FORCE_LENGTH} "
        f"characters, on one line, and {given} was given.",
        remedy="Say in a sentence why the model should serve in spite of the gate; the model card will show it.",
    )


def _is_shown(character: str) -> bool:
    """Tell whether a character shows as itself on one line: no control, no direction mark, no line break."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _by_force(version: str, at: str, force_reason: str, decision: Decision) -> Promotion:
    reason = f"forced: {force_reason}; the gate had objected: {'; '.join(decision.objections)}"
    return Promotion(version, at, reason, is_forced=True, force_reason=force_reason, objections=decision.objections)


def _let_serve(home: Path, manifest: Manifest, promotion: Promotion) -> None:
    card = render_markdown(build_card(manifest, promotion))
    tracking.set_champion(
        home,
        bundle_version=promotion.version,
        reason=promotion.reason,
        at=promotion.at,
        force=(promotion.force_reason, promotion.objections) if promotion.is_forced else None,
    )
    append_promotion(home, promotion)
    tracking.log_card(home, bundle_version=promotion.version, text=card)


def roll_back(home: Path, *, at: str) -> Promotion:
    """Let the bundle serve that served before the champion.

    Raises:
        ModelError: If no other version served before.
        BundleError: If its bundle does not load.
    """
    history = read_history(home)
    earlier = find_predecessor(history)
    if earlier is None:
        raise ModelError("No other model served before this one.", remedy="Train and promote another one first.")
    manifest = load_bundle(bundles_folder(home) / earlier).manifest
    before = next(entry for entry in reversed(history) if entry.version == earlier)
    reason = f"rolled back from {history[-1].version}"
    promotion = replace(before, at=at, reason=reason, is_rollback=True)  # what was forced once stays marked
    _let_serve(home, manifest, promotion)
    return promotion
