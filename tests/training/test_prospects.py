"""Prospects from end to end: learned, judged by the ladder, and right on a later cutoff of a shop with browsers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from features.lifecycle.prospects import PROSPECT_SCHEMA, ProspectRule, build_prospects
from features.lifecycle.stages import PROSPECT_STAGES
from features.settings import Settings, load_settings
from features.snapshot import Snapshot, to_date
from tests.browsing_shop import END_DAY, FIRST_DAY, make_up_browsers
from tests.histories import Shop, build_records
from tests.tiny_model import write_model
from training import metrics
from training.bundle import load_bundle
from training.evaluation.backtest import COHERENCE, Backtest, backtest, observe
from training.evaluation.ladder import OURS, RUNGS, climb
from training.evaluation.measures import METRICS
from training.evaluation.verdicts import CHAMPION, DECIDING
from training.fitters.prospects import fit_prospects
from training.learn import Past, Prospects, learn_at
from training.models.lifecycle import LifecycleModel
from training.models.prospects import VISITOR_STAGES
from training.promotion.gate import decide, summarise
from training.splits import Fold, rolling_folds

HORIZON_DAYS = 60
TASKS = ("first_purchase", "registration")
KNOWS_PROSPECTS = ("base_rate", "recency_rule", "last_period", OURS)
SETTINGS = load_settings(
    overrides={
        "training": {
            "horizon_days": HORIZON_DAYS,
            "test_cutoffs": 2,
            "max_train_cutoffs": 4,
            "min_class_customers": 1_000_000,
            "bootstrap_samples": 20,
            "seeds": 1,
        }
    }
)
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned at the youngest test cutoff, and what came of it."""

    past: Past
    model: LifecycleModel
    outcomes: Mapping[str, npt.NDArray[np.int64]]

    @property
    def prospects(self) -> pl.DataFrame:
        """The prospects at the cutoff with their probabilities, and what came."""
        assert self.model.prospects is not None
        assert self.past.prospects is not None
        said = self.model.prospects.predict(self.past.prospects.present)
        return said.with_columns(bought=pl.Series(self.outcomes["first_purchase"]))


@pytest.fixture(scope="module")
def shop() -> Shop:
    """A shop with browsers."""
    return make_up_browsers()


@pytest.fixture(scope="module")
def folds() -> tuple[Fold, ...]:
    """Its test cutoffs, youngest first."""
    return rolling_folds(first_day=FIRST_DAY, end_day=END_DAY, settings=SETTINGS.training)


@pytest.fixture(scope="module")
def learned(shop: Shop, folds: tuple[Fold, ...]) -> Learned:
    """Learned at the youngest cutoff."""
    past, model = learn_at(build_records(shop), folds[0], settings=SETTINGS)
    return Learned(past, model, observe(build_records(shop), folds[0], past, SETTINGS))


@pytest.fixture(scope="module")
def judged(shop: Shop) -> Backtest:
    """The backtest."""
    return judge(shop)


def judge(shop: Shop, settings: Settings = SETTINGS) -> Backtest:
    """Backtest a shop of those days."""
    return backtest(build_records(shop), first_day=FIRST_DAY, end_day=END_DAY, settings=settings)


def since(shop: Shop, day: int) -> Shop:
    """Return the shop as if it had recorded contacts from a day on."""
    return {**shop, "contacts": shop["contacts"].filter(pl.col("day") >= day)}


def test_shop(shop: Shop, learned: Learned) -> None:
    """The shop has people of all kinds, and enough who register and order for the other tests to mean something."""
    assert shop["orders"]["customer_id"].n_unique() > 200
    counts = dict(learned.prospects.group_by("stage").len().iter_rows())
    assert counts.keys() == set(PROSPECT_STAGES)
    assert min(counts.values()) >= 5
    assert learned.outcomes["first_purchase"].sum() >= 10
    assert learned.outcomes["registration"].sum() >= 10
    assert learned.model.prospects is not None
    assert learned.model.prospects.rule.observable == PROSPECT_STAGES


def test_calibrated(learned: Learned) -> None:
    """On later time the mean probabilities lie within a few points of the shares that came, overall and by stage."""
    said = learned.prospects
    visitors = said.filter("is_visitor").with_columns(registered=pl.Series(learned.outcomes["registration"]))
    for table, p, came in ((said, "p_first_purchase", "bought"), (visitors, "p_registration", "registered")):
        assert table[p].to_numpy().mean() == pytest.approx(table[came].to_numpy().mean(), abs=0.02)
        for _, stage in table.group_by("stage"):
            if stage.height >= 100:
                assert stage[p].to_numpy().mean() == pytest.approx(stage[came].to_numpy().mean(), abs=0.05)


def test_hot_and_cold(learned: Learned) -> None:
    """The hot are said to order far more often than the cold, and so they do; the known more often than browsers."""
    said = learned.prospects.group_by("stage").agg(pl.col("p_first_purchase", "bought").mean())
    rates = {stage: (p, share) for stage, p, share in said.iter_rows()}
    for i in range(2):
        assert rates["prospect_hot"][i] > 3 * rates["prospect_cold"][i]
        assert rates["prospect_cold"][i] > rates["returning_visitor"][i]
    best = learned.prospects.filter(pl.col("stage") == "prospect_hot")["p_first_purchase"].to_list()
    rest = learned.prospects.filter(pl.col("stage") == "prospect_cold")["p_first_purchase"].to_list()
    assert min(best) > max(rest)


def test_rows(learned: Learned, shop: Shop, folds: tuple[Fold, ...]) -> None:
    """Outcomes stand row for row beside the prospects at the cutoff, registrations beside the visitors among them."""
    assert learned.past.prospects is not None
    present = build_prospects(build_records(shop), Snapshot(folds[0].cutoff_day), rule=learned.past.prospects.rule)
    assert learned.past.prospects.present.equals(present)
    assert learned.outcomes["first_purchase"].shape == (present.height,)
    assert learned.outcomes["registration"].shape == (present.filter("is_visitor").height,)
    assert learned.prospects["p_registration"].is_null().equals(~learned.prospects["is_visitor"], check_names=False)


def test_every_rung(judged: Backtest, folds: tuple[Fold, ...]) -> None:
    """At every cutoff, every rung that knows of prospects is judged on both tasks, and ours against each."""
    expected = set()
    for fold in folds:
        cutoff = to_date(fold.cutoff_day).isoformat()
        for task in TASKS:
            expected |= {(cutoff, task, name, metric, "") for name in KNOWS_PROSPECTS for metric in METRICS[task]}
            expected |= {(cutoff, task, OURS, DECIDING[task], rival) for rival in KNOWS_PROSPECTS[:-1]}
    rows = judged.frame.filter(pl.col("task").is_in(TASKS))
    assert set(rows.select("cutoff", "task", "model", "metric", "against").iter_rows()) == expected
    assert set(KNOWS_PROSPECTS) < {*RUNGS, OURS}


def test_figures(judged: Backtest, learned: Learned, folds: tuple[Fold, ...]) -> None:
    """The figures of the youngest cutoff are those of its prospects, and count them."""
    youngest = judged.frame.filter(pl.col("cutoff") == to_date(folds[0].cutoff_day).isoformat(), model=OURS, against="")
    for task in TASKS:
        y, p = judged.outcomes[task], judged.predictions[task]
        assert y.tolist() == learned.outcomes[task].tolist()
        rows = youngest.filter(task=task)
        values = dict(rows.select("metric", "value").iter_rows())
        assert values["log_loss"] == pytest.approx(-np.mean(np.log(np.where(y == 1, p, 1 - p))))
        assert values["auc"] == metrics.auc(y, p)
        assert set(rows["n_customers"]) == {y.size}


def test_ours_is_better(judged: Backtest) -> None:
    """In this shop, where stage and last sight both tell, no simpler rung predicts first purchases as well."""
    rows = judged.frame.filter(pl.col("against") != "", task="first_purchase", metric="log_loss")
    assert rows.height == 2 * 3
    assert (rows["value"] < 0).all()


def test_gate(judged: Backtest) -> None:
    """The gate names both tasks in its reasons, by the words for them."""
    said = [reason.text for reason in decide(summarise(judged.frame), SETTINGS.gate).reasons]
    for words in ("first purchase: ", "registration: "):
        assert sum(text.startswith(words) for text in said) == 3


def test_no_leakage(shop: Shop, folds: tuple[Fold, ...], learned: Learned) -> None:
    """Whatever is done at or after a cutoff, no rung says otherwise of a prospect there, by a single byte."""
    cutoff_day = folds[0].cutoff_day
    moved = {
        name: rows.with_columns(
            customer_id=pl.when(pl.col("day") < cutoff_day).then("customer_id").otherwise(pl.lit("moon"))
        )
        for name, rows in shop.items()
    }
    past, model = learn_at(build_records(moved), folds[0], settings=SETTINGS)
    assert model.to_dict() == learned.model.to_dict()
    clean, poisoned = climb(learned.past, learned.model), climb(past, model)
    for name in KNOWS_PROSPECTS:
        for task in ("p_first_purchase", "p_registration"):
            assert getattr(clean[name], task).tobytes() == getattr(poisoned[name], task).tobytes()


RULE = ProspectRule(hot_within_days=30, hot_min_visit_days=3, observable=PROSPECT_STAGES)
# stage, days since last seen, then registered, ordered, of how many prospects
SEEN = [
    ("new_visitor", 5, True, False, 2),
    ("new_visitor", 5, False, False, 4),
    ("new_visitor", 50, False, True, 1),
    ("new_visitor", 50, False, False, 3),
    ("prospect_hot", 5, False, True, 3),
    ("prospect_hot", 5, False, False, 1),
    ("prospect_cold", 50, False, False, 6),
]
ASKED = [("new_visitor", 5), ("new_visitor", 50), ("prospect_hot", 5), ("prospect_cold", 50), ("prospect_cold", 400)]


def _people(rows: list[tuple[str, int]]) -> pl.DataFrame:
    people = [(f"p{i:02}", stage in VISITOR_STAGES, stage, 100, days) for i, (stage, days) in enumerate(rows)]
    return pl.DataFrame(people, PROSPECT_SCHEMA, orient="row")


def _past(learned: Learned, seen: list[tuple[str, int, bool, bool, int]], asked: list[tuple[str, int]]) -> Past:
    """Put prospects who are written by hand beside the customers of the shop; the cutoffs each hold one half."""
    rows = [row[:-1] for row in seen for _ in range(row[-1])]
    came = {"is_registration": [row[2] for row in rows], "is_first_purchase": [row[3] for row in rows]}
    whole = _people([row[:2] for row in rows]).with_columns(pl.Series(k, v, pl.Boolean) for k, v in came.items())
    return replace(learned.past, prospects=Prospects(RULE, (whole[::2], whole[1::2]), _people(asked)))


def _climbed(learned: Learned, past: Past) -> Mapping[str, tuple[Vector | None, Vector | None]]:
    assert past.prospects is not None
    prospects = fit_prospects(past.prospects.examples, rule=RULE)
    said = climb(past, replace(learned.model, prospects=prospects))
    return {name: (one.p_first_purchase, one.p_registration) for name, one in said.items()}


def test_rungs_by_hand(learned: Learned) -> None:
    """A rung knows the overall rate, that of the days since last seen, or that of the stage, each drawn by one."""
    said = _climbed(learned, _past(learned, SEEN, ASKED))
    overall, registering = 4 / 20, 2 / 10
    fresh, month_old, never = (3 + overall) / 11, (1 + overall) / 11, overall
    new, hot, cold = (1 + overall) / 11, (3 + overall) / 5, overall / 7
    expected = {
        "base_rate": [(4 + overall) / 21] * 5,
        "recency_rule": [fresh, month_old, fresh, month_old, never],
        "last_period": [new, new, hot, cold, cold],
    }
    of_visitors = {
        "base_rate": [(2 + registering) / 11] * 2,
        "recency_rule": [(2 + registering) / 7, registering / 5],
        "last_period": [(2 + registering) / 11] * 2,
    }
    for name, purchases in expected.items():
        assert said[name][0] == pytest.approx(purchases)
        assert said[name][1] == pytest.approx(of_visitors[name])
    silent = {"simple_clv", "bg_nbd", "mbg_nbd", "pareto_nbd"}
    assert {name for name, (purchases, _) in said.items() if purchases is None} == silent
    assert all((purchases is None) == (registrations is None) for purchases, registrations in said.values())


def test_ours(learned: Learned) -> None:
    """Our rung is the model's own answer, registrations of the visitors alone."""
    past = _past(learned, SEEN, ASKED)
    assert past.prospects is not None
    model = fit_prospects(past.prospects.examples, rule=RULE)
    assert model is not None
    expected = model.predict(past.prospects.present)
    purchases, registrations = _climbed(learned, past)[OURS]
    assert purchases is not None
    assert purchases.tolist() == expected["p_first_purchase"].to_list()
    assert registrations is not None
    assert registrations.tolist() == expected["p_registration"].drop_nulls().to_list()


def test_nobody_left(learned: Learned) -> None:
    """Where there is nobody to answer for, no rung says anything of prospects."""
    said = _climbed(learned, _past(learned, SEEN, []))
    assert {(purchases, registrations) for purchases, registrations in said.values()} == {(None, None)}


def test_late_contacts(shop: Shop, folds: tuple[Fold, ...]) -> None:
    """Contacts that began after all training cutoffs are too young to learn from: the backtest says nothing of them."""
    late = judge(since(shop, folds[0].train_cutoff_days[0]))
    assert late.outcomes["first_purchase"].size > 50
    assert not set(late.frame["task"]) & set(TASKS)
    assert set(late.frame["task"]) == {"churn", "next_stage", "value", COHERENCE}
    past, model = learn_at(build_records(since(shop, folds[0].train_cutoff_days[0])), folds[0], settings=SETTINGS)
    assert model.prospects is None
    assert past.prospects is not None
    assert not past.prospects.present.is_empty()
    assert any("prospects" in note for note in model.notes)


def test_late_browsers(shop: Shop, folds: tuple[Fold, ...]) -> None:
    """Where only browsers came too late to learn from, the others are judged, and ours answers alone for them."""
    young = folds[0].train_cutoff_days[0]
    known = pl.col("customer_id").is_not_null() | (pl.col("day") >= young)
    later = judge({**shop, "contacts": shop["contacts"].filter(known)}, _one_cutoff())
    models = {task: set(later.frame.filter(task=task)["model"]) for task in TASKS}
    assert models == {"first_purchase": set(KNOWS_PROSPECTS), "registration": {OURS}}


def test_no_browsers(shop: Shop) -> None:
    """Where every contact is of a known person, nobody is asked whether they will register."""
    known = judge({**shop, "contacts": shop["contacts"].drop_nulls("customer_id")}, _one_cutoff())
    assert set(known.frame["task"]) == {"churn", "next_stage", "value", "first_purchase", COHERENCE}


def test_no_contacts(shop: Shop) -> None:
    """A shop without contacts is judged on its customers alone, by the same figures as with them."""
    alone = judge({name: rows for name, rows in shop.items() if name != "contacts"}, _one_cutoff())
    beside = judge(shop, _one_cutoff())
    assert alone.frame.equals(beside.frame.filter(~pl.col("task").is_in(TASKS)))


def test_bundle(learned: Learned, shop: Shop, folds: tuple[Fold, ...], tmp_path: Path) -> None:
    """The model of prospects travels in the bundle, answers the same from there, and no person's id goes with it."""
    folder = write_model(tmp_path, learned.model, cutoff_day=folds[0].cutoff_day)
    loaded = load_bundle(folder)
    assert loaded.model.to_dict() == learned.model.to_dict()
    assert loaded.model.prospects is not None
    said = loaded.model.prospects.predict(learned.prospects.select(*PROSPECT_SCHEMA))
    assert said.equals(learned.prospects.drop("bought"))
    written = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"person-" not in written
    assert b"browser-" not in written
    champion = backtest(
        build_records(shop), first_day=FIRST_DAY, end_day=END_DAY, settings=_one_cutoff(), champion=loaded
    )
    assert CHAMPION in set(champion.frame.filter(task="churn")["model"])
    assert CHAMPION not in set(champion.frame.filter(pl.col("task").is_in(TASKS))["model"])


def _one_cutoff() -> Settings:
    training = SETTINGS.training.model_copy(update={"test_cutoffs": 1})
    return SETTINGS.model_copy(update={"training": training})
