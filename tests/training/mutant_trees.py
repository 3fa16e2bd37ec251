"""Trees gone wrong, in texts whose sizes fit again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Rng = np.random.Generator
Mutate = Callable[[Rng, Path], None]


def pick(rng: Rng, values: Any) -> Any:
    """Pick one of some values."""
    known = list(values)
    return known[int(rng.integers(len(known)))]


def _edit_trees(change: Callable[[Rng, list[str]], list[str]]) -> Mutate:
    """Change the blocks of a tree file, the first of which is its header, and make its sizes fit."""

    def mutate(rng: Rng, folder: Path) -> None:
        path = folder / pick(rng, sorted(path.name for path in folder.glob("*.txt")))
        whole, _, rest = path.read_text(encoding="utf-8").partition("end of trees")
        head, *blocks = change(rng, whole.split("\nTree="))
        sizes = [len(f"Tree={block}\n") - (i + 1 == len(blocks)) for i, block in enumerate(blocks)]
        lines = [line for line in head.split("\n") if not line.startswith("tree_sizes=")]
        lines.insert(len(lines) - 1, f"tree_sizes={' '.join(map(str, sizes))}")
        path.write_text("\nTree=".join(["\n".join(lines), *blocks]) + "end of trees" + rest, encoding="utf-8")

    return mutate


def _edit_values(column: str, values: tuple[str, ...]) -> Mutate:
    """Replace one value of a column of one tree."""

    def change(rng: Rng, blocks: list[str]) -> list[str]:
        at = int(rng.integers(1, len(blocks)))
        lines = blocks[at].split("\n")
        row = next((i for i, line in enumerate(lines) if line.startswith(f"{column}=")), 0)
        parts = lines[row].removeprefix(f"{column}=").split(" ")
        parts[int(rng.integers(len(parts)))] = pick(rng, values)
        lines[row] = f"{column}={' '.join(parts)}"
        return [*blocks[:at], "\n".join(lines), *blocks[at + 1 :]]

    return _edit_trees(change)


def _edit_header(rng: Rng, blocks: list[str]) -> list[str]:
    changes = (
        ("objective=", "objective=custom "),
        ("objective=", "objective=x"),
        ("sigmoid:1", "sigmoid:-1"),
        ("sigmoid:1", "sigmoid:1 is_unbalance:1"),
        ("num_class=", "num_class=9"),
        ("num_tree_per_iteration=", "num_tree_per_iteration=-"),
        ("max_feature_idx=", "max_feature_idx=9"),
        ("version=v4", "version=v9"),
        ("label_index=0", "label_index=-7"),
        ("tree\n", "tree\naverage_output\n"),
        ("feature_names=", "feature_names=more "),
        ("feature_names=frequency recency_days", "feature_names=recency_days frequency"),
        ("feature_infos=", "feature_infos=none "),
    )
    old, new = pick(rng, [pair for pair in changes if pair[0] in blocks[0]])
    return [blocks[0].replace(old, new, 1), *blocks[1:]]


def _move_trees(rng: Rng, blocks: list[str]) -> list[str]:
    """Leave out, double or swap trees, and number them anew."""
    head, *trees = blocks
    one, two = (int(i) for i in rng.choice(len(trees) - 1, 2, replace=False))
    match pick(rng, ("leave out", "leave out most", "double", "swap")):
        case "leave out":
            del trees[one]
        case "leave out most":
            del trees[1:-1]
        case "double":
            trees.insert(one, trees[two])
        case _:
            trees[one], trees[two] = trees[two], trees[one]
    numbered = [f"{i}\n{tree.partition(chr(10))[2]}" for i, tree in enumerate(trees)]
    return [head, *numbered]


def _edit_lines(rng: Rng, blocks: list[str]) -> list[str]:
    """Leave out, double or cut a line of a tree."""
    at = int(rng.integers(1, len(blocks)))
    lines = blocks[at].split("\n")
    row = int(rng.integers(len(lines)))
    cut = lines[row][: len(lines[row]) // 2]
    lines[row : row + 1] = pick(rng, ([], [lines[row]] * 2, [cut], [f"{lines[row]} 0"], ["linear=1", lines[row]]))
    return [*blocks[:at], "\n".join(lines), *blocks[at + 1 :]]


def _edit_character(rng: Rng, folder: Path) -> None:
    """Change one character of a tree file for another that trees have, or for none of theirs."""
    path = folder / pick(rng, sorted(path.name for path in folder.glob("*.txt")))
    text = path.read_text(encoding="utf-8")
    at = int(rng.integers(len(text)))
    path.write_text(text[:at] + pick(rng, "0123456789-+.e =\n\tx\x00é") + text[at + 1 :], encoding="utf-8")


_BAD_CHILDREN = ("0", "1", "-1", "-2", "3", "-8", "99", "-99", "2147483647", "-2147483648", "99999999999", "nan", "")
_BAD_NUMBERS = ("nan", "inf", "-inf", "1e999", "-1e999", "1e308", "-1e308", "1e16", "0x10", "1_0", "", "--1", "1e15")
_BAD_COUNTS = ("0", "-1", "-5", "1", "999999999", "2147483648", "1.5", "nan")
_BAD_FEATURES = ("-1", "62", "64", "67", "68", "1000", "2147483647", "99999999999", "0", "1.0")
_BAD_DECISIONS = ("1", "3", "5", "9", "11", "12", "255", "-1", "0", "2", "nan")

TREES: dict[str, Mutate] = {
    "left child": _edit_values("left_child", _BAD_CHILDREN),
    "right child": _edit_values("right_child", _BAD_CHILDREN),
    "leaf value": _edit_values("leaf_value", _BAD_NUMBERS),
    "threshold": _edit_values("threshold", _BAD_NUMBERS),
    "split feature": _edit_values("split_feature", _BAD_FEATURES),
    "decision": _edit_values("decision_type", _BAD_DECISIONS),
    "leaf count": _edit_values("leaf_count", _BAD_COUNTS),
    "node count": _edit_values("internal_count", _BAD_COUNTS),
    "number of leaves": _edit_values("num_leaves", ("0", "-1", "1", "2", "999999", "2147483648", "7.0")),
    "categories": _edit_values("num_cat", ("1", "-1", "99")),
    "linear": _edit_values("is_linear", ("1", "-1", "true")),
    "shrinkage": _edit_values("shrinkage", ("nan", "0", "-1", "1e308", "x")),
    "header": _edit_trees(_edit_header),
    "trees moved": _edit_trees(_move_trees),
    "lines": _edit_trees(_edit_lines),
    "character": _edit_character,
}
