"""Trees: a text that LightGBM would trust is checked before LightGBM reads it."""

import lightgbm
import numpy as np
import pytest

from features.errors import BundleError
from training.models.inputs import input_names
from training.models.lifecycle import LifecycleModel
from training.models.tree_text import check_structure
from training.models.trees import Trees

TREE = {
    "num_leaves": "3",
    "num_cat": "0",
    "split_feature": "0 1",
    "split_gain": "9 8",
    "threshold": "1.5 2.5",
    "decision_type": "2 2",
    "left_child": "1 -1",
    "right_child": "-3 -2",
    "leaf_value": "0.1 0.2 -0.3",
    "leaf_weight": "1 1 1",
    "leaf_count": "1 1 1",
    "internal_value": "0 0",
    "internal_weight": "0 0",
    "internal_count": "3 2",
    "is_linear": "0",
    "shrinkage": "1",
}


def _text(*, more: str = "", **changes: str) -> str:
    fields = "".join(f"{name}={value}\n" for name, value in {**TREE, **changes}.items())
    tree = f"Tree=0\n{fields}{more}\n\n"
    header = (
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=1\n"
        "objective=binary sigmoid:1\nfeature_names=a b\nfeature_infos=[0:9] [0:9]\n"
        f"tree_sizes={len(tree)}\n\n"
    )
    return f"{header}{tree}end of trees\n\nfeature_importances:\na=1\n"


def test_sound() -> None:
    """A sound tree is read, and answers by the leaf that its splits lead to."""
    rows = np.array([[1.0, 2.0], [1.0, 3.0], [2.0, 0.0]])
    expected = 1 / (1 + np.exp(-np.array([0.1, 0.2, -0.3])))
    assert Trees(_text(), 2).predict(rows) == pytest.approx(expected)


def test_regression() -> None:
    """Trees of least squares answer the value of their leaf, and say that it is no probability."""
    binary, rows = _text(), np.array([[1.0, 2.0], [1.0, 3.0], [2.0, 0.0]])
    trees = Trees(binary.replace("objective=binary sigmoid:1", "objective=regression"), 2)
    assert trees.predict(rows) == pytest.approx([0.1, 0.2, -0.3])
    assert (trees.n_outputs, trees.is_regression, Trees(binary, 2).is_regression) == (1, True, False)


@pytest.mark.parametrize(
    "objective", ["regression sqrt", "regression_l1", "tweedie tweedie_variance_power:1.5", "gamma", "binary sigmoid:2"]
)
def test_other_objective(objective: str) -> None:
    """What LightGBM would read, and we never write, is refused: the objective is the link of the answer."""
    with pytest.raises(BundleError, match="not one of ours"):
        check_structure(_text().replace("objective=binary sigmoid:1", f"objective={objective}"), n_features=2)


def test_regression_of_classes() -> None:
    """A regression has one output."""
    text = _text().replace("objective=binary sigmoid:1", "objective=regression")
    for name in ("num_class", "num_tree_per_iteration"):
        text = text.replace(f"{name}=1", f"{name}=2")
    with pytest.raises(BundleError, match="not one of ours"):
        check_structure(text, n_features=2)


CRAFTED = {
    "cycle": {"left_child": "1 0"},
    "node that leads to itself": {"num_leaves": "4", "left_child": "1 -1 2", "right_child": "-3 -2 -4"},
    "child beyond the nodes": {"left_child": "7 -1"},
    "child beyond the leaves": {"left_child": "1 -9"},
    "child in exponent form": {"left_child": "1000e-3 -1"},
    "feature beyond the columns": {"split_feature": "0 2"},
    "feature below zero": {"split_feature": "0 -1"},
    "feature in exponent form": {"split_feature": "99999e-9 1"},
    "feature that is no whole number": {"split_feature": "0.5 1"},
    "number with underscores": {"num_leaves": "0_3"},
    "leaf too large to add up": {"leaf_value": "1e308 0.2 -0.3"},
    "leaf without rows": {"leaf_count": "1 0 2"},
    "leaf of fewer rows than none": {"leaf_count": "-1 3 1"},
    "node of more rows than its children": {"internal_count": "9 2"},
    "node of fewer rows than its children": {"internal_count": "3 1"},
    "rows in exponent form": {"internal_count": "3e0 2"},
    "leaf not a number": {"leaf_value": "0.1 nan -0.3"},
    "leaf without end": {"leaf_value": "0.1 inf -0.3"},
    "too few leaves": {"leaf_value": "0.1 0.2"},
    "threshold not a number": {"threshold": "nan 2.5"},
    "categories counted": {"num_cat": "1"},
    "categories not counted": {"decision_type": "1 2"},
    "decision type unknown": {"decision_type": "2 999"},
    "linear leaves": {"is_linear": "1"},
    "no leaves": {"num_leaves": "0"},
    "leaves below zero": {"num_leaves": "-1"},
    "columns that differ in length": {"threshold": "1.5"},
    "words for numbers": {"split_feature": "zero one"},
    "shrinkage not a number": {"shrinkage": "nan"},
    "no split, and no leaf's value": dict.fromkeys(TREE, "") | {"num_leaves": "1", "num_cat": "0", "is_linear": "0"},
    # LightGBM stops at the first blank line, at 22 lines, and only at line feeds.
    "second opinion after a blank line": {"left_child": "7 -1", "more": "\nleft_child=1 -1\n"},
    "second opinion on a key": {"left_child": "7 -1", "more": "left_child=1 -1\n"},
    "second opinion after a form feed": {"left_child": "7 -1", "shrinkage": "1\x0cleft_child=1 -1"},
}


@pytest.mark.parametrize("fault", CRAFTED)
def test_crafted(fault: str) -> None:
    """A tree that could lead LightGBM astray is refused."""
    with pytest.raises(BundleError, match="A tree model was refused"):
        check_structure(_text(**CRAFTED[fault]), n_features=2)


@pytest.mark.parametrize(
    "missing",
    ["num_leaves", "leaf_value", "left_child", "right_child", "decision_type", "internal_count", "leaf_count"],
)
def test_missing(missing: str) -> None:
    """A tree that lacks a part is refused."""
    text = "\n".join(line for line in _text().split("\n") if not line.startswith(f"{missing}="))
    with pytest.raises(BundleError):
        check_structure(text, n_features=2)


@pytest.mark.parametrize("text", ["", "tree", "tree\nmax_feature_idx=1\n", "{}", "\nTree=0\n"])
def test_no_model(text: str) -> None:
    """What is no tree model at all is refused."""
    with pytest.raises(BundleError):
        check_structure(text, n_features=2)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("tree_sizes=", "tree_sizes=999999"),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=7"),
        ("num_class=1", "num_class=5"),
        ("version=v4", "version=v3"),
        ("label_index=0", "label_index=-7"),
    ],
)
def test_header(good: str, bad: str) -> None:
    """A header that does not fit its trees is refused: LightGBM would read or write outside its memory."""
    with pytest.raises(BundleError):
        check_structure(_text().replace(good, bad), n_features=2)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("objective=binary sigmoid:1", "objective=nonsense"),
        ("feature_infos=[0:9] [0:9]", "feature_infos=[0:9]"),
    ],
)
def test_refused_by_lightgbm(good: str, bad: str) -> None:
    """A text that LightGBM itself refuses is refused in our own words."""
    with pytest.raises(BundleError):
        Trees(_text().replace(good, bad), 2)


def test_other_width() -> None:
    """Trees over another number of columns are refused."""
    with pytest.raises(BundleError, match="feature count differs"):
        check_structure(_text(), n_features=3)


def test_cut_off(model: LifecycleModel) -> None:
    """A real text that is cut off anywhere before its end mark is refused."""
    assert model.churn.trees is not None
    text = model.churn.trees.text
    end = text.index("end of trees")
    for share in np.linspace(0.0, 1.0, 40, endpoint=False):
        with pytest.raises(BundleError):
            check_structure(text[: int(share * end)], n_features=len(input_names(model.features)))


def test_refused_before_reading() -> None:
    """A refused text never reaches the library: building the trees fails in the check."""
    with pytest.raises(BundleError, match="cycle"):
        Trees(_text(num_leaves="4", split_feature="0 1 0", threshold="1 2 3", decision_type="2 2 2",
                    split_gain="3 2 1", internal_value="0 0 0", internal_weight="0 0 0", internal_count="4 3 2",
                    leaf_value="1 2 3 4", leaf_weight="1 1 1 1", leaf_count="1 1 1 1",
                    left_child="-1 2 1", right_child="-2 -3 -4"), 2)  # fmt: skip


@pytest.mark.parametrize("objective", ["binary", "regression"])
def test_from_booster(objective: str) -> None:
    """Kept trees answer as the booster did, and keep nothing of its training settings."""
    rng = np.random.default_rng(1)
    rows, target = rng.normal(size=(300, 2)), rng.integers(0, 2, 300)
    booster = lightgbm.train(
        {"verbosity": -1, "num_threads": 1, "objective": objective}, lightgbm.Dataset(rows, target), 5
    )
    trees = Trees.from_booster(booster)
    assert np.array_equal(trees.predict(rows), booster.predict(rows))
    assert "parameters" not in trees.text
    assert trees.gain_importance().sum() == pytest.approx(1.0)


def test_missing_against_all() -> None:
    """A split that parts the missing from all others, which LightGBM writes as a threshold of infinity, is read."""
    trees = Trees(_text(threshold="inf 2.5", decision_type="10 2"), 2)
    assert np.isfinite(trees.predict(np.array([[np.nan, 2.0], [1.0, 3.0]]))).all()


def test_contributions() -> None:
    """Shapley values of a tree of two inputs are those worked out by hand, and add up to its answer."""
    # Of (1, 2): v() = 0, v(a) = 0.15, v(b) = -1/30, v(a, b) = 0.1, each branch weighed by its share of the rows.
    by_hand = [0.5 * (0.15 + (0.1 + 1 / 30)), 0.5 * (-1 / 30 + (0.1 - 0.15)), 0.0]
    found = Trees(_text(), 2).contributions(np.array([[1.0, 2.0], [1.0, 3.0], [2.0, 0.0]]))
    assert found[0] == pytest.approx(by_hand)
    assert found.sum(axis=1) == pytest.approx([0.1, 0.2, -0.3])


def test_too_many_trees() -> None:
    """A text of more trees than are ever grown is refused before they are read."""
    tree = _text().partition("Tree=0")[2].partition("end of trees")[0]
    with pytest.raises(BundleError, match="more trees"):
        check_structure(_text().replace("end of trees", f"\nTree=0{tree}" * 20_001 + "end of trees"), n_features=2)


def test_too_many_leaves() -> None:
    """A tree of more leaves than are ever grown is refused: explaining it would go as deep."""
    n = 1025
    chain = {
        "num_leaves": str(n),
        "left_child": " ".join(str(-1 - i) for i in range(n - 1)),
        "right_child": " ".join([*(str(i) for i in range(1, n - 1)), str(-n)]),
        **{name: " ".join(["0"] * (n - 1)) for name in ("split_feature", "split_gain", "internal_value")},
        **{name: " ".join(["1"] * (n - 1)) for name in ("threshold", "internal_weight", "internal_count")},
        **{name: " ".join(["1"] * n) for name in ("leaf_value", "leaf_weight", "leaf_count")},
        "decision_type": " ".join(["2"] * (n - 1)),
    }
    with pytest.raises(BundleError, match="more leaves"):
        Trees(_text(**chain), 2)
