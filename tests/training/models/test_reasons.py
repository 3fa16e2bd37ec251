"""Reasons: contributions that add up, themes that point the way of the whole, figures of the customers themselves."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.records import Records
from features.snapshot import Snapshot, to_day
from features.table import FEATURE_NAMES, build_customer_table, features_named
from tests.whole_shop import AS_OF
from training.bundle import Bundle
from training.fitters.reasons import learn_reference
from training.models import contributions as contributions_module
from training.models import reasons
from training.models.churn import ChurnModel, ProbabilityCalibrator, process_view
from training.models.contributions import (
    Contributions,
    churn_contributions,
    drivers_by_theme,
    merge_by_theme,
)
from training.models.inputs import input_names, model_inputs, purchase_summary
from training.models.lateness import put_on_time
from training.models.lifecycle import LifecycleModel
from training.models.reasons import MAX_REASONS, Reason, find_reasons
from training.models.reference import Reference
from training.models.themes import SILENCE, THEMES, theme_of, themes_of


@pytest.fixture(scope="module")
def table(model: LifecycleModel, cdnow_orders: pl.DataFrame, end_day: int) -> pl.DataFrame:
    """The customers of the shared orders, half a year before their end: the lost and the active in balance."""
    return _build_table(model, Records.wrap(cdnow_orders), end_day - 180)


@pytest.fixture(scope="module")
def reasoned(model: LifecycleModel, table: pl.DataFrame) -> LifecycleModel:
    """The shared model, with what is usual among them."""
    return replace(model, reference=learn_reference(model, table))


@pytest.fixture(scope="module")
def contributions(reasoned: LifecycleModel, table: pl.DataFrame) -> Contributions:
    """What moves their probabilities."""
    return churn_contributions(reasoned, table, _known(reasoned))


@pytest.fixture(scope="module")
def found(reasoned: LifecycleModel, table: pl.DataFrame) -> list[tuple[Reason, ...]]:
    """Their reasons."""
    return find_reasons(reasoned, reasoned.see(table), _known(reasoned))


def _build_table(model: LifecycleModel, records: Records, cutoff_day: int) -> pl.DataFrame:
    snapshot = Snapshot(cutoff_day, model.horizon_days)
    return build_customer_table(records, snapshot, rule=model.stage_rule, features=features_named(model.features))


def _known(model: LifecycleModel) -> Reference:
    assert model.reference is not None
    return model.reference


def _share_out_anew(model: LifecycleModel, table: pl.DataFrame) -> Contributions:
    return churn_contributions(model, table, learn_reference(model, table))


def _is_late(reason: Reason) -> bool:
    """Tell whether a reason is that of whoever is late by their own usual gap."""
    return reason.effect > 0.0 and reason.facts.keys() == {"days_since_last_order", "median_gap_days"}


def test_additive(reasoned: LifecycleModel, table: pl.DataFrame, contributions: Contributions) -> None:
    """Base and contributions add up to the very probability that the model answers, and so do the themes."""
    sums = contributions.base + contributions.values.sum(axis=1)
    np.testing.assert_allclose(sums, contributions.p_churn, rtol=0, atol=1e-12)
    assert contributions.p_churn.tobytes() == reasoned.answer(table).p_churn.tobytes()
    merged = merge_by_theme(contributions, reasoned).sum(axis=1)
    np.testing.assert_allclose(merged, contributions.values.sum(axis=1), rtol=0, atol=1e-12)


def _is_active(table: pl.DataFrame) -> Any:
    return (table["stage"] != "lost").to_numpy()


def test_base(reasoned: LifecycleModel, table: pl.DataFrame, contributions: Contributions) -> None:
    """The base is the mean of those who are not lost, for whom every part is nothing on average; or of all, if few."""
    active = _is_active(table)
    assert 0.1 < active.mean() < 0.9
    assert contributions.base == pytest.approx(contributions.p_churn[active].mean(), abs=1e-12)
    np.testing.assert_allclose(contributions.values[active].mean(axis=0), 0.0, atol=1e-12)
    usual = _known(reasoned).usual["shop_days_since_last_order"]
    assert usual == np.median(table["days_since_last_order"].to_numpy()[active])
    few = pl.concat([table.filter(active).head(29), table.filter(~active)])
    assert _share_out_anew(reasoned, few).base == pytest.approx(reasoned.answer(few).p_churn.mean(), abs=1e-12)


def test_shares_of_the_trees(reasoned: LifecycleModel, table: pl.DataFrame, contributions: Contributions) -> None:
    """Before the mean is taken off, inputs share the way to the customer as their Shapley values share the log-odds."""
    churn, inputs = reasoned.churn, model_inputs(table, reasoned.features)
    assert churn.trees is not None
    process = process_view(reasoned.process.timing, purchase_summary(table), horizon_days=reasoned.horizon_days)
    shapley = churn.trees.contributions(churn.tree_inputs(inputs, process))[:, : inputs.shape[1]]
    learned = contributions.values[:, :-1] + _known(reasoned).means(input_names(reasoned.features))[:-1]
    far = np.abs(shapley.sum(axis=1)) > 0.01
    np.testing.assert_allclose(
        learned[far] / learned[far].sum(axis=1, keepdims=True),
        shapley[far] / shapley[far].sum(axis=1, keepdims=True),
        rtol=1e-8,
        atol=1e-9,
    )


def test_flat_trees(reasoned: LifecycleModel, table: pl.DataFrame) -> None:
    """A pool that calibration makes one number has no reasons; a weight of 1 leaves the purchase process alone."""
    flat = replace(reasoned.churn, calibrator=ProbabilityCalibrator(slope=0.0, intercept=0.5))
    told = _share_out_anew(replace(reasoned, churn=flat), table)
    assert not told.values.any()
    assert told.p_churn == pytest.approx(told.base)
    alone = _share_out_anew(replace(reasoned, churn=replace(reasoned.churn, process_weight=1.0)), table)
    assert not alone.values[:, :-1].any()
    np.testing.assert_allclose(alone.base + alone.values[:, -1], alone.p_churn, rtol=0, atol=1e-12)


def test_without_trees(reasoned: LifecycleModel, table: pl.DataFrame) -> None:
    """Where the purchase process answers alone, silence is the only reason."""
    alone = replace(reasoned, churn=ChurnModel(None, 1.0))
    reference = learn_reference(alone, table)
    told = churn_contributions(alone, table, reference)
    np.testing.assert_allclose(told.base + told.values.sum(axis=1), told.p_churn, rtol=0, atol=1e-12)
    assert told.base == pytest.approx(told.p_churn[_is_active(table)].mean())
    assert {reason.theme for row in find_reasons(alone, alone.see(table), reference) for reason in row} == {SILENCE}


def test_agreement(
    reasoned: LifecycleModel, table: pl.DataFrame, contributions: Contributions, found: list[tuple[Reason, ...]]
) -> None:
    """Every reason but lateness points the way of the probability, matters, and leaving it out does not contradict."""
    themes = themes_of(input_names(reasoned.features))
    inputs, reference = model_inputs(table, reasoned.features), _known(reasoned)
    process = process_view(reasoned.process.timing, purchase_summary(table), horizon_days=reasoned.horizon_days)
    for theme in THEMES:
        shown = {
            row: reason
            for row, told in enumerate(found)
            for reason in told
            if reason.theme == theme and not _is_late(reason)
        }
        if not shown:
            continue
        rows, effects = np.array(list(shown)), np.array([reason.effect for reason in shown.values()])
        distance = contributions.p_churn[rows] - contributions.base
        assert (effects * distance > 0.0).all()
        assert (np.abs(effects) >= np.clip(0.1 * np.abs(distance), 0.001, 0.01) - 0.00005).all()
        changed = inputs[rows].copy()
        of_theme = [position for position, name in enumerate(themes[:-1]) if name == theme]
        changed[:, of_theme] = [reference.input(input_names(reasoned.features)[i]) for i in of_theme]
        if theme == SILENCE:
            without = reasoned.churn.p_churn(changed, np.array([reference.process] * rows.size))
        else:
            without = reasoned.churn.p_churn(changed, process[rows])
        assert ((contributions.p_churn[rows] - without) * effects >= 0.0).all()


def test_late(
    reasoned: LifecycleModel, table: pl.DataFrame, contributions: Contributions, found: list[tuple[Reason, ...]]
) -> None:
    """Whoever is silent for clearly longer than their usual gap is told so, by what it adds against being on time."""
    late = table.select(
        (pl.col("frequency") >= 2) & (pl.col("days_since_last_order") > 1.5 * pl.col("median_gap_days"))
    )
    rows = np.flatnonzero(late.to_series().fill_null(value=False).to_numpy())
    inputs, timing = put_on_time(reasoned.see(table[rows]), reasoned.inputs)
    added = contributions.p_churn[rows] - reasoned.churn.p_churn(inputs, reasoned.process_view(timing))
    assert rows.size > 50
    assert (added >= 0.01).mean() > 0.9
    for row, effect in zip(rows.tolist(), added.tolist(), strict=True):
        told = [reason.effect for reason in found[row] if _is_late(reason)]
        if effect >= 0.01 and told:
            assert told == [pytest.approx(effect, abs=5e-5)]
        is_crowded_out = len(found[row]) == MAX_REASONS and abs(found[row][-1].effect) >= effect - 1e-4
        assert bool(told) == (effect >= 0.01) or is_crowded_out
        assert not any(reason.theme == SILENCE and reason.effect < 0.0 for reason in found[row])


def test_at_risk(table: pl.DataFrame, found: list[tuple[Reason, ...]]) -> None:
    """Nearly everyone whose stage is at risk is told why they are, and not why they are not."""
    first = [
        told[0].effect > 0.0 for told, stage in zip(found, table["stage"], strict=True) if stage == "at_risk" and told
    ]
    assert np.mean(first) > 0.9


def test_on_time(model: LifecycleModel) -> None:
    """A late customer put on time is the very customer that they were one usual gap after their last order."""
    days = [0, 9, 21, 30, 44, 56]
    orders = pl.DataFrame({"customer_id": "a", "day": days, "amount_micros": 10_000_000})
    late, on_time = (_build_table(model, Records.wrap(orders), day) for day in (200, 56 + 12))
    [moved], timing = put_on_time(model.see(late), model.inputs)
    seen = model.see(on_time)
    assert late["median_gap_days"].item() == 12.0
    for name in ("days_since_last_order", "T_days", "overdue_days", "recency_share", "median_gap_days"):
        assert moved[model.inputs.index(name)] == pytest.approx(on_time[name].item())
    for name in ("silence_to_mean_gap", "silence_to_max_gap", "silence_to_median_gap", "silence_score"):
        assert moved[model.inputs.index(name)] == pytest.approx(on_time[name].item())
    assert timing.T_days == seen.summary.T_days
    assert timing.year_day == seen.summary.year_day


def test_few(found: list[tuple[Reason, ...]], contributions: Contributions, reasoned: LifecycleModel) -> None:
    """At most three themes are told, each once, greatest first; nearly every customer has one, the greatest at that."""
    for told in found:
        sizes = [abs(reason.effect) for reason in told]
        assert len(told) <= MAX_REASONS
        assert len({reason.theme for reason in told}) == len(told)
        assert sizes == sorted(sizes, reverse=True)
    assert np.mean([bool(told) for told in found]) > 0.9
    distance = contributions.p_churn - contributions.base
    towards = merge_by_theme(contributions, reasoned) * np.sign(distance)[:, None]
    greatest = [THEMES[column] for column in towards.argmax(axis=1)]
    assert np.mean([told[0].theme == theme for told, theme in zip(found, greatest, strict=True) if told]) > 0.9


def test_figures(table: pl.DataFrame, found: list[tuple[Reason, ...]]) -> None:
    """Facts are the customer's own features, whole where they are whole."""
    seen = set()
    for told, row in zip(found, table.iter_rows(named=True), strict=True):
        for reason in told:
            for name in reason.facts.keys() & row.keys():
                seen.add(name)
                assert reason.facts[name] == pytest.approx(row[name], abs=1e-4)
            whole = [name for name in reason.facts if name.startswith(("days_", "order_days_within", "n_"))]
            assert all(isinstance(reason.facts[name], int) for name in whole)
    assert {"days_since_last_order", "median_gap_days", "mean_order_day_value"} <= seen


def test_silence(table: pl.DataFrame, found: list[tuple[Reason, ...]]) -> None:
    """A silence that raises is longer than usual, and none past the own gap is told as short by that of the shop."""
    for told, row in zip(found, table.iter_rows(named=True), strict=True):
        for reason in told:
            own_gap = row["median_gap_days"] if row["frequency"] >= 2 else None
            if own_gap is not None and reason.theme == SILENCE and reason.effect < 0:
                assert row["days_since_last_order"] <= own_gap
            if reason.theme != SILENCE or "days_since_last_order" not in reason.facts:
                continue
            own, usual = reason.facts.values()
            assert own > usual if reason.effect > 0 else own < usual
            assert row["frequency"] >= 2 or "median_gap_days" not in reason.facts


def test_alone(reasoned: LifecycleModel, table: pl.DataFrame, found: list[tuple[Reason, ...]]) -> None:
    """A customer explained alone has the very reasons that they have among all, and a second look finds the same."""
    assert find_reasons(reasoned, reasoned.see(table), _known(reasoned)) == found
    for row in range(0, table.height, 97):
        assert find_reasons(reasoned, reasoned.see(table[[row]]), _known(reasoned)) == [found[row]]


def test_together(reasoned: LifecycleModel, table: pl.DataFrame, contributions: Contributions) -> None:
    """Requests that are explained at the same time do not disturb each other."""
    with ThreadPoolExecutor(max_workers=4) as threads:
        explained = threads.map(
            lambda row: churn_contributions(reasoned, table[[row]], _known(reasoned)).values[0], range(60)
        )
        assert [values.tolist() for values in explained] == contributions.values[:60].tolist()


def test_slices(
    reasoned: LifecycleModel, table: pl.DataFrame, found: list[tuple[Reason, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large base is explained part by part, to the same end; what is drawn of it is drawn the same twice."""
    monkeypatch.setattr(reasons, "_ROWS_AT_ONCE", 400)
    monkeypatch.setattr(contributions_module, "_MAX_DRAWN", 400)
    seen = reasoned.see(table)
    assert find_reasons(reasoned, seen, _known(reasoned)) == found
    assert find_reasons(reasoned, seen.take(slice(0)), _known(reasoned)) == []
    assert learn_reference(reasoned, table) == learn_reference(reasoned, table) != _known(reasoned)
    again = [drivers_by_theme(reasoned, table, _known(reasoned)) for _ in range(2)]
    assert again[0] == again[1]


def test_drivers(reasoned: LifecycleModel, table: pl.DataFrame, contributions: Contributions) -> None:
    """Drivers are the mean sizes of the themes' parts, greatest first; on orders alone, silence leads."""
    drivers = drivers_by_theme(reasoned, table, _known(reasoned))
    sizes = np.abs(merge_by_theme(contributions, reasoned)).mean(axis=0)
    assert drivers == pytest.approx({theme: sizes[THEMES.index(theme)] for theme in drivers}, abs=1e-6)
    assert list(drivers) == sorted(drivers, key=lambda theme: -drivers[theme])
    assert next(iter(drivers)) == SILENCE
    assert not {"channel", "support"} & drivers.keys()


def test_reference(reasoned: LifecycleModel) -> None:
    """The reference survives JSON, also where most have no value, and is refused where it lacks an input."""
    reference, names = _known(reasoned), input_names(reasoned.features)
    reference = replace(reference, inputs={**reference.inputs, "std_gap_days": None})
    values: dict[str, Any] = json.loads(json.dumps(reference.to_dict(), allow_nan=False))
    assert Reference.from_dict(values, names) == reference
    assert np.isnan(reference.input("std_gap_days"))
    with pytest.raises(ValueError, match="not finite"):
        Reference.from_dict({**values, "mean_process_part": float("inf")}, names)
    del values["inputs"]["days_since_last_order"]
    with pytest.raises(ValueError, match="lacks the value"):
        Reference.from_dict(values, names)
    values = reference.to_dict()
    del values["mean_parts"]["days_since_last_order"]
    with pytest.raises(ValueError, match="lacks the value"):
        Reference.from_dict(values, names)


def test_themes() -> None:
    """Every input has a theme, every theme has inputs, and what is no feature is silence."""
    names = input_names(FEATURE_NAMES)
    assert set(map(theme_of, names)) == set(THEMES)
    assert {theme_of(name) for name in (*set(names) - set(FEATURE_NAMES), "p_alive")} == {SILENCE}
    assert [theme_of(name) for name in ("T_days", "recency_share", "tickets_within_90", "visits_within_30")] == [
        *("tenure", SILENCE, "support", "engagement")
    ]


def test_whole_shop(whole_bundle: Bundle, whole_shop: Any) -> None:
    """Of a shop that records everything, more than order timing is told, and no reason holds an id."""
    model = whole_bundle.model
    table = _build_table(model, whole_shop.records, to_day(AS_OF))
    found = find_reasons(model, model.see(table), _known(model))
    told = churn_contributions(model, table, _known(model))
    np.testing.assert_allclose(told.base + told.values.sum(axis=1), told.p_churn, rtol=0, atol=1e-12)
    assert len({reason.theme for row in found for reason in row}) >= 4
    assert "shopper" not in json.dumps([asdict(reason) for row in found for reason in row])
