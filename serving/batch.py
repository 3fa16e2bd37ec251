"""Scores of a whole customer base: computed, written to a file, published to the store."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from features.errors import CutoffError, SettingsError
from features.files import write_whole, written_whole
from features.intake.shop import Shop
from features.lifecycle.vocabularies import Wording
from features.offers import find_offers
from features.settings import Settings
from features.snapshot import Snapshot, to_day
from features.table import features_named
from serving.csv_export import to_csv
from serving.reasons import with_reason_texts
from serving.reports import build_reports
from serving.scoring import score_prospects, score_whole
from serving.store.people import PeopleStore
from serving.store.score_store import RunInfo, ScoreStore
from serving.store.tombstones import ErasedGuard
from serving.wording import with_labels
from training.bundle import Bundle, Manifest

TABLE_ENDINGS = (".parquet", ".csv")


@dataclass(frozen=True, slots=True)
class Publication:
    """All that one run publishes.

    Args:
        scores: One row per customer with an order before the as-of date, columns as `SCORE_SCHEMA`.
        prospects: One row per person without, columns as `PROSPECT_SCHEMA`; empty where none are on record.
        reports: Name → JSON values, as `build_reports` returns them.
    """

    scores: pl.DataFrame
    prospects: pl.DataFrame
    reports: Mapping[str, Any]


def score_base(shop: Shop, champion: Bundle, *, as_of: date, settings: Settings) -> Publication:
    """Score everybody known before the as-of date, and describe the base as a whole.

    Args:
        shop: Validated records.
        champion: The model to answer with.
        as_of: Date in the shop's zone; orders at or after its midnight are not used.
        settings: The time zone in which the orders' days were counted, and what the metric sheet covers.

    Raises:
        CutoffError: If no order lies before the as-of date.
        SettingsError: If the champion counts days in another time zone.
    """
    first = shop.report.first_day
    if first is None or as_of <= first:
        raise CutoffError(
            f"No order lies before the as-of date {as_of}; the first is of {first}.", remedy="Give a later --as-of."
        )
    timezone = settings.orders.timezone
    if timezone != champion.manifest.timezone:
        raise SettingsError(
            f"The champion counts days in {champion.manifest.timezone}, and the orders were read in {timezone}.",
            remedy=f"Give --timezone {champion.manifest.timezone}, or train again.",
        )
    most = settings.serving.max_reason_customers
    scored = score_whole(champion, shop.records, cutoff_day=to_day(as_of), max_reasons=most)
    prospects = score_prospects(champion, shop.records, cutoff_day=to_day(as_of))
    reports = build_reports(shop, scored, prospects, model=champion.model, as_of=as_of, settings=settings.lifecycle)
    return Publication(scored.scores, prospects, reports)


def scoring_notes(shop: Shop, manifest: Manifest, *, as_of: date) -> tuple[str, ...]:
    """Say what a reader of the scores should know about their data and date, in words; empty where nothing."""
    report, notes = shop.report, []
    last = report.last_day
    if manifest.is_demo_of_other_orders(report.digest):
        notes.append(
            "The champion here is the demo's, trained on the CDNOW log and not on your orders: "
            "train and promote your own before you act on these scores."
        )
    if last is not None and (as_of - last).days > manifest.horizon_days:
        notes.append(f"The orders end on {last}, long before {as_of}: silence since then counts as no order.")
    if as_of.isoformat() < manifest.trained_as_of:
        notes.append(
            f"The champion was trained on orders up to {manifest.trained_as_of}: "
            f"what it says as of {as_of} is no test of it."
        )
    if lacking := _lacking(shop, manifest, as_of=as_of):
        notes.append(
            f"The champion was trained with {', '.join(lacking)}, of which nothing is on record before {as_of}: "
            "it takes them as unknown, and refunds as none."
        )
    return tuple(notes)


def _lacking(shop: Shop, manifest: Manifest, *, as_of: date) -> list[str]:
    """Return what the champion's features need and these records lack."""
    features = features_named(feature["name"] for feature in manifest.catalogue)
    return sorted({need for f in features for need in f.needs} - find_offers(shop.records, Snapshot(to_day(as_of))))


def publish_scores(
    publication: Publication,
    store: ScoreStore,
    *,
    published_at: datetime,
    keep_runs: int,
    wording: Wording,
    out: Path | None = None,
    on_written: Callable[[Path], object] = lambda _: None,
    guard: ErasedGuard | None = None,
) -> RunInfo:
    """Write scores to a file where one is wanted, then publish them.

    The file comes first: a file that cannot be written must not leave a publication behind.

    Args:
        publication: What to publish.
        store: Where.
        published_at: When, for the record.
        keep_runs: How many runs to keep, this one included.
        wording: In whose words the file is.
        out: The file.
        on_written: Called with it whenever it has been written.
        guard: Keeps out, of store and file alike, whoever was erased while they were computed.

    Raises:
        SettingsError: If the file is neither .parquet nor .csv, or its folder does not exist.
        ServingError: If the scores cannot be published.
    """
    if out is not None:
        _write_told(publication.scores, wording, out)
        on_written(out)
    run = store.publish(
        publication.scores,
        published_at=published_at,
        keep_runs=keep_runs,
        prospects=publication.prospects,
        reports=publication.reports,
        guard=guard,
    )
    if out is not None and guard is not None and run.n_customers < publication.scores.height:
        gone = PeopleStore(store).find_erased(guard, publication.scores["customer_id"])
        if gone:
            _write_told(publication.scores.filter(~pl.col("customer_id").is_in(gone)), wording, out)
            on_written(out)
    return run


def _write_told(scores: pl.DataFrame, wording: Wording, path: Path) -> None:
    write_frame(with_labels(with_reason_texts(scores, language=wording.language), wording), path)


def require_writable(path: Path, *, endings: tuple[str, ...] = ()) -> None:
    """Refuse a file that could not be written, before any work is done for it.

    Raises:
        SettingsError: If its ending is none of those given, it is a folder, or its folder does not exist.
    """
    if endings and path.suffix not in endings:
        raise SettingsError(
            f"{path.name} is neither {' nor '.join(endings)}.", remedy="Give the file one of these endings."
        )
    if path.is_dir():
        raise SettingsError(f"{path} is a folder.", remedy="Name a file in it.")
    if not path.parent.is_dir():
        raise SettingsError(f"There is no folder {path.parent}.", remedy="Create it, or write elsewhere.")


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame as Parquet or CSV; readers of the path see the old file or the new, whole.

    Raises:
        SettingsError: If the path is neither .parquet nor .csv, or its folder does not exist.
    """
    require_writable(path, endings=TABLE_ENDINGS)
    with written_whole(path) as draft:
        if path.suffix == ".parquet":
            frame.write_parquet(draft)
        else:
            draft.write_text(to_csv(frame), encoding="utf-8")


def write_text(text: str, path: Path) -> None:
    """Write a text file; readers of the path see the old file or the new, whole."""
    write_whole(path, text)
