"""RFM codes: three digits, for how recently, how often and for how much a customer bought; the greatest is best."""

from itertools import product

from features.errors import SettingsError

FIFTHS = 5
RFM_CODES = tuple(map("".join, product("54321", repeat=3)))

_BINS = range(2, 10)


def to_fifths(rfm: str, *, rfm_bins: int) -> str:
    """Write an RFM code of any number of bins in fifths.

    Bin d of n becomes the fifth in which its middle lies, 1 + ⌊5·(d − ½) / n⌋: of two bins the better one is
    fifth 4, since half of all customers are not the best fifth.

    Raises:
        SettingsError: If the code is not three scores from 1 to `rfm_bins`, or `rfm_bins` lies outside 2 to 9.
    """
    check_bins(rfm_bins)
    if len(rfm) != 3 or not set(rfm) <= set("123456789"[:rfm_bins]):
        raise SettingsError(
            f"{rfm!r} is not an RFM code.", remedy=f"Give three digits from 1 to {rfm_bins}, such as {rfm_bins}21."
        )
    return "".join(str(1 + FIFTHS * (2 * int(digit) - 1) // (2 * rfm_bins)) for digit in rfm)


def check_bins(rfm_bins: int) -> None:
    """Refuse a number of bins that one digit cannot tell.

    Raises:
        SettingsError: If `rfm_bins` lies outside 2 to 9.
    """
    if rfm_bins not in _BINS:
        raise SettingsError(f"rfm_bins is {rfm_bins}.", remedy=f"Take {_BINS[0]} to {_BINS[-1]} bins.")
