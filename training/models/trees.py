"""LightGBM trees as text: checked for structure before the library may read them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

import lightgbm
import numpy as np
import numpy.typing as npt

from features.errors import BundleError

Matrix = npt.NDArray[np.float64]
_ROWS_WORTH_THREADS = 1000  # below this, waking the other threads costs more than they bring


@dataclass(frozen=True, slots=True)
class Trees:
    """An ensemble of trees that answers.

    Args:
        text: LightGBM's text format.
        n_features: Columns that a row must have.

    Raises:
        BundleError: If the text is not a sound ensemble over `n_features` columns.
    """

    text: str
    n_features: int
    _booster: lightgbm.Booster = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_structure(self.text, n_features=self.n_features)
        object.__setattr__(self, "_booster", lightgbm.Booster(model_str=self.text))

    @classmethod
    def from_booster(cls, booster: lightgbm.Booster) -> Self:
        """Keep the trees of a trained booster, and nothing of its data or training settings."""
        text = booster.model_to_string(importance_type="gain")
        return cls(text=text[: text.index("\nparameters:")], n_features=booster.num_feature())

    def predict(self, rows: Matrix) -> Matrix:
        """Return the ensemble's output after its link: (n,) for a binary model, (n, n_classes) for a multiclass one."""
        threads = 1 if rows.shape[0] < _ROWS_WORTH_THREADS else 0
        return np.asarray(self._booster.predict(rows, num_threads=threads), dtype=np.float64)

    def gain_importance(self) -> npt.NDArray[np.float64]:
        """Return each feature's share of the total gain, shape (n_features,)."""
        gain = np.asarray(self._booster.feature_importance("gain"), dtype=np.float64)
        return gain / gain.sum() if gain.sum() > 0 else gain


def check_structure(text: str, *, n_features: int) -> None:
    """Refuse a text whose trees are cyclic, cut off, out of range or not finite.

    LightGBM trusts what it reads; a crafted tree can make it write outside its memory.

    Raises:
        BundleError: With the first fault found.
    """
    header, _, body = text.partition("\nTree=")
    try:
        _require(header.startswith("tree"), "it does not begin as a LightGBM text model")
        _require(int(_fields(header)["max_feature_idx"]) == n_features - 1, "its feature count differs")
        trees = list(_tree_blocks(body))
        _require(bool(trees), "it has no tree")
        _require("end of trees" in text, "it is cut off")
        for tree in trees:
            _check_tree(tree, n_features=n_features)
    except (KeyError, ValueError, IndexError) as error:
        raise BundleError(
            f"A tree model was refused: {error}.", remedy="Train again, or restore the bundle from MLflow."
        ) from None


def _check_tree(tree: Mapping[str, str], *, n_features: int) -> None:
    n_leaves = int(tree["num_leaves"])
    _require(n_leaves >= 1, "a tree has no leaf")
    _require(int(tree["num_cat"]) == 0, "a tree splits on categories")
    _require(int(tree.get("is_linear", "0")) == 0, "a tree has linear leaves")
    leaves = _numbers(tree["leaf_value"])
    _require(leaves.size == n_leaves and bool(np.isfinite(leaves).all()), "leaf values are missing or not finite")
    if n_leaves == 1:
        return
    inner = {name: _numbers(tree[name]) for name in ("split_feature", "threshold", "decision_type")}
    _require(all(column.size == n_leaves - 1 for column in inner.values()), "a tree's columns differ in length")
    split = inner["split_feature"]
    _require(bool(((split >= 0) & (split < n_features)).all()), "a split names a feature that does not exist")
    _require(not np.isnan(inner["threshold"]).any(), "a threshold is not a number")
    _check_children(_numbers(tree["left_child"]), _numbers(tree["right_child"]), n_leaves)


def _check_children(left: Matrix, right: Matrix, n_leaves: int) -> None:
    """Inner nodes are 0 … n−2 and leaves −1 … −n; from the root, each must be reached exactly once."""
    children = np.concatenate([left, right])
    expected = np.concatenate([np.arange(-n_leaves, 0), np.arange(1, n_leaves - 1)])
    _require(bool(np.array_equal(np.sort(children), expected)), "a tree's children do not form a tree")
    reached, stack = 0, [0]
    while stack:
        node = stack.pop()
        reached += 1
        stack.extend(int(child) for child in (left[node], right[node]) if child >= 0)
        _require(reached <= n_leaves - 1, "a tree has a cycle")
    _require(reached == n_leaves - 1, "a tree has a cycle")


def _tree_blocks(body: str) -> Iterator[dict[str, str]]:
    trees_only = body.partition("end of trees")[0]
    for block in trees_only.split("\nTree="):
        if block.strip():
            yield _fields(block)


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _numbers(text: str) -> Matrix:
    return np.array([float(part) for part in text.split()], dtype=np.float64)


def _require(condition: bool, fault: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not condition:
        raise ValueError(fault)
