"""Which addresses only this machine has."""

import ipaddress
from functools import lru_cache


@lru_cache(maxsize=256)  # it is asked twice of every request, and of few hosts
def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
