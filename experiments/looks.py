"""Several answers to one question of churn, judged at the same cutoffs, on the same draws of customers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from features.settings import Settings
from features.snapshot import to_date
from training.evaluation.draws import People, Roster
from training.evaluation.findings import Finding, pool, tabulate
from training.evaluation.judging import Case, judge
from training.evaluation.ladder import Predictions
from training.models.churn import ChurnModel
from training.models.inputs import model_inputs, purchase_summary
from training.models.lifecycle import LifecycleModel

MEASURES = ("log_loss", "auc", "ece")

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Look:
    """One cutoff at which several answers are compared.

    Args:
        cutoff_day: Day number.
        said: Name → P(no order in the horizon), (n,); `lifestage` among them.
        came: 1 where no order came, (n,).
        ids: Of the customers, length n.
        slices: Name → who is in it, (n,).
        reruns: What `lifestage` says when it is learned with other seeds, (n,) each.
    """

    cutoff_day: int
    said: Mapping[str, Vector]
    came: npt.NDArray[np.int64]
    ids: pl.Series
    slices: Mapping[str, npt.NDArray[np.bool_]]
    reruns: Sequence[Vector] = field(default=())

    @property
    def cutoff(self) -> str:
        """The cutoff as an ISO date."""
        return to_date(self.cutoff_day).isoformat()


def ask_churn(model: LifecycleModel, churn: ChurnModel, present: pl.DataFrame) -> Vector:
    """Return what a churn model says where it stands in place of the model's own, (n,)."""
    return churn.p_churn(model_inputs(present, model.features), model.process_view(purchase_summary(present)))


def judge_looks(
    looks: Iterable[Look], settings: Settings, *, pairs: Sequence[tuple[str, str]] = ()
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Judge every answer at every cutoff, and the differences of `lifestage` and of pairs of others.

    Args:
        looks: The youngest first, so that a customer is drawn at all cutoffs or at none.
        settings: Draws, and their seed.
        pairs: Model and rival, beside those of `lifestage`.

    Returns:
        One row per cutoff, slice, model, metric and rival (`SCHEMA` of the backtest); and the means over cutoffs.
    """
    roster, frames, findings = Roster(), [], []
    for look in looks:
        roster = roster.enlist(look.ids)
        case = Case(
            {name: Predictions(p_churn=p) for name, p in look.said.items()},
            {"churn": look.came},
            people={"customers": People.among(roster, look.ids, look.slices)},
            reruns=[Predictions(p_churn=p) for p in look.reruns],
        )
        found = judge(case, settings)
        findings.append((*found, *(each for pair in pairs for each in _subtract(found, *pair))))
        frames.append(tabulate(findings[-1], cutoff=look.cutoff))
    return pl.concat(frames), pool(findings)


def _subtract(found: Sequence[Finding], model: str, rival: str) -> Iterator[Finding]:
    """Yield one model's figures minus another's, paired by draw, of all customers and of each slice."""
    drawn = {each.key: (each.value, each.n_customers, each.draws) for each in found if not each.key.against}
    for key, (value, n, draws) in drawn.items():
        other = drawn.get(key._replace(model=rival))
        if key.model == model and draws is not None and other and other[2] is not None:
            yield Finding(key._replace(against=rival), value - other[0], n, draws - other[2])


def lay_out(
    rows: pl.DataFrame, index: Sequence[str], measures: Sequence[str] = MEASURES, *, with_bounds: bool = True
) -> pl.DataFrame:
    """Put the metrics of findings side by side, each with the bounds of its interval where it was drawn."""
    table = rows.select(*index).unique(maintain_order=True)
    for metric in measures:
        bounds = {f"{metric}_{end}": end for end in ("low", "high") if with_bounds}
        part = rows.filter(metric=metric).select(*index, **{metric: "value"}, **bounds)
        table = table.join(part, on=index, how="left", maintain_order="left")
    return table.select(*index, *(column.name for column in table if column.name not in index and column.count()))
