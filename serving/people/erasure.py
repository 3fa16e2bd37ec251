"""Erasure: a person out of every place that we keep, with a receipt that says what was done and what was not.

Each step may be repeated: an erasure that a crash cut short is completed by another of the same id. The tombstone
comes first, with the rows, in one transaction; from then on no batch brings the person back.
"""

import secrets
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from features.files import write_whole
from serving.access.audit import AuditLog, audit_path
from serving.people.exports import REGISTER, ExportOutcome, rewrite_exports
from serving.people.gate import check_key
from serving.people.identity import make_key, normalise_id
from serving.people.ledger import remember
from serving.people.schemas import ExportTold, Receipt, Remaining, Removed
from serving.people.traces import SHORTEST_WORD, find_traces, redact_logs
from serving.store.people import ErasedRows, PeopleStore
from serving.store.score_store import ScoreStore

_REMAINS = {
    "order and event files": "They are yours: erase the person there too. Until then every batch and every training "
    "leaves the person out.",
    "backups, and copies that others made": "We do not know where they are.",
    "published reports": "The stage map, the grid and the metric sheet are sums without ids, and stay as published; "
    "the next run counts without the person.",
    "models": "They hold parameters and no customers, but were trained with the person until you train again.",
    "MLflow store": "It holds figures of models, and no customers.",
    "quarantine files": "They hold the places of refused rows, and none of their values.",
    "audit log and receipts": "They name the person by the keyed hash alone.",
    "tombstone": "The keyed hash of the id, so that the person does not come back.",
}
_SERVER = "the database server's own files"
_SERVER_WHY = (
    "Deleted rows leave them when the database vacuums; logs and backups of the server are its administrator's."
)
_TOO_SHORT = (
    f"The id has fewer than {SHORTEST_WORD} characters, too few to be told from other words: the home folder was not "
    "searched for it beyond the places above."
)


def erase(home: Path, store: ScoreStore, customer_id: str, *, actor: str, at: datetime) -> Receipt:
    """Erase a person; an id that nobody knows gets its tombstone all the same.

    Args:
        home: The home folder.
        store: Its store.
        customer_id: Of a customer, or of a browser that visited.
        actor: Who asks for it, for the audit log.
        at: When.

    Raises:
        InputError: If the id is empty.
        ServingError: If others were erased from the store under another key.
    """
    whose, people = normalise_id(customer_id), PeopleStore(store)
    key = make_key(home)
    check_key(key, people.sample_hashes())
    subject = key.hash_id(whose)
    remember(home, "erased", subject, at=at)
    rows = people.erase(whose, id_hash=subject, at=at)
    is_scrubbed = people.scrub(whose)
    exports = rewrite_exports(home, whose)
    struck = redact_logs(home, whose)
    receipt_id = f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    entry = AuditLog(audit_path(home)).append(
        actor=actor, act="erase", detail={"subject": subject, "receipt_id": receipt_id}, at=at
    )
    receipt = build_receipt(
        rows, exports, struck, traces=find_traces(home, whose), is_scrubbed=is_scrubbed, subject=subject,
        receipt_id=receipt_id, erased_at=at, audit_head=entry.sha256,
    )  # fmt: skip
    _write_receipt(home, receipt)
    return receipt


def build_receipt(
    rows: ErasedRows,
    exports: list[ExportOutcome],
    struck: Mapping[str, int],
    *,
    traces: list[str] | None,
    is_scrubbed: bool | None,
    subject: str,
    receipt_id: str,
    erased_at: datetime,
    audit_head: str,
) -> Receipt:
    """Build the receipt of what was done.

    Args:
        rows: What went from the store.
        exports: What became of files that our commands wrote.
        struck: Log file → places that were struck out.
        traces: Files of the home folder that hold the id still; None where it was not searched.
        is_scrubbed: Whether the store's files hold nothing any more; None for those of a server.
        subject: The keyed hash.
        receipt_id: Of this receipt.
        erased_at: When.
        audit_head: Hash of the audit log's entry.
    """
    removed = Removed(
        scores=rows.scores,
        prospects=rows.prospects,
        objections=rows.objections,
        kept_answers=rows.writes,
        log_entries=sum(struck.values()),
        exports=[ExportTold(**asdict(export)) for export in exports],
    )
    counts = (rows.scores, rows.prospects, rows.objections, rows.writes, removed.log_entries)
    remains = {**_REMAINS, **({_SERVER: _SERVER_WHY} if is_scrubbed is None else {})}
    to_do = _to_do(exports, traces, is_scrubbed=is_scrubbed)
    return Receipt(
        receipt_id=receipt_id,
        erased_at=erased_at.astimezone(UTC).isoformat(timespec="seconds"),
        subject=subject,
        is_found=any(counts) or any(export.rows for export in exports),
        is_repeated=rows.is_repeated,
        is_complete=not to_do,
        removed=removed,
        remains=[Remaining(what=what, why=why) for what, why in remains.items()]
        + ([] if traces is not None else [Remaining(what="other files of the home folder", why=_TOO_SHORT)]),
        to_do=to_do,
        audit_head=audit_head,
    )


def receipts_folder(home: Path) -> Path:
    """Return where the receipts of a home folder are."""
    return home / "receipts"


def _to_do(exports: list[ExportOutcome], traces: list[str] | None, *, is_scrubbed: bool | None) -> list[str]:
    to_do = []
    if is_scrubbed is False:
        to_do.append(
            "The store's files could not be cleared of the id, as others were using them all the while, or as they "
            "could not be looked through: erase the id again."
        )
    for export in exports:
        if export.outcome == "changed since, not touched":
            to_do.append(f"{export.path} is not as we wrote it any more: look for the person there, and erase them.")
        elif export.outcome == "cannot be rewritten":
            to_do.append(f"{export.path} cannot be rewritten: make it readable and writable, and erase the id again.")
        elif export.outcome == "not found":
            to_do.append(
                f"{export.path} is not there: if it was moved, or is on a drive that is not mounted now, bring it back "
                f"and erase the id again; if it was deleted, take its line out of {REGISTER} in the home folder."
            )
    if traces:
        to_do.append(f"Files in the home folder that are not ours hold the id: {', '.join(traces)}.")
    return to_do


def _write_receipt(home: Path, receipt: Receipt) -> None:
    folder = receipts_folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{receipt.receipt_id}.json", receipt.model_dump_json(indent=1) + "\n")
