"""Tellings: a theme is told by a figure that points its way, or not at all."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.models.figures import choose_tellings, find_figures, find_usual
from training.models.tellings import OWN_LATENESS, SHOP, TELLINGS
from training.models.themes import SILENCE, THEMES

DAYS = st.integers(1, 400).map(float)


def _tell(theme: str, features: Mapping[str, float | None], *, raises: bool, **usual: float) -> dict[str, float]:
    """Return the facts by which a theme of one customer is told; none where it cannot be."""
    known = {name: np.array([value], dtype=np.float64) for name, value in features.items()}
    figures = find_figures(known, usual)
    chosen = choose_tellings(figures, raises=np.array([raises]))[0, THEMES.index(theme)]
    return {} if chosen < 0 else {name: float(figures[name][0]) for name in TELLINGS[chosen].facts}


@pytest.mark.parametrize("theme", THEMES)
def test_both_ways(theme: str) -> None:
    """Every theme can raise and lower, and of nobody of whom nothing is known is anything told."""
    directions = {telling.direction for telling in TELLINGS if telling.theme == theme}
    assert "either" in directions or directions == {"raises", "lowers"}
    for raises in (True, False):
        assert _tell(theme, {"frequency": None}, raises=raises) == {}


def test_order() -> None:
    """The tellings of a theme stand together, in the order of the themes, and lateness comes first of all."""
    assert list(dict.fromkeys(telling.theme for telling in TELLINGS)) == list(THEMES)
    assert [telling.theme for telling in TELLINGS] == sorted((telling.theme for telling in TELLINGS), key=THEMES.index)
    assert TELLINGS[OWN_LATENESS].facts == ("days_since_last_order", "median_gap_days")
    assert TELLINGS[OWN_LATENESS].direction == "raises"


@given(DAYS, DAYS, DAYS, st.integers(0, 5).map(float), st.booleans())
def test_silence(silence: float, own: float, shop: float, frequency: float, raises: bool) -> None:
    """A long silence raises, a short one lowers; the shop's counts where the own gap is not known, or is no news."""
    features = {"frequency": frequency, "median_gap_days": own if frequency else None, "days_since_last_order": silence}
    facts = _tell(SILENCE, features, raises=raises, shop_median_gap_days=shop)
    if facts:
        told, usual = facts.values()
        assert told > usual if raises else told < usual
    if frequency < 2:
        assert "median_gap_days" not in facts
        assert bool(facts) == (silence > 1.5 * shop if raises else shop > 1.5 * silence)
    elif not raises and silence > own:
        assert facts == {}
    elif raises and silence > 1.5 * own:
        assert facts == {"days_since_last_order": silence, "median_gap_days": own}


def test_windows() -> None:
    """Less than in the 90 days before raises, more lowers, but not for whoever was not there before."""
    fewer = {"order_days_within_90": 1.0, "order_days_trend_90": -3.0, "frequency": 9.0}
    assert _tell("habit", fewer, raises=True) == {"order_days_within_90": 1.0, "order_days_before_90": 4.0}
    none = fewer | {"order_days_within_90": 0.0, "order_days_trend_90": -4.0}
    assert _tell("habit", none, raises=True) == {"order_days_before_90": 4.0}
    more = {"order_days_within_90": 3.0, "order_days_trend_90": 3.0, "frequency": 2.0}
    assert _tell("habit", {"T_days": 80.0, **more}, raises=False) == {}
    assert _tell("habit", {"T_days": 180.0, **more}, raises=False) == {
        "order_days_within_90": 3.0,
        "order_days_before_90": 0.0,
    }


def test_money() -> None:
    """What sums leave behind the sixth decimal is no money that was spent."""
    assert _tell("value", {"value_within_90": 0.0, "value_trend_90": -4e-16}, raises=True) == {}
    assert _tell("value", {"value_within_90": 0.0, "value_trend_90": -20.5}, raises=True) == {"value_before_90": 20.5}


def test_usual() -> None:
    """What is usual is the median of those of whom it is known; of what fewer than 10 have, nothing is."""
    known = {
        "frequency": np.array([0.0, 0.0, 1.0, *[4.0] * 9]),
        "median_gap_days": np.array([np.nan, np.nan, 10.0, *[30.0] * 4, *[20.0] * 5]),
        "mean_review_rating": np.array([np.nan] * 3 + [4.5] * 9),
        "last_survey_answer": np.full(12, np.nan),
    }
    assert find_usual(known) == {f"{SHOP}median_gap_days": 20.0, f"{SHOP}n_order_days": 5.0}
