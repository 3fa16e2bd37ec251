"""A strict reader of LightGBM's text format, which LightGBM itself trusts.

A crafted tree can make LightGBM read or write outside its memory. So a text is read here first, in the one
form that LightGBM writes, and anything else is refused: what this reader does not know, LightGBM never sees.
"""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from features.errors import BundleError

_HEADER = (
    *("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective"),
    *("feature_names", "feature_infos", "tree_sizes"),
)
_VERSION = "v4"
_ONE_INTEGER = frozenset({"num_leaves", "num_cat", "is_linear"})
_STRUCTURE = frozenset({"split_feature", "decision_type", "left_child", "right_child"})
_COUNTS = frozenset({"internal_count", "leaf_count"})
_INTEGERS = _STRUCTURE | _COUNTS
_PER_SPLIT = frozenset({*_STRUCTURE, "split_gain", "threshold", "internal_value", "internal_weight", "internal_count"})
_PER_LEAF = frozenset({"leaf_value", "leaf_weight", "leaf_count"})
_TREE = frozenset({*_ONE_INTEGER, *_PER_SPLIT, *_PER_LEAF, "shrinkage"})
_NEEDED = frozenset({*_ONE_INTEGER, "leaf_value"})
_NEEDED_TO_SPLIT = frozenset({*_INTEGERS, "threshold"})  # Shapley values weigh branches by counts

_INTEGER = re.compile(r"-?[0-9]{1,9}")
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,25})?(e[+-]?[0-9]{1,3})?")
_INFO = re.compile(rf"none|\[{_NUMBER.pattern}:{_NUMBER.pattern}\]")
_END = re.compile(r"end of trees\n(\nfeature_importances:\n([A-Za-z0-9_]+=[0-9]+\n)*)?")
_PRINTABLE = re.compile(r"[\n -~]*")
_MISSING_AGAINST_ALL = frozenset({"inf", "-inf"})  # a threshold that parts the missing from all others
_NUMERICAL_DECISIONS = frozenset({0, 2, 4, 6, 8, 10})  # bit 0 would split on categories
_MAX_TREES = 20_000
_MAX_LEAVES = 1024  # Shapley values are found by recursion, as deep as a tree is
_MAX_LEAF_VALUE = 1e15  # larger ones are no log-odds and no money, and their sums overflow
_BINARY, _REGRESSION = "binary sigmoid:1", "regression"  # of one output; least squares has no link


class TreesKind(NamedTuple):
    """What an ensemble answers.

    Attributes:
        n_outputs: 1 for a binary or regression model, else the number of classes.
        is_regression: Whether its output is a number, and no probability.
    """

    n_outputs: int
    is_regression: bool


class _FaultError(ValueError):
    """What is wrong with a text."""


def check_structure(text: str, *, n_features: int) -> TreesKind:
    """Refuse a text whose trees are cyclic, cut off, out of range, not finite, or written in any other form.

    Args:
        text: LightGBM's text format, without training parameters.
        n_features: Columns that a row will have.

    Returns:
        What the ensemble answers, by its objective.

    Raises:
        BundleError: With the first fault found.
    """
    try:
        return _check(text, n_features)
    except _FaultError as fault:
        raise BundleError(
            f"A tree model was refused: {fault}.", remedy="Train again, or restore the bundle from MLflow."
        ) from None


def _check(text: str, n_features: int) -> TreesKind:
    _require(_PRINTABLE.fullmatch(text) is not None, "it holds characters that no tree model has")
    head, *blocks = text.split("\nTree=")
    _require(bool(blocks), "it has no tree")
    _require(len(blocks) <= _MAX_TREES, "it has more trees than are ever grown")
    last, found, end = blocks[-1].partition("end of trees")
    _require(bool(found) and _END.fullmatch(found + end) is not None, "it is cut off")
    blocks[-1] = last
    header = _read_header(head)
    kind = _check_header(header, n_features)
    _require(len(blocks) % kind.n_outputs == 0, "its trees do not divide among its classes")
    sizes = [len(f"Tree={block}\n") for block in blocks[:-1]] + [len(f"Tree={blocks[-1]}")]
    _require(_integers(header["tree_sizes"]) == sizes, "its tree sizes are not those of its trees")
    for position, block in enumerate(blocks):
        _check_tree(_read_tree(block, position), n_features)
    return kind


def read_feature_names(text: str) -> tuple[str, ...]:
    """Return the names of the columns that a text was grown on, in order; the text must be a sound one."""
    line = next(line for line in text.split("\n") if line.startswith("feature_names="))
    return tuple(line.removeprefix("feature_names=").split(" "))


def _read_header(head: str) -> dict[str, str]:
    _require(head.startswith("tree\n") and head.endswith("\n"), "it does not begin as a LightGBM text model")
    return _read_fields(head[len("tree\n") : -1].split("\n"), known=frozenset(_HEADER), needed=frozenset(_HEADER))


def _check_header(header: dict[str, str], n_features: int) -> TreesKind:
    is_ours = header["version"] == _VERSION and header["label_index"] == "0"
    _require(is_ours, "it is of another version of the format")
    _require(_integer(header["max_feature_idx"]) == n_features - 1, "its feature count differs")
    _require(len(header["feature_names"].split(" ")) == n_features, "its feature names differ in number")
    infos = header["feature_infos"].split(" ")
    _require(len(infos) == n_features and all(map(_INFO.fullmatch, infos)), "its feature ranges are not in order")
    n_outputs = _integer(header["num_class"])
    _require(n_outputs >= 1 and _integer(header["num_tree_per_iteration"]) == n_outputs, "its class counts differ")
    allowed = (_BINARY, _REGRESSION) if n_outputs == 1 else (f"multiclass num_class:{n_outputs}",)
    _require(header["objective"] in allowed, "its objective is not one of ours")
    return TreesKind(n_outputs, header["objective"] == _REGRESSION)


def _read_tree(block: str, position: int) -> dict[str, str]:
    number, *lines = block.split("\n")
    _require(number == str(position), "its trees are not numbered in order")
    fields = _read_fields(_without_end(lines), known=_TREE, needed=_NEEDED)
    if _integer(fields["num_leaves"]) > 1:
        _require(fields.keys() >= _NEEDED_TO_SPLIT, "a tree lacks a column")
    return fields


def _without_end(lines: list[str]) -> list[str]:
    kept = list(lines)
    while kept and kept[-1] == "":
        kept.pop()
    return kept


def _read_fields(lines: Iterable[str], *, known: frozenset[str], needed: frozenset[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        _require(bool(equals) and name in known and name not in fields, "it has a line that no tree model has")
        fields[name] = value
    _require(fields.keys() >= needed, "it lacks a line")
    return fields


def _check_tree(tree: dict[str, str], n_features: int) -> None:
    n_leaves = _integer(tree["num_leaves"])
    _require(n_leaves >= 1, "a tree has no leaf")
    _require(n_leaves <= _MAX_LEAVES, "a tree has more leaves than are ever grown")
    _require(_integer(tree["num_cat"]) == 0 and _integer(tree["is_linear"]) == 0, "a tree is not a plain one")
    _require(_NUMBER.fullmatch(tree.get("shrinkage", "1")) is not None, "a tree's shrinkage is no number")
    for name in tree.keys() - _ONE_INTEGER - {"shrinkage"}:
        values = tree[name].split(" ") if tree[name] else []
        pattern = _INTEGER if name in _INTEGERS else _NUMBER
        expected = n_leaves if name in _PER_LEAF else n_leaves - 1
        is_unsplit = n_leaves == 1 and not values and name != "leaf_value"
        _require(len(values) == expected or is_unsplit, "a tree's columns differ in length")
        finite = [value for value in values if not (name == "threshold" and value in _MISSING_AGAINST_ALL)]
        _require(all(map(pattern.fullmatch, finite)), "a tree holds what is no number")
        _require(all(math.isfinite(float(value)) for value in finite), "a tree holds a number that is not finite")
    leaf_values = map(float, tree["leaf_value"].split())
    _require(all(abs(value) <= _MAX_LEAF_VALUE for value in leaf_values), "a leaf's value is too large")
    if n_leaves > 1:
        _check_splits(tree, n_leaves, n_features)


def _check_splits(tree: dict[str, str], n_leaves: int, n_features: int) -> None:
    split, decision = _integers(tree["split_feature"]), _integers(tree["decision_type"])
    _require(all(0 <= feature < n_features for feature in split), "a split names a feature that does not exist")
    _require(_NUMERICAL_DECISIONS.issuperset(decision), "a split is not a plain numerical one")
    left, right = _integers(tree["left_child"]), _integers(tree["right_child"])
    _check_children(left, right, n_leaves)
    _check_counts(left, right, _integers(tree["internal_count"]), _integers(tree["leaf_count"]))


def _check_children(left: list[int], right: list[int], n_leaves: int) -> None:
    """Inner nodes are 0 … n−2 and leaves −1 … −n; from the root, each must be reached exactly once."""
    expected = [*range(-n_leaves, 0), *range(1, n_leaves - 1)]
    _require(sorted(left + right) == expected, "a tree's children do not form a tree")
    reached, stack = 0, [0]
    while stack:
        node = stack.pop()
        reached += 1
        stack.extend(child for child in (left[node], right[node]) if child >= 0)
        _require(reached <= n_leaves - 1, "a tree has a cycle")
    _require(reached == n_leaves - 1, "a tree has a cycle")


def _check_counts(left: list[int], right: list[int], nodes: list[int], leaves: list[int]) -> None:
    """Each leaf must have rows, and each inner node those of its two children."""
    of = [*nodes, *reversed(leaves)]  # the child −1, the last of the list, is leaf 0
    _require(min(leaves) > 0, "a leaf has no rows")
    _require(
        all(count == of[one] + of[other] for count, one, other in zip(nodes, left, right, strict=True)),
        "a tree's counts of rows do not add up",
    )


def _integers(text: str) -> list[int]:
    return [_integer(part) for part in text.split(" ")]


def _integer(text: str) -> int:
    _require(_INTEGER.fullmatch(text) is not None, "it holds what is no whole number")
    return int(text)


def _require(condition: bool, fault: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not condition:
        raise _FaultError(fault)
