"""Golden rows: whatever a model may read, they hold something of it, so that a formula that changed is noticed."""

from dataclasses import replace

from features.intake.rules.event_types import load_event_types
from features.offers import EVENT, find_offers
from features.snapshot import Snapshot
from features.table import FEATURE_NAMES, FEATURES, build_feature_table
from training.bundle import Bundle
from training.golden import _CUTOFF_DAY, _records, agrees, golden_answers
from training.models.themes import THEMES

SNAPSHOT = Snapshot(_CUTOFF_DAY)


def test_offers() -> None:
    """The golden histories offer all that any feature needs, and every type of event."""
    needs = {need for feature in FEATURES for need in feature.needs}
    assert needs | {f"{EVENT}{event_type}" for event_type in load_event_types()} <= find_offers(_records(), SNAPSHOT)


def test_every_feature() -> None:
    """Every feature differs from one golden history to another: none is the same, or unknown, of all."""
    table = build_feature_table(_records(), SNAPSHOT)
    assert tuple(table.columns[1:]) == FEATURE_NAMES
    assert [name for name in FEATURE_NAMES if table[name].n_unique() < 2] == []


def test_themes(whole_bundle: Bundle) -> None:
    """Golden answers end in what each theme adds, where there is a reference to add it to."""
    model = whole_bundle.model
    explained, bare = golden_answers(model), golden_answers(replace(model, reference=None))
    for name, row in explained.items():
        assert row[: -len(THEMES)] == bare[name]
        assert any(row[-len(THEMES) :])


def test_agrees(whole_bundle: Bundle) -> None:
    """A model gives the same golden answers again; one digit, one row or one figure more is another answer."""
    first, again = golden_answers(whole_bundle.model), golden_answers(whole_bundle.model)
    assert first == again
    assert agrees(first, again)
    name = next(iter(first))
    assert not agrees({**first, name: [first[name][0] * 1.000001, *first[name][1:]]}, again)
    assert not agrees({**first, "one more": first[name]}, again)
    assert not agrees({**first, name: [*first[name], 1.0]}, again)
