"""Bundles gone wrong: by chance, by mistake, and by a forger who seals them again.

A number makes a mutant, always the same. Whatever the seal no longer fits must be refused. What was sealed again may
serve only if it answers as its golden rows say, and then with probabilities.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from tests.training.mutant_trees import TREES, Mutate, Rng, pick

MANIFEST = "manifest.json"
HOSTILE_TEXTS = ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400, '"90"', "null", "true", "[]", "{}")
HOSTILE_NUMBERS = ("-1", "0", "1e308", "-1e308", "5e-324", "2147483648", "-2147483649", "1e15", "0.5", "7")
DEEP = "[" * 50_000 + "]" * 50_000
HOSTILE_PATHS = ("../outside", "/etc/passwd", "a\x00b", "x" * 5000, "..", ".", "", "..\\outside", "\u202etxt")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bundle gone wrong.

    Args:
        name: Family and number, to make it again.
        folder: Where it lies, named as the version it claims to be, where it still claims one.
        is_broken: Whether it must be refused; otherwise it may serve if it answers with probabilities.
    """

    name: str
    folder: Path
    is_broken: bool


def make_mutant(seed: int, *, source: Path, other: Path, into: Path) -> Mutant:
    """Make a mutant.

    Args:
        seed: Its number.
        source: The folder of a sound bundle.
        other: The folder of another sound one, of the same shop.
        into: An empty folder to make it in.
    """
    rng = np.random.default_rng(seed)
    families = {**_BROKEN, **_SEALED_AGAIN}
    family = [*families][seed % len(families)]
    folder = Path(shutil.copytree(source, into / source.name))
    if family == "file of another":
        _take_file(rng, folder, other)
    elif family == "another under this name":
        shutil.rmtree(folder)
        shutil.copytree(other, folder)
    else:
        families[family](rng, folder)
    if family in _SEALED_AGAIN:
        folder = seal(folder)
    return Mutant(f"{family} {seed}", folder, is_broken=family in _BROKEN)


def seal(folder: Path) -> Path:
    """Do what a forger would: hash the files as they are, seal the manifest, and name the folder by its version."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        manifest["files"] = {
            name: _hash((folder / name).read_bytes()) if (folder / name).is_file() else value
            for name, value in manifest["files"].items()
        }
        stamp = str(manifest["trained_as_of"]).replace("-", "")
        manifest["version"] = f"{stamp}-{_hash(dump(manifest | {'version': ''}).encode())[:10]}"
        path.write_text(dump(manifest), encoding="utf-8")
        return folder.rename(folder.with_name(manifest["version"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return folder  # it can no longer be sealed, or its version names no folder


def dump(values: Any) -> str:
    """Write JSON as bundles hold it."""
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


def _hash(raw: bytes) -> str:
    return sha256(raw).hexdigest()


def _file(rng: Rng, folder: Path) -> Path:
    return Path(pick(rng, sorted(folder.iterdir())))


# --- not sealed again: refused, whatever they are


def _flip_bits(rng: Rng, folder: Path) -> None:
    path = _file(rng, folder)
    raw = bytearray(path.read_bytes())
    for at in rng.choice(len(raw), int(rng.integers(1, 5)), replace=False):
        raw[at] ^= 1 << int(rng.integers(8))
    path.write_bytes(raw)


def _cut(rng: Rng, folder: Path) -> None:
    path = _file(rng, folder)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(rng.integers(len(raw)))])


def _insert(rng: Rng, folder: Path) -> None:
    path = _file(rng, folder)
    raw = path.read_bytes()
    at = int(rng.integers(len(raw) + 1))
    path.write_bytes(raw[:at] + pick(rng, (b" ", b"\n", b"0", b"\x00", b"\xef\xbb\xbf", raw)) + raw[at:])


def _remove(rng: Rng, folder: Path) -> None:
    _file(rng, folder).unlink()


def _add(rng: Rng, folder: Path) -> None:
    name = pick(rng, ("extra.txt", ".hidden", "model.json.bak", "order_worth.txt", "model.pkl", "__init__.py"))
    (folder / name).write_bytes(rng.bytes(100))


def _take_file(rng: Rng, folder: Path, other: Path) -> None:
    differing = [path for path in sorted(other.iterdir()) if path.read_bytes() != (folder / path.name).read_bytes()]
    chosen = pick(rng, [path for path in differing if path.name != MANIFEST])
    shutil.copy(chosen, folder / chosen.name)


def _replace_by_no_file(rng: Rng, folder: Path) -> None:
    """Put what is no plain file in a file's place: a link, a pipe, a folder, a device."""
    path = _file(rng, folder)
    kept = path.rename(folder.parent / "kept")
    makers: tuple[Callable[[], object], ...] = (
        lambda: path.symlink_to(kept),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to("/nowhere"),
        lambda: path.symlink_to(path),
        lambda: os.mkfifo(path),
        path.mkdir,
    )
    pick(rng, makers)()


def _link_folder(_rng: Rng, folder: Path) -> None:
    kept = folder.rename(folder.parent / "kept")
    folder.symlink_to(kept)


def _grow(rng: Rng, folder: Path) -> None:
    """Make a file larger than any is; the disk does not feel it."""
    os.truncate(_file(rng, folder), 100_000_000_000)


def _empty(_rng: Rng, folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


# --- sealed again: manifests


def _edit_manifest(change: Callable[[Rng, dict[str, Any]], None]) -> Mutate:
    def mutate(rng: Rng, folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        change(rng, manifest)
        (folder / MANIFEST).write_text(dump(manifest), encoding="utf-8")

    return mutate


def _other_format(rng: Rng, manifest: dict[str, Any]) -> None:
    key = pick(rng, ("format", "catalogue_hash", "horizon_days", "stage_rule", "notes", "catalogue"))
    swapped = manifest["catalogue"][::-1]
    value = {"format": 4, "catalogue_hash": "0" * 64, "horizon_days": 9999, "catalogue": swapped, "notes": ["x"]}
    manifest[key] = value.get(key, {})


def _odd_field(rng: Rng, manifest: dict[str, Any]) -> None:
    key = pick(rng, manifest)
    manifest[key] = pick(rng, (None, [], {}, "x", -1, 1e308, True, [[]], {"a": None}, ["a"], 10**30))


def _odd_path(rng: Rng, manifest: dict[str, Any]) -> None:
    path = pick(rng, HOSTILE_PATHS)
    if pick(rng, (True, False)):
        manifest["files"] = {**manifest["files"], path: "0" * 64}
    else:
        manifest[pick(rng, ("timezone", "trained_as_of", "catalogue_hash"))] = path


# --- sealed again: JSON


def _json_file(rng: Rng, folder: Path) -> Path:
    return folder / str(pick(rng, ("model.json", "model.json", "golden.json")))


def _edit_number(rng: Rng, folder: Path) -> None:
    """Replace one number of a JSON text by what is none, or by a hostile one."""
    path = _json_file(rng, folder)
    lines = path.read_text(encoding="utf-8").split("\n")
    at = pick(rng, [i for i, line in enumerate(lines) if line.rstrip(",")[-1:].isdigit()])
    head, comma = lines[at].rstrip(","), "," if lines[at].endswith(",") else ""
    start = max(head.rfind(" "), 0)
    new = pick(rng, (*HOSTILE_TEXTS, *HOSTILE_NUMBERS * 2, f"-{head[start + 1 :]}".replace("--", ""), DEEP))
    lines[at] = f"{head[: start + 1]}{new}{comma}"
    path.write_text("\n".join(lines), encoding="utf-8")


def _edit_key(rng: Rng, folder: Path) -> None:
    """Remove, add, or double a key somewhere in a JSON file."""
    path = _json_file(rng, folder)
    values = inner = json.loads(path.read_text(encoding="utf-8"))
    while nested := [value for value in inner.values() if isinstance(value, dict) and value]:
        if pick(rng, (True, False)):
            break
        inner = pick(rng, nested)
    key = pick(rng, inner)
    match pick(rng, ("remove", "add", "rename", "double")):
        case "remove":
            del inner[key]
        case "add":
            inner["surplus"] = inner[key]
        case "rename":
            inner[f"{key}_"] = inner.pop(key)
        case _:
            text = dump(values)
            path.write_text(text.replace("{\n", '{\n "features": [],\n "features": [],\n', 1), encoding="utf-8")
            return
    path.write_text(dump(values), encoding="utf-8")


def _swap_features(rng: Rng, folder: Path) -> None:
    """Change the order of features where the model names them, and in the manifest as well or not."""
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    one, two = rng.choice(len(model["features"]), 2, replace=False)
    _swap(model["features"], one, two)
    (folder / "model.json").write_text(dump(model), encoding="utf-8")
    if pick(rng, (True, False)):
        _edit_manifest(lambda _, manifest: _swap(manifest["catalogue"], one, two))(rng, folder)


def _swap(values: list[Any], one: int, two: int) -> None:
    values[one], values[two] = values[two], values[one]


def _other_bytes(rng: Rng, folder: Path) -> None:
    """Write the same in other bytes, or in no text at all."""
    path = _file(rng, folder)
    text = path.read_text(encoding="utf-8")
    forms: tuple[bytes, ...] = (
        text.encode("utf-16"),
        b"\xef\xbb\xbf" + text.encode(),
        text.replace("\n", "\r\n").encode(),
        text.encode() + b"\xff\xfe",
        text.encode() + b" ",
        b"",
    )
    path.write_bytes(pick(rng, forms))


_BROKEN: dict[str, Mutate] = {
    "bits flipped": _flip_bits,
    "cut off": _cut,
    "bytes inserted": _insert,
    "file removed": _remove,
    "file added": _add,
    "file of another": _empty,  # made with the other bundle at hand
    "another under this name": _empty,
    "no plain file": _replace_by_no_file,
    "folder is a link": _link_folder,
    "file too large": _grow,
    "no file at all": _empty,
}
_SEALED_AGAIN: dict[str, Mutate] = {
    "other format": _edit_manifest(_other_format),
    "odd field": _edit_manifest(_odd_field),
    "odd path": _edit_manifest(_odd_path),
    "number": _edit_number,
    "number of another kind": _edit_number,
    "key": _edit_key,
    "features swapped": _swap_features,
    "other bytes": _other_bytes,
    **TREES,
}
