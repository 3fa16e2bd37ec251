"""Which files a path, a glob pattern or a folder names, and the columns that their folders name."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from urllib.parse import unquote

from features.errors import InputError, SourceNotFoundError

TEXT_SUFFIXES = tuple(f".{kind}{packed}" for packed in ("", ".gz", ".zst") for kind in ("csv", "tsv", "txt"))
PARQUET_SUFFIXES = (".parquet", ".pq")

_SUFFIXES = (*TEXT_SUFFIXES, *PARQUET_SUFFIXES)
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file, and the columns that its folders name, as in year=2024."""

    path: Path
    keys: Mapping[str, str | None]


def find_files(path: str) -> list[FoundFile]:
    """List the files that one path, pattern or folder names, in order.

    A folder stands for every file of a known kind in and beneath it. Folders named as in country=FR, beneath a
    folder or a pattern's first placeholder, give their files a column.

    Raises:
        SourceNotFoundError: If it names no file.
        InputError: If it is an address, or names a file of no known kind.
    """
    if scheme := re.match(r"([a-zA-Z][\w+.-]+):/", path):
        raise InputError(
            f"An address ({scheme[1]}://…) was given where a path is needed.",
            remedy="Name a database under [[orders.sources]] in lifestage.toml, with its url and a query;"
            " download other files first.",
        )
    root, files = _expand(path)
    for file in files:
        _refuse_unknown(file)
    return [FoundFile(file, _folder_keys(file, root)) for file in files]


def _expand(path: str) -> tuple[Path, list[Path]]:
    """List the files that a path names, and the folder beneath which folders name columns."""
    given = Path(path)
    if given.is_dir():
        return given, _files_beneath(given)
    if given.exists() or not has_magic(path):
        return given.parent, [given]
    matches = sorted(Path(match) for match in glob(path, recursive=True))  # noqa: PTH207 - a pattern may be absolute
    if not matches:
        raise SourceNotFoundError(f"No file matches {path}.", remedy="Check the folder and the pattern.")
    root = next(folder for folder in given.parents if not has_magic(str(folder)))
    nested = [_files_beneath(match) if match.is_dir() else [match] for match in matches]
    return root, list(dict.fromkeys(file for files in nested for file in files))


def _files_beneath(folder: Path) -> list[Path]:
    """List the files of a known kind; not those that engines and desktops hide, such as logs of half-done writes."""
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.name.lower().endswith(_SUFFIXES)
        and not file.name.startswith(".")
        and not any(part.startswith((".", "_")) for part in file.relative_to(folder).parts[:-1])
        and file.is_file()
    )
    if not files:
        raise SourceNotFoundError(
            f"{folder} is a folder without a CSV or Parquet file.",
            remedy=f"Give a folder with files named as one of {', '.join(_SUFFIXES)}.",
        )
    return files


def _folder_keys(file: Path, root: Path) -> dict[str, str | None]:
    pairs = [part.split("=", 1) for part in file.relative_to(root).parts[:-1] if "=" in part]
    return {unquote(key): None if value == _HIVE_NULL else unquote(value) for key, value in pairs}


def _refuse_unknown(path: Path) -> None:
    if not path.is_file():
        raise SourceNotFoundError(f"There is no file at {path}.", remedy="Check the path.")
    if not path.name.lower().endswith(_SUFFIXES):
        raise InputError(
            f"{path} is neither CSV nor Parquet by its name.",
            remedy=f"Export it as one of {', '.join(_SUFFIXES)}.",
        )
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read.", remedy="Allow this user to read it.")
