"""Judging: every figure by hand on a small case, and pooled over cutoffs by the same draws."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from scipy.special import expit

from features.lifecycle.stages import STAGES
from features.settings import load_settings
from training import metrics
from training.evaluation.draws import PANEL, People, Roster, draw_weights
from training.evaluation.findings import Finding, Key, pool, tabulate
from training.evaluation.judging import Case, judge
from training.evaluation.ladder import OURS, Predictions
from training.evaluation.measures import METRICS, RELIABILITY, STAGES_BY_ACTIVITY, Metric, stage_rps
from training.evaluation.slices import slice_all
from training.metrics import FloatArray

N, N_OLD = 60, 45
SETTINGS = load_settings(overrides={"training": {"bootstrap_samples": 30}})
RIVAL = "recency_rule"

Churned = npt.NDArray[np.int64]
Cutoffs = tuple[tuple[Churned, dict[str, FloatArray]], ...]
Found = tuple[tuple[Finding, ...], ...]


def make_up(n: int, seed: int) -> tuple[Churned, dict[str, FloatArray]]:
    """Make up who churned, and what ours and a worse rival said of it."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    y = (rng.random(n) < expit(score)).astype(np.int64)
    return y, {RIVAL: expit(score + rng.normal(size=n)), OURS: expit(score)}


def put(y: Churned, said: dict[str, FloatArray], people: People | None = None) -> Case:
    """Put churn before the judge."""
    answers = {model: Predictions(p_churn=p) for model, p in said.items()}
    return Case(answers, {"churn": y}, people={} if people is None else {"customers": people})


def by_key(findings: tuple[Finding, ...]) -> dict[Key, Finding]:
    """Return findings by what they are about, each once."""
    found = {finding.key: finding for finding in findings}
    assert len(found) == len(findings)
    return found


def churn(metric: str, *, model: str = OURS, of: str = "all", against: str = "") -> Key:
    """Name a figure of churn."""
    return Key("churn", of, model, metric, against)


@pytest.fixture(scope="module")
def cutoffs() -> Cutoffs:
    """A younger cutoff with sixty customers, and an older one at which the first 45 of them were known."""
    return make_up(N, 1), make_up(N_OLD, 2)


@pytest.fixture(scope="module")
def found(cutoffs: Cutoffs) -> Found:
    """What was found at both, and two slices of them."""
    roster, judged = Roster().enlist(name(N)), []
    for y, said in cutoffs:
        is_repeat = np.arange(y.size) % 3 == 0
        slices = {**slice_all(y.size), "one_time": ~is_repeat, "repeat": is_repeat}
        judged.append(judge(put(y, said, People.among(roster, name(y.size), slices)), SETTINGS))
    return tuple(judged)


def name(n: int) -> pl.Series:
    """Name n customers."""
    return pl.Series([f"c{number:03}" for number in range(n)])


def weights_of(n: int) -> list[FloatArray]:
    """Return how often each of the first n customers is drawn, draw by draw."""
    training = SETTINGS.training
    return [w[:n] for w in draw_weights((N,), n_draws=training.bootstrap_samples, seed=training.seed)]


def test_values(cutoffs: Cutoffs, found: Found) -> None:
    """Every metric of every model is that of its function, on everyone and on a slice."""
    (y, said), figures = cutoffs[0], by_key(found[0])
    is_repeat = np.arange(N) % 3 == 0
    for model, p in said.items():
        for metric, function in METRICS["churn"].items():
            assert figures[churn(metric, model=model)].value == pytest.approx(function(y, p))
        for metric in ("log_loss", "auc", "base_rate", "ece", "calibration_in_the_large"):
            expected = METRICS["churn"][metric](y[is_repeat], p[is_repeat])
            assert figures[churn(metric, model=model, of="repeat")].value == pytest.approx(expected)
    assert {finding.n_customers for key, finding in figures.items() if key.slice == "repeat"} == {20}


def test_pooled_by_hand(cutoffs: Cutoffs, found: Found) -> None:
    """The pooled interval is that of drawing customers across cutoffs one by one, of means and of the AUC alike."""
    log_losses, aucs = [], []
    for number in range(SETTINGS.training.bootstrap_samples):
        drawn = [(y, said, weights_of(y.size)[number].astype(int)) for y, said in cutoffs]
        log_losses.append(np.mean([_gain(metrics.log_loss_binary, *case) for case in drawn]))
        aucs.append(np.mean([_gain(metrics.auc, *case) for case in drawn]))
    summary = pool(found)
    for metric, by_hand in (("log_loss", log_losses), ("auc", aucs)):
        row = summary.filter(slice="all", metric=metric, against=RIVAL).row(0, named=True)
        assert (row["low"], row["high"]) == pytest.approx(metrics.percentile_interval(np.array(by_hand)))
        assert (row["n_cutoffs"], row["n_customers"]) == (2, N + N_OLD)


def _gain(metric: Metric, y: Churned, said: dict[str, FloatArray], times: npt.NDArray[np.int64]) -> float:
    """Compute ours minus the rival's, everyone repeated as often as drawn."""
    ours, theirs = (metric(np.repeat(y, times), np.repeat(said[model], times)) for model in (OURS, RIVAL))
    return ours - theirs


def test_same_customers_at_every_cutoff() -> None:
    """Two cutoffs that are alike tell as much as one: a customer drawn is drawn at both."""
    y, said = make_up(N, 5)
    people = People.among(Roster().enlist(name(N)), name(N), slice_all(N))
    one = judge(put(y, said, people), SETTINGS)
    frame, summary = tabulate(one, cutoff="1998-01-01"), pool([one, one])
    bounds = ("value", "low", "high")
    assert summary.select(bounds).equals(frame.select(bounds))
    apart = judge(put(y, said, People((1, N), np.arange(1, N + 1), slice_all(N))), SETTINGS)  # other customers
    narrower = pool([one, apart]).filter(metric="log_loss", model=OURS, against="")
    assert narrower.select(pl.col("high") - pl.col("low")).item() < 0.9 * _width(frame)


def _width(frame: pl.DataFrame) -> float:
    return float(frame.filter(metric="log_loss", model=OURS, against="").select(pl.col("high") - pl.col("low")).item())


def test_slices_add_up(found: Found) -> None:
    """The losses of one-time and repeat customers make the loss of everyone; so do the base rates."""
    figures = by_key(found[0])
    for metric in ("log_loss", "base_rate", "calibration_in_the_large"):
        whole, *parts = (figures[churn(metric, of=of)] for of in ("all", "one_time", "repeat"))
        assert sum(part.n_customers for part in parts) == whole.n_customers
        assert sum(part.value * part.n_customers for part in parts) == pytest.approx(whole.value * whole.n_customers)


def test_order_of_models(cutoffs: Cutoffs) -> None:
    """Who else is judged, and in which order, changes no figure and no interval."""
    y, said = cutoffs[0]
    alone = tabulate(judge(put(y, {OURS: said[OURS]}), SETTINGS), cutoff="x")
    beside = tabulate(judge(put(y, dict(reversed(said.items()))), SETTINGS), cutoff="x")
    ours = beside.filter(model=OURS, against="")
    assert alone.select("metric", "n_customers").equals(ours.select("metric", "n_customers"))
    for column in ("value", "low", "high"):
        both = alone.join(ours, on="metric").drop_nulls(column)
        assert both[column].to_numpy() == pytest.approx(both[f"{column}_right"].to_numpy())


def test_seeds(cutoffs: Cutoffs) -> None:
    """The deviation over seeds is that of our figure; pooled, that of its mean over the cutoffs, seed by seed."""
    cases = [
        replace(
            put(y, said), reruns=[Predictions(p_churn=np.clip(said[OURS] + shift, 0, 1)) for shift in (0.02, -0.05)]
        )
        for y, said in cutoffs
    ]
    judged = [judge(case, SETTINGS) for case in cases]
    briers = [
        [metrics.brier(y, np.clip(said[OURS] + shift, 0, 1)) for shift in (0.0, 0.02, -0.05)] for y, said in cutoffs
    ]
    frame = tabulate(judged[0], cutoff="x").filter(metric="brier", against="")
    assert frame.filter(model=OURS)["seed_sd"].item() == pytest.approx(np.std(briers[0], ddof=1))
    assert frame.filter(model=RIVAL)["seed_sd"].item() is None
    pooled = pool(judged).filter(metric="brier", model=OURS, against="")
    assert pooled["seed_sd"].item() == pytest.approx(np.std(np.mean(briers, axis=0), ddof=1))


def test_seeds_of_prospects() -> None:
    """About prospects no seed decides: their figures have no deviation, and reruns need say nothing of them."""
    y, said = make_up(N, 4)
    answers = {OURS: Predictions(p_churn=said[OURS], p_first_purchase=said[OURS])}
    case = Case(answers, {"churn": y, "first_purchase": y}, reruns=[Predictions(p_churn=said[RIVAL])])
    frame = tabulate(judge(case, SETTINGS), cutoff="x")
    assert frame.filter(task="churn")["seed_sd"].is_not_null().all()
    assert frame.filter(task="first_purchase")["seed_sd"].is_null().all()


def test_costs() -> None:
    """Recall and profit take the shop's own capacity and costs, and the value of a customer where it is stated."""
    y, said = make_up(N, 6)
    case = replace(put(y, said), customer_value=80.0)

    def found_with(**retention: float) -> dict[str, float]:
        whole = load_settings(overrides={"training": {"bootstrap_samples": 2}, "retention": retention})
        return {
            key.metric: each.value
            for key, each in by_key(judge(case, whole)).items()
            if key.model == OURS and not key.against
        }

    costs = {"contact_cost": 1.0, "offer_cost": 5.0, "response_alpha": 6.0, "response_beta": 14.0}
    plain, stated = found_with(), found_with(customer_value=200.0, contact_share=0.3)
    assert plain["recall_at_capacity"] == metrics.recall_at(y, said[OURS], share=0.1)
    assert stated["recall_at_capacity"] == metrics.recall_at(y, said[OURS], share=0.3)
    for figures, worth in ((plain, 80.0), (stated, 200.0)):
        expected = metrics.expected_maximum_profit(y, said[OURS], customer_value=worth, **costs)
        assert figures["expected_maximum_profit"] == pytest.approx(expected)
    assert found_with(contact_cost=100.0)["expected_maximum_profit"] == 0.0


def test_one_class() -> None:
    """Where everyone left, an AUC cannot be measured, and everything else can; the mean over cutoffs leaves it out."""
    y, said = make_up(N, 7)
    all_left = judge(put(np.ones_like(y), said), SETTINGS)
    assert np.isnan(by_key(all_left)[churn("auc")].value)
    assert np.isfinite(by_key(all_left)[churn("log_loss")].value)
    mixed = judge(put(y, said), SETTINGS)
    summary = pool([all_left, mixed]).filter(metric="auc", model=OURS, against="")
    assert summary["value"].item() == by_key(mixed)[churn("auc")].value
    assert summary.select("n_cutoffs", "n_customers").row(0) == (1, N)
    nothing = pool([all_left]).filter(metric="auc", model=OURS, against="").row(0, named=True)
    assert np.isnan(nothing["value"])
    assert nothing["n_cutoffs"] == 0


def test_no_answer() -> None:
    """A rung that has no answer for a task is not judged on it; without one of ours, nobody is."""
    y, said = make_up(N, 8)
    case = Case(
        {"simple_clv": Predictions(value=said[OURS]), OURS: Predictions(p_churn=said[OURS])}, {"churn": y, "value": y}
    )
    assert {(key.task, key.model) for key in by_key(judge(case, SETTINGS))} == {("churn", OURS)}
    nobody = Case({OURS: Predictions(p_churn=np.zeros(0))}, {"churn": np.zeros(0)})
    assert judge(nobody, SETTINGS) == ()


def test_nothing_bought() -> None:
    """Where nobody bought anything, value cannot be measured, without a warning."""
    case = Case(
        {OURS: Predictions(value=np.ones(9)), "base_rate": Predictions(value=np.ones(9))}, {"value": np.zeros(9)}
    )
    figures = by_key(judge(case, SETTINGS))
    assert np.isnan(figures[Key("value", "all", OURS, "deviance", "base_rate")].value)
    assert np.isnan(figures[Key("value", "all", OURS, "relative_bias")].value)
    row = pool([judge(case, SETTINGS)]).filter(metric="relative_bias", model=OURS).row(0, named=True)
    assert np.isnan([row["value"], row["low"], row["high"]]).all()


def test_large_base() -> None:
    """Of more customers than a panel holds, the interval of the AUC is as narrow as their number makes it."""
    y, said = make_up(3 * PANEL, 9)
    few = load_settings(overrides={"training": {"bootstrap_samples": 40}})
    frame = tabulate(judge(put(y, {OURS: said[OURS]}), few), cutoff="x").filter(metric="auc")
    value, low, high = frame.select("value", "low", "high").row(0)
    assert low < value < high
    expected = 2 * 1.645 * _hanley_error(value, n_positive=int(y.sum()), n_negative=int((1 - y).sum()))
    assert high - low == pytest.approx(expected, rel=0.35)


def _hanley_error(area: float, *, n_positive: int, n_negative: int) -> float:
    """Compute the standard error of an AUC (Hanley and McNeil 1982, eq. 1)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n_positive - 1) * (q1 - area**2) + (n_negative - 1) * (q2 - area**2)
    return float(np.sqrt(variance / (n_positive * n_negative)))


def test_stages_by_activity() -> None:
    """Every stage has its place in the order of activity, and a near miss costs less than a far one."""
    assert sorted(STAGES_BY_ACTIVITY) == sorted(STAGES)
    came, p = np.array([STAGES.index("loyal")]), np.eye(len(STAGES))
    lost, repeat, loyal = (stage_rps(came, p[[STAGES.index(stage)]]) for stage in ("lost", "repeat", "loyal"))
    assert [lost, repeat, loyal] == pytest.approx([5 / 6, 1 / 6, 0.0])


def test_reliability_by_hand() -> None:
    """The figures of a stage are those of ten bins by hand; a stage that neither came nor was possible has none."""
    p, outcome = np.zeros((4, len(STAGES))), ("lost", "repeat", "repeat", "repeat")
    repeat, lost = STAGES.index("repeat"), STAGES.index("lost")
    p[:, repeat] = (0.12, 0.16, 0.83, 0.95)
    p[:, lost] = 1.0 - p[:, repeat]
    y = np.array([STAGES.index(stage) for stage in outcome])
    figures = by_key(judge(Case({OURS: Predictions(p_next_stage=p)}, {"next_stage": y}), SETTINGS))
    details = {key.metric: each.value for key, each in figures.items() if key.metric not in METRICS["next_stage"]}
    assert details == {
        "mean_p_repeat": pytest.approx(0.515),
        "share_repeat": pytest.approx(0.75),
        "ece_repeat": pytest.approx((2 * abs(0.14 - 0.5) + abs(0.83 - 1.0) + abs(0.95 - 1.0)) / 4),
        "mean_p_lost": pytest.approx(0.485),
        "share_lost": pytest.approx(0.25),
        "ece_lost": pytest.approx((2 * abs(0.86 - 0.5) + 0.17 + 0.05) / 4),
    }
    assert {metric.rsplit("_", 1)[0] for metric in details} == set(RELIABILITY)
