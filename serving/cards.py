"""The model card: what the champion learned from, how well it did on later time, and what it looks at."""

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from serving.champion.refusal import Refusal, Untried
from serving.scoring import FLAGS
from training.bundle import Manifest
from training.card.model_card import build_card
from training.promotion.champion import Promotion


class PromotionCard(BaseModel):
    """How a model came to serve."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Annotated[str, Field(description="ISO 8601 time.")]
    reason: Annotated[str, Field(description="In words.")]
    is_rollback: Annotated[bool, Field(description="Whether a rollback led back to it.")]
    is_forced: Annotated[bool, Field(description="Whether the gate had objected, and was overruled.")]
    force_reason: Annotated[str, Field(description="Why it was overruled; empty where it was not.")]
    objections: Annotated[list[str], Field(description="What the gate had objected then.")]


class RefusedChampion(BaseModel):
    """A champion that was promoted and does not serve."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[str | None, Field(description="Which one; null where the champion file names none.")]
    reason: Annotated[str, Field(description="What is wrong with it.")]
    remedy: Annotated[str, Field(description="What to do about it.")]
    at: Annotated[str, Field(description="When it was refused, ISO 8601.")]


class UntriedChampion(BaseModel):
    """A champion that was promoted and could not be tried yet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[str | None, Field(description="Which one; null where the champion file names none.")]
    reason: Annotated[str, Field(description="What kept it from being tried.")]
    remedy: Annotated[str, Field(description="What to do about it.")]
    at: Annotated[str, Field(description="When that was, ISO 8601.")]


class ModelCard(BaseModel):
    """What is known about the model that answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[str, Field(description="Version of the bundle; equal versions are equal bytes.")]
    model_version: Annotated[str, Field(description="The same, by the name that scores give it.")]
    catalogue_hash: Annotated[str, Field(description="Of the features that the model reads.")]
    run_id: Annotated[int | None, Field(description="Of the run that is published now; null where nothing is.")]
    as_of: Annotated[str, Field(description="As trained_as_of, by the name that scores give it.")]
    trained_as_of: Annotated[str, Field(description="ISO date; nothing on or after it was seen in training.")]
    horizon_days: Annotated[int, Field(description="Length of the outcome that every probability is about.")]
    timezone: Annotated[str, Field(description="Time zone in which the shop's days begin.")]
    intended_use: Annotated[list[str], Field(description="What it was made for.")]
    not_for: Annotated[list[str], Field(description="What it must not be used for.")]
    limits: Annotated[list[str], Field(description="What it cannot do on this shop's data, in words.")]
    promotion: Annotated[PromotionCard | None, Field(description="How it came to serve; null where that is not known.")]
    refused: Annotated[
        RefusedChampion | None, Field(description="A champion that was promoted since, and refused; null where none.")
    ]
    data: Annotated[dict[str, Any], Field(description="Counts and window of the orders; nothing of any customer.")]
    notes: Annotated[list[str], Field(description="What training had to give up on this data, in words.")]
    evaluation: Annotated[dict[str, Any], Field(description="The backtest on later time, rung by rung of the ladder.")]
    ladder: Annotated[
        list[dict[str, Any]],
        Field(description="Each model's deciding metric, and AUC of churn, with 90 % intervals; means over cutoffs."),
    ]
    comparisons: Annotated[
        list[dict[str, Any]], Field(description="Ours less each rung's, with 90 % intervals; below 0, ours is better.")
    ]
    slices: Annotated[list[dict[str, Any]], Field(description="Our figures for parts of the customers.")]
    calibration: Annotated[dict[str, float], Field(description="How well the churn probabilities fit what came.")]
    stage_thresholds: Annotated[dict[str, Any], Field(description="The learned limits of the stage rule.")]
    features: Annotated[list[dict[str, str]], Field(description="Each feature with its unit and meaning.")]
    drivers: Annotated[dict[str, float], Field(description="Input → share of the churn model's gain.")]
    drivers_by_theme: Annotated[
        dict[str, float], Field(description="Theme → mean size of its part in p_churn; empty where not measured.")
    ]
    flags: Annotated[dict[str, str], Field(description="What the flag codes of a score mean.")]
    libraries: Annotated[dict[str, str], Field(description="Library versions the model was trained with.")]


def build_model_card(
    manifest: Manifest,
    promotion: Promotion | None = None,
    *,
    run_id: int | None = None,
    refused: Refusal | None = None,
) -> ModelCard:
    """Build the card of a bundle.

    Args:
        manifest: Of the bundle.
        promotion: How it came to serve.
        run_id: Of the run that is published.
        refused: A champion that was promoted since, and refused.
    """
    card = build_card(manifest, promotion)
    return ModelCard(
        version=manifest.version,
        model_version=manifest.version,
        catalogue_hash=manifest.catalogue_hash,
        run_id=run_id,
        as_of=manifest.trained_as_of,
        trained_as_of=manifest.trained_as_of,
        horizon_days=manifest.horizon_days,
        timezone=manifest.timezone,
        intended_use=list(card.intended_use),
        not_for=list(card.not_for),
        limits=list(card.limits),
        promotion=None if promotion is None else _describe(promotion),
        refused=describe_refusal(refused),
        data=manifest.data,
        notes=manifest.notes,
        evaluation=manifest.evaluation,
        ladder=list(card.ladder),
        comparisons=list(card.comparisons),
        slices=list(card.slices),
        calibration=card.calibration,
        stage_thresholds=manifest.stage_rule,
        features=manifest.catalogue,
        drivers=manifest.drivers,
        drivers_by_theme=card.drivers_by_theme,
        flags=FLAGS,
        libraries=manifest.libraries,
    )


def describe_refusal(refused: Refusal | None) -> RefusedChampion | None:
    """Tell of a champion that was refused, if one was."""
    return None if refused is None else RefusedChampion(**asdict(refused))


def describe_untried(untried: Untried | None) -> UntriedChampion | None:
    """Tell of a champion that could not be tried, if one could not."""
    return None if untried is None else UntriedChampion(**asdict(untried))


def _describe(promotion: Promotion) -> PromotionCard:
    return PromotionCard(
        at=promotion.at,
        reason=promotion.reason,
        is_rollback=promotion.is_rollback,
        is_forced=promotion.is_forced,
        force_reason=promotion.force_reason,
        objections=list(promotion.objections),
    )
