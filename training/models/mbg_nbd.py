"""The MBG/NBD model of order timing.

Batislam, Denizel and Filiztekin (2007), Empirical validation and comparison of models for customer base analysis,
International Journal of Research in Marketing 24(3), 201-209. As BG/NBD, but the first order too may be the last: one
who ordered once may have dropped out, as shops would have it.
"""

from dataclasses import dataclass
from typing import ClassVar

from training.models.beta_geometric import BetaGeometricNbd


@dataclass(frozen=True, slots=True)
class MbgNbd(BetaGeometricNbd):
    """Parameters of the MBG/NBD model; see `BetaGeometricNbd`."""

    name: ClassVar[str] = "MBG/NBD"
    chances_at_first_order: ClassVar[int] = 1
