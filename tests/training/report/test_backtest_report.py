"""The report of a backtest: self-contained, honest about who wins, and silent about nothing."""

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import polars as pl
import pytest

from tests.training.report.rigged import CUTOFFS, everyone_is, rig, rigged_settings
from training.evaluation.backtest import METRICS, Backtest
from training.evaluation.ladder import OURS, RUNGS
from training.evaluation.verdicts import RECENCY_RULE
from training.report.backtest_report import BacktestReport, build_backtest_report, render_backtest
from training.report.pictures import lay_out_whiskers
from training.report.readings import Reading
from training.report.words import METRICS as WORDS
from training.report.words import describe_metric, fixed, percent

VOID = {"meta"}


class Page(HTMLParser):
    """Reads a page: ids, what it refers to, what its pictures are called, its texts; fails where tags do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.named_by: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)
        self.close()
        assert self.open == []

    @property
    def text(self) -> str:
        """All that can be read, with white space made single."""
        return " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that opens."""
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        given = dict(attrs)
        self.tags.add(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.references += [value or "" for name, value in attrs if name in {"src", "href", "action"}]
        self.named_by += (given.get("aria-labelledby") or "").split()
        self.pictures += [given] if tag == "svg" else []
        assert not any(name.startswith("on") for name in given)

    def handle_endtag(self, tag: str) -> None:
        """Check that the innermost open tag is the one that closes."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note a text; styles are none."""
        if "style" not in self.open:
            self.texts.append(data)


def build(judged: Backtest, *, source: str = "orders.csv", n_seeds: int = 2) -> BacktestReport:
    """Build the report of a backtest of the year 2023 and a half."""
    settings = rigged_settings(n_seeds)
    return build_backtest_report(judged, source=source, first_day=19358, end_day=19905, settings=settings)


@pytest.fixture(scope="module")
def judged() -> Backtest:
    """A backtest that ours wins."""
    return rig(everyone_is(1.5, ours=0.1), notes=("Only 2 cutoffs.",))


@pytest.fixture(scope="module")
def page(judged: Backtest) -> str:
    """Its page."""
    return render_backtest(build(judged))


def test_self_contained(page: str) -> None:
    """Tags match, ids are unique, nothing is fetched from anywhere, nothing runs, and the file is small."""
    read = Page(page)
    assert len(read.ids) == len(set(read.ids))
    assert {reference[0] for reference in read.references} == {"#"}
    assert {reference[1:] for reference in read.references} <= set(read.ids)
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    assert not re.search(r"https?:|@import|//\w", page)
    assert not {"script", "link", "img", "iframe", "object"} & read.tags
    assert len(page) < 300_000


def test_pictures_in_words(page: str) -> None:
    """Every picture says in words what it shows."""
    read = Page(page)
    assert len(read.pictures) == 5
    assert all(each["role"] == "img" for each in read.pictures)
    assert all(each.get("aria-label") or each.get("aria-labelledby") for each in read.pictures)
    assert set(read.named_by) <= set(read.ids)


def test_all_is_said(page: str) -> None:
    """The page has each task, rung, cutoff and note, the window, the costs, the bins, and what is not measurable."""
    text = Page(page).text
    for name in (*RUNGS, OURS, *CUTOFFS, "Churn: ", "Next stage: ", "Value: ", "Only 2 cutoffs.", "orders.csv"):
        assert name in text
    for words in ("2023-01-01", "2024-06-30", "90 days", "A contact costs 1.00", "10 bins of equal width", "one-time"):
        assert words in text
    for rung, says in RUNGS.items():
        assert f"{rung} {says}" in text
    assert "Not measurable on new, small, medium and large: fewer than 30 customers" in text
    assert not re.search(r"\b(nan|None|inf)\b", text)


def test_deterministic(judged: Backtest, page: str) -> None:
    """The same backtest gives the same bytes."""
    assert render_backtest(build(judged)) == page


def test_hostile_source(judged: Backtest) -> None:
    """A source's name is text, whatever it says."""
    name = '<script>alert("1")</script>&amp;'
    hostile = render_backtest(build(judged, source=name))
    assert "<script" not in hostile
    assert Page(hostile).text.count(name) == 2
    assert unescape(hostile).count(name) == 2


def verdicts(report: BacktestReport) -> str:
    """Return the headline and the verdicts of churn as one text."""
    churn = dict(report.verdicts)["Churn"]
    return " ".join([report.headline, *(f"{verdict.said} {verdict.text}" for verdict in churn)])


def test_ours_wins(judged: Backtest) -> None:
    """Where ours beats every rung beyond chance, the page says so with both figures."""
    report = build(judged)
    assert report.headline.startswith("The model beats the best simple rule on churn (")
    assert {verdict.standing for _, each in report.verdicts for verdict in each} == {"wins"}
    assert re.search(
        r"Better than the recency rule: log loss 0\.\d{4} against 0\.\d{4}, difference −0", verdicts(report)
    )


def test_a_rule_wins() -> None:
    """Where the recency rule beats ours, the page says first and plainly that a simple rule wins."""
    report = build(rig({**everyone_is(2.0, ours=1.5), RECENCY_RULE: 0.1}))
    assert report.headline.startswith(f"A simple rule beats the model on churn ({RECENCY_RULE})")
    said = verdicts(report)
    assert "Worse than the recency rule, which is the best rung (a simple rule wins)" in said
    assert "Worse than the recency rule at ranking customers (a simple rule wins)" in said
    assert "Better" not in said
    assert 'class="loses"' in render_backtest(report)


def test_level() -> None:
    """Where the interval of the difference holds 0, ours is level, not better."""
    report = build(rig(everyone_is(0.3, ours=0.3)))
    assert report.headline.startswith("The model is level with the best simple rule on churn")
    assert "Level with the best rung" in verdicts(report)


def test_nothing_to_measure() -> None:
    """Where everyone leaves and nothing is ordered, what has no value says so, and why."""
    report = build(rig(everyone_is(0.5, ours=0.1), everyone_leaves=True))
    text = Page(render_backtest(report)).text
    assert "Not measurable against the recency rule at ranking customers: everyone had the same outcome" in text
    assert "Not measurable against any rung: nothing was ordered in the horizon." in text
    assert "AUC is not measurable for anyone: everyone had the same outcome" in text
    assert "No pictures: not measurable" in text
    assert not re.search(r"\b(nan|None|inf)\b", text)


def test_alone() -> None:
    """A model with no rung beside it has figures, and nothing to compare with."""
    report = build(rig({OURS: 0.1}))
    assert "Not measurable against any rung" in verdicts(report)
    assert report.headline == "Against simple rules the model is not measurable on churn, next stage and value."
    assert "no other model answered" in Page(render_backtest(report)).text


def test_seeds(judged: Backtest) -> None:
    """Deviations over seeds are shown where there are several, and missed in words where there is one."""
    assert {row.name for row in build(judged).seeds.rows} >= {"Churn: Log loss", "Value: Deviance"}
    alone = build(rig(everyone_is(1.0, ours=0.1), n_seeds=1), n_seeds=1)
    assert alone.seeds.rows == ()
    assert "Not measurable: the backtest learned with one seed." in Page(render_backtest(alone)).text


def test_best_of_column(judged: Backtest) -> None:
    """In each column of the ladder the best is marked: ours, where it knows the most."""
    ladder = build(judged).tasks[0].ladder
    ours = next(row for row in ladder.rows if row.is_ours)
    best = {name.split("\xa0")[0] for name, cell in zip(ladder.head[1:], ours.cells, strict=True) if cell.is_best}
    assert best >= {"Log loss", "AUC", "PR-AUC"}
    assert "Base rate" not in best


def test_fewer_cutoffs(judged: Backtest) -> None:
    """A rung that could be judged at fewer cutoffs is named, because its mean is of other cutoffs."""
    is_seldom = pl.col("model") == "bg_nbd"
    n_cutoffs = pl.when(is_seldom).then(1).otherwise("n_cutoffs").cast(pl.Int64)
    seldom = replace(judged, summary=judged.summary.with_columns(n_cutoffs=n_cutoffs))
    assert any(note.startswith("bg_nbd could be judged at 1 of 2") for note in build(seldom).tasks[0].ladder.notes)
    assert not any("could be judged" in note for note in build(judged).tasks[0].ladder.notes)


def test_prospects_come_too(judged: Backtest) -> None:
    """Tasks of prospects stand on the page where they were judged."""
    of_prospects = judged.summary.filter(task="churn", slice="all").with_columns(task=pl.lit("first_purchase"))
    frame = judged.frame.filter(task="churn", slice="all").with_columns(task=pl.lit("first_purchase"))
    more = replace(judged, summary=judged.summary.vstack(of_prospects), frame=judged.frame.vstack(frame))
    report = build(more)
    assert [task.task for task in report.tasks] == ["churn", "next_stage", "value", "first_purchase"]
    assert report.tasks[-1].by_slice is None
    assert "First purchase" in dict(report.verdicts)


def test_every_metric_has_words() -> None:
    """Whatever the backtest measures is named and explained."""
    for task, measured in METRICS.items():
        assert set(measured) <= set(WORDS), task
    assert describe_metric("of_later").name == "of later"


def test_whiskers() -> None:
    """By hand: 0 stands in the middle, the nearest rung sets the scale, who is farther off stands at the edge."""
    near, wide = Reading(-0.01, -0.02, 0.0, 9, 1, None), Reading(-0.2, -0.3, -0.05, 9, 1, None)
    far = Reading(4.0, 3.0, 5.0, 9, 1, None)
    chart = lay_out_whiskers({"near": near, "wide": wide, "far": far, "silent": None}, WORDS["log_loss"])
    rows = {row.rival: row for row in chart.rows}
    assert (rows["near"].low, rows["near"].mid, rows["near"].high) == (40.6, 45.3, 50.0)
    assert (rows["wide"].low, rows["wide"].mid, rows["wide"].high) == (3.0, None, 26.5)
    assert (rows["far"].low, rows["far"].mid, rows["far"].high) == (97.0, None, 97.0)
    assert [rows[name].standing for name in rows] == ["level", "wins", "loses"]
    assert [(rows[name].is_cut_left, rows[name].is_cut_right) for name in rows] == [
        (False, False),
        (True, False),
        (False, True),
    ]
    assert chart.text == (
        "Log loss, ours minus each rung. near: −0.0100 (−0.0200 to +0.0000); wide: −0.2000 (−0.3000 to −0.0500); "
        "far: +4.0000 (+3.0000 to +5.0000); silent: not measurable."
    )
    assert lay_out_whiskers({}, WORDS["log_loss"]).rows == ()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (fixed(2)(-1234.5), "−1,234.50"),
        (fixed(2, sign="+")(0.004), "+0.00"),
        (fixed(2, sign="+")(-0.004), "+0.00"),
        (percent()(0.8471), "84.7%"),
        (percent(sign="+")(-0.05), "−5.0%"),
    ],
)
def test_numbers(written: str, expected: str) -> None:
    """A minus is a minus, and nothing rounds to a negative nothing."""
    assert written == expected
