"""Learning the rates of prospects: by hand, and never far from what is common where little was seen."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.lifecycle.prospects import PROSPECT_SCHEMA, ProspectRule
from features.lifecycle.stages import PROSPECT_STAGES
from training.fitters.prospects import PRIOR_PROSPECTS, fit_prospects
from training.models.prospects import N_BANDS, VISITOR_STAGES, ProspectModel

RULE = ProspectRule(hot_within_days=30, hot_min_visit_days=3, observable=PROSPECT_STAGES)
SCHEMA = pl.Schema({**PROSPECT_SCHEMA, "is_registration": pl.Boolean(), "is_first_purchase": pl.Boolean()})
HOT, COLD, NEW = (PROSPECT_STAGES.index(stage) for stage in ("prospect_hot", "prospect_cold", "new_visitor"))

# stage, days since last seen, registered, ordered
Example = tuple[str, int, bool, bool]


def examples(*rows: Example) -> pl.DataFrame:
    """Build what came of prospects at one cutoff."""
    people = [(f"p{i}", row[0] in VISITOR_STAGES, row[0], 100, *row[1:]) for i, row in enumerate(rows)]
    return pl.DataFrame(people, SCHEMA, orient="row")


def learn(*tables: pl.DataFrame) -> ProspectModel:
    """Learn from these cutoffs, at one of which there was somebody."""
    model = fit_prospects(tables, rule=RULE)
    assert model is not None
    return model


def test_by_hand() -> None:
    """A cell is drawn to its stage by twenty observations, and the stage likewise to the overall rate."""
    hot = [("prospect_hot", 3, False, i < 6) for i in range(10)]
    cold = [("prospect_cold", 3, False, i < 1) for i in range(20)]
    stale = [("prospect_cold", 100, False, False) for _ in range(10)]
    model = learn(examples(*hot, *cold), examples(*stale))
    overall = 7.5 / 41
    of_hot, of_cold = (6 + 20 * overall) / 30, (1 + 20 * overall) / 50
    assert PRIOR_PROSPECTS == 20.0
    assert model.p_first_purchase[HOT, 0] == pytest.approx((6 + 20 * of_hot) / 30)
    assert model.p_first_purchase[HOT, 1:] == pytest.approx(of_hot)
    assert model.p_first_purchase[COLD, 0] == pytest.approx((1 + 20 * of_cold) / 40)
    assert model.p_first_purchase[COLD, 3] == pytest.approx(20 * of_cold / 30)
    assert model.p_first_purchase[NEW] == pytest.approx(overall)
    assert (model.rule, model.n_learned_from) == (RULE, 40)


def test_registrations() -> None:
    """Registrations are counted over visitors alone: of others it is no question."""
    visitors = [("new_visitor", 3, i < 5, False) for i in range(20)]
    known = [("prospect_cold", 3, False, True) for _ in range(500)]
    overall = 5.5 / 21
    of_new = (5 + 20 * overall) / 40
    for model in (learn(examples(*visitors)), learn(examples(*visitors, *known))):
        assert model.p_registration[NEW, 0] == pytest.approx((5 + 20 * of_new) / 40)
        assert model.p_registration[PROSPECT_STAGES.index("reached")] == pytest.approx(overall)


def test_nobody() -> None:
    """Where there was no prospect at any training cutoff, there is no model."""
    assert fit_prospects([], rule=RULE) is None
    assert fit_prospects([examples(), examples()], rule=RULE) is None


def test_no_visitors() -> None:
    """Where all prospects were known, the model still has a table for visitors, with nothing of anybody in it."""
    model = learn(examples(*[("prospect_cold", 3, False, False)] * 30))
    assert np.unique(model.p_registration).tolist() == [0.5]
    assert (model.p_first_purchase < 0.02).all()


_ROWS = st.tuples(st.sampled_from(PROSPECT_STAGES), st.integers(1, 800), st.booleans(), st.booleans())


@given(st.lists(_ROWS, min_size=1, max_size=60))
@settings(deadline=None)
def test_probabilities(rows: list[Example]) -> None:
    """Whatever was seen, every rate is a probability, never certain, and the rounds of JSON keep it."""
    model = learn(examples(*rows))
    for table in (model.p_first_purchase, model.p_registration):
        assert table.shape == (len(PROSPECT_STAGES), N_BANDS)
        assert ((table > 0.0) & (table < 1.0)).all()
    assert ProspectModel.from_dict(model.to_dict()).to_dict() == model.to_dict()


@given(st.lists(_ROWS, min_size=1, max_size=30), st.integers(0, 30))
@settings(deadline=None)
def test_any_order(rows: list[Example], cut: int) -> None:
    """Rows in any order, at one cutoff or at two, teach the same."""
    mixed = examples(*rows).sample(fraction=1.0, shuffle=True, seed=cut)
    assert learn(mixed[:cut], mixed[cut:]).to_dict() == learn(examples(*rows)).to_dict()


def test_much_evidence() -> None:
    """Where many were seen, a cell has its own rate."""
    rows = [("prospect_hot", 3, False, i % 10 < 4) for i in range(4_000)]
    cold = [("prospect_cold", 300, False, i % 50 == 0) for i in range(4_000)]
    model = learn(examples(*rows, *cold))
    assert model.p_first_purchase[HOT, 0] == pytest.approx(0.4, abs=0.005)
    assert model.p_first_purchase[COLD, 3] == pytest.approx(0.02, abs=0.005)
