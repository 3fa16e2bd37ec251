"""The tables of the report, every cell as it is to be read: the ladder, by cutoff, by slice."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from training.evaluation.ladder import RUNGS
from training.evaluation.slices import ALL, MIN_CUSTOMERS, SLICES
from training.evaluation.verdicts import DECIDING, OURS, TASK_NAMES
from training.report.readings import Reading, Readings
from training.report.standing import join_words, stand, write_interval
from training.report.words import MISSING, TASKS, Better, MetricWords, describe_metric

_ARROWS: Mapping[Better, str] = {
    "low": "\N{NO-BREAK SPACE}↓",
    "high": "\N{NO-BREAK SPACE}↑",
    "zero": "\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}0",
}
_COSTS: Mapping[Better, Callable[[float], float]] = {"low": float, "high": lambda value: -value, "zero": abs}
_LADDERS: Mapping[str, tuple[str, ...]] = {
    "churn": (
        *("log_loss", "auc", "pr_auc", "base_rate", "ece", "calibration_in_the_large"),
        *("top_decile_lift", "recall_at_capacity"),
    ),
    "next_stage": ("log_loss", "rps"),
    "value": (
        *("deviance", "mae", "r_squared", "relative_bias", "spearman"),
        *("top_decile_share", "normalised_gini", "decile_mape"),
    ),
    "first_purchase": ("log_loss", "auc", "ece"),
    "registration": ("log_loss", "auc", "ece"),
}
_OF_SLICES: Mapping[str, tuple[str, ...]] = {
    "churn": ("base_rate", "auc", "ece", "calibration_in_the_large"),
    "next_stage": (),
    "value": ("relative_bias",),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a cell, with a quieter second line, and whether it is the best of its column."""

    text: str
    detail: str = ""
    is_best: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row: what it is of, what that means, and whether it is ours."""

    name: str
    detail: str
    cells: tuple[Cell, ...]
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Args:
        title: What it shows.
        head: Over each column, the first over the names.
        rows: In order.
        notes: What is missing, and why.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def build_ladder(readings: Readings, task: str, *, metrics: Sequence[str] = ()) -> Table:
    """Build the ladder of a task: a row per rung, means over cutoffs, the best of each column marked.

    Args:
        readings: Of the summary.
        task: Its key.
        metrics: To show instead of the usual.
    """
    judged, models, title = readings.metrics(task), readings.models(task), f"Ladder of {TASK_NAMES[task]}"
    shown = [metric for metric in metrics or _LADDERS[task] if metric in judged]
    columns = [build_column(readings, task, metric, models) for metric in shown]
    if not columns:
        return Table(title, ("rung",), (), ("Not measurable: the backtest left no figure of it.",))
    return Table(
        title,
        ("rung", *map(_head, shown)),
        _build_rows(models, columns),
        (
            *_undefined(readings, task, shown, models),
            *_seldom(readings, task, models),
            *(() if metrics else _silent(task, models)),
        ),
    )


def tabulate_cutoffs(by_cutoff: Mapping[str, Readings], task: str, *, best: str | None) -> Table:
    """Build the deciding metric at each cutoff, oldest first, and below it the difference to the best rung.

    Args:
        by_cutoff: Cutoff → readings of it.
        task: Its key.
        best: The best rung over all cutoffs; None where no rung answers.
    """
    words, cutoffs = describe_metric(DECIDING[task]), sorted(by_cutoff)
    models = list(dict.fromkeys(model for cutoff in cutoffs for model in by_cutoff[cutoff].models(task)))
    columns = [build_column(by_cutoff[when], task, DECIDING[task], models) for when in cutoffs]
    rows = _build_rows(models, [[replace(cell, detail="") for cell in column] for column in columns])
    if best is not None:
        differences = [by_cutoff[when].get(task, DECIDING[task], against=best) for when in cutoffs]
        cells = tuple(write_difference_cell(difference, words) for difference in differences)
        rows = (*rows, Row(f"{OURS} − {best}", "", cells, is_ours=True))
    is_whole = all(cell.text != MISSING for row in rows for cell in row.cells)
    why = f"{MISSING}: not measurable, because the rung gave no answer at that cutoff, or {words.undefined}."
    return Table(f"{words.name} at each cutoff", ("rung", *cutoffs), rows, () if is_whole else (why,))


def tabulate_slices(readings: Readings, task: str, *, best: str | None) -> Table:
    """Build the model against the best rung of all customers, slice by slice.

    Args:
        readings: Of the summary.
        task: One of customers.
        best: The best rung over everyone; None where no rung answers.
    """
    metric = DECIDING[task]
    found = [name for name in SLICES if readings.get(task, metric, within=name)]
    lacking = [_name_slice(name) for name in SLICES if name not in found]
    why = f"fewer than {MIN_CUSTOMERS} customers there at every cutoff"
    compared = (f"of {best}", "difference") if best else ()
    return Table(
        f"{TASKS[task].title} by slice",
        ("slice", "judged", describe_metric(metric).name, *compared, *map(_head, _OF_SLICES[task])),
        tuple(_build_slice(readings, task, name, best) for name in found),
        (f"Not measurable on {join_words(lacking)}: {why}{_or_else(task)}.",) if lacking else (),
    )


def build_column(readings: Readings, task: str, metric: str, models: Sequence[str]) -> list[Cell]:
    """Write a metric of every model over everyone; all that read like the best are marked."""
    words = describe_metric(metric)
    found = [readings.get(task, metric, model) for model in models]
    best = _find_best([reading.value for reading in found if reading], words)
    return [write_cell(each, words, is_best=each is not None and words.write(each.value) == best) for each in found]


def write_cell(reading: Reading | None, words: MetricWords, *, is_best: bool = False) -> Cell:
    """Write a figure above its interval."""
    return (
        Cell(MISSING) if reading is None else Cell(words.write(reading.value), write_interval(reading, words), is_best)
    )


def write_difference_cell(difference: Reading | None, words: MetricWords) -> Cell:
    """Write ours minus theirs above its interval, marked where ours is better beyond it."""
    if difference is None:
        return Cell(MISSING)
    interval = write_interval(difference, words, is_difference=True)
    return Cell(words.write_difference(difference.value), interval, stand(difference, words) == "wins")


def _build_rows(models: Sequence[str], columns: Sequence[Sequence[Cell]]) -> tuple[Row, ...]:
    return tuple(
        Row(model, "", tuple(column[i] for column in columns), is_ours=model == OURS) for i, model in enumerate(models)
    )


def _build_slice(readings: Readings, task: str, name: str, best: str | None) -> Row:
    metric = DECIDING[task]
    words, ours = describe_metric(metric), readings.get(task, metric, within=name)
    cells = [Cell(f"{ours.n_customers:,}" if ours else MISSING), _write_plain(ours, words)]
    if best is not None:
        cells.append(_write_plain(readings.get(task, metric, best, within=name), words))
        cells.append(write_difference_cell(readings.get(task, metric, within=name, against=best), words))
    beside = [(readings.get(task, other, within=name), describe_metric(other)) for other in _OF_SLICES[task]]
    cells += [_write_plain(reading, its_words) for reading, its_words in beside]
    return Row(_name_slice(name), SLICES[name], tuple(cells), is_ours=name == ALL)


def _write_plain(reading: Reading | None, words: MetricWords) -> Cell:
    return Cell(MISSING if reading is None else words.write(reading.value))


def _find_best(values: Sequence[float], words: MetricWords) -> str | None:
    return words.write(min(values, key=_COSTS[words.better])) if values and words.better else None


def _head(metric: str) -> str:
    words = describe_metric(metric)
    return f"{words.name}\xa0{_ARROWS[words.better]}" if words.better else words.name


def _undefined(readings: Readings, task: str, metrics: Iterable[str], models: Sequence[str]) -> Iterable[str]:
    """Say of each metric for whom it is missing, and why."""
    for metric in metrics:
        lacking = [model for model in models if readings.get(task, metric, model) is None]
        if lacking:
            words = describe_metric(metric)
            whom = "anyone" if len(lacking) == len(models) else join_words(lacking)
            yield f"{words.name} is not measurable for {whom}: {words.undefined}."


def _seldom(readings: Readings, task: str, models: Sequence[str]) -> Iterable[str]:
    """Say whose figures are means over fewer cutoffs than others'."""
    judged = {model: reading.n_cutoffs for model in models if (reading := readings.get(task, DECIDING[task], model))}
    most = max(judged.values(), default=0)
    for model, n_cutoffs in judged.items():
        if n_cutoffs < most:
            yield (
                f"{model} could be judged at {n_cutoffs} of {most} cutoffs only: "
                "compare it by the paired difference, which is of the same cutoffs."
            )


def _silent(task: str, models: Sequence[str]) -> Iterable[str]:
    """Say which rungs do not stand on the ladder, and why."""
    silent = [rung for rung in RUNGS if rung not in models]
    if silent:
        yield f"Not measurable for {join_words(silent)}: no {TASKS[task].answer} comes of it, or nothing fitted."


def _or_else(task: str) -> str:
    return ", or nothing was ordered" if task == "value" else ""


def _name_slice(name: str) -> str:
    return name.replace("_", "-")
