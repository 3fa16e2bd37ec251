"""The front door: the command line. It parses arguments, calls the rooms, and nothing else."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.catalogue import GROUPS
from features.errors import (
    LifestageError,
    ModelError,
    PromotionRefusedError,
    ServingError,
    SettingsError,
)
from features.lifecycle.segments import SIZES
from features.lifecycle.stages import PROSPECT_STAGES, STAGES
from features.settings import Settings, load_settings
from features.snapshot import to_day
from serving import terminal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from features.intake.shop import Shop
    from features.lifecycle.vocabularies import Wording
    from serving.access.audit import AuditEntry
    from serving.schemas import StageMap
    from serving.store.score_store import RunInfo, ScoreStore
    from training.bundle import Bundle
    from training.suggestion import HorizonSuggestion

app = typer.Typer(
    name="lifestage",
    help="Will a customer leave, which lifecycle stage comes next, and what are they worth?\n\n"
    "Start with [bold]lifestage demo[/bold], then [bold]lifestage train --orders YOUR_FILE.csv[/bold].\n\n"
    "Exit codes: 0 done · 1 too many bad rows · 2 wrong flag or setting · 3 order file unusable · "
    "4 too little history · 5 no such model · 6 promotion refused · 7 service or store.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)

_DEFAULT_HOME = ".lifestage"
_DEFAULT_CONFIG = Path("lifestage.toml")
_TOP = 10
_INTERRUPTED = "Query interrupted"
_AUTO = "auto"

StageName = StrEnum("StageName", list(STAGES))  # type: ignore[misc]  # members are data
ProspectStageName = StrEnum("ProspectStageName", list(PROSPECT_STAGES))  # type: ignore[misc]  # members are data
SliceName = StrEnum("SliceName", ["all", "stage", "cohort", "channel"])
SizeName = StrEnum("SizeName", list(SIZES))  # type: ignore[misc]  # members are data

Home = Annotated[
    Path, typer.Option(envvar="LIFESTAGE_HOME", help="Folder of models, scores, keys and the MLflow store.")
]
Config = Annotated[
    Path | None, typer.Option(help="Settings file; lifestage.toml in this folder is read if it is there.")
]
OrderFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--orders",
        metavar="PATH",
        help="Orders: a CSV or Parquet file, a folder or a glob; repeat it for several. "
        "Databases, and sources read differently, stand in lifestage.toml as \\[[orders.sources]].",
    ),
]
EventFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--events",
        metavar="PATH",
        help="Web and marketing events, where there are any; as --orders, or \\[[events.sources]].",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="OURS=THEIRS",
        help="Where a column of the orders is: customer_id, ordered_at, amount, order_id, …",
    ),
]
EventColumns = Annotated[
    list[str] | None,
    typer.Option("--event-column", metavar="OURS=THEIRS", help="Where a column of the events is: occurred_at, …"),
]
Zone = Annotated[str | None, typer.Option("--timezone", help="The shop's time zone, such as Europe/Paris.")]
DateFormat = Annotated[str | None, typer.Option(help="strptime format of ordered_at, such as %d/%m/%Y.")]
AsOf = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only orders before this date are used.")]
Horizon = Annotated[
    str | None,
    typer.Option(
        metavar="DAYS|auto", help="Days that the predictions look ahead; auto takes what lifestage horizon suggests."
    ),
]
VocabularyName = Annotated[
    str | None,
    typer.Option(
        "--vocabulary",
        help="Whose words for the stages: lifestage, reach_to_loyalty, visitor_to_regular, awareness_to_advocacy, "
        "discovery_to_defence, stranger_to_ambassador, omnisend, shopify_rfm, hubspot, or the path of your own .toml.",
    ),
]
Language = Annotated[str | None, typer.Option(help="Of the words: en or fr.")]
SvgFile = Annotated[Path | None, typer.Option("--svg", help="Draw it into this .svg instead.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write it as JSON; - for stdout.")]
Cutoffs = Annotated[int | None, typer.Option(help="Test cutoffs of the backtest, one horizon apart.")]


@app.command()
def demo(home: Home = Path(_DEFAULT_HOME)) -> None:
    """Run the whole main job on the CDNOW purchase log: read, backtest, promote, score, serve, ask.

    It ends by itself within a few minutes and needs no network.
    """
    from features.intake.cdnow import DEMO_SOURCE, write_cdnow_csv
    from serving.answers import tell_at_risk
    from serving.demonstration import show_exchange
    from serving.lists import load_at_risk
    from serving.state import open_store

    settings = _settings(None)
    wording = _wording(settings)
    terminal.print_heading("1  Orders: the CDNOW purchase log, 1997-01-01 to 1998-06-30")
    orders_path = write_cdnow_csv(_made(home / "demo"))
    with _shop([str(orders_path)], None, settings, home=home) as shop:
        _keep_own_champion(home, shop.report.digest)
        terminal.print_heading("2  Training, and a backtest on later time than training saw")
        _train(shop, home=home, settings=settings, as_of=None, source=DEMO_SOURCE)
        terminal.print_heading("3  Promotion: may the challenger serve?")
        _promote(home, settings)
        terminal.print_heading("4  Scores of the whole base")
        as_of = date(1998, 7, 1)
        _score(shop, _champion(home), home=home, settings=settings, as_of=as_of, wording=wording, out=None)
    terminal.print_note("Everyone in this log joined in early 1997: nobody is new any more, and most are long lost.")
    with open_store(home, settings.serving.store_url) as opened, opened.at_one_moment() as store:
        _print_stages(store, wording, home=home)
        terminal.print_heading("5  The ten customers most worth saving")
        page = load_at_risk(store, limit=_TOP)
        terminal.print_at_risk(tell_at_risk(page, wording), language=wording.language)
    terminal.print_heading("6  The service: a real BentoML server on a free port of this machine")
    show_exchange(home, as_of=as_of.isoformat(), customer_id=page.rows[0]["customer_id"])
    terminal.print_heading("What to try next")
    terminal.print_next_steps(home, orders_path, is_default_home=home == Path(_DEFAULT_HOME))


@app.command()
def validate(
    orders: OrderFiles = None,
    events: EventFiles = None,
    column: Columns = None,
    event_column: EventColumns = None,
    timezone: Zone = None,
    date_format: DateFormat = None,
    config: Config = None,
    quarantine: Annotated[
        Path | None, typer.Option(help="Write the quarantined rows of the orders to this .csv or .parquet too.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML file, with pictures.")] = None,
    home: Home = Path(_DEFAULT_HOME),
) -> None:
    """Check orders and events: how many rows are accepted, which are not, why, and what to do about it.

    Also says which features the data can support, and what the others need.
    """
    from features.intake.quarantine import write_quarantine
    from features.intake.shop import refuse_bad_rows
    from serving.batch import TABLE_ENDINGS, require_writable
    from serving.data_report import write_data_report

    settings = _settings(config, orders=_order_flags(column, timezone, date_format), events=_event_flags(event_column))
    if quarantine is not None:
        require_writable(quarantine, endings=TABLE_ENDINGS)
    if html is not None:
        require_writable(html, endings=(".html",))
    with _shop(orders, events, settings, home=home, tolerate_all=True) as shop:
        if shop.report.n_orders:
            terminal.print_support(shop.records)
        if quarantine is not None:
            write_quarantine(shop.orders, quarantine)
        if html is not None:
            write_data_report(shop, html)
        refuse_bad_rows(shop, settings)


@app.command()
def features(
    group: Annotated[str | None, typer.Option(help="Only this group, or groups whose name holds this.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the catalogue as JSON.")] = False,
) -> None:
    """Print the feature catalogue: name, unit, meaning, what each needs, and when it is null."""
    from features.table import FEATURES

    shown = [feature.describe() for feature in FEATURES if (group or "") in feature.group]
    if not shown:
        raise SettingsError(f"No group of features is called {group!r}.", remedy=f"Groups: {', '.join(GROUPS)}.")
    if json_:
        terminal.write_stdout(json.dumps(shown, indent=1, ensure_ascii=False) + "\n")
    else:
        terminal.print_catalogue(shown)


@app.command()
def train(
    orders: OrderFiles = None,
    events: EventFiles = None,
    as_of: AsOf = None,
    horizon_days: Horizon = None,
    cutoffs: Cutoffs = None,
    column: Columns = None,
    event_column: EventColumns = None,
    timezone: Zone = None,
    date_format: DateFormat = None,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """Train a challenger on the orders before a date, backtest it, log it to MLflow and print the ladder."""
    settings = _settings(
        config,
        orders=_order_flags(column, timezone, date_format),
        events=_event_flags(event_column),
        training=_training_flags(horizon_days, cutoffs),
    )
    with _shop(orders, events, settings, home=home) as shop:
        settings = _with_horizon(horizon_days, shop, settings, as_of=as_of)
        _train(shop, home=home, settings=settings, as_of=as_of, source=Path(shop.report.by_source[0].file).name)
    _print_next("promote", home=home, config=config)


@app.command()
def backtest(
    orders: OrderFiles = None,
    events: EventFiles = None,
    as_of: AsOf = None,
    horizon_days: Horizon = None,
    cutoffs: Cutoffs = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the tidy table as JSON; - for stdout.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the report as one HTML file: verdicts, ladder, slices, pictures.")
    ] = None,
    column: Columns = None,
    event_column: EventColumns = None,
    timezone: Zone = None,
    date_format: DateFormat = None,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """Run the rolling backtest alone: model × cutoff × slice × metric, all on later time than training saw."""
    from serving.batch import require_writable, write_text
    from training.evaluation.backtest import DECIDING
    from training.promotion.gate import to_rows
    from training.train import find_window, render_report, run_backtest

    to_stdout = json_file == Path("-")
    if json_file is not None and not to_stdout:
        require_writable(json_file)
    if html is not None:
        require_writable(html, endings=(".html",))

    settings = _settings(
        config,
        orders=_order_flags(column, timezone, date_format),
        events=_event_flags(event_column),
        training=_training_flags(horizon_days, cutoffs),
    )
    with _shop(orders, events, settings, home=home, is_quiet=to_stdout) as shop:
        settings = _with_horizon(horizon_days, shop, settings, as_of=as_of)
        with terminal.progress(_n_steps(settings)) as advance:
            judged = run_backtest(shop, home=home, settings=settings, as_of_day=_day(as_of), advance=advance)
        window, source = find_window(shop.report, _day(as_of)), Path(shop.report.by_source[0].file).name
    for note in judged.notes:
        terminal.print_note(note)
    if html is not None:
        write_text(render_report(judged, window=window, source=source, settings=settings), html)
        terminal.err.print(f"The report is in {html}.")
    if json_file is None:
        terminal.print_ladder(judged.summary, DECIDING)
        return
    text = json.dumps(to_rows(judged.frame), indent=1) + "\n"
    if to_stdout:
        terminal.write_stdout(text)
    else:
        json_file.write_text(text, encoding="utf-8")


@app.command()
def horizon(
    orders: OrderFiles = None,
    as_of: AsOf = None,
    column: Columns = None,
    timezone: Zone = None,
    date_format: DateFormat = None,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """Suggest how far to look ahead, from how soon the shop's customers return, and say why."""
    settings = _settings(config, orders=_order_flags(column, timezone, date_format))
    with _shop(orders, None, settings, home=home) as shop:
        suggestion = _suggest_horizon(shop, settings, as_of)
    terminal.print_horizon(suggestion)
    _print_next(
        "train",
        horizon_days=suggestion.horizon_days,
        orders=orders,
        as_of=None if as_of is None else as_of.date(),
        column=column,
        timezone=timezone,
        date_format=date_format,
        home=home,
        config=config,
    )


@app.command()
def promote(
    force: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Promote even if the gate objects; the reason is kept, and shown."),
    ] = None,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """Let the challenger serve, if the gate finds that it loses to nothing simpler."""
    _promote(home, _settings(config), force_reason=force)


@app.command()
def rollback(home: Home = Path(_DEFAULT_HOME)) -> None:
    """Let the model serve again that served before the champion."""
    from training.promotion.promote import roll_back

    promotion = roll_back(home, at=_now().isoformat())
    _audit(home, "rollback", version=promotion.version)
    terminal.out.print(f"{promotion.version} serves again. A running service takes it within seconds.")


@app.command()
def models(home: Home = Path(_DEFAULT_HOME)) -> None:
    """List the trained versions, newest first, with what was decided about them and why."""
    from training.tracking import list_models

    shown = ("number", "bundle_version", "aliases", "trained_as_of", "horizon_days", "reason")
    versions = [{key: asdict(version)[key] for key in shown} for version in list_models(home)]
    terminal.print_records(
        [{**version, "aliases": ", ".join(version["aliases"])} for version in versions], title="Models"
    )


@app.command()
def score(
    as_of: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="History is what lies strictly before it.")],
    orders: OrderFiles = None,
    events: EventFiles = None,
    out: Annotated[Path | None, typer.Option(help="Also write the scores to this .parquet or .csv.")] = None,
    column: Columns = None,
    event_column: EventColumns = None,
    timezone: Zone = None,
    date_format: DateFormat = None,
    vocabulary: VocabularyName = None,
    language: Language = None,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """Score every customer with the champion and publish the scores, all at once, to the store."""
    from serving.batch import TABLE_ENDINGS, require_writable
    from serving.state import open_store

    settings = _settings(config, orders=_order_flags(column, timezone, date_format), events=_event_flags(event_column))
    if out is not None:
        require_writable(out, endings=TABLE_ENDINGS)
    champion, wording = _champion(home), _wording(settings, vocabulary, language)
    with _shop(orders, events, settings, home=home) as shop:
        _score(shop, champion, home=home, settings=settings, as_of=as_of.date(), wording=wording, out=out)
    with open_store(home, settings.serving.store_url) as opened, opened.at_one_moment() as store:
        _print_stages(store, wording, home=home)


@app.command(name="at-risk")
def at_risk(
    limit: Annotated[int, typer.Option(min=1, help="Rows of the list.")] = 25,
    stage: Annotated[StageName | None, typer.Option(help="Only customers in this stage.")] = None,
    size: Annotated[SizeName | None, typer.Option(help="Only customers of this size.")] = None,
    min_p_churn: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only customers this likely to leave.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the list to this .csv or .parquet instead.")] = None,
    vocabulary: VocabularyName = None,
    language: Language = None,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """List the customers most worth saving, by value at risk = p_churn × 12-month value, and what to do for them."""
    from serving.answers import tell_at_risk
    from serving.batch import write_frame
    from serving.lists import at_risk_frame, load_at_risk
    from serving.published import wording_of_run
    from serving.state import open_published
    from serving.store.score_store import AtRiskFilters

    settings = _settings(config)
    wording = _wording(settings, vocabulary, language)
    with open_published(home, settings.serving.store_url) as opened, opened.at_one_moment() as store:
        filters = AtRiskFilters(stage=stage, size=size, min_p_churn=min_p_churn)
        page = load_at_risk(store, limit=limit, filters=filters)
        wording = wording_of_run(store, page.run, wording)
    if out is None:
        terminal.print_at_risk(tell_at_risk(page, wording), language=wording.language)
    else:
        write_frame(at_risk_frame(page, wording), out)
        _keep_track(out, "at-risk", home=home)
        terminal.out.print(f"{len(page.rows)} customers written to {out}.")


@app.command()
def stages(
    svg: SvgFile = None,
    json_file: JsonFile = None,
    plays: Annotated[bool, typer.Option("--plays", help="Print what to do for each stage, too.")] = False,
    vocabulary: VocabularyName = None,
    language: Language = None,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """Show the lifecycle map: customers, value and churn per stage, who moved since, and who is expected to."""
    from serving.answers import draw_stages
    from serving.published import load_stage_map
    from serving.state import open_published

    settings = _settings(config)
    wording = _wording(settings, vocabulary, language)
    with open_published(home, settings.serving.store_url) as opened, opened.at_one_moment() as store:
        if svg is not None:
            _write(draw_stages(load_stage_map(store), wording), svg, endings=(".svg",))
        elif json_file is not None:
            _write(_told_stages(store, wording, home=home).model_dump_json(indent=1) + "\n", json_file)
        else:
            _print_stages(store, wording, home=home, with_plays=plays)


@app.command()
def segments(
    svg: SvgFile = None,
    json_file: JsonFile = None,
    language: Language = None,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """Show the grid of RFM group × size: who stands where, who is expected to leave, and the value that moves."""
    from serving.answers import draw_segments, tell_segments
    from serving.published import load_segmentation
    from serving.state import open_published
    from serving.terminal_maps import print_segments

    settings = _settings(config)
    wording, groups = _wording(settings, None, language), settings.lifecycle.rfm_groups
    with open_published(home, settings.serving.store_url) as opened, opened.at_one_moment() as store:
        segmentation = load_segmentation(store)
        flags = _flags_of(store, segmentation.run, home=home)
    if svg is not None:
        _write(draw_segments(segmentation, groups=groups, language=wording.language), svg, endings=(".svg",))
        return
    told = tell_segments(segmentation, wording, groups=groups, flags=flags)
    if json_file is not None:
        _write(told.model_dump_json(indent=1) + "\n", json_file)
    else:
        print_segments(told)


@app.command()
def metrics(
    slice_: Annotated[
        SliceName, typer.Option("--by", help="Which slices: the whole shop, or by stage, cohort or channel.")
    ] = SliceName.all,
    out: Annotated[Path | None, typer.Option(help="Write the whole sheet to this .csv or .parquet instead.")] = None,
    json_file: JsonFile = None,
    vocabulary: VocabularyName = None,
    language: Language = None,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """Show the metric sheet: cost per acquisition, order value, frequency, CLV to CPA, each with what it is made of."""
    from serving.answers import label_metrics, tell_metrics
    from serving.batch import write_frame
    from serving.published import load_metric_sheet
    from serving.state import open_published
    from serving.terminal_maps import print_metrics

    settings = _settings(config)
    wording = _wording(settings, vocabulary, language)
    with open_published(home, settings.serving.store_url) as opened, opened.at_one_moment() as store:
        sheet = load_metric_sheet(store)
        flags = _flags_of(store, sheet.run, home=home)
    rows = label_metrics(sheet.rows, wording)
    if out is not None:
        write_frame(rows, out)
        terminal.out.print(f"{rows.height} rows written to {out}.")
    elif json_file is not None:
        _write(tell_metrics(sheet, wording, flags=flags).model_dump_json(indent=1) + "\n", json_file)
    else:
        print_metrics(rows.filter(slice_kind=slice_.value), title=f"Metric sheet as of {sheet.run.as_of}")


@app.command()
def prospects(
    limit: Annotated[int, typer.Option(min=1, help="Rows of the list.")] = 25,
    stage: Annotated[ProspectStageName | None, typer.Option(help="Only people in this stage.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the list to this .csv or .parquet instead.")] = None,
    vocabulary: VocabularyName = None,
    language: Language = None,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """List those who have not ordered, the likeliest to order first; it takes events with visitors or registrations."""
    from serving.answers import tell_prospects
    from serving.batch import write_frame
    from serving.published import load_prospects, prospect_frame
    from serving.state import open_published
    from serving.terminal_maps import print_prospects

    settings = _settings(config)
    wording = _wording(settings, vocabulary, language)
    with open_published(home, settings.serving.store_url) as opened, opened.at_one_moment() as store:
        page = load_prospects(store, limit=limit, stage=stage)
    if out is None:
        print_prospects(tell_prospects(page, wording))
    else:
        write_frame(prospect_frame(page, wording), out)
        _keep_track(out, "prospects", home=home)
        terminal.out.print(f"{len(page.rows)} prospects written to {out}.")


@app.command()
def changes(
    limit: Annotated[int, typer.Option(min=1, help="Rows of the list.")] = 25,
    since_run: Annotated[int | None, typer.Option(min=1, help="Compare with this run, not the one before.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the list to this .csv or .parquet instead.")] = None,
    vocabulary: VocabularyName = None,
    language: Language = None,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """List who entered and left which stage between the run before and the published one."""
    from serving.answers import tell_changes
    from serving.batch import write_frame
    from serving.published import change_frame, load_changes
    from serving.state import open_published
    from serving.terminal_maps import print_changes

    settings = _settings(config)
    wording = _wording(settings, vocabulary, language)
    with open_published(home, settings.serving.store_url) as opened, opened.at_one_moment() as store:
        page = load_changes(store, limit=limit, since_run=since_run)
    if out is None:
        print_changes(tell_changes(page, wording), {stage: wording.label(stage).text for stage in STAGES})
    else:
        write_frame(change_frame(page, wording), out)
        _keep_track(out, "changes", home=home)
        terminal.out.print(f"{len(page.rows)} of {page.n_changes} changes written to {out}.")


@app.command()
def history(
    as_of: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="History is what lies strictly before it.")],
    customer_id: Annotated[str | None, typer.Option(help="Print the stages of this customer.")] = None,
    at: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only the stage at the start of this day.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Who changed stage between this day and --as-of.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write every customer's rows to this .csv or .parquet.")] = None,
    orders: OrderFiles = None,
    events: EventFiles = None,
    column: Columns = None,
    event_column: EventColumns = None,
    timezone: Zone = None,
    date_format: DateFormat = None,
    vocabulary: VocabularyName = None,
    language: Language = None,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """Show which stages customers went through, since when, for how long and why, by the champion's stage rule."""
    from serving.batch import TABLE_ENDINGS, require_writable, write_frame
    from serving.stage_history import tell_history, tell_moves
    from serving.terminal_maps import print_history

    if (customer_id is None) == (out is None) and since is None:
        raise SettingsError(
            "A history is either printed, of one customer, or written, of all.",
            remedy="Give --customer-id ID, or --out FILE; --since DATE alone counts who moved.",
        )
    if since is not None and (at is not None or customer_id is not None):
        raise SettingsError(
            "--since tells of all customers between two days.", remedy="Leave out --at and --customer-id."
        )
    if out is not None:
        require_writable(out, endings=TABLE_ENDINGS)
    settings = _settings(config, orders=_order_flags(column, timezone, date_format), events=_event_flags(event_column))
    champion, wording = _champion(home), _wording(settings, vocabulary, language)
    with _shop(orders, events, settings, home=home) as shop:
        if since is None:
            at_day = None if at is None else at.date()
            rows = tell_history(shop, champion, as_of=as_of.date(), at=at_day, customer_id=customer_id, wording=wording)
        else:
            rows, flows = tell_moves(shop, champion, since=since.date(), as_of=as_of.date(), wording=wording)
            print_history(flows.iter_rows(named=True), title=f"Stages from {since.date()} to {as_of.date()}")
    if out is not None:
        write_frame(rows, out)
        _keep_track(out, "history", home=home)
        terminal.out.print(f"{rows.height:,} rows written to {out}.")
    elif since is None:
        print_history(rows.iter_rows(named=True), title=f"Stages as of {as_of.date()}")


@app.command()
def keys(
    name: Annotated[str | None, typer.Argument(help="Who will use the key, such as crm; none lists the keys.")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="score|read|lists|admin",
            help="What the key opens; repeat it for several. Without it: score, read and lists.",
        ),
    ] = None,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Create a second key of that name; the first works on.")
    ] = False,
    retire: Annotated[bool, typer.Option("--retire", help="Remove the older of the two keys of that name.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove all keys of that name.")] = False,
    home: Home = Path(_DEFAULT_HOME),
) -> None:
    """Create an API key and show it, once; only its hash is kept. Without a name, list the keys.

    Scopes: [bold]score[/bold] scores customers from the orders in a request; [bold]read[/bold] reads stored scores,
    stages, metrics and the model card; [bold]lists[/bold] reads lists of customers; [bold]admin[/bold] does everything,
    with reloading, erasing and objections. A running service follows at once.

    To change a key without a gap: lifestage keys crm --rotate, give the new key to the CRM, then
    lifestage keys crm --retire.
    """
    from serving.access.keys import (
        DEFAULT_SCOPES,
        create_key,
        fingerprint,
        keys_path,
        load_keys,
        remove_key,
        retire_key,
        rotate_key,
        undone_on_failure,
    )

    path = keys_path(home)
    if name is None and (rotate or retire or remove or scope):
        raise SettingsError("Whose key?", remedy="Give the name, such as lifestage keys crm --rotate.")
    if name is None:
        _list_keys(path)
        return
    if rotate + retire + remove + bool(scope) > 1:
        raise SettingsError(
            "--scope, --rotate, --retire and --remove do not go together.",
            remedy="Give one of them; a second key has the scopes of the first.",
        )
    if retire or remove:
        with undone_on_failure(path):
            gone = [retire_key(path, name=name)] if retire else [*remove_key(path, name=name)]
            _audit(home, "key_removed", name=name, keys=[key.fingerprint for key in gone])
        terminal.out.print("The older key is gone." if retire else f"The key {name} is gone.", markup=False)
        return
    with undone_on_failure(path):
        if rotate:
            key = rotate_key(path, name=name, created_at=_now())
        else:
            key = create_key(path, name=name, scopes=scope or DEFAULT_SCOPES, created_at=_now())
        scopes = next(stored.scopes for stored in load_keys(path) if stored.fingerprint == fingerprint(key))
        _audit(home, "key_created", name=name, key=fingerprint(key), scopes=scopes)
    terminal.err.print("Keep it safe; it is not shown again. Send it as 'Authorization: Bearer KEY'.")
    terminal.write_stdout(key + "\n")


@app.command()
def audit(
    verify: Annotated[bool, typer.Option("--verify", help="Check that no line was changed, moved or removed.")] = False,
    head: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="With --verify: a hash that the log must hold, as a receipt tells it."),
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="Rows of the list.")] = 20,
    home: Home = Path(_DEFAULT_HOME),
) -> None:
    """List who did what to keys, people and models; or check that the log is as it was written.

    Each line holds the hash of the line before it, so that a change breaks the chain. Whoever can write the file could
    cut its end off: note the head that this command prints somewhere else, and give it to --verify --head.
    """
    from serving.access.audit import AuditLog, audit_path

    log = AuditLog(audit_path(home))
    verdict = log.verify(head)
    if (verify or head is not None) and verdict.broken_line is not None:
        raise ServingError(
            f"The audit log is broken at line {verdict.broken_line}: {verdict.problem}",
            remedy="Compare it with a backup: the lines before hold together, nothing from there on can be relied on.",
        )
    if not (verify or head is not None):
        _list_acts([*log.entries()][-last:])
    whole = "" if verdict.broken_line is None else " hold together; the next is broken: see --verify"
    terminal.out.print(f"{verdict.n_entries} entries{whole}. Head: {verdict.head}", highlight=False, soft_wrap=True)


@app.command()
def erase(
    customer_id: Annotated[str, typer.Option(help="The person's id, as it stands in the order files.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether you are sure.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON.")] = False,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """Erase a person from every place that we keep, for good, and keep them out of later batches and trainings.

    Your own order files stay as they are: erase the person there too. The receipt says what was done and what was not;
    it is kept in the home folder, and names nobody. Run it again if it was cut short, or says that something is left.
    """
    from serving.access.keys import COMMAND_LINE
    from serving.people.desk import open_desk
    from serving.terminal_people import print_receipt

    if not yes:
        _confirm("Erase this person for good?")
    with _open_any_store(home, _settings(config)) as store:
        receipt = open_desk(home, store).erase(customer_id, actor=COMMAND_LINE, at=_now())
    if json_:
        terminal.write_stdout(receipt.model_dump_json(indent=1) + "\n")
    else:
        print_receipt(receipt, home)


@app.command(name="object")
def object_(
    customer_id: Annotated[str, typer.Option(help="The person's id, as it stands in the order files.")],
    withdraw: Annotated[bool, typer.Option("--withdraw", help="The person objects no longer.")] = False,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """Record that a person objects: from now on they are in no list, no score and no training, until withdrawn."""
    from serving.access.keys import COMMAND_LINE
    from serving.people.desk import open_desk

    with _open_any_store(home, _settings(config)) as store:
        desk = open_desk(home, store)
        if withdraw:
            was_objecting = desk.withdraw_objection(customer_id, actor=COMMAND_LINE, at=_now())
            told = "The objection is withdrawn." if was_objecting else "No objection of this person was on record."
        else:
            objection = desk.record_objection(customer_id, actor=COMMAND_LINE, at=_now())
            told = f"On record since {objection.objected_at}; lifestage object --withdraw takes it back."
    terminal.out.print(told)


@app.command()
def objections(home: Home = Path(_DEFAULT_HOME), config: Config = None) -> None:
    """List who objects, by id; those who were erased are known by nothing that could be listed."""
    from serving.people.desk import open_desk

    with _open_any_store(home, _settings(config)) as store:
        desk, cursor = open_desk(home, store), None
        while True:
            page = desk.list_objections(limit=1000, cursor=cursor)
            for each in page.objections:
                terminal.write_stdout(f"{each.customer_id}\t{each.objected_at}\n")
            cursor = page.next_cursor
            if cursor is None:
                break
    terminal.err.print(f"Objections on record: {page.n_objections:,}.")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that answer.")] = None,
    insecure_local: Annotated[
        bool, typer.Option("--insecure-local", help="Answer without keys, to this machine alone.")
    ] = False,
    tls_certificate: Annotated[
        Path | None, typer.Option(help="Answer by https: a PEM file with the certificate and its chain.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, a PEM file without a passphrase.")] = None,
    home: Home = Path(_DEFAULT_HOME),
    config: Config = None,
) -> None:
    """Serve scores over HTTP, with pages for people at /."""
    from serving.access.tls import choose_tls
    from serving.server import run_server

    settings = _settings(config, serving={"host": host, "port": port, "workers": workers}).serving
    code = run_server(
        home,
        host=settings.host,
        port=settings.port,
        insecure_local=insecure_local,
        config=_config_path(config),
        workers=settings.workers,
        tls=choose_tls(tls_certificate, tls_key),
        on_ready=lambda url: terminal.out.print(f"Lifestage answers at {url} (Ctrl+C ends it)."),
    )
    raise typer.Exit(code)


def main() -> None:
    """Run the command line; a user's mistake ends in one message and an exit code, never in a traceback."""
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait must not burn the cores of a busy machine
    try:
        app()
    except LifestageError as error:
        terminal.print_error(error.problem, error.remedy)
        sys.exit(error.exit_code)
    except RuntimeError as error:  # so DuckDB passes Ctrl+C on
        if str(error) != _INTERRUPTED:
            raise
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # whoever reads our output has seen enough
        sys.exit(0)
    except OSError as error:
        name = error.filename or "A file"
        terminal.print_error(
            f"{name} cannot be used: {error.strerror or type(error).__name__}.",
            "Give another --home or file, or correct its permissions.",
        )
        sys.exit(SettingsError.exit_code)


@contextmanager
def _shop(
    orders: list[str] | None,
    events: list[str] | None,
    settings: Settings,
    *,
    home: Path,
    tolerate_all: bool = False,
    is_quiet: bool = False,
) -> Iterator["Shop"]:
    """Read a shop and say what became of its rows; what was refused is kept in the home."""
    from features.engine import connect
    from features.intake.shop import read_shop, refuse_bad_rows

    connection = connect(memory_limit=settings.engine.memory_limit, threads=settings.engine.threads)
    try:
        with terminal.waiting("reading"):
            shop = read_shop(orders or [], events or [], settings, connection=connection, today=_now().date())
        if not is_quiet:
            terminal.print_shop(shop, _keep_quarantine(shop, home))
        if not tolerate_all:
            refuse_bad_rows(shop, settings)
        yield _without_withheld(shop, settings, home=home, connection=connection)
    finally:
        connection.close()


def _open_any_store(home: Path, settings: Settings) -> "ScoreStore":
    """Open the store, made if there is none: people can be erased, and object, before anything is published."""
    from serving.state import open_store

    return open_store(home, settings.serving.store_url)


def _confirm(question: str) -> None:
    """Ask, where there is somebody to ask.

    Raises:
        SettingsError: If there is nobody.
    """
    if not sys.stdin.isatty():
        raise SettingsError("There is no terminal on which to ask whether you are sure.", remedy="Add --yes.")
    typer.confirm(question, abort=True)


def _without_withheld(shop: "Shop", settings: Settings, *, home: Path, connection: "DuckDBPyConnection") -> "Shop":
    """Leave out who objects or was erased, and say how many of them the files name."""
    from serving.people.ledger import has_memory
    from serving.people.withheld import leave_out, load_withheld
    from serving.state import is_store_there, open_store

    if not is_store_there(home, settings.serving.store_url) and not has_memory(home):
        return shop
    with open_store(home, settings.serving.store_url) as store:
        withheld = load_withheld(home, store)
    without, left_out = leave_out(shop, withheld, connection=connection)
    if without is not shop:
        terminal.print_note(str(left_out))
    return without


def _keep_quarantine(shop: "Shop", home: Path) -> list[Path]:
    """Write what was refused, each time anew, and return the files."""
    from features.intake.quarantine import write_quarantine

    kept = []
    for name, part in (("quarantine.parquet", shop.orders), ("quarantine-events.parquet", shop.events)):
        if part is not None and part.report.n_quarantined:
            write_quarantine(part, _made(home) / name)
            kept.append(home / name)
        else:
            (home / name).unlink(missing_ok=True)
    return kept


def _train(shop: "Shop", *, home: Path, settings: Settings, as_of: date | None, source: str) -> None:
    from training.evaluation.backtest import DECIDING
    from training.tracking import current_commit
    from training.train import train as train_challenger

    with terminal.progress(_n_steps(settings)) as advance:
        trained = train_challenger(
            shop,
            home=_made(home),
            settings=settings,
            as_of_day=_day(as_of),
            source=source,
            started_at=_now().isoformat(),
            git_commit=current_commit(),
            advance=advance,
        )
    terminal.print_ladder(trained.backtest.summary, DECIDING)
    for note in trained.notes:
        terminal.print_note(note)
    terminal.out.print(f"Challenger: {trained.folder.name}")
    for objection in trained.decision.objections:
        terminal.print_note(f"The gate will object: {objection}")


def _promote(home: Path, settings: Settings, *, force_reason: str | None = None) -> None:
    from training.promotion.promote import promote_challenger

    verdict = promote_challenger(home, settings.gate, at=_now().isoformat(), force_reason=force_reason)
    terminal.print_reasons((reason.holds, reason.text) for reason in verdict.decision.reasons)
    if not verdict.serves:
        raise PromotionRefusedError(
            f"{verdict.manifest.version} was refused for {len(verdict.decision.objections)} of these reasons.",
            remedy="Train on more or cleaner history; the margins are [gate] in lifestage.toml. "
            'lifestage promote --force "WHY" overrules the gate, and leaves a mark.',
        )
    _audit(home, "promote", version=verdict.manifest.version, is_forced=verdict.is_forced)
    if verdict.is_forced:
        terminal.print_note("Promoted by force: the model card says so, and what the gate had objected.")
    terminal.out.print(
        f"Promoted: {verdict.manifest.version} serves from now on; a running service takes it within seconds."
    )


def _score(
    shop: "Shop",
    champion: "Bundle",
    *,
    home: Path,
    settings: Settings,
    as_of: date,
    wording: "Wording",
    out: Path | None,
) -> None:
    from serving.batch import publish_scores, score_base, scoring_notes
    from serving.people.gate import build_guard
    from serving.state import open_store

    with terminal.progress(2) as advance, open_store(home, settings.serving.store_url) as store:
        advance("scoring")
        publication = score_base(shop, champion, as_of=as_of, settings=settings)
        advance("publishing")
        run = publish_scores(
            publication,
            store,
            published_at=_now(),
            keep_runs=settings.serving.keep_runs,
            wording=replace(wording, rfm_bins=champion.model.segments.bins),
            out=out,
            on_written=lambda path: _keep_track(path, "score", home=home),
            guard=build_guard(home, store),
        )
    for note in scoring_notes(shop, champion.manifest, as_of=as_of):
        terminal.print_note(note)
    terminal.out.print(f"{run.n_customers:,} customers scored as of {run.as_of} over {run.horizon_days} days.")


def _keep_track(path: Path, command: str, *, home: Path) -> None:
    """Remember a file with people in it, so that an erasure reaches it too."""
    from serving.people.exports import record_export

    record_export(home, path, kind=command, at=_now())


def _list_keys(path: Path) -> None:
    from serving.access.keys import load_keys

    stored = load_keys(path)
    if not stored:
        terminal.err.print("No keys yet: lifestage keys NAME creates one.")
        return
    terminal.print_records(
        [
            {"name": key.name, "key": key.fingerprint, "scopes": ", ".join(key.scopes), "created": key.created_at}
            for key in stored
        ],
        title="Keys, by the beginning of their hash",
    )


def _list_acts(entries: list["AuditEntry"]) -> None:
    if not entries:
        terminal.err.print("No acts are on record yet.")
        return
    terminal.print_records(
        [
            {
                "line": entry.number,
                "at": entry.at[:19].replace("T", " "),
                "actor": entry.actor,
                "act": entry.act,
                "detail": ", ".join(f"{name}: {value}" for name, value in entry.detail.items()),
            }
            for entry in entries
        ],
        title="Audit log, in UTC",
    )


def _audit(home: Path, act: str, **detail: object) -> None:
    """Put an act on record; it was done, so that only its record can fail."""
    from serving.access.audit import AuditLog, audit_path
    from serving.access.keys import COMMAND_LINE

    AuditLog(audit_path(home)).append(actor=COMMAND_LINE, act=act, detail=detail, at=_now())


def _wording(settings: Settings, vocabulary: str | None = None, language: str | None = None) -> "Wording":
    from serving.wording import build_wording

    return build_wording(settings.lifecycle, vocabulary=vocabulary, language=language)


def _told_stages(store: "ScoreStore", wording: "Wording", *, home: Path) -> "StageMap":
    from serving.answers import tell_stages
    from serving.published import load_stage_map, wording_of_run

    stage_map = load_stage_map(store)
    words, flags = wording_of_run(store, stage_map.run, wording), _flags_of(store, stage_map.run, home=home)
    return tell_stages(stage_map, store.totals(stage_map.run), words, flags=flags)


def _flags_of(store: "ScoreStore", run: "RunInfo", *, home: Path) -> list[str]:
    """Return what to know about all answers from a run today, as the service tells it."""
    from serving.published import flag_run
    from training.promotion.champion import read_champion

    try:
        champion = read_champion(home).name
    except ModelError:
        champion = None
    return flag_run(store, run, today=_now().date(), champion=champion)


def _print_stages(store: "ScoreStore", wording: "Wording", *, home: Path, with_plays: bool = False) -> None:
    from serving.terminal_maps import print_plays, print_stages

    told = _told_stages(store, wording, home=home)
    print_stages(told)
    if with_plays:
        print_plays(told)


def _write(text: str, path: Path, *, endings: tuple[str, ...] = ()) -> None:
    """Write a text to a file, or as it is to stdout."""
    from serving.batch import require_writable, write_text

    if path == Path("-"):
        terminal.write_stdout(text)
        return
    require_writable(path, endings=endings)
    write_text(text, path)
    terminal.out.print(f"Written to {path}.")


def _champion(home: Path) -> "Bundle":
    from training.bundle import load_bundle
    from training.promotion.champion import read_champion

    return load_bundle(read_champion(home))


def _keep_own_champion(home: Path, demo_digest: str) -> None:
    try:
        champion = _champion(home)
    except ModelError:
        return
    if champion.manifest.data.get("digest") != demo_digest:
        raise SettingsError(
            f"{home} already serves a model of your own, which the demo would replace.",
            remedy="Give the demo a folder of its own: lifestage demo --home .lifestage-demo",
        )


def _settings(config: Path | None, **sections: dict[str, Any]) -> Settings:
    return load_settings(_config_path(config), overrides=sections)


def _config_path(config: Path | None) -> Path | None:
    return _DEFAULT_CONFIG if config is None and _DEFAULT_CONFIG.is_file() else config


def _order_flags(columns: list[str] | None, timezone: str | None, date_format: str | None) -> dict[str, Any]:
    return {"columns": _mapping("--column", columns), "timezone": timezone, "date_format": date_format}


def _event_flags(columns: list[str] | None) -> dict[str, Any]:
    return {"columns": _mapping("--event-column", columns)}


def _mapping(flag: str, entries: list[str] | None) -> dict[str, str] | None:
    pairs = [entry.partition("=") for entry in entries or []]
    for ours, equals, theirs in pairs:
        if not (ours and equals and theirs):
            raise SettingsError(f"{flag} {ours}{equals}{theirs} is no mapping.", remedy=f"Write {flag} OURS=THEIRS.")
    return {ours: theirs for ours, _, theirs in pairs} or None


def _training_flags(horizon_days: str | None, cutoffs: int | None) -> dict[str, Any]:
    return {"horizon_days": _days_ahead(horizon_days), "test_cutoffs": cutoffs}


def _days_ahead(horizon_days: str | None) -> int | None:
    """Return the days that a flag names; None where it names none, or leaves them to the shop's rhythm."""
    if horizon_days is None or horizon_days == _AUTO:
        return None
    try:
        return int(horizon_days)
    except ValueError:
        raise SettingsError(
            f"--horizon-days {horizon_days} is no number of days.", remedy="Give a number such as 90, or auto."
        ) from None


def _with_horizon(horizon_days: str | None, shop: "Shop", settings: Settings, *, as_of: date | None) -> Settings:
    """Take the horizon that the shop's rhythm suggests, and say why, where the flag asks for that."""
    if horizon_days != _AUTO:
        return settings
    suggestion = _suggest_horizon(shop, settings, as_of)
    terminal.print_note(f"Looking {suggestion.horizon_days} days ahead: {' '.join(suggestion.reasons)}")
    training = settings.training.model_copy(update={"horizon_days": suggestion.horizon_days})
    return settings.model_copy(update={"training": training})


def _suggest_horizon(shop: "Shop", settings: Settings, as_of: date | None) -> "HorizonSuggestion":
    from training.horizon import suggest_horizon
    from training.train import find_window

    window = find_window(shop.report, _day(as_of))
    return suggest_horizon(shop.records, first_day=window.first_day, end_day=window.end_day, settings=settings)


def _print_next(command: str, *, home: Path, config: Path | None, **given: object) -> None:
    """Print what to run next, with the flags given to this command, so that a shell takes it as it is."""
    flags = {**given, "home": None if home == Path(_DEFAULT_HOME) else home, "config": config}
    words = ["lifestage", command]
    for name, value in flags.items():
        for each in value if isinstance(value, list) else [value]:
            words += [] if each is None else [f"--{name.replace('_', '-')}", str(each)]
    terminal.out.print(f"Next: {shlex.join(words)}", highlight=False, soft_wrap=True)


def _n_steps(settings: Settings) -> int:
    return 6 * settings.training.test_cutoffs + 7


def _day(when: date | None) -> int | None:
    if when is None:
        return None
    return to_day(when.date() if isinstance(when, datetime) else when)


def _now() -> datetime:
    return datetime.now(UTC)


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds what is known of customers
    return folder


if __name__ == "__main__":
    main()
