"""A receipt of an erasure, told on the terminal."""

from pathlib import Path

from serving import terminal
from serving.people.erasure import receipts_folder
from serving.people.schemas import Receipt, Removed


def print_receipt(receipt: Receipt, home: Path) -> None:
    """Tell what was removed, what stays and why, and where the receipt is."""
    if receipt.is_found:
        terminal.out.print(f"Erased: {_tell(receipt.removed)}.", highlight=False)
    else:
        terminal.out.print("Nothing of this person was found; later batches leave them out all the same.")
    for export in receipt.removed.exports:
        terminal.out.print(f"  {export.path}: {export.outcome}", highlight=False, markup=False, soft_wrap=True)
    terminal.out.print("What stays, and why:")
    for left in receipt.remains:
        terminal.out.print(f"  {left.what}: {left.why}", highlight=False, markup=False)
    for to_do in receipt.to_do:
        terminal.print_note(f"Left to do: {to_do}")
    path = receipts_folder(home) / f"{receipt.receipt_id}.json"
    terminal.out.print(f"Receipt: {path}", highlight=False, markup=False, soft_wrap=True)


def _tell(removed: Removed) -> str:
    counts = (
        (removed.scores, "score", "scores"),
        (removed.prospects, "prospect", "prospects"),
        (removed.objections, "objection", "objections"),
        (removed.kept_answers, "kept answer", "kept answers"),
        (removed.log_entries, "place in logs", "places in logs"),
        (sum(export.rows for export in removed.exports), "row of files", "rows of files"),
    )
    return ", ".join(f"{n:,} {one if n == 1 else many}" for n, one, many in counts if n)
