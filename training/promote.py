"""Promotion and rollback: the gate's decision, carried out in the champion file and told to MLflow."""

from dataclasses import dataclass
from pathlib import Path

from features.errors import ModelError
from features.settings import GateSettings
from training import tracking
from training.bundle import Manifest, load_bundle
from training.champion import Promotion, append_promotion, bundles_folder, find_predecessor, read_history
from training.gate import Decision, decide


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a challenger.

    Args:
        manifest: Of the challenger.
        decision: Of the gate, with its reasons.
    """

    manifest: Manifest
    decision: Decision


def promote_challenger(home: Path, gate: GateSettings, *, at: str) -> Verdict:
    """Let the challenger serve if the gate lets it through; a refusal is recorded with its reasons.

    Args:
        home: Where bundles and the MLflow store live.
        gate: Margins.
        at: ISO 8601 time of the decision.

    Raises:
        ModelError: If there is no challenger.
        BundleError: If its bundle does not load.
    """
    read_history(home)  # a damaged file must stop the promotion before MLflow hears of it
    version = tracking.challenger_bundle_version(home)
    manifest = load_bundle(bundles_folder(home) / version).manifest
    decision = decide(manifest.evaluation, gate)
    if decision.is_promoted:
        reason = "passed the gate"
        tracking.set_champion(home, bundle_version=version, reason=reason, at=at)
        append_promotion(home, Promotion(version, at, reason))
    else:
        tracking.refuse(home, bundle_version=version, reasons=decision.objections, at=at)
    return Verdict(manifest, decision)


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
    load_bundle(bundles_folder(home) / earlier)
    promotion = Promotion(earlier, at, f"rolled back from {history[-1].version}", is_rollback=True)
    tracking.set_champion(home, bundle_version=promotion.version, reason=promotion.reason, at=at)
    append_promotion(home, promotion)
    return promotion
