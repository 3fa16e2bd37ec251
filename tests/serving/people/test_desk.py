from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from features.errors import InputError, ServingError, SettingsError
from serving.access.audit import AuditLog
from serving.cursors import encode_cursor
from serving.lists import load_at_risk
from serving.people.desk import PeopleDesk, open_desk
from serving.people.gate import ERASED, OBJECTED
from serving.people.identity import KEY_VARIABLE, key_path, load_key, make_key
from serving.published import load_changes, load_prospects, published_run
from serving.store.people import set_tombstone
from serving.store.score_store import AtRiskFilters, ScoreStore
from tests.serving.people.conftest import AT
from tests.serving.score_rows import build_customers, publish_rows


def listed(store: ScoreStore) -> list[str]:
    """Return who is on the at-risk list."""
    return sorted(row["customer_id"] for row in load_at_risk(store, limit=100).rows)


def test_objection_holds(desk: PeopleDesk) -> None:
    """Whoever objects is in no list and no score from the next read on, and in all again once it is withdrawn."""
    run = published_run(desk.store)
    before = listed(desk.store)
    desk.record_objection(" c7\t", actor="crm", at=AT)
    assert listed(desk.store) == [each for each in before if each != "c7"]
    assert desk.store.get("c7", run) is None
    assert desk.store.count(run, filters=AtRiskFilters()) == 39
    assert desk.withheld(["c7", "c8"]) == {"c7": OBJECTED}
    assert desk.withdraw_objection("c7", actor="crm", at=AT)
    assert listed(desk.store) == before
    assert desk.withheld(["c7", "c8"]) == {}


def test_objection_of_prospect(desk: PeopleDesk) -> None:
    """A person who has not ordered can object too."""
    desk.record_objection("p3", actor="crm", at=AT)
    assert [row["person_id"] for row in load_prospects(desk.store, limit=10).rows] == ["p0", "p1", "p2", "p4"]


def test_objection_keeps_changes_quiet(desk: PeopleDesk) -> None:
    """The feed of changes names nobody who objects."""
    moved = build_customers(3, as_of="1998-03-01", stage="loyal")
    publish_rows(desk.store, moved, published_at=AT, keep_runs=3)
    desk.record_objection("c1", actor="crm", at=AT)
    page = load_changes(desk.store, limit=10)
    assert [row["customer_id"] for row in page.rows] == ["c0", "c2"]
    assert page.n_changes == 2


def test_objection_is_recorded_once(desk: PeopleDesk) -> None:
    """A second objection changes nothing, and a withdrawal without one says so."""
    first = desk.record_objection("c1", actor="crm", at=AT)
    again = desk.record_objection("c1", actor="crm", at=AT.replace(year=2027))
    assert again == first
    assert desk.withdraw_objection("c1", actor="crm", at=AT)
    assert not desk.withdraw_objection("c1", actor="crm", at=AT)


def test_objections_are_listed(desk: PeopleDesk) -> None:
    """The pages of the list hold each objection once."""
    for customer_id in ("c3", "c1", "c2"):
        desk.record_objection(customer_id, actor="crm", at=AT)
    first = desk.list_objections(limit=2)
    second = desk.list_objections(limit=2, cursor=first.next_cursor)
    assert [each.customer_id for each in (*first.objections, *second.objections)] == ["c1", "c2", "c3"]
    assert (first.n_objections, second.next_cursor) == (3, None)


def test_erased(desk: PeopleDesk) -> None:
    """An erased person is in no run any more, and each run counts one customer less."""
    desk.record_objection("c5", actor="crm", at=AT)
    receipt = desk.erase("c5", actor="crm", at=AT)
    assert (receipt.removed.scores, receipt.removed.prospects, receipt.removed.objections) == (2, 0, 1)
    assert receipt.is_found
    assert receipt.is_complete
    for run in desk.store.runs():
        assert run.n_customers == desk.store.count(run, filters=AtRiskFilters()) == 39
        assert desk.store.totals(run)["customers"].sum() == 39
        assert desk.store.get("c5", run) is None
    assert desk.withheld(["c5", "c6"]) == {"c5": ERASED}
    assert desk.people.count_objections() == 0


def test_erased_prospect(desk: PeopleDesk) -> None:
    """A person who has not ordered is erased likewise."""
    assert desk.erase("p2", actor="crm", at=AT).removed.prospects == 2
    assert "p2" not in [row["person_id"] for row in load_prospects(desk.store, limit=10).rows]


def test_erased_unknown(desk: PeopleDesk) -> None:
    """An id that nobody knows is erased all the same, and the receipt says that nothing was there."""
    receipt = desk.erase("nobody", actor="crm", at=AT)
    assert not receipt.is_found
    assert not receipt.is_repeated
    assert desk.withheld(["nobody"]) == {"nobody": ERASED}


def test_erased_twice(desk: PeopleDesk) -> None:
    """Erasing again does no harm, takes no further customer off the count, and says that it was a repetition."""
    first, second = (desk.erase("c5", actor="crm", at=AT) for _ in range(2))
    assert (first.is_repeated, second.is_repeated) == (False, True)
    assert not second.is_found
    assert {run.n_customers for run in desk.store.runs()} == {39}
    assert first.subject == second.subject


def test_erased_cannot_object(desk: PeopleDesk) -> None:
    """An objection of an erased person is refused, as it would keep the id again."""
    desk.erase("c5", actor="crm", at=AT)
    with pytest.raises(InputError, match="withheld already"):
        desk.record_objection("c5", actor="crm", at=AT)
    assert desk.people.count_objections() == 0


def test_objects_while_erased(desk: PeopleDesk) -> None:
    """Whoever is erased at the very moment of an objection is not kept by their id."""
    key = make_key(desk.home)
    with ThreadPoolExecutor(1) as pool:
        with desk.store.writing() as connection:
            set_tombstone(connection, key.hash_id("c5"), at=AT.isoformat())
            objection = pool.submit(desk.record_objection, "c5", actor="crm", at=AT)
            with pytest.raises(TimeoutError):  # on PostgreSQL, too, it waits
                objection.result(0.3)
        with pytest.raises(InputError, match="withheld already"):
            objection.result()
    assert desk.people.count_objections() == 0


@pytest.mark.parametrize("customer_id", ["a\x00b", "\ud800", "c1\udc80"])
def test_unstorable_id(desk: PeopleDesk, customer_id: str) -> None:
    """An id that no database can hold is nobody's: it can be asked for, and is refused where it would be kept."""
    desk.erase("c5", actor="crm", at=AT)
    desk.record_objection("c6", actor="crm", at=AT)
    assert not desk.is_objecting(customer_id)
    assert desk.withheld([customer_id, "c5", "c6"]) == {"c5": ERASED, "c6": OBJECTED}
    for act in (desk.erase, desk.record_objection, desk.withdraw_objection):
        with pytest.raises(InputError, match="half of a character"):
            act(customer_id, actor="crm", at=AT)
    cursor = encode_cursor({"id": customer_id})
    with pytest.raises(InputError, match="cursor"):
        desk.list_objections(limit=2, cursor=cursor)


def test_acts_are_on_record(desk: PeopleDesk, home: Path) -> None:
    """Every act is in the audit log, by whom, of a subject that the receipt names too, and without the id."""
    desk.record_objection("c5", actor="crm", at=AT)
    desk.withdraw_objection("c5", actor="crm", at=AT)
    receipt = desk.erase("c5", actor="dpo", at=AT)
    entries = list(AuditLog(home / "audit.jsonl").entries())
    assert [(entry.actor, entry.act) for entry in entries] == [
        ("crm", "objection"),
        ("crm", "objection_withdrawn"),
        ("dpo", "erase"),
    ]
    assert {entry.detail["subject"] for entry in entries} == {receipt.subject}
    assert AuditLog(home / "audit.jsonl").verify(receipt.audit_head).broken_line is None
    assert '"c5"' not in (home / "audit.jsonl").read_text(encoding="utf-8")


def test_another_key(desk: PeopleDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home with another key refuses to go on rather than take erased people for unknown ones; a shared key helps."""
    desk.erase("c5", actor="crm", at=AT)
    other = open_desk(tmp_path / "other", desk.store)
    for act in (lambda: other.withheld(["c5"]), lambda: other.erase("c6", actor="crm", at=AT)):
        with pytest.raises(ServingError, match="another key"):
            act()
    key = load_key(desk.home)
    assert key is not None
    monkeypatch.setenv(KEY_VARIABLE, key.secret.decode())
    assert other.withheld(["c5"]) == {"c5": ERASED}


def test_short_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that could be guessed is refused."""
    monkeypatch.setenv(KEY_VARIABLE, "hunter2")
    with pytest.raises(SettingsError, match="too few for a secret"):
        load_key(home)


def test_damaged_key(home: Path) -> None:
    """A key file that was cut short is refused rather than replaced."""
    key_path(home).write_text("abc\n", encoding="utf-8")
    with pytest.raises(ServingError, match="damaged"):
        make_key(home)


def test_empty_id(desk: PeopleDesk) -> None:
    """An id of blanks is refused."""
    with pytest.raises(InputError, match="empty"):
        desk.erase(" \t", actor="crm", at=AT)
