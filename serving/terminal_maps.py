"""Answers for people at a terminal: the lifecycle map, the segments, the metric sheet, and who moved."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import polars as pl
from rich.text import Text

from features.lifecycle.segments import SIZES
from serving import schemas
from serving.terminal import folding_table, out, print_note, print_records, table

_MOST_ROWS = 200
_UNITS = {"share": "{:.1%}", "percent": "{:.1f} %", "count": "{:,.0f}"}


def print_stages(stage_map: schemas.StageMap) -> None:
    """Print customers and value per stage, prospects, flows, and what the data cannot show."""
    run, names = stage_map.run, _names(stage_map.stages)
    listed = table(
        "stage",
        *("customers", "share", f"in {run.horizon_days} d", "value so far", "p_churn", "12m value"),
        title=f"Lifecycle map as of {run.as_of}",
        caption=_explain(names, stage_map.vocabulary),
    )
    listed.columns[0].no_wrap = False
    for entry in stage_map.stages:
        listed.add_row(
            Text(names[entry.stage]),
            f"{entry.customers:,}",
            f"{entry.share:.1%}",
            f"{entry.expected_customers:,.0f}",
            f"{entry.historic_value:,.0f}",
            "–" if entry.mean_p_churn is None else f"{entry.mean_p_churn:.3f}",
            f"{entry.clv_12m:,.0f}",
        )
    out.print(listed)
    _print_prospects_by_stage(stage_map)
    _print_flows(stage_map)
    unseen = [{"not observable": entry.label, "it would take": entry.needs} for entry in stage_map.not_observable]
    if unseen:
        print_records(unseen, title="")


def print_segments(segments: schemas.Segments) -> None:
    """Print the grid of RFM group and size, today and expected, the value that moves, and the thresholds."""
    run = segments.run
    listed = folding_table(title=f"RFM group × size as of {run.as_of} → expected in {run.horizon_days} days")
    listed.caption = "customers today → expected · share expected to stand elsewhere by then"
    listed.add_column("group", overflow="fold")
    cells: dict[tuple[str, str], schemas.SegmentCell] = {(cell.group, cell.size): cell for cell in segments.cells}
    for size in reversed(SIZES):
        listed.add_column(size, justify="right", overflow="fold")
    for group, label in {cell.group: cell.group_label for cell in segments.cells}.items():
        row = [_cell(cells[group, size], least=segments.min_flow_customers) for size in reversed(SIZES)]
        if any(row):
            listed.add_row(Text(label), *row)
    out.print(listed)
    moving = sum(cell.expected_value_out for cell in segments.cells)
    whole = sum(cell.historic_value for cell in segments.cells)
    out.print(
        f"Of {whole:,.0f} brought so far, customers who brought {moving:,.0f} are expected to move between cells."
    )
    thresholds = [
        {"score": name, "stands for": "\n".join(f"{_band(band)}: {band['words']}" for band in bands)}
        for name, bands in segments.thresholds.items()
    ]
    print_records(thresholds, title="Thresholds, frozen at training")


def print_metrics(rows: pl.DataFrame, *, title: str) -> None:
    """Print a metric sheet: each value with what it is made of.

    Args:
        rows: As `label_metrics` returns them.
        title: Of the table.
    """
    listed = folding_table(title=title)
    for name in ("metric", "slice", "value", "made of"):
        listed.add_column(name, overflow="fold", justify="right" if name == "value" else "left")
    for row in rows.head(_MOST_ROWS).iter_rows(named=True):
        listed.add_row(Text(row["title"]), Text(row["slice_label"]), _value(row), _made_of(row))
    out.print(listed)
    if rows.height > _MOST_ROWS:
        out.print(f"… and {rows.height - _MOST_ROWS:,} rows more: --out FILE.csv writes all of them.")


def print_prospects(page: schemas.ProspectPage) -> None:
    """Print the likeliest to order among those who have not."""
    listed = table(
        "person",
        *("kind", "stage", "since", "p_first_purchase", "p_registration", "worth"),
        title=f"{len(page.prospects)} prospects likeliest to order, as of {page.run.as_of}",
    )
    for person in page.prospects:
        listed.add_row(
            Text(person.person_id),
            "visitor" if person.is_visitor else "customer id",
            person.stage_label,
            person.stage_since,
            f"{person.p_first_purchase:.3f}",
            "–" if person.p_registration is None else f"{person.p_registration:.3f}",
            f"{person.expected_value:,.2f}",
        )
    out.print(listed)


def print_changes(changes: schemas.StageChanges, labels: Mapping[str, str]) -> None:
    """Print how many entered and left each stage, and the first of them.

    Args:
        changes: As told.
        labels: Stage → its words.
    """
    old, new, names = changes.from_run, changes.to_run, _told_apart(labels)
    if old.model_version != new.model_version:
        print_note("The runs were scored by two models: where limits moved, customers moved with them.")
    counts = table("stage", "entered", "left", title=f"From {old.as_of} (run {old.run_id}) to {new.as_of}")
    for stage, entered in changes.entered.items():
        if entered or changes.left[stage]:
            counts.add_row(names[stage], f"{entered:,}", f"{changes.left[stage]:,}")
    out.print(counts)
    listed = folding_table(title=f"{len(changes.changes):,} of {changes.n_changes:,} changes")
    for name in ("customer", "from", "to", "since"):
        listed.add_column(name, overflow="fold")
    for change in changes.changes:
        start = "(new)" if change.from_stage is None else names[change.from_stage]
        listed.add_row(Text(change.customer_id), start, names[change.to_stage], change.since)
    out.print(listed)


def print_history(rows: Iterable[Mapping[str, str]], *, title: str) -> None:
    """Print the stages that customers went through, or how many went where."""
    print_records(({k: v for k, v in row.items() if k != "is_label_borrowed"} for row in rows), title=title)


def print_plays(stage_map: schemas.StageMap) -> None:
    """Print what to do for each stage."""
    listed = [
        {"stage": entry.label, "plays": "\n".join(f"· {play}" for play in entry.plays)} for entry in stage_map.stages
    ]
    print_records(listed, title="Recommended plays")


def _print_prospects_by_stage(stage_map: schemas.StageMap) -> None:
    if not stage_map.prospects:
        return
    names = _names(stage_map.prospects)
    listed = table("before the first order", "people", "p_first_purchase", "p_registration", title="Prospects")
    for entry in stage_map.prospects:
        means = (entry.mean_p_first_purchase, entry.mean_p_registration)
        shown = ("–" if mean is None else f"{mean:.3f}" for mean in means)
        listed.add_row(Text(names[entry.stage]), f"{entry.people:,}", *shown)
    out.print(listed)


def _print_flows(stage_map: schemas.StageMap) -> None:
    """Print, per stage, who came and left since the snapshot before, and who is expected to."""
    run, names = stage_map.run, _names(stage_map.stages)
    parts = (
        (f"Observed from {stage_map.observed_from} to {run.as_of}", stage_map.observed_flows),
        (f"Expected from {run.as_of} over {run.horizon_days} days", stage_map.expected_flows),
    )
    for title, flows in parts:
        listed = folding_table(title=title)
        listed.add_column("from \\ to", overflow="fold")
        for name in names.values():
            listed.add_column(name, justify="right", overflow="fold")
        counted: dict[tuple[str | None, str], float] = {(f.from_stage, f.to_stage): f.customers for f in flows}
        for start in (None, *names):
            row = [counted.get((start, end), 0.0) for end in names]
            if any(row):
                listed.add_row("(new)" if start is None else names[start], *(f"{n:,.0f}" if n else "·" for n in row))
        out.print(listed)


def _names(entries: Sequence[schemas.StageEntry | schemas.ProspectEntry]) -> dict[str, str]:
    borrowed = {entry.stage for entry in entries if entry.is_label_borrowed}
    return _told_apart({entry.stage: entry.label for entry in entries}, borrowed)


def _told_apart(labels: Mapping[str, str], borrowed: Collection[str] = ()) -> dict[str, str]:
    """Return the words of each stage, with its canonical name where they are borrowed or stand for several stages."""
    times = Counter(labels.values())
    return {s: f"{text} ({s})" if s in borrowed or times[text] > 1 else text for s, text in labels.items()}


def _explain(names: Mapping[str, str], vocabulary: str) -> str | None:
    has_brackets = any(name.endswith(f" ({stage})") for stage, name in names.items())
    return f"in brackets: {vocabulary} has one word for several stages, or lends its nearest" if has_brackets else None


def _cell(cell: schemas.SegmentCell, *, least: float) -> str:
    if not cell.customers and cell.expected_customers < least:
        return ""
    leaves = "" if cell.p_leave is None else f" · {cell.p_leave:.0%}"
    return f"{cell.customers:,} → {cell.expected_customers:,.0f}{leaves}"


def _band(band: Mapping[str, object]) -> object:
    return band.get("score", band.get("size"))


def _value(row: Mapping[str, object]) -> Text:
    value = row["value"]
    if not isinstance(value, float):
        return Text(str(row["status"]), style="dim")
    return Text(_UNITS.get(str(row["unit"]), "{:,.2f}").format(value))


def _made_of(row: Mapping[str, object]) -> Text:
    """Return numerator ÷ denominator in words, what is lacking, and the flag."""
    parts = [
        name if number is None else f"{number:,.2f} {name}".replace(".00 ", " ", 1)
        for number, name in (
            (row["numerator"], row["numerator_name"]),
            (row["denominator"], row["denominator_name"]),
        )
    ]
    needs = f"\nneeds {row['needs']}" if row["needs"] else ""
    return Text.assemble(
        " ÷ ".join(map(str, parts)), (needs, "dim"), (f"\n{row['flag']}" if row["flag"] else "", "bold red")
    )
