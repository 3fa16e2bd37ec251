"""Training, composed: backtest, learn, seal, log. No step of its own."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl

from features.errors import CutoffError, ModelError
from features.intake.cdnow import DEMO_SOURCE
from features.intake.report import IntakeReport, digest_records
from features.intake.shop import Shop
from features.settings import Settings
from features.snapshot import Snapshot, to_date, to_day
from training import tracking
from training.bundle import Bundle, load_bundle, write_bundle
from training.card.model_card import build_card
from training.card.model_card_text import render_markdown
from training.evaluation.backtest import Backtest, backtest
from training.learn import Advance, learn_at
from training.models.contributions import drivers_by_theme
from training.models.lifecycle import LifecycleModel
from training.pictures.figures import draw_figures
from training.promotion.champion import bundles_folder, read_champion, read_history
from training.promotion.gate import Decision, decide, summarise, to_record
from training.promotion.leakage import check_leakage
from training.promotion.promote import find_freshness
from training.report.backtest_report import build_backtest_report, render_backtest
from training.splits import build_fold, rolling_folds


@dataclass(frozen=True, slots=True)
class Trained:
    """What one training left behind.

    Args:
        folder: The challenger's bundle.
        backtest: How it was judged.
        decision: What the gate says of it.
        notes: What training had to give up on this data, in words.
    """

    folder: Path
    backtest: Backtest
    decision: Decision
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """The days of orders that training may see: `first_day` up to, not including, `end_day`."""

    first_day: int
    end_day: int


def train(
    shop: Shop,
    *,
    home: Path,
    settings: Settings,
    as_of_day: int | None,
    source: str,
    started_at: str,
    git_commit: str | None = None,
    advance: Advance = lambda _: None,
) -> Trained:
    """Train a challenger on the orders before a date, judge it, and log it.

    Args:
        shop: Validated records with their report.
        home: Where bundles and the MLflow store live.
        settings: Of the whole run.
        as_of_day: Day number before which orders are used; None takes all of them.
        source: Name of the order source, without a path.
        started_at: ISO 8601 time.
        git_commit: Of the code, where known.
        advance: Told the name of each step before it begins.

    Raises:
        InsufficientHistoryError: If there is too little time or too few customers.
        CutoffError: If `as_of_day` lies outside the data.
    """
    window = find_window(shop.report, as_of_day)
    judged = run_backtest(shop, home=home, settings=settings, as_of_day=as_of_day, advance=advance)
    fold = build_fold(window.end_day, first_day=window.first_day, settings=settings.training)
    past, model = learn_at(shop.records, fold, settings=settings, advance=lambda step: advance(f"final model: {step}"))
    advance("checking for leaks")
    folds = (*rolling_folds(first_day=window.first_day, end_day=window.end_day, settings=settings.training), fold)
    leakage = check_leakage(shop.records, folds, past, first_day=window.first_day, settings=settings.training)
    data = {"is_demo": source == DEMO_SOURCE, **_describe(shop, window, past.present.height)}
    evaluation = {**summarise(judged.frame, judged.summary), "leakage": leakage.to_record()}
    if judged.champion_note:
        evaluation["champion_note"] = judged.champion_note
    freshness = find_freshness(home, trained_as_of=to_date(window.end_day).isoformat(), data=data)
    decision = decide(evaluation, settings.gate, freshness=freshness)
    advance("sealing the bundle")
    folder = write_bundle(
        bundles_folder(home),
        model,
        timezone=settings.orders.timezone,
        trained_as_of=freshness.trained_as_of,
        data=data,
        evaluation={**evaluation, "gate": to_record(decision)},
        drivers_by_theme=_find_drivers(model, past.present),
    )
    advance("logging to MLflow")
    manifest = load_bundle(folder).manifest
    tracking.log_training(
        home,
        manifest=manifest,
        bundle_folder=folder,
        backtest=judged.frame,
        summary=judged.summary,
        parameters=_parameters(settings),
        trials=model.search,
        figures=draw_figures(shop.records, judged=judged, model=model, end_day=window.end_day, settings=settings),
        texts={
            "model_card.md": render_markdown(build_card(manifest)),
            "backtest.html": render_report(judged, window=window, source=source, settings=settings),
        },
        dataset_digest=data["digest"],
        source_name=source,
        git_commit=git_commit,
        started_at=started_at,
    )
    return Trained(folder, judged, decision, (*judged.notes, *model.notes))


def render_report(judged: Backtest, *, window: Window, source: str, settings: Settings) -> str:
    """Render a backtest as one HTML page."""
    report = build_backtest_report(
        judged, source=source, first_day=window.first_day, end_day=window.end_day, settings=settings
    )
    return render_backtest(report)


def run_backtest(
    shop: Shop, *, home: Path, settings: Settings, as_of_day: int | None, advance: Advance = lambda _: None
) -> Backtest:
    """Run the rolling backtest alone, the standing champion on the ladder where it may be."""
    window = find_window(shop.report, as_of_day)
    champion, notes = _standing_champion(home, settings, shop.report)
    judged = backtest(
        shop.records,
        first_day=window.first_day,
        end_day=window.end_day,
        settings=settings,
        champion=champion,
        advance=advance,
    )
    return replace(judged, notes=(*judged.notes, *notes), champion_note=" ".join(notes))


def find_window(report: IntakeReport, as_of_day: int | None) -> Window:
    """Return the days of orders that training may see.

    Raises:
        CutoffError: If there is no order at all, or the as-of date is not after the first order, or lies beyond the day
            after the last one: the days between would look as if nobody had ordered.
    """
    if report.first_day is None or report.last_day is None:
        raise CutoffError("No order was accepted.", remedy="Run lifestage validate to see what became of each row.")
    first_day, after_last = to_day(report.first_day), to_day(report.last_day) + 1
    end_day = after_last if as_of_day is None else as_of_day
    if not first_day < end_day <= after_last:
        raise CutoffError(
            f"The as-of date {to_date(end_day)} lies outside the orders, "
            f"which run from {report.first_day} to {report.last_day}.",
            remedy=f"Give --as-of a date after {report.first_day} and up to {to_date(after_last)}.",
        )
    return Window(first_day, end_day)


def _standing_champion(home: Path, settings: Settings, report: IntakeReport) -> tuple[Bundle | None, tuple[str, ...]]:
    """Return the champion to compare with, or the reason in words why there is none though one serves."""
    if not read_history(home):
        return None, ()
    try:
        champion = load_bundle(read_champion(home))
    except ModelError as error:
        return None, (f"The standing champion cannot be compared with: {error.problem}",)
    if champion.manifest.is_demo_of_other_orders(report.digest):
        return None, ("The standing champion is the demo's, trained on another shop, and is not compared with.",)
    if champion.manifest.horizon_days != settings.training.horizon_days:
        days = champion.manifest.horizon_days
        return None, (f"The standing champion looks {days} days ahead and cannot be compared with.",)
    return champion, ()


def _describe(shop: Shop, window: Window, n_customers: int) -> dict[str, Any]:
    """Describe the orders that training saw, none at or after its end."""
    known = Snapshot(window.end_day).known_records(shop.records)
    return {
        "n_orders": int(known.orders.select(nw.len()).collect("polars").item()),
        "n_customers": n_customers,
        "n_quarantined": shop.report.n_quarantined,
        "first_day": to_date(window.first_day).isoformat(),
        "last_day": to_date(window.end_day - 1).isoformat(),
        "source_last_day": None if shop.report.last_day is None else shop.report.last_day.isoformat(),
        "digest": digest_records(known),
    }


def _find_drivers(model: LifecycleModel, present: pl.DataFrame) -> dict[str, float]:
    return {} if model.reference is None else drivers_by_theme(model, present, model.reference)


def _parameters(settings: Settings) -> dict[str, Any]:
    named_by_the_user = {"columns", "sources"}  # a source may hold a password
    sections = settings.model_dump(
        exclude={"serving": True, "orders": named_by_the_user, "events": {*named_by_the_user, "types"}}
    )
    return {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}
