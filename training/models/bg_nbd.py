"""The BG/NBD model of order timing.

Fader, Hardie and Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2), 275-284.
While alive, a customer orders as a Poisson process of rate λ ~ Gamma(r, alpha); after each repeat order the customer
drops out with probability p ~ Beta(a, b). Whoever ordered once has had no chance to: p_alive is 1 for them.
"""

from dataclasses import dataclass
from typing import ClassVar

from training.models.beta_geometric import BetaGeometricNbd


@dataclass(frozen=True, slots=True)
class BgNbd(BetaGeometricNbd):
    """Parameters of the BG/NBD model; see `BetaGeometricNbd`."""

    name: ClassVar[str] = "BG/NBD"
    chances_at_first_order: ClassVar[int] = 0
