"""The model card: what the champion learned from, how well it did on later time, and what it looks at."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from serving.scoring import FLAGS
from training.bundle import Manifest


class ModelCard(BaseModel):
    """What is known about the model that answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[str, Field(description="Version of the bundle; equal versions are equal bytes.")]
    trained_as_of: Annotated[str, Field(description="ISO date; nothing on or after it was seen in training.")]
    horizon_days: Annotated[int, Field(description="Length of the outcome that every probability is about.")]
    timezone: Annotated[str, Field(description="Time zone in which the shop's days begin.")]
    data: Annotated[dict[str, Any], Field(description="Counts and window of the orders; nothing of any customer.")]
    notes: Annotated[list[str], Field(description="What training had to give up on this data, in words.")]
    evaluation: Annotated[dict[str, Any], Field(description="The backtest on later time, rung by rung of the ladder.")]
    stage_thresholds: Annotated[dict[str, Any], Field(description="The learned limits of the stage rule.")]
    features: Annotated[list[dict[str, str]], Field(description="Each feature with its unit and meaning.")]
    drivers: Annotated[dict[str, float], Field(description="Input → share of the churn model's gain.")]
    flags: Annotated[dict[str, str], Field(description="What the flag codes of a score mean.")]
    libraries: Annotated[dict[str, str], Field(description="Library versions the model was trained with.")]


def build_model_card(manifest: Manifest) -> ModelCard:
    """Build the card of a bundle from its manifest."""
    return ModelCard(
        version=manifest.version,
        trained_as_of=manifest.trained_as_of,
        horizon_days=manifest.horizon_days,
        timezone=manifest.timezone,
        data=manifest.data,
        notes=manifest.notes,
        evaluation=manifest.evaluation,
        stage_thresholds=manifest.stage_rule,
        features=manifest.catalogue,
        drivers=manifest.drivers,
        flags=FLAGS,
        libraries=manifest.libraries,
    )
