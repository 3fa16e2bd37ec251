"""The gate: a challenger serves only when it loses to nothing simpler, and says why either way."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from features.settings import GateSettings
from training.evaluate import CHAMPION, DECIDING
from training.ladder import OURS

_NAMES = {
    "churn": "churn",
    "next_stage": "next stage",
    "value": "value",
    "first_purchase": "first purchase",
    "registration": "registration",
}

_RELATIVE = {
    "value": "value_deviance_relative_margin",
    "first_purchase": "prospect_log_loss_relative_margin",
    "registration": "prospect_log_loss_relative_margin",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing the gate looked at.

    Args:
        holds: Whether it speaks for the challenger.
        text: In words, with the figures.
    """

    holds: bool
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate decided, and why."""

    reasons: tuple[Reason, ...]

    @property
    def is_promoted(self) -> bool:
        """Whether every reason holds."""
        return all(reason.holds for reason in self.reasons)

    @property
    def objections(self) -> tuple[str, ...]:
        """The reasons that do not hold, in words."""
        return tuple(reason.text for reason in self.reasons if not reason.holds)


def summarise(frame: pl.DataFrame) -> dict[str, Any]:
    """Condense a backtest to what travels in the bundle.

    Returns:
        `cutoffs`; `ladder`: mean per task, model and metric over the cutoffs at which it could be measured;
        `differences`: ours minus each rival on the deciding metric, per cutoff, with 90 % intervals.
    """
    measured = frame.filter(pl.col("against") == "")
    means = measured.group_by("task", "model", "metric", maintain_order=True).agg(
        pl.col("value").drop_nans().mean().alias("mean"), pl.col("value").drop_nans().len().alias("n_cutoffs")
    )
    differences = frame.filter(pl.col("against") != "").select("cutoff", "task", "against", "value", "low", "high")
    return {
        "cutoffs": frame["cutoff"].unique().sort().to_list(),
        "deciding": dict(DECIDING),
        "ladder": to_rows(means),
        "differences": to_rows(differences),
    }


def decide(evaluation: dict[str, Any], gate: GateSettings) -> Decision:
    """Judge a challenger by its own backtest.

    Args:
        evaluation: As `summarise` returns it.
        gate: Margins.
    """
    if not evaluation.get("ladder") or not evaluation.get("differences"):
        return Decision((Reason(holds=False, text="it carries no backtest"),))
    ladder = pl.DataFrame(evaluation["ladder"], infer_schema_length=None)
    differences = pl.DataFrame(evaluation["differences"], infer_schema_length=None)
    means = {(row["task"], row["model"], row["metric"]): row["mean"] for row in ladder.iter_rows(named=True)}
    return Decision(
        (
            *_against_rivals(differences, means, gate),
            _ranking(means, gate),
            _calibration(means, gate),
            _bias(means, gate),
            _standing(differences),
        )
    )


def to_record(decision: Decision) -> list[dict[str, Any]]:
    """Return the reasons as JSON values."""
    return [asdict(reason) for reason in decision.reasons]


def to_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows as JSON values; what is not a number becomes null."""
    return frame.with_columns(pl.selectors.float().fill_nan(None)).to_dicts()


def _against_rivals(differences: pl.DataFrame, means: dict[Any, Any], gate: GateSettings) -> Iterator[Reason]:
    for (task, rival), rows in differences.group_by("task", "against", maintain_order=True):
        measured = rows["value"].drop_nulls()
        task_name, rival_name, difference = str(task), str(rival), measured.mean()
        metric = DECIDING[task_name]
        if not isinstance(difference, float):
            yield Reason(holds=False, text=f"{_NAMES[task_name]}: {metric} against {rival_name} cannot be measured")
            continue
        allowed = _margin(task_name, means.get((task_name, rival_name, metric)), gate)
        holds = difference <= allowed or not _is_clear_of_noise(rows, above=min(allowed, 0.0))
        verdict = "beats" if difference < 0 else "is level with" if holds else "loses to"
        yield Reason(
            holds=holds,
            text=f"{_NAMES[task_name]}: {verdict} {rival_name} "
            f"({metric} {difference:+.4f}, {_cutoffs(measured.len())}, margin {allowed:.4f})",
        )


def _is_clear_of_noise(rows: pl.DataFrame, *, above: float) -> bool:
    """Tell whether a mean loss over cutoffs is above a bound by more than drawing other customers would move it.

    The half widths of the 90 % intervals add up as independent errors do, in squares.
    """
    measured = rows.drop_nulls(["value", "low", "high"])
    half_widths = ((measured["high"] - measured["low"]) / 2).to_numpy()
    mean = measured["value"].to_numpy().mean() if measured.height else 0.0
    return bool(mean - np.sqrt(np.square(half_widths).sum()) / max(measured.height, 1) > above)


def _cutoffs(n_cutoffs: int) -> str:
    return "1 cutoff" if n_cutoffs == 1 else f"{n_cutoffs} cutoffs"


def _margin(task: str, rival_mean: float | None, gate: GateSettings) -> float:
    if task in _RELATIVE:
        return float(getattr(gate, _RELATIVE[task])) * (rival_mean or 0.0)
    return gate.churn_log_loss_margin if task == "churn" else gate.next_stage_log_loss_margin


def _ranking(means: dict[Any, Any], gate: GateSettings) -> Reason:
    ours, rule = means.get(("churn", OURS, "auc")), means.get(("churn", "recency_rule", "auc"))
    if ours is None or rule is None:
        return Reason(holds=True, text="churn: ranking cannot be measured where only one outcome occurred")
    holds = ours >= rule - gate.churn_auc_margin
    return Reason(holds=holds, text=f"churn: AUC {ours:.4f} against {rule:.4f} of the recency rule")


def _calibration(means: dict[Any, Any], gate: GateSettings) -> Reason:
    """Object to a calibration error that is large and larger than a rung's: where the season moves, all are off."""
    errors = {model: mean for (task, model, metric), mean in means.items() if (task, metric) == ("churn", "ece")}
    ours = errors.pop(OURS)
    allowed = max(gate.churn_max_ece, min(errors.values(), default=0.0) + gate.churn_ece_margin)
    return Reason(ours <= allowed, f"churn: calibration error {ours:.4f}, at most {allowed:.4g} allowed")


def _bias(means: dict[Any, Any], gate: GateSettings) -> Reason:
    bias = means.get(("value", OURS, "relative_bias"))
    if bias is None:
        return Reason(
            holds=False, text="value: nothing was ordered in any test horizon, so its bias cannot be measured"
        )
    holds = abs(bias) <= gate.value_max_relative_bias
    return Reason(holds, f"value: total off by {bias:+.1%}, at most ±{gate.value_max_relative_bias:.0%} allowed")


def _standing(differences: pl.DataFrame) -> Reason:
    compared = differences.filter(pl.col("against") == CHAMPION).height > 0
    text = "compared with it on cutoffs after its training" if compared else "none to compare with on later time"
    return Reason(holds=True, text=f"standing champion: {text}")
