"""Does the model beat simple rules? Said in words with figures, and plainly where it does not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from training.evaluation.verdicts import DECIDING, RECENCY_RULE, TASK_NAMES
from training.report.readings import Reading, Readings
from training.report.words import TASKS, MetricWords, describe_metric

Standing = Literal["wins", "level", "loses", "unknown"]
_JUDGED = ("churn", "next_stage", "value")
_SAID: Mapping[Standing, str] = {
    "wins": "Better than",
    "level": "Level with",
    "loses": "Worse than",
    "unknown": "Not measurable against",
}
_ASIDES: Mapping[Standing, str] = {
    "wins": "",
    "level": " (the interval of the difference holds 0)",
    "loses": " (a simple rule wins)",
    "unknown": "",
}
_HEADLINES: Mapping[Standing, str] = {
    "loses": "A simple rule beats the model on {}.",
    "level": "The model is level with the best simple rule on {}.",
    "unknown": "Against simple rules the model is not measurable on {}.",
    "wins": "The model beats the best simple rule on {}.",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the model stands against one rung on one task.

    Args:
        standing: Of the model; `level` where the interval of the difference holds 0.
        said: The same in words, to be followed by:
        text: Against whom, with the figures.
    """

    standing: Standing
    said: str
    text: str


def stand(difference: Reading | None, words: MetricWords) -> Standing:
    """Tell how the model stands by ours minus theirs: level where the interval holds 0, or none was drawn."""
    if difference is None:
        return "unknown"
    gain = difference.side if words.better == "high" else -difference.side
    return "wins" if gain > 0 else "loses" if gain < 0 else "level"


def judge_tasks(readings: Readings, best: Mapping[str, str | None]) -> tuple[tuple[str, tuple[Verdict, ...]], ...]:
    """Judge the model on each task against the best rung and the recency rule; on churn by its ranking too.

    Each task has its title and its verdicts.

    Args:
        readings: Of the summary.
        best: Task → its best rung, None where no rung answers.
    """
    return tuple((TASKS[task].title, tuple(_judge_task(readings, task, best.get(task)))) for task in _tasks(best))


def write_headline(readings: Readings, best: Mapping[str, str | None]) -> str:
    """Say where a simple rule wins, where it is level, and where the model does; what it loses comes first."""
    by_standing: dict[Standing, list[str]] = {standing: [] for standing in _HEADLINES}
    for task in _tasks(best):
        rung, metric = best.get(task), DECIDING[task]
        difference = readings.get(task, metric, against=rung) if rung else None
        name = f"{TASK_NAMES[task]} ({rung})" if rung else TASK_NAMES[task]
        by_standing[stand(difference, describe_metric(metric))].append(name)
    return " ".join(_HEADLINES[each].format(join_words(names)) for each, names in by_standing.items() if names)


def write_difference(reading: Reading, words: MetricWords) -> str:
    """Write a difference with its interval in brackets."""
    interval = write_interval(reading, words, is_difference=True)
    return (
        f"{words.write_difference(reading.value)} ({interval})" if interval else words.write_difference(reading.value)
    )


def write_interval(reading: Reading, words: MetricWords, *, is_difference: bool = False) -> str:
    """Write an interval; nothing where none was drawn."""
    if reading.low is None or reading.high is None:
        return ""
    write = words.write_difference if is_difference else words.write
    return f"{write(reading.low)} to {write(reading.high)}"


def join_words(words: Sequence[str]) -> str:
    """Join one or more words as a sentence does."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _tasks(best: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return the tasks of customers, judged or not, then those of prospects that were judged."""
    return tuple(dict.fromkeys([*_JUDGED, *best]))


def _judge_task(readings: Readings, task: str, best: str | None) -> Iterable[Verdict]:
    metric = DECIDING[task]
    if best == RECENCY_RULE:
        yield _compare(readings, task, metric, best, "the recency rule, which is the best rung")
    else:
        yield _compare(readings, task, metric, best, f"the best rung, {best}" if best else "any rung")
        yield _compare(readings, task, metric, RECENCY_RULE, "the recency rule")
    if task == "churn":
        yield _compare(readings, task, "auc", RECENCY_RULE, "the recency rule at ranking customers")


def _compare(readings: Readings, task: str, metric: str, rival: str | None, role: str) -> Verdict:
    words = describe_metric(metric)
    ours = readings.get(task, metric)
    theirs = readings.get(task, metric, rival) if rival else None
    difference = readings.get(task, metric, against=rival) if rival else None
    if ours is None or theirs is None or difference is None:
        why = f"it gives no {TASKS[task].answer}" if ours and rival else words.undefined
        return Verdict("unknown", _SAID["unknown"], f"{role}: {why}.")
    standing = stand(difference, words)
    figures = f"{words.name.lower() if words.name[1:].islower() else words.name} {words.write(ours.value)}"
    text = f"{figures} against {words.write(theirs.value)}, difference {write_difference(difference, words)}"
    return Verdict(standing, _SAID[standing], f"{role}{_ASIDES[standing]}: {text}.")
