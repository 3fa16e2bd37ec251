"""Events of any origin become events of known customers; nothing is guessed, and every row is accounted for."""

# ruff: noqa: DTZ001 - naive stamps are the subject of these tests

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import (
    EmptySourceError,
    InputError,
    MissingColumnError,
    QuarantineShareError,
    SettingsError,
    SourceNotFoundError,
)
from features.intake.event_report import refuse_bad_events
from features.intake.events import EventIntake, read_events
from features.intake.request_events import EventRow, events_from_rows
from features.intake.rules.event_checks import EVENT_REASONS
from features.intake.rules.event_types import MARKETING_COST, ORDER_LIKE, load_event_types, plain_type
from features.records import CONTACT_SCHEMA, EVENT_SCHEMA
from features.settings import EventsSettings

ReadEvents = Callable[..., EventIntake]

_HEADER = "customer_id,visitor_id,occurred_at,event_type,value,channel"
_DAY = 19_783  # 2024-03-01


def _settings(**changes: object) -> EventsSettings:
    texts = dict.fromkeys(("date_format", "number_format", "encoding", "delimiter"), "")
    return EventsSettings.model_validate({"columns": {}, "types": {}, "sources": [], **texts, **changes})


@pytest.fixture
def read(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> ReadEvents:
    """Write rows under our own column names to a CSV file and read it as events."""

    def read_rows(
        *rows: str, header: str = _HEADER, timezone: str = "UTC", today: date | None = None, **changes: object
    ) -> EventIntake:
        file = tmp_path / "events.csv"
        file.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
        return read_events([file], _settings(**changes), timezone=timezone, connection=connection, today=today)

    return read_rows


def _sorted(events: duckdb.DuckDBPyRelation) -> list[tuple[Any, ...]]:
    return sorted(events.fetchall(), key=repr)


def test_types() -> None:
    """Each type of ours has a meaning; each alias is written plainly and belongs to one type alone."""
    types = load_event_types()
    names = [name for entry in types.values() for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names))
    assert all(plain_type(name) == name for name in names)
    assert all(entry.meaning and "\n" not in entry.meaning for entry in types.values())


def test_events(read: ReadEvents) -> None:
    """An event keeps its customer, local day, type, exact value and channel; the column order is the schema's."""
    intake = read("a,,2024-03-01T23:30:00Z,survey,-1.000001,mail", "b,,2024-03-01,Page View,,", timezone="Europe/Paris")
    assert intake.events.columns == list(EVENT_SCHEMA)
    assert intake.events.pl().schema == EVENT_SCHEMA
    assert _sorted(intake.events) == [
        ("a", _DAY + 1, "survey", -1_000_001, "mail"),
        ("b", _DAY, "visit", None, None),
    ]
    assert (intake.report.first_day, intake.report.last_day) == (date(2024, 3, 1), date(2024, 3, 2))
    assert intake.report.by_type == {"visit": 1, "survey": 1}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("Page View", "visit"),
        ("PAGEVIEW", "visit"),
        ("session-start", "visit"),
        ("Signed  Up", "registration"),
        ("begin_checkout", "cart"),
        ("Opened Email", "email_open"),
        ("clicked", "email_click"),
        ("newsletter sent", "email_sent"),
        ("NPS", "survey"),
        ("Support Ticket", "ticket"),
        ("coupon_redemption", "coupon_redeemed"),
        ("campaign_sent", "campaign_sent"),
        ("Wishlist Add", "wishlist_add"),
    ],
)
def test_aliases(read: ReadEvents, theirs: str, ours: str) -> None:
    """Types are known by the names that tools give them, in any case; others keep their own names."""
    assert read(f"a,,2024-03-01,{theirs},1,").events.fetchall()[0][2] == ours


def test_own_types(read: ReadEvents) -> None:
    """The user's own names win over ours, and are compared without case, blanks and dashes."""
    rows = ("a,,2024-03-01,VISITE-boutique,,", "a,,2024-03-01,open,,", "a,,2024-03-01,commande,12,")
    types = {"visite boutique": "visit", "Open": "ticket", "commande": "purchase"}
    intake = read(*rows, types=types)
    assert intake.report.by_type == {"visit": 1, "ticket": 1}
    assert intake.report.n_purchases == 1
    assert "Read as visit: visite_boutique." in intake.report.notes


@pytest.mark.parametrize(
    ("types", "message"),
    [({"x": "visits"}, "not an event type of ours.*visit"), ({"A b": "visit", "a-b": "cart"}, "twice")],
)
def test_bad_types(read: ReadEvents, types: Mapping[str, str], message: str) -> None:
    """A type that is mapped to none of ours, or to two, is refused with the names that there are."""
    with pytest.raises(SettingsError, match=message):
        read("a,,2024-03-01,visit,,", types=types)


@pytest.mark.parametrize(
    ("row", "reason", "value_class"),
    [
        ("a,,2024-03-01,visit", "wrong_number_of_columns", "too few values"),
        ('"a,,2024-03-01,visit,,', "unreadable_row", "unmatched quote"),
        ("a,, ,visit,,", "missing_occurred_at", "empty"),
        ("a,,01/03/2024,visit,,", "bad_date", "text"),
        ("a,,1969-12-30,visit,,", "bad_date", "date"),
        ("a,,2024-06-03,visit,,", "future_date", "date"),
        ("a,,2024-03-01, ,,", "missing_event_type", "empty"),
        (" ,,2024-03-01,visit,,", "missing_identity", "empty"),
        (",,2024-03-01,marketing_cost,,ads", "missing_value", "empty"),
        ("a,,2024-03-01,survey,very good,", "not_a_number", "text"),
        ("a,,2024-03-01,review,4 stars,", "not_a_number", "number with text"),
        ('a,,2024-03-01,review,"1,000",', "not_a_number", "number with comma"),
        ("a,,2024-03-01,survey,nan,", "not_a_number", "not finite"),
        ("a,,2024-03-01,survey,-1000000000.01,", "amount_out_of_range", "huge"),
    ],
)
def test_quarantine(read: ReadEvents, row: str, reason: str, value_class: str) -> None:
    """A row that is no event is set aside with its line, column, reason and class of value, and with a remedy."""
    intake = read("b,,2024-03-01,visit,,", row, today=date(2024, 6, 1))
    entry = next(entry for entry in EVENT_REASONS if entry.code == reason)
    ((file, *found),) = intake.quarantine.fetchall()
    assert found == [3, entry.column, value_class, reason, entry.remedy]
    assert file.endswith("events.csv")
    assert intake.report.by_reason == {reason: 1}
    assert (intake.report.n_input, intake.report.n_accepted, intake.report.n_events) == (2, 1, 1)


def test_reasons(read: ReadEvents) -> None:
    """Tomorrow is tolerated, for somewhere it has begun."""
    assert read("a,,2024-06-02,visit,,", today=date(2024, 6, 1)).report.n_events == 1


def test_unread_value(read: ReadEvents) -> None:
    """A value that is no number refuses no event of a type whose value nothing reads; a note counts it."""
    intake = read("a,,2024-03-01,visit,/home,", "a,,2024-03-02,visit,7,", "a,,2024-03-02,purchase,12 EUR,")
    assert [row[3] for row in _sorted(intake.events)] == [None, 7_000_000]
    assert intake.report.n_quarantined == 0
    assert any(note.startswith("Values that are no numbers") and note.endswith(": 1.") for note in intake.report.notes)


def test_decimal_comma(read: ReadEvents) -> None:
    """Values with a decimal comma are read as such where they can be nothing else, and a note says so."""
    intake = read("a;2024-03-01;nps;8,5", "a;2024-03-02;nps;9", header="customer_id;date;event;score")
    assert [row[3] for row in _sorted(intake.events)] == [8_500_000, 9_000_000]
    assert any("1234,50" in note for note in intake.report.notes)


def test_purchases(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """One file may serve as orders and as events: purchases, of guests too, are set apart."""
    file = tmp_path / "log.parquet"
    rows = [
        ("1", datetime(2024, 3, 1, 12), 1.99, "purchase_line"),
        (None, datetime(2024, 3, 1, 12), 2.5, "purchase_line"),
        ("1", datetime(2024, 3, 1), None, "campaign_sent"),
        ("2", datetime(2024, 3, 2), None, "coupon_redeemed"),
        ("2", datetime(2024, 3, 3), -2.5, "Refund"),
    ]
    pl.DataFrame(rows, schema=["customer_id", "timestamp", "amount", "event_type"], orient="row").write_parquet(file)
    intake = read_events([file], _settings(), timezone="UTC", connection=connection)
    assert _sorted(intake.events) == [
        ("1", _DAY, "campaign_sent", None, None),
        ("2", _DAY + 1, "coupon_redeemed", None, None),
    ]
    assert (intake.report.n_accepted, intake.report.n_purchases, intake.report.n_quarantined) == (5, 3, 0)
    assert any("--orders" in note for note in intake.report.notes)


def test_unknown_types(read: ReadEvents) -> None:
    """Types that nobody knows are accepted and counted; at most ten that look like names are named."""
    rows = [f"a,,2024-03-01,custom thing {i},," for i in range(12)]
    intake = read(*rows, "a,,2024-03-01,jane@example.org,,", "a,,2024-03-01,1234567,,", "a,,2024-03-01,other,,")
    assert (intake.report.n_events, intake.report.n_unknown_types) == (15, 14)
    assert intake.report.by_type == {"other": 1}
    (note,) = (note for note in intake.report.notes if "Types that are not known" in note)
    assert note.count("custom_thing") == 10
    assert "jane" not in note
    assert "1234567" not in note


def test_costs(read: ReadEvents) -> None:
    """Marketing costs need nobody; they add up by day and channel, and one that names a customer is their event too."""
    rows = (
        ",,2024-03-01,ad_spend,10.5,ads",
        ",,2024-03-01,marketing_cost,1,ads",
        "a,,2024-03-01,marketing_cost,2,ads",
        ",,2024-03-01,marketing_cost,-3,",
        ",v,2024-03-02,marketing_cost,4,ads",
    )
    intake = read(*rows)
    assert intake.marketing_costs.fetchall() == [
        (_DAY, "ads", 13_500_000),
        (_DAY, None, -3_000_000),
        (_DAY + 1, "ads", 4_000_000),
    ]
    assert _sorted(intake.events) == [("a", _DAY, "marketing_cost", 2_000_000, "ads")]
    assert (intake.report.n_events, intake.report.n_shop_costs, intake.report.n_visitor_events) == (1, 4, 0)


def test_visitors(read: ReadEvents) -> None:
    """A visitor's events are a customer's from the event on that names both, be it a purchase, and not before."""
    rows = (
        ",v,2024-03-01T10:00:00,visit,,",
        "a,v,2024-03-02T10:00:00,purchase,5,",
        ",v,2024-03-03T10:00:00,visit,,",
        "a,w,2024-03-04T10:00:00,visit,,",
        "b,w,2024-03-04T10:00:00,visit,,",
        ",w,2024-03-05T10:00:00,cart,,",
    )
    intake = read(*rows)
    assert [row[:3] for row in _sorted(intake.events)] == [
        ("a", _DAY + 2, "visit"),
        ("a", _DAY + 3, "visit"),
        ("b", _DAY + 3, "visit"),
    ]
    assert (intake.report.n_visitor_events, intake.report.n_ambiguous) == (2, 1)


def test_contacts(read: ReadEvents) -> None:
    """Contacts are the events of anybody, each once, as known then; costs and what is read with orders are none."""
    rows = (
        ",v,2024-03-01T10:00:00,visit,,web",
        "a,v,2024-03-02T10:00:00,registration,,",
        ",v,2024-03-03T10:00:00,cart,7,web",
        ",v,2024-03-03T10:00:00,cart,7,web",
        "a,,2024-03-03T10:00:00,nps,9,mail",
        ",w,2024-03-04T10:00:00,custom thing,,",
        "a,v,2024-03-05T10:00:00,purchase,5,",
        ",w,2024-03-05T10:00:00,refund,-5,",
        "a,,2024-03-06T10:00:00,marketing_cost,2,ads",
        ",w,2024-03-06T10:00:00,ad_spend,2,ads",
        ",,2024-03-06T10:00:00,ad_spend,2,ads",
        "a,,,visit,,",
    )
    intake = read(*rows)
    assert intake.contacts.pl().schema == CONTACT_SCHEMA
    assert intake.contacts.columns == list(CONTACT_SCHEMA)
    assert _sorted(intake.contacts) == sorted(
        [
            (None, "v", _DAY, "visit", "web"),
            ("a", "v", _DAY + 1, "registration", None),
            ("a", "v", _DAY + 2, "cart", "web"),
            ("a", None, _DAY + 2, "survey", "mail"),
            (None, "w", _DAY + 3, "custom_thing", None),
        ],
        key=repr,
    )
    assert (intake.report.n_input, intake.report.n_accepted, intake.report.n_quarantined) == (12, 11, 1)


def test_contact_of_a_buyer(read: ReadEvents) -> None:
    """A visitor whom a purchase linked is a customer's in whatever comes next, though the purchase is no contact."""
    rows = ("a,v,2024-03-02T10:00:00,purchase,5,", ",v,2024-03-03T10:00:00,visit,,")
    assert read(*rows).contacts.fetchall() == [("a", "v", _DAY + 2, "visit", None)]


def test_one_identity(read: ReadEvents) -> None:
    """A source needs a customer or a visitor, not both; with neither it is refused."""
    assert read("v,2024-03-01,visit", header="anonymous_id,timestamp,event").report.n_visitor_events == 1
    assert read("a,2024-03-01,visit", header="user_id,timestamp,event").report.n_events == 1
    with pytest.raises(MissingColumnError, match="customer_id or visitor_id"):
        read("2024-03-01,visit", header="timestamp,event")


@st.composite
def _logs(draw: st.DrawFn, *, from_day: int = 1) -> list[str]:
    """Draw rows of an event log, in which instants coincide, rows repeat, and some are none."""
    row = st.builds(
        "{},{},2024-03-{:02} 1{}:00:00,{},{},{}".format,
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["", "v", "w"]),
        st.integers(from_day, from_day + 2) | st.just(99),
        st.integers(0, 1),
        st.sampled_from(["visit", "Page View", "nps", "purchase", "ad_cost", "thing", ""]),
        st.sampled_from(["", "1.5", "-2", "x"]),
        st.sampled_from(["", "mail"]),
    )
    return draw(st.lists(row, min_size=1, max_size=10))


def _read_files(folder: Path, files: Sequence[Sequence[str]], connection: duckdb.DuckDBPyConnection) -> EventIntake:
    paths = [folder / f"part-{index}.csv" for index in range(len(files))]
    for path, rows in zip(paths, files, strict=True):
        path.write_text("\n".join((_HEADER, *rows)) + "\n", encoding="utf-8")
    return read_events(paths, _settings(), timezone="UTC", connection=connection)


def _bytes(intake: EventIntake) -> bytes:
    report = intake.report
    facts = (report.digest, report.n_events, report.n_visitor_events, report.by_type, intake.marketing_costs.fetchall())
    return repr((_sorted(intake.events), _sorted(intake.contacts), facts)).encode()


def _adds_up(intake: EventIntake) -> bool:
    report = intake.report
    parts = report.n_events + report.n_repeats + report.n_purchases + report.n_shop_costs + report.n_visitor_events
    return (
        report.n_input == report.n_accepted + report.n_quarantined
        and report.n_accepted == parts
        and report.n_quarantined == sum(report.by_reason.values()) == len(intake.quarantine.fetchall())
        and report.n_input == sum(source.n_input for source in report.by_source)
        and report.n_accepted == sum(source.n_accepted for source in report.by_source)
    )


def _contacts_are_all(intake: EventIntake) -> bool:
    """Tell whether the contacts are the events of customers but costs, and those of visitors, all of them."""
    contacts = intake.contacts.fetchall()
    named = [(customer, *did) for customer, _, *did in contacts if customer is not None]
    events = [(customer, day, kind, channel) for customer, day, kind, _, channel in intake.events.fetchall()]
    anonymous = [visitor for customer, visitor, *_ in contacts if customer is None]
    return (
        sorted(named, key=repr) == sorted((event for event in events if event[2] != MARKETING_COST), key=repr)
        and len(anonymous) == intake.report.n_visitor_events
        and None not in anonymous
        and not {kind for _, _, _, kind, _ in contacts} & {MARKETING_COST, *ORDER_LIKE}
    )


@given(rows=_logs(), rng=st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_set_semantics(tmp_path: Path, engine: duckdb.DuckDBPyConnection, rows: list[str], rng: Any) -> None:
    """Row order, file split and overlapping files never change a byte; every row is accounted for, exactly once."""
    whole = _read_files(tmp_path, [rows], engine)
    shuffled = rng.sample(rows, len(rows))
    cut = rng.randint(1, len(rows))
    split = _read_files(tmp_path, [shuffled[:cut], shuffled[rng.randint(0, cut - 1) :]], engine)
    assert _bytes(split) == _bytes(whole)
    assert _adds_up(whole)
    assert _adds_up(split)
    assert _contacts_are_all(whole)


@given(rows=_logs(), later=_logs(from_day=4))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_leakage(tmp_path: Path, engine: duckdb.DuckDBPyConnection, rows: list[str], later: list[str]) -> None:
    """Rows of later days never change whose an earlier event or contact is, or that there is one."""
    before, after = _read_files(tmp_path, [rows], engine), _read_files(tmp_path, [[*later, *rows]], engine)
    assert [row for row in _sorted(after.events) if row[1] < _DAY + 3] == _sorted(before.events)
    assert [row for row in _sorted(after.contacts) if row[2] < _DAY + 3] == _sorted(before.contacts)


def test_no_values(read: ReadEvents) -> None:
    """No report, quarantine or error holds what a customer's row says."""
    private = "Zoë-Private"
    rows = (
        f"{private},{private},2024-03-01,visit,{private},{private}",
        f"{private},,{private},visit,,",
        f"{private},,2024-03-01,{private}@{private},,",
        f"{private},,2024-03-01,nps,{private},",
    )
    intake = read(*rows)
    told = json.dumps([getattr(intake.report, field.name) for field in fields(intake.report)], default=str)
    assert private.lower() not in (told + repr(intake.quarantine.fetchall())).lower()


def test_tolerated_share(read: ReadEvents) -> None:
    """More bad rows than are tolerated are refused with the most frequent reason and its remedy; as many are not."""
    report = read("a,,2024-03-01,visit,,", "a,,,visit,,").report
    refuse_bad_events(report, tolerated_share=0.5)
    with pytest.raises(
        QuarantineShareError, match=r"1 of 2 rows of events \(50.0%\).*the date is empty.*Give the date"
    ):
        refuse_bad_events(report, tolerated_share=0.49)


def test_bad_sources(read: ReadEvents, connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """A source that is missing or has no rows is refused, and nothing of it stays behind."""
    with pytest.raises(EmptySourceError):
        read()
    with pytest.raises(SourceNotFoundError):
        read_events([tmp_path / "none.csv"], _settings(), timezone="UTC", connection=connection)
    assert connection.sql("SELECT * FROM duckdb_tables()").fetchall() == []


def test_endless_sum(read: ReadEvents) -> None:
    """Values that would not add up exactly in 64 bits are refused."""
    rows = [f"a,,2024-03-01T00:00:{i // 1000:02}.{i % 1000:03},review,1000000000," for i in range(9_001)]
    with pytest.raises(InputError, match="sum to more than"):
        read(*rows)


_STAMPS = st.datetimes(datetime(2024, 3, 30), datetime(2024, 4, 1)).map(lambda stamp: stamp.replace(microsecond=0))
_REQUEST_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", " b "]),
        _STAMPS | _STAMPS.map(lambda stamp: stamp.replace(tzinfo=UTC)),
        st.sampled_from(["visit", "Page View", "NPS", "review", "purchase", "\u0130thing"]),
        st.none() | st.decimals(-(10**9), 10**9, places=8) | st.floats(-1e9, 1e9),
        st.none() | st.sampled_from(["mail", " ", " web "]),
    ),
    min_size=1,
    max_size=12,
)


@given(rows=_REQUEST_ROWS, zone=st.sampled_from(["UTC", "Europe/Paris"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_request_equals_files(
    tmp_path: Path, engine: duckdb.DuckDBPyConnection, rows: list[EventRow], zone: str
) -> None:
    """Rows of a request become the same events as the same rows in a file, repeats and purchases aside in both."""
    file = tmp_path / "events.csv"
    lines = [
        f"{who},{when.isoformat()},{kind},{'' if value is None else value},{channel or ''}\n"
        for who, when, kind, value, channel in rows
    ]
    file.write_text("customer_id,occurred_at,event_type,value,channel\n" + "".join(lines), encoding="utf-8")
    with_point = _settings(number_format="1234.50")
    from_file = read_events([file], with_point, timezone=zone, connection=engine).events
    from_rows = events_from_rows(rows, timezone=zone)
    assert from_rows.schema == EVENT_SCHEMA
    assert sorted(from_rows.rows(), key=repr) == _sorted(from_file)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((" ", datetime(2024, 1, 1), "visit", None, None), "Event 2: customer_id is empty"),
        (("a", datetime(2024, 1, 1), "", None, None), "Event 2: event_type is empty"),
        (("a", datetime(1969, 1, 1), "visit", None, None), "Event 2: occurred_at lies outside"),
        (("a", datetime(2024, 1, 1), "nps", float("nan"), None), "Event 2: value is not a number"),
        (("a", datetime(2024, 1, 1), "nps", Decimal("1e400"), None), "Event 2: value is not a number"),
        (("a", datetime(2024, 1, 1), "marketing_cost", None, None), "Event 2: a marketing cost has no value"),
    ],
)
def test_bad_request_rows(row: EventRow, message: str) -> None:
    """A row that is no event is refused by its number and column."""
    with pytest.raises(InputError, match=message):
        events_from_rows([("a", datetime(2024, 1, 1), "visit", None, None), row], timezone="UTC")


def test_request_edges() -> None:
    """No rows give an empty frame; own types count; endless values are refused; unread ones are left out."""
    assert events_from_rows([], timezone="UTC").schema == EVENT_SCHEMA
    own = events_from_rows(
        [("a", datetime(2024, 3, 1), "visite", 1e300, None)], timezone="UTC", types={"visite": "visit"}
    )
    assert own.rows() == [("a", _DAY, "visit", None, None)]
    start = datetime(2024, 3, 1)
    rows: list[EventRow] = [("a", start + timedelta(seconds=i), "review", 1e9, None) for i in range(9_001)]
    with pytest.raises(InputError, match="sum to more than"):
        events_from_rows(rows, timezone="UTC")


def test_order_like() -> None:
    """What is set apart is a type of ours, so that users can map to it."""
    assert set(ORDER_LIKE) <= set(load_event_types())
