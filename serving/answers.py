"""Answers in the words that the caller asked for: what goes over the wire, and pictures of it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

import polars as pl

from features.lifecycle.metric_sheet import METRICS, Language
from features.lifecycle.vocabularies import Wording, load_vocabulary
from features.lifecycle.vocabulary import Label
from serving import schemas
from serving.lifecycle_map import Flow
from serving.lists import AtRiskList
from serving.pictures.lifecycle_map import draw_lifecycle_map
from serving.pictures.rfm_grid import draw_rfm_grid
from serving.published import ChangePage, MetricSheet, ProspectPage, Segmentation, StageMap
from serving.rfm_grid import RfmGrid
from serving.store.score_store import RunInfo, ScoreRow


def tell_at_risk(page: AtRiskList, wording: Wording, *, flags: Sequence[str] = ()) -> schemas.AtRiskPage:
    """Tell one page of the at-risk list."""
    return schemas.AtRiskPage(
        run=_run(page.run, flags),
        customers=[schemas.Score.from_row(row, wording, run_id=page.run.run_id) for row in page.rows],
        totals=schemas.ListTotals(**asdict(page.totals)),
        matching_customers=page.matching_customers,
        next_cursor=page.next_cursor,
    )


def tell_stages(
    stage_map: StageMap, totals: pl.DataFrame, wording: Wording, *, flags: Sequence[str] = ()
) -> schemas.StageMap:
    """Tell the lifecycle map.

    Args:
        stage_map: As loaded.
        totals: Customers and values by stage and RFM code (see `ScoreStore.totals`).
        wording: Whose words.
        flags: Of the run (see `flag_run`).
    """
    lifecycle_map = stage_map.lifecycle_map
    return schemas.StageMap(
        run=_run(stage_map.run, flags),
        vocabulary=wording.vocabulary.name,
        language=wording.language,
        stages=[schemas.StageEntry(**asdict(entry), **_words(entry.stage, wording)) for entry in lifecycle_map.stages],
        prospects=[
            schemas.ProspectEntry(**asdict(entry), **_words(entry.stage, wording)) for entry in lifecycle_map.prospects
        ],
        not_observable=[
            schemas.UnseenStage(**_label(unseen.stage, wording), **asdict(unseen))
            for unseen in lifecycle_map.not_observable
        ],
        labels=_by_label(totals, wording),
        observed_from=lifecycle_map.observed_from,
        observed_flows=_flows(lifecycle_map.observed),
        expected_flows=_flows(lifecycle_map.expected),
        thresholds=dict(lifecycle_map.thresholds),
    )


def draw_stages(stage_map: StageMap, wording: Wording) -> str:
    """Draw the lifecycle map, as SVG."""
    run = stage_map.run
    return draw_lifecycle_map(stage_map.lifecycle_map, as_of=run.as_of, horizon_days=run.horizon_days, wording=wording)


def tell_segments(
    segmentation: Segmentation, wording: Wording, *, groups: str, flags: Sequence[str] = ()
) -> schemas.Segments:
    """Tell the grid of RFM group and size.

    Args:
        segmentation: As loaded.
        wording: Whose language.
        groups: The RFM vocabulary that the settings name, for the labels of its groups.
        flags: Of the run (see `flag_run`).
    """
    grid = segmentation.grid
    labels = label_groups(grid, groups=groups, language=wording.language)
    return schemas.Segments(
        run=_run(segmentation.run, flags),
        language=wording.language,
        cells=[schemas.SegmentCell(**asdict(cell), group_label=labels[cell.group]) for cell in grid.cells],
        flows=[schemas.SegmentFlow(**asdict(flow)) for flow in grid.flows],
        min_flow_customers=grid.min_flow_customers,
        thresholds=dict(grid.thresholds),
        rfm_of_group={group: list(codes) for group, codes in grid.rfm_of_group.items()},
    )


def draw_segments(segmentation: Segmentation, *, groups: str, language: str) -> str:
    """Draw the grid of RFM group and size, as SVG."""
    run, grid = segmentation.run, segmentation.grid
    labels = label_groups(grid, groups=groups, language=language)
    return draw_rfm_grid(grid, as_of=run.as_of, horizon_days=run.horizon_days, language=language, labels=labels)


def label_groups(grid: RfmGrid, *, groups: str, language: str) -> dict[str, str]:
    """Return the words of each group of a grid; its code where the vocabulary does not know it any more."""
    vocabulary = load_vocabulary(groups)
    spoken = language if language in vocabulary.languages else vocabulary.languages[0]
    known = {label.code: label.text for label in vocabulary.labels(language=spoken)}
    return {group: known.get(group, group) for group in grid.rfm_of_group}


def tell_metrics(sheet: MetricSheet, wording: Wording, *, flags: Sequence[str] = ()) -> schemas.MetricSheet:
    """Tell the metric sheet."""
    rows = label_metrics(sheet.rows, wording)
    return schemas.MetricSheet(
        run=_run(sheet.run, flags),
        vocabulary=wording.vocabulary.name,
        language=wording.language,
        rows=[schemas.MetricRow(**row) for row in rows.iter_rows(named=True)],
    )


def label_metrics(rows: pl.DataFrame, wording: Wording) -> pl.DataFrame:
    """Add `title` behind `metric`, and `slice_label` behind `slice`, to rows of a metric sheet."""
    language = cast("Language", wording.language)
    titles = {metric.name: metric.title(language) for metric in METRICS}
    is_stage = pl.col("slice_kind") == "stage"
    stages = rows.filter(is_stage)["slice"].unique().to_list()
    labels = {stage: wording.label(stage).text for stage in stages}
    label = pl.when(is_stage).then(pl.col("slice").replace(labels)).otherwise("slice")
    told = rows.with_columns(title=pl.col("metric").replace_strict(titles, return_dtype=pl.String), slice_label=label)
    behind = {"metric": "title", "slice": "slice_label"}
    return told.select(
        column for name in rows.columns for column in ((name, behind[name]) if name in behind else (name,))
    )


def tell_prospects(page: ProspectPage, wording: Wording, *, flags: Sequence[str] = ()) -> schemas.ProspectPage:
    """Tell one page of the prospects."""
    return schemas.ProspectPage(
        run=_run(page.run, flags),
        prospects=[schemas.Prospect.from_row(row, wording) for row in page.rows],
        next_cursor=page.next_cursor,
    )


def tell_changes(page: ChangePage, wording: Wording, *, flags: Sequence[str] = ()) -> schemas.StageChanges:
    """Tell who entered and left a stage."""
    return schemas.StageChanges(
        from_run=_run(page.from_run),
        to_run=_run(page.to_run, flags),
        vocabulary=wording.vocabulary.name,
        language=wording.language,
        n_changes=page.n_changes,
        entered=dict(page.entered),  # type: ignore[arg-type]  # stages are validated as it is built
        left=dict(page.left),  # type: ignore[arg-type]  # as above
        changes=[schemas.StageChange(**row, **_ends(row, wording)) for row in page.rows],
        next_cursor=page.next_cursor,
    )


def _ends(row: ScoreRow, wording: Wording) -> dict[str, Any]:
    start, end = None if row["from_stage"] is None else wording.label(row["from_stage"]), wording.label(row["to_stage"])
    return {
        "from_label": None if start is None else start.text,
        "is_from_label_borrowed": start is not None and start.is_borrowed,
        "to_label": end.text,
        "is_to_label_borrowed": end.is_borrowed,
    }


def _words(stage: str, wording: Wording) -> dict[str, Any]:
    return {**_label(stage, wording), "plays": list(wording.plays(stage))}


def _label(stage: str, wording: Wording) -> dict[str, Any]:
    label = wording.label(stage)
    return {"label": label.text, "is_label_borrowed": label.is_borrowed}


def _by_label(totals: pl.DataFrame, wording: Wording) -> list[schemas.LabelTotal]:
    codes = pl.DataFrame(
        [(*key, *_named(wording.label(*key))) for key in totals.select("stage", "rfm").iter_rows()],
        {"stage": pl.String, "rfm": pl.String, "code": pl.String, "label": pl.String},
        orient="row",
    )
    summed = (
        totals.join(codes, on=("stage", "rfm"))
        .group_by("code", "label")
        .agg(pl.col("customers", "historic_value", "clv_12m").sum())
    )
    everybody = totals["customers"].sum()
    order = {label.code: i for i, label in enumerate(wording.vocabulary.labels(language=wording.language))}
    rows = sorted(summed.iter_rows(named=True), key=lambda row: order[row.pop("code")])
    return [schemas.LabelTotal(**row, share=row["customers"] / everybody) for row in rows]


def _named(label: Label) -> tuple[str, str]:
    return label.code, label.text


def _flows(flows: tuple[Flow, ...]) -> list[schemas.StageFlow]:
    return [schemas.StageFlow.model_validate(asdict(flow)) for flow in flows]


def _run(run: RunInfo, flags: Sequence[str] = ()) -> schemas.PublishedRun:
    return schemas.PublishedRun(**asdict(run), flags=list(flags))
