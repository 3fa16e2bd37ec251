"""TLS without a proxy: a certificate and its key, checked before the service starts with them."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from features.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Tls:
    """What the service proves itself with, in PEM files.

    Attributes:
        certificate: The certificate, and those that it was issued under.
        key: Its private key, without a passphrase.
    """

    certificate: Path
    key: Path


def choose_tls(certificate: Path | None, key: Path | None) -> Tls | None:
    """Return the pair; None where neither is given.

    Raises:
        SettingsError: If one lacks the other, or the two do not belong together.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise SettingsError("TLS needs a certificate and its key.", remedy="Give --tls-certificate and --tls-key.")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ValueError) as error:  # ssl's own error is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "unreadable"
        raise SettingsError(
            f"The certificate and key of TLS cannot be used ({reason}).",
            remedy="Give a PEM certificate with its chain, and its own private key, without a passphrase.",
        ) from None
    return Tls(certificate.absolute(), key.absolute())


def _no_passphrase() -> str:
    """Give none, or OpenSSL would ask on the terminal."""
    return ""
