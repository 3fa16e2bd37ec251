"""A shop without those who are withheld, because they object or were erased."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw

from features.intake.shop import Shop
from features.records import Records
from serving.people.gate import ERASED, OBJECTED, check_key
from serving.people.identity import PeopleKey, load_key
from serving.people.ledger import recall, require_objections
from serving.store.people import PeopleStore
from serving.store.score_store import ScoreStore

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Withheld:
    """Those who are withheld, as one batch heeds them.

    Args:
        objecting: Their ids.
        erased: Keyed hashes of their ids.
        key: Makes such hashes; None where nobody was erased here yet.
    """

    objecting: frozenset[str] = frozenset()
    erased: frozenset[str] = frozenset()
    key: PeopleKey | None = None

    def find(self, ids: Iterable[str]) -> dict[str, str]:
        """Return those of some ids that are withheld: id → reason."""
        found = {}
        for each in ids:
            if self.key is not None and self.erased and self.key.hash_id(each) in self.erased:
                found[each] = ERASED
            elif each in self.objecting:
                found[each] = OBJECTED
        return found


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many people of a shop were left out."""

    n_erased: int = 0
    n_objecting: int = 0

    def __str__(self) -> str:
        n_people = self.n_erased + self.n_objecting
        told = "1 person is" if n_people == 1 else f"{n_people:,} people are"
        return f"{told} left out: {self.n_erased:,} erased, {self.n_objecting:,} objecting."


def load_withheld(home: Path, store: ScoreStore) -> Withheld:
    """Load who is withheld.

    Raises:
        ServingError: If erased people cannot be recognised, as the key of their hashes is not here; or if the store
            is new, and objections are lost.
    """
    recall(home, store)
    objecting, erased = PeopleStore(store).load_withheld()
    key = check_key(load_key(home), erased)
    require_objections(home, store, key)
    return Withheld(objecting, erased, key)


def leave_out(shop: Shop, withheld: Withheld, *, connection: duckdb.DuckDBPyConnection) -> tuple[Shop, LeftOut]:
    """Return a shop without the people who are withheld, and how many of them it had.

    With a person goes what is on record of the browsers that were linked to them, as far as nobody else did it: it
    would otherwise come back as a visitor's. The report tells of the files as they are.

    Args:
        shop: Validated records.
        withheld: Who is withheld.
        connection: The database that the records are on.
    """
    if not (withheld.objecting or withheld.erased):
        return shop, LeftOut()
    found = withheld.find(_all_ids(shop.records))
    if not found:
        return shop, LeftOut()
    without = _without(shop.records, list(found), connection)
    reasons = list(found.values())
    left_out = LeftOut(n_erased=reasons.count(ERASED), n_objecting=reasons.count(OBJECTED))
    core = replace(without, events=None, contacts=None)
    orders = replace(shop.orders, records=core, orders=core.orders.to_native())
    if shop.events is None or without.events is None or without.contacts is None:
        return replace(shop, orders=orders), left_out
    events = replace(shop.events, events=without.events.to_native(), contacts=without.contacts.to_native())
    return replace(shop, orders=orders, events=events), left_out


def _without(records: Records, ids: list[str], connection: duckdb.DuckDBPyConnection) -> Records:
    people = _as_relation(ids, "customer_id", connection)
    named = records.map(lambda rows: rows.join(people, on="customer_id", how="anti"))
    if records.contacts is None or named.contacts is None:
        return named
    linked = _distinct(records.contacts.join(people, on="customer_id", how="semi"), "visitor_id")
    browsers = _as_relation([*linked, *ids], "visitor_id", connection)
    is_known = ~nw.col("customer_id").is_null()
    unknown = named.contacts.filter(~is_known).join(browsers, on="visitor_id", how="anti")
    return replace(named, contacts=nw.concat([named.contacts.filter(is_known), unknown]))


def _as_relation(ids: list[str], name: str, connection: duckdb.DuckDBPyConnection) -> nw.LazyFrame[Any]:
    """Bring ids onto a database, where a join finds ten thousand in the time that a list of them takes for a few."""
    table = f"left_out_{next(_numbers)}"
    connection.execute(f"CREATE TEMP TABLE {table} AS SELECT DISTINCT unnest(?::VARCHAR[]) AS {name}", [ids])
    return nw.from_native(connection.table(table)).lazy()


def _all_ids(records: Records) -> set[str]:
    """Return the ids of all customers and visitors."""
    relations = [(records.orders, "customer_id"), (records.events, "customer_id")]
    relations += [(records.refunds, "customer_id"), (records.items, "customer_id")]
    relations += [(records.contacts, "customer_id"), (records.contacts, "visitor_id")]
    return {each for rows, name in relations if rows is not None for each in _distinct(rows, name)}


def _distinct(rows: nw.LazyFrame[Any], name: str) -> list[str]:
    values: list[str | None] = rows.select(name).unique().collect("polars").get_column(name).to_list()
    return [value for value in values if value is not None]
