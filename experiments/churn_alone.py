"""Churn learned as training learns it, without the rest of the answer: for questions that ask it often."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features.records import Records
from features.settings import Settings
from training.evaluation.ladder import churn_by_base_rate, churn_by_recency
from training.fitters.btyd import fit_process
from training.fitters.churn import ChurnExamples, LearnedChurn, fit_churn, regrow_churn
from training.fitters.habits import learn_habits
from training.fitters.lifecycle import churn_examples
from training.learn import Past, build_past
from training.models.churn import ChurnModel, process_view
from training.models.inputs import features_of, input_names, mean_order_value, model_inputs, purchase_summary
from training.models.purchase_process import PurchaseProcess
from training.splits import Fold

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ChurnAlone:
    """What was learned of churn at one cutoff, and who is asked about.

    Args:
        past: What was known.
        process: The purchase process of the customers at the cutoff.
        examples: Of each training cutoff, the youngest first.
        names: Of the inputs' columns.
        inputs: Of the customers at the cutoff, (n, len(names)).
        view: What the process says of them, (n, 3).
        learned: From the examples.
    """

    past: Past
    process: PurchaseProcess
    examples: tuple[ChurnExamples, ...]
    names: tuple[str, ...]
    inputs: Matrix
    view: Matrix
    learned: LearnedChurn

    @property
    def ids(self) -> pl.Series:
        """Of the customers at the cutoff, length n."""
        return self.past.present["customer_id"]

    @property
    def p_churn(self) -> Vector:
        """P(no order in the horizon) as training would ship it, (n,)."""
        return self.ask(self.learned.model)

    def ask(self, churn: ChurnModel) -> Vector:
        """Return what a churn model says of the customers at the cutoff, (n,)."""
        return churn.p_churn(self.inputs, self.view)

    def regrow(self, churn: ChurnModel, *, seed: int) -> ChurnModel:
        """Learn the trees of a churn model with another seed, in the shape that was chosen."""
        return regrow_churn(churn, self.examples, names=self.names, shape=self.learned.shape, seed=seed)

    def carry(self, ends_days: Vector, *, horizon_days: int) -> Matrix:
        """Return P(no order within each of k other spans), (n, k), by the purchase process tied to p_churn."""
        tied = self.process.tie(purchase_summary(self.past.present), self.p_churn, horizon_days=horizon_days)
        return self.process.p_no_order_curve(tied, ends_days=ends_days)

    def base_rate(self) -> Vector:
        """Return what the ladder's base rate says, (n,)."""
        return churn_by_base_rate(self._labels, self.past.present)

    def recency_rule(self) -> Vector:
        """Return what the ladder's recency rule says, (n,)."""
        table = pl.concat([each.table for each in self.past.examples])
        return churn_by_recency(table, self._labels, self.past.present)

    @property
    def _labels(self) -> pl.DataFrame:
        return pl.concat([each.labels for each in self.past.examples])


def learn_churn_alone(records: Records, fold: Fold, *, settings: Settings) -> ChurnAlone:
    """Learn churn from what was known at the fold's cutoff.

    Raises:
        ConvergenceError: If the purchase process has no fit.
    """
    past, horizon_days = build_past(records, fold, settings=settings), settings.training.horizon_days
    present, features = past.present, features_of(past.present)
    summary = purchase_summary(present)
    habits = learn_habits(present)
    process, _ = fit_process(summary, settings, mean_order_value=mean_order_value(present), habits=habits)
    view = process_view(process.timing, summary, horizon_days=horizon_days)
    examples = tuple(churn_examples(each, features, settings) for each in past.examples)
    inputs, names = model_inputs(present, features), input_names(features)
    learned = fit_churn(
        examples, names=names, present=(inputs, view), horizon_days=horizon_days, settings=settings.training
    )
    return ChurnAlone(past, process, examples, names, inputs, view, learned)
