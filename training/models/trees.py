"""LightGBM trees as text: checked for structure before the library may read them."""

from dataclasses import dataclass, field
from threading import Lock
from typing import Self

import lightgbm
import numpy as np
import numpy.typing as npt

from features.errors import BundleError
from training.models.tree_text import check_structure

Matrix = npt.NDArray[np.float64]
_ROWS_WORTH_THREADS = 1000  # below this, waking the other threads costs more than they bring
_END = "end of trees\n"
_EXPLAINING = Lock()  # LightGBM counts the depth of its trees anew for each call, and allocates by it: one at a time


@dataclass(frozen=True, slots=True)
class Trees:
    """An ensemble of trees that answers.

    Args:
        text: LightGBM's text format.
        n_features: Columns that a row must have.

    Attributes:
        n_outputs: 1 for a binary or regression model, else the number of classes.
        is_regression: Whether the output is a number, and no probability.

    Raises:
        BundleError: If the text is not a sound ensemble over `n_features` columns.
    """

    text: str
    n_features: int
    n_outputs: int = field(init=False, repr=False, compare=False)
    is_regression: bool = field(init=False, repr=False, compare=False)
    _booster: lightgbm.Booster = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kind = check_structure(self.text, n_features=self.n_features)
        object.__setattr__(self, "n_outputs", kind.n_outputs)
        object.__setattr__(self, "is_regression", kind.is_regression)
        try:
            object.__setattr__(self, "_booster", lightgbm.Booster(model_str=self.text))
        except lightgbm.basic.LightGBMError:
            raise BundleError("A tree model was refused by LightGBM.", remedy="Train again.") from None

    @classmethod
    def from_booster(cls, booster: lightgbm.Booster) -> Self:
        """Keep the trees of a trained booster, and nothing of its data or training settings."""
        text = booster.model_to_string()
        return cls(text=text[: text.index(_END) + len(_END)], n_features=booster.num_feature())

    def predict(self, rows: Matrix) -> Matrix:
        """Return the ensemble's output after its link: (n,) for one output, (n, n_classes) for a multiclass model."""
        threads = 1 if rows.shape[0] < _ROWS_WORTH_THREADS else 0
        return np.asarray(self._booster.predict(rows, num_threads=threads), dtype=np.float64)

    def contributions(self, rows: Matrix) -> Matrix:
        """Return each input's Shapley value, exact on the trees (Lundberg et al. 2020, TreeSHAP), of one output.

        Returns:
            Shape (n, n_features + 1), before the link; the last column is the mean over the training rows, the same in
            all. A row sums to what the trees answer before their link.
        """
        threads = 1 if rows.shape[0] < _ROWS_WORTH_THREADS else 0
        with _EXPLAINING:
            return np.asarray(self._booster.predict(rows, pred_contrib=True, num_threads=threads), dtype=np.float64)

    def gain_importance(self) -> npt.NDArray[np.float64]:
        """Return each feature's share of the total gain, shape (n_features,)."""
        gain = np.asarray(self._booster.feature_importance("gain"), dtype=np.float64)
        return gain / gain.sum() if gain.sum() > 0 else gain
