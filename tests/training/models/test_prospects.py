"""The model of prospects: two tables, read by stage and last sight."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from features.lifecycle.prospects import PROSPECT_SCHEMA, ProspectRule
from features.lifecycle.stages import PROSPECT_STAGES
from training.models.prospects import N_BANDS, SEEN_EDGES_DAYS, VISITOR_STAGES, ProspectModel, prospect_cells

RULE = ProspectRule(hot_within_days=30, hot_min_visit_days=3, observable=PROSPECT_STAGES)
SHAPE = (len(PROSPECT_STAGES), N_BANDS)
# Each cell's own number, so that an answer tells which cell it was read from.
PURCHASE = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) / 100
REGISTRATION = PURCHASE + 0.5
MODEL = ProspectModel(RULE, PURCHASE, REGISTRATION, n_learned_from=7)


def prospects(*rows: tuple[str, int]) -> pl.DataFrame:
    """Build prospects from (stage, days since last seen)."""
    people = [(f"p{i}", stage in VISITOR_STAGES, stage, 100, days) for i, (stage, days) in enumerate(rows)]
    return pl.DataFrame(people, PROSPECT_SCHEMA, orient="row")


@pytest.mark.parametrize("stage", PROSPECT_STAGES)
def test_cells(stage: str) -> None:
    """A prospect's cell is that of the stage and of the band of days, an edge belonging to the band below it."""
    days = [1, *(day + past for day in SEEN_EDGES_DAYS for past in (0, 1)), 5_000]
    bands = [0, *(band + past for band in range(len(SEEN_EDGES_DAYS)) for past in (0, 1)), N_BANDS - 1]
    cells = prospect_cells(prospects(*((stage, day) for day in days)))
    assert cells.tolist() == [PROSPECT_STAGES.index(stage) * N_BANDS + band for band in bands]


def test_predict() -> None:
    """The answer is the cell's; whoever is known already has no registration before them."""
    asked = prospects(
        ("reached", 7), ("new_visitor", 8), ("returning_visitor", 400), ("prospect_cold", 31), ("prospect_hot", 1)
    )
    found = MODEL.predict(asked)
    assert found.drop("p_first_purchase", "p_registration").equals(asked)
    assert found["p_first_purchase"].to_list() == pytest.approx([0.00, 0.06, 0.14, 0.17, 0.20])
    assert found["p_registration"].to_list()[:3] == pytest.approx([0.50, 0.56, 0.64])
    assert found["p_registration"].to_list()[3:] == [None, None]


def test_rows_are_alone() -> None:
    """A prospect's answer does not depend on who else is asked about, or in which order."""
    asked = prospects(*((stage, days) for stage in PROSPECT_STAGES for days in (1, 20, 99)))
    assert MODEL.predict(asked[::-2]).equals(MODEL.predict(asked)[::-2])


def test_nobody() -> None:
    """Nobody to ask about is a table of the same columns."""
    found, other = MODEL.predict(prospects()), MODEL.predict(prospects(("reached", 1)))
    assert (found.height, found.schema) == (0, other.schema)
    assert found.schema["p_first_purchase"] == found.schema["p_registration"] == pl.Float64


def test_visitor_stages() -> None:
    """Whoever is a visitor is in a stage of visitors, and in no other."""
    assert tuple(stage for stage in PROSPECT_STAGES if not stage.startswith("prospect")) == VISITOR_STAGES


def test_round_trip() -> None:
    """A model survives its own JSON values."""
    again = ProspectModel.from_dict(json.loads(json.dumps(MODEL.to_dict(), allow_nan=False)))
    assert again.to_dict() == MODEL.to_dict()
    assert (again.rule, again.n_learned_from) == (RULE, 7)


def _with(at: tuple[int, int], value: float) -> list[list[float]]:
    table: npt.NDArray[np.float64] = PURCHASE.copy()
    table[at] = value
    return [[float(p) for p in row] for row in table]


@pytest.mark.parametrize("name", ["p_first_purchase", "p_registration"])
@pytest.mark.parametrize(
    "table",
    [
        _with((1, 2), 1.01),
        _with((0, 0), -0.01),
        _with((4, 4), float("nan")),
        PURCHASE[:-1].tolist(),
        PURCHASE[:, :-1].tolist(),
        [],
        [0.5],
        "half",
        [["half"] * N_BANDS] * len(PROSPECT_STAGES),
    ],
)
def test_refused(name: str, table: Any) -> None:
    """What is no table of probabilities of this shape is refused."""
    with pytest.raises(ValueError):  # noqa: PT011 - numpy's own words, or ours
        ProspectModel.from_dict({**MODEL.to_dict(), name: table})
