"""What the routes of people's rights say: receipts and objections, with the examples of the OpenAPI document."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from serving.people.exports import Fate

_SUBJECT = "3f9c1a7e.5d1f5c1f7f6d0f0e8f3b1c7a9f5e2d4c6b8a0e1f3d5c7b9a1e2f4d6c8b0a"
_RECEIPT: dict[str, Any] = {
    "receipt_id": "20260401T093000Z-7c41e0d2",
    "erased_at": "2026-04-01T09:30:00+00:00",
    "subject": _SUBJECT,
    "is_found": True,
    "is_repeated": False,
    "is_complete": True,
    "removed": {
        "scores": 3,
        "prospects": 0,
        "objections": 0,
        "kept_answers": 0,
        "log_entries": 0,
        "exports": [{"path": "lists/scores.parquet", "kind": "score", "outcome": "rewritten", "rows": 1}],
    },
    "remains": [{"what": "backups", "why": "Copies that you made are yours to erase."}],
    "to_do": [],
    "audit_head": "b7e23ec29af22b0b4e41da31e868d57226121c84a1b6f6f2b3c4d5e6f7a8b9c0",
}


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExportTold(_Told):
    """What became of one file that a command had written."""

    path: Annotated[str, Field(description="Where it is, on the machine of the home folder.")]
    kind: Annotated[str, Field(description="The command that wrote it.")]
    outcome: Fate
    rows: Annotated[int, Field(description="Rows that were removed.")]


class Removed(_Told):
    """What was removed, by place."""

    scores: Annotated[int, Field(description="Rows of kept runs.")]
    prospects: Annotated[int, Field(description="Rows of kept runs.")]
    objections: Annotated[int, Field(description="1 where an objection was on record.")]
    kept_answers: Annotated[int, Field(description="Answers kept for repeated requests that named the person.")]
    log_entries: Annotated[int, Field(description="Places in logs that were struck out; there should be none.")]
    exports: Annotated[list[ExportTold], Field(description="Files that our commands wrote.")]


class Remaining(_Told):
    """Something that an erasure leaves where it is."""

    what: str
    why: str


class Receipt(_Told):
    """What an erasure did, without the id: the subject is a keyed hash of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [_RECEIPT]})

    receipt_id: str
    erased_at: Annotated[str, Field(description="In UTC.")]
    subject: Annotated[str, Field(description="Keyed hash of the id; the same in the audit log.")]
    is_found: Annotated[bool, Field(description="Whether anything was there to be removed.")]
    is_repeated: Annotated[bool, Field(description="Whether the same person had been erased before.")]
    is_complete: Annotated[bool, Field(description="Whether nothing is left to do here; to_do says what, otherwise.")]
    removed: Removed
    remains: Annotated[list[Remaining], Field(description="What is not removed, and why.")]
    to_do: Annotated[list[str], Field(description="What you have to do yourself, if anything.")]
    audit_head: Annotated[str, Field(description="Hash of the audit log's entry of this erasure.")]


class ObjectionTold(_Told):
    """One person's objection."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"customer_id": "c-17", "objected_at": "2026-04-01T09:30:00+00:00"}]},
    )

    customer_id: str
    objected_at: Annotated[str, Field(description="In UTC.")]


class ObjectionRecorded(_Told):
    """What became of an objection; without the id, so that answers kept for repeated requests hold none."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"objected_at": "2026-04-01T09:30:00+00:00"}]}
    )

    objected_at: Annotated[str, Field(description="When it was first recorded, in UTC.")]


class Withdrawal(_Told):
    """What became of an objection that was withdrawn."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [{"was_objecting": True}]})

    was_objecting: Annotated[bool, Field(description="Whether an objection was on record.")]


class Objections(_Told):
    """One page of the objections on record, by id."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "n_objections": 1,
                    "objections": [{"customer_id": "c-17", "objected_at": "2026-04-01T09:30:00+00:00"}],
                    "next_cursor": None,
                }
            ]
        },
    )

    n_objections: Annotated[int, Field(description="On all pages together.")]
    objections: list[ObjectionTold]
    next_cursor: Annotated[str | None, Field(description="Gives the page that follows; null on the last.")]
