"""Files of scores and lists that our commands wrote: kept track of, so that an erasure reaches them too.

The home folder holds one line per file, with the hash of what was written. A file that is not as it was written is
somebody else's by now, and is told of rather than touched.
"""

import glob
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import polars as pl
from polars.exceptions import PolarsError

from features.files import held_alone, write_whole, written_whole
from serving.csv_export import to_csv

REGISTER = "exports.jsonl"
ID_COLUMNS = ("customer_id", "person_id")

_OLD_DRAFT_SECONDS = 3600.0

Fate = Literal["rewritten", "without this person", "not found", "changed since, not touched", "cannot be rewritten"]


@dataclass(frozen=True, slots=True)
class Export:
    """A file that one of our commands wrote.

    Attributes:
        path: Where.
        kind: Which command.
        written_at: When, in UTC.
        sha256: Of its content; of two contents while it is being rewritten.
    """

    path: str
    kind: str
    written_at: str
    sha256: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExportOutcome:
    """What an erasure did to one of them.

    Attributes:
        path: Where it is.
        kind: Which command wrote it.
        outcome: What became of it.
        rows: Rows that were removed.
    """

    path: str
    kind: str
    outcome: Fate
    rows: int = 0


def record_export(home: Path, path: Path, *, kind: str, at: datetime) -> None:
    """Keep track of a file that was just written."""
    moment = at.astimezone(UTC).isoformat(timespec="seconds")
    _record(home, Export(str(path.absolute()), kind, moment, (_sha256(path),)))


def list_exports(home: Path) -> list[Export]:
    """Return the files kept track of, by path; unreadable lines are left out."""
    try:
        lines = register_path(home).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return sorted(filter(None, map(_parse, lines)), key=lambda export: export.path)


def rewrite_exports(home: Path, customer_id: str) -> list[ExportOutcome]:
    """Rewrite the files that hold a person without that person's rows; each is the old one or the new, whole.

    Files that are not there are kept track of still: their drive may come back.
    """
    return [_rewrite(home, export, customer_id) for export in list_exports(home)]


def register_path(home: Path) -> Path:
    """Return where the exports of a home folder stand."""
    return home / REGISTER


def _rewrite(home: Path, export: Export, customer_id: str) -> ExportOutcome:
    path = Path(export.path)
    try:
        found = _sha256(path)
    except (FileNotFoundError, NotADirectoryError):
        return ExportOutcome(export.path, export.kind, "not found")
    except OSError:
        return ExportOutcome(export.path, export.kind, "cannot be rewritten")
    if found not in export.sha256:
        return ExportOutcome(export.path, export.kind, "changed since, not touched")
    try:
        rows = _drop_rows(home, export, path, customer_id)
    except (OSError, PolarsError):
        return ExportOutcome(export.path, export.kind, "cannot be rewritten")
    return ExportOutcome(export.path, export.kind, "rewritten" if rows else "without this person", rows)


def _drop_rows(home: Path, export: Export, path: Path, customer_id: str) -> int:
    """Write a file anew without a person, and return how many rows went.

    Raises:
        OSError: If the file cannot be written, or changed meanwhile.
    """
    _remove_old_drafts(path)
    frame = _read(path)
    kept = frame.filter(~_is_person(frame, customer_id))
    if kept.height == frame.height:
        return 0
    with written_whole(path) as draft:
        _write(kept, draft, is_parquet=path.suffix == ".parquet")
        draft.chmod(path.stat().st_mode & 0o777)
        rewriting = replace(export, sha256=(*export.sha256, _sha256(draft)))  # whichever a crash leaves is ours
        if not _refresh(home, export, rewriting) or _sha256(path) not in export.sha256:
            raise FileExistsError(path.name)
    _refresh(home, rewriting, replace(export, sha256=rewriting.sha256[-1:]))
    return frame.height - kept.height


def _remove_old_drafts(path: Path) -> None:
    """Remove what writers of a file left behind who were killed long ago."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.*.draft"):
        if time.time() - draft.stat().st_mtime > _OLD_DRAFT_SECONDS:
            draft.unlink(missing_ok=True)


def _read(path: Path) -> pl.DataFrame:
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    return pl.read_csv(path, infer_schema=False)


def _write(frame: pl.DataFrame, path: Path, *, is_parquet: bool) -> None:
    if is_parquet:
        frame.write_parquet(path)
    else:
        path.write_text(frame.write_csv(), encoding="utf-8")  # cells are as they were read, apostrophes and all


def _is_person(frame: pl.DataFrame, customer_id: str) -> pl.Expr:
    """Tell the person's rows, by the id as it is and as a cell holds it that a spreadsheet must not run."""
    as_cell = pl.read_csv(to_csv(pl.DataFrame({"id": [customer_id]})).encode(), infer_schema=False).item()
    names = [name for name in ID_COLUMNS if name in frame.columns]
    if not names:
        return pl.lit(value=False)
    return pl.any_horizontal(pl.col(name).cast(pl.String).is_in([customer_id, as_cell]) for name in names).fill_null(
        value=False
    )


def _record(home: Path, export: Export) -> None:
    _change(home, lambda exports: {**exports, export.path: export})


def _refresh(home: Path, old: Export, new: Export) -> bool:
    """Replace an entry, unless it is another one by now: then a command has just written the file anew."""
    found: list[bool] = []

    def swap(exports: dict[str, Export]) -> dict[str, Export]:
        found.append(exports.get(old.path) == old)
        return {**exports, old.path: new} if found[-1] else exports

    _change(home, swap)
    return found[-1]


def _change(home: Path, change: Callable[[dict[str, Export]], dict[str, Export]]) -> None:
    """Replace the register by a changed one; others who change it wait."""
    home.mkdir(parents=True, exist_ok=True)
    with held_alone(home / "exports.lock"):
        before = {export.path: export for export in list_exports(home)}
        after = change(before)
        if after == before:
            return
        lines = [json.dumps(asdict(export)) + "\n" for export in after.values()]
        write_whole(register_path(home), "".join(lines))


def _parse(line: str) -> Export | None:
    try:
        values = json.loads(line)
        return Export(**{**values, "sha256": tuple(values["sha256"])})
    except (ValueError, TypeError, KeyError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
