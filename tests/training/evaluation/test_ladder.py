"""The ladder: every rung against sums that can be done by hand."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from scipy.special import hyp2f1

from features.catalogue import MICROS
from features.lifecycle.stages import STAGES
from features.records import Records
from features.snapshot import Snapshot
from features.table import build_customer_table
from tests.histories import CUTOFF_DAY, SHOP_RULE, build_orders
from training.evaluation.ladder import OURS, RUNGS, Predictions, climb, predict
from training.fitters.btyd import fit_alone
from training.fitters.lifecycle import Examples
from training.labels import build_labels
from training.learn import Past
from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.inputs import purchase_summary, stage_codes
from training.models.lifecycle import LifecycleModel
from training.models.purchase_process import TIMING_MODELS, PurchaseProcess
from training.models.summary import FloatArray, PurchaseSummary

HORIZON_DAYS = 90
PRESENT_DAY = CUTOFF_DAY + HORIZON_DAYS
P, Q, V = 6.25, 3.74, 15.44  # CDNOW, Fader and Hardie (2013)
PAPERS = PurchaseProcess(BgNbd(0.243, 4.414, 0.793, 2.426), GammaGamma(P, Q, V))  # and Fader, Hardie and Lee (2005)

# One order each, 1 to 20 days before the training cutoff, so that each decile of silence holds two customers. Three
# come back: one twice, in time for `repeat`; two after longer than it takes to be lost.
TWENTY = [(f"c{silence:02}", CUTOFF_DAY - silence, 5) for silence in range(1, 21)]
RETURNS = [
    ("c01", CUTOFF_DAY + 25, 6),
    ("c01", CUTOFF_DAY + 80, 4),
    ("c02", CUTOFF_DAY + 85, 20),
    ("c03", CUTOFF_DAY + 85, 30),
]
# Around the horizon's length of silence: one of these four comes back.
FOUR = [(f"c{silence}", CUTOFF_DAY - silence, 5) for silence in (10, 90, 91, 200)]
ONE_RETURN = [("c10", CUTOFF_DAY + 85, 8)]


@pytest.fixture(scope="module")
def by_the_papers(model: LifecycleModel) -> LifecycleModel:
    """The shared model, with the published parameters of its purchase process."""
    return replace(model, horizon_days=HORIZON_DAYS, stage_rule=SHOP_RULE, process=PAPERS)


@pytest.fixture(scope="module")
def cdnow(cdnow_orders: pl.DataFrame, end_day: int) -> pl.DataFrame:
    """The shared orders as the customers of the present."""
    return build_customer_table(Records.wrap(cdnow_orders), Snapshot(end_day, HORIZON_DAYS), rule=SHOP_RULE)


@pytest.fixture(scope="module")
def climbed(cdnow: pl.DataFrame, by_the_papers: LifecycleModel) -> Mapping[str, Predictions]:
    """What every rung says of them, having learned from twenty others."""
    return ask((learn_from(TWENTY + RETURNS),), cdnow, by_the_papers)


def learn_from(rows: Iterable[tuple[str, int, int]], *, horizon_days: int = HORIZON_DAYS) -> Examples:
    """Build the examples of one training cutoff from (customer, day, currency units)."""
    records, snapshot = _records(rows), Snapshot(CUTOFF_DAY, horizon_days)
    table = build_customer_table(records, snapshot, rule=SHOP_RULE)
    return Examples(table, build_labels(records, snapshot, rule=SHOP_RULE), CUTOFF_DAY)


def stand_at_present(*rows: tuple[str, int, int], horizon_days: int = HORIZON_DAYS) -> pl.DataFrame:
    """Build the customers to answer for from (customer, days of silence, currency units)."""
    records = _records((customer, PRESENT_DAY - age, units) for customer, age, units in rows)
    return build_customer_table(records, Snapshot(PRESENT_DAY, horizon_days), rule=SHOP_RULE)


def ask(examples: tuple[Examples, ...], present: pl.DataFrame, model: LifecycleModel) -> Mapping[str, Predictions]:
    """Let every rung answer for the customers of the present."""
    return climb(Past(SHOP_RULE, examples, present), model)


def distribution(**p: float) -> list[float]:
    """Write down a next-stage distribution by the names of its stages."""
    return [p.get(stage, 0.0) for stage in STAGES]


def _records(rows: Iterable[tuple[str, int, int]]) -> Records:
    return Records.wrap(build_orders([(customer, day, units * MICROS) for customer, day, units in rows]))


def _given(values: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
    assert values is not None
    return values


def test_every_rung(cdnow: pl.DataFrame, climbed: Mapping[str, Predictions]) -> None:
    """Every rung that is named answers, ours last; each says only what it can say, one row per customer."""
    assert list(climbed) == [*RUNGS, OURS]
    for name, said in climbed.items():
        assert (said.p_churn is None, said.p_next_stage is None) == (name == "simple_clv",) * 2
        assert (said.outcome is None) == (name != OURS)
        assert _given(said.value).shape == (cdnow.height,)
        if said.p_churn is not None:
            assert ((said.p_churn >= 0) & (said.p_churn <= 1)).all()
            assert _given(said.p_next_stage).shape == (cdnow.height, len(STAGES))
            assert _given(said.p_next_stage).sum(axis=1) == pytest.approx(np.ones(cdnow.height))


def test_no_fit(by_the_papers: LifecycleModel) -> None:
    """Where too few ordered again to fit a timing model to, its rung says nothing and the others answer."""
    rungs = ask((learn_from(TWENTY + RETURNS),), stand_at_present(("a", 3, 9), ("b", 40, 9)), by_the_papers)
    assert list(rungs) == [*RUNGS, OURS]
    for name, said in rungs.items():
        assert (said.value is None) == (name in TIMING_MODELS)
        assert (said.p_churn is None) == (name in {*TIMING_MODELS, "simple_clv"})


def test_base_rate(by_the_papers: LifecycleModel) -> None:
    """The base rate is the training cutoffs' average, the same for whoever is asked about."""
    said = ask((learn_from(TWENTY + RETURNS),), stand_at_present(("a", 1, 9), ("b", 400, 9)), by_the_papers)
    base = said["base_rate"]
    assert _given(base.p_churn) == pytest.approx([17 / 20] * 2)
    assert _given(base.value) == pytest.approx([(10 + 20 + 30) / 20] * 2)
    shares = distribution(repeat=1 / 20, won_back=2 / 20, lost=17 / 20)
    assert _given(base.p_next_stage) == pytest.approx(np.array([shares, shares]))


def test_all_cutoffs(by_the_papers: LifecycleModel) -> None:
    """Every training cutoff counts: two of them together average to what their customers did together."""
    both = (learn_from(TWENTY + RETURNS), learn_from(FOUR + ONE_RETURN))
    said = ask(both, stand_at_present(("a", 1, 9)), by_the_papers)
    assert _given(said["base_rate"].p_churn) == pytest.approx([(17 + 3) / 24])
    assert _given(said["base_rate"].value) == pytest.approx([(60 + 8) / 24])


def test_recency_rule(by_the_papers: LifecycleModel) -> None:
    """Each decile of silence has its own mean, drawn to the overall mean by one observation of it."""
    present = stand_at_present(("first", 2, 9), ("later", 50, 9), ("second", 4, 9))
    said = ask((learn_from(TWENTY + RETURNS),), present, by_the_papers)["recency_rule"]
    none_churned, both_churned, one_churned = (0 + 0.85) / 3, (2 + 0.85) / 3, (1 + 0.85) / 3
    assert _given(said.p_churn) == pytest.approx([none_churned, both_churned, one_churned])
    assert _given(said.value) == pytest.approx([(10 + 20 + 3) / 3, (0 + 3) / 3, (30 + 3) / 3])


def test_recency_rule_stages(by_the_papers: LifecycleModel) -> None:
    """Stages are averaged by stage and decile; where nobody stood, the overall distribution answers."""
    present = stand_at_present(("first", 2, 9), ("lost", 70, 9))
    said = ask((learn_from(TWENTY + RETURNS),), present, by_the_papers)["recency_rule"]
    first = distribution(repeat=(1 + 0.05) / 3, won_back=(1 + 0.10) / 3, lost=0.85 / 3)
    unseen = distribution(repeat=0.05, won_back=0.10, lost=0.85)
    assert _given(said.p_next_stage) == pytest.approx(np.array([first, unseen]))


def test_last_period(by_the_papers: LifecycleModel) -> None:
    """Whether an order came in the last horizon decides churn; an order on its first day counts as one."""
    present = stand_at_present(("a", 90, 7), ("b", 91, 7))
    said = ask((learn_from(FOUR + ONE_RETURN),), present, by_the_papers)["last_period"]
    assert _given(said.p_churn) == pytest.approx([(1 + 0.75) / 3, (2 + 0.75) / 3])
    assert _given(said.value) == pytest.approx([7.0, 0.0])


def test_last_period_stages(by_the_papers: LifecycleModel) -> None:
    """The next stage follows from the current one alone, drawn to the overall distribution by one observation."""
    present = stand_at_present(("first", 10, 7), ("lost", 91, 7), ("risk", 40, 7))
    said = ask((learn_from(FOUR + ONE_RETURN),), present, by_the_papers)["last_period"]
    expected = [
        distribution(won_back=(1 + 0.25) / 2, lost=0.75 / 2),
        distribution(won_back=0.25 / 4, lost=(3 + 0.75) / 4),
        distribution(won_back=0.25, lost=0.75),
    ]
    assert _given(said.p_next_stage) == pytest.approx(np.array(expected))


@pytest.mark.parametrize(
    ("horizon_days", "expected"), [(90, 10.0), (100, 10 * 100 / 90), (45, 4 * 45 / 30), (600, 30 * 600 / 365)]
)
def test_nearest_window(by_the_papers: LifecycleModel, horizon_days: int, expected: float) -> None:
    """The last period's value is that of the window nearest in length, scaled to the horizon."""
    present = stand_at_present(("a", 20, 4), ("a", 80, 6), ("a", 300, 20), horizon_days=horizon_days)
    examples = (learn_from(FOUR + ONE_RETURN, horizon_days=horizon_days),)
    said = ask(examples, present, replace(by_the_papers, horizon_days=horizon_days))["last_period"]
    assert _given(said.value) == pytest.approx([expected])


def test_simple_clv(by_the_papers: LifecycleModel) -> None:
    """Two orders of 30 and 50 in 400 days are 0.2 a day, and 18 in 90 days."""
    present = stand_at_present(("a", 400, 30), ("a", 5, 50))
    said = ask((learn_from(TWENTY + RETURNS),), present, by_the_papers)["simple_clv"]
    assert _given(said.value) == pytest.approx([18.0])


def test_bg_nbd(cdnow: pl.DataFrame, climbed: Mapping[str, Predictions]) -> None:
    """BG/NBD and Gamma-Gamma answer as the papers' closed forms do (2005, eq. 10; 2013, eq. 5)."""
    summary, said = purchase_summary(cdnow), climbed["bg_nbd"]
    p_churn, orders = _closed_form(fit_alone(summary, "bg_nbd").to_dict(), summary)
    mean_value = P * (V + summary.frequency * summary.monetary_value) / (P * summary.frequency + Q - 1)
    is_known = (summary.frequency > 0) == (summary.monetary_value > 0)
    assert _given(said.p_churn) == pytest.approx(p_churn)
    assert _given(said.value)[is_known] == pytest.approx((orders * mean_value)[is_known])


def _closed_form(of: Mapping[str, float], summary: PurchaseSummary) -> tuple[FloatArray, FloatArray]:
    """Return P(no order) and E[Y(t)] as printed, in weeks."""
    r, alpha, a, b = (of[name] for name in ("r", "alpha", "a", "b"))
    x, t_x, T, t = summary.frequency, summary.recency_days / 7, summary.T_days / 7, HORIZON_DAYS / 7
    gone = np.where(x > 0, a / (b + np.maximum(x, 1) - 1) * ((alpha + T) / (alpha + t_x)) ** (r + x), 0.0)
    silent = ((alpha + T) / (alpha + T + t)) ** (r + x)
    series = hyp2f1(r + x, b + x, a + b + x - 1, t / (alpha + T + t))
    orders = (a + b + x - 1) / (a - 1) * (1 - silent * series) / (1 + gone)
    return 1 - (1 - silent) / (1 + gone), orders


@pytest.mark.parametrize("name", TIMING_MODELS)
def test_btyd(cdnow: pl.DataFrame, climbed: Mapping[str, Predictions], name: str) -> None:
    """Each timing model answers alone, fitted to what is known now, with no learned churn in it."""
    summary, said = purchase_summary(cdnow), climbed[name]
    timing = fit_alone(summary, name)
    assert type(timing) is TIMING_MODELS[name]
    assert np.array_equal(_given(said.p_churn), timing.p_no_order(summary, horizon_days=HORIZON_DAYS))
    orders = timing.expected_orders(summary, horizon_days=HORIZON_DAYS)
    assert np.array_equal(_given(said.value), orders * PAPERS.gamma_gamma.expected_order_value(summary))


@pytest.mark.parametrize("name", TIMING_MODELS)
def test_btyd_stages(cdnow: pl.DataFrame, climbed: Mapping[str, Predictions], name: str) -> None:
    """The silent branch takes p_churn; the other is shared out as the moves of those who ordered."""
    said = climbed[name]
    # Of three who ordered, one became `repeat` and two `won_back`; one more observation is spread as 2 : 2.
    of_first = np.array(distribution(repeat=(1 + 0.5) / 4, won_back=(2 + 0.5) / 4))
    of_others = np.array(distribution(repeat=0.5, won_back=0.5))
    moves = np.where((cdnow["stage"] == "first_time_buyer").to_numpy()[:, None], of_first, of_others)
    silent, p_churn = np.eye(len(STAGES))[stage_codes(cdnow["stage_if_silent"])], _given(said.p_churn)[:, None]
    assert _given(said.p_next_stage) == pytest.approx(p_churn * silent + (1 - p_churn) * moves)


def test_ours(model: LifecycleModel) -> None:
    """Our rung is the model's own answer, its value the horizon's orders times the value of one."""
    present = stand_at_present(("a", 20, 4), ("a", 80, 6), ("b", 300, 20))
    answer, said = model.answer(present), predict(model, present)
    assert _given(said.p_churn).tobytes() == answer.p_churn.tobytes()
    assert _given(said.p_next_stage).tobytes() == answer.p_next_stage.tobytes()
    value = answer.forecast.expected_orders * answer.forecast.expected_order_value
    assert _given(said.value) == pytest.approx(value)
    assert said.outcome is not None
    assert said.outcome.mean == pytest.approx(value)
    assert said.outcome.p_order == pytest.approx(1 - answer.p_churn)
