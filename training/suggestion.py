"""What a suggested horizon says of itself: data alone, so that every room may show it."""

from dataclasses import dataclass

WANTED_SHARE = 0.80
BASE_RATES = (0.05, 0.95)


@dataclass(frozen=True, slots=True)
class Considered:
    """What speaks for and against one horizon.

    Args:
        days: Its length.
        share_returned: Of those who order again, the share who do so within it; None where too few ever did.
        base_rate: Share of customers without an order within it at the youngest cutoff whose outcome is known; None
            where there was no customer yet.
        n_cutoffs: Test cutoffs that the history has room for, at most as many as training asks for.
    """

    days: int
    share_returned: float | None
    base_rate: float | None
    n_cutoffs: int

    @property
    def is_long_enough(self) -> bool:
        """Whether most who return have returned within it."""
        return self.share_returned is not None and self.share_returned >= WANTED_SHARE

    @property
    def is_telling(self) -> bool:
        """Whether both outcomes are there to be told apart."""
        return self.base_rate is not None and BASE_RATES[0] <= self.base_rate <= BASE_RATES[1]


@dataclass(frozen=True, slots=True)
class HorizonSuggestion:
    """A horizon, and why.

    Args:
        horizon_days: The suggestion.
        reasons: In words, with figures.
        considered: All candidates, the shortest first.
    """

    horizon_days: int
    reasons: tuple[str, ...]
    considered: tuple[Considered, ...]
