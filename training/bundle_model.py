"""A model out of what a bundle holds: parameters, and trees as text."""

from collections.abc import Mapping
from typing import Any

from features.errors import BundleError
from features.lifecycle.segments import Segments
from features.lifecycle.stages import StageRule
from features.settings import ValueSettings
from training.bundle_files import REMEDY
from training.models.churn import PROCESS_INPUTS, ChurnModel
from training.models.inputs import input_names
from training.models.lifecycle import LifecycleModel
from training.models.next_segment import NextSegmentModel
from training.models.next_stage import NextStageModel
from training.models.prospects import ProspectModel
from training.models.purchase_process import PurchaseProcess
from training.models.reference import Reference
from training.models.tree_text import read_feature_names
from training.models.trees import Trees
from training.models.value import ValueModel

TREE_FILES = {"churn": "churn.txt", "next_stage": "next_stage.txt", "order_worth": "order_worth.txt"}


def tree_parts(model: LifecycleModel) -> Mapping[str, Trees | None]:
    """Return the trees of a model by the names that `TREE_FILES` has; None where nothing was learned."""
    return {
        "churn": model.churn.trees,
        "next_stage": model.next_stage.trees,
        "order_worth": model.order_worth.trees,
    }


def build_model(values: dict[str, Any], texts: Mapping[str, str]) -> LifecycleModel:
    """Build a model from its parameters and the texts of its trees, which are checked before LightGBM reads them.

    Args:
        values: As `LifecycleModel.to_dict` gives them.
        texts: File name → text; others than trees are not looked at.

    Raises:
        BundleError: If a text is no sound ensemble over the model's inputs.
        Exception: Whatever a forged parameter breaks.
    """
    features = tuple(str(name) for name in values["features"])
    n_inputs = len(input_names(features))
    # What the purchase process says comes last.
    n_columns = {
        "churn": n_inputs + len(PROCESS_INPUTS) * bool(values["churn"]["reads_process"]),
        "order_worth": n_inputs + 1,
    }
    trees = {
        name: Trees(texts[file], n_columns.get(name, n_inputs)) if file in texts else None
        for name, file in TREE_FILES.items()
    }
    for name, grown in trees.items():
        _check_inputs(grown, (*input_names(features), *(PROCESS_INPUTS if name == "churn" else ())))
    return LifecycleModel(
        horizon_days=int(values["horizon_days"]),
        stage_rule=StageRule.from_dict(values["stage_rule"]),
        segments=Segments.from_dict(values["segments"]),
        process=PurchaseProcess.from_dict(values["process"]),
        order_worth=ValueModel.from_dict(values["order_worth"], trees["order_worth"]),
        churn=ChurnModel.from_dict(values["churn"], trees["churn"]),
        next_stage=NextStageModel.from_dict(values["next_stage"], trees["next_stage"]),
        next_segment=NextSegmentModel.from_dict(values["next_segment"]),
        value=ValueSettings.model_validate(values["value"]),
        features=features,
        prospects=None if values["prospects"] is None else ProspectModel.from_dict(values["prospects"]),
        notes=tuple(str(note) for note in values["notes"]),
        search=tuple(dict(trial) for trial in values["search"]),
        reference=None
        if values["reference"] is None
        else Reference.from_dict(values["reference"], names=input_names(features)),
    )


def _check_inputs(trees: Trees | None, names: tuple[str, ...]) -> None:
    """Refuse trees that were grown on other inputs, or on the same in another order."""
    found = () if trees is None else read_feature_names(trees.text)
    if any(theirs != ours for theirs, ours in zip(found, names, strict=False)):  # the last may be the process's value
        raise BundleError("A tree model was grown on other inputs, or in another order.", remedy=REMEDY)
