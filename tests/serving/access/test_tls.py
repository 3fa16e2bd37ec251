import ssl
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from features.errors import SettingsError
from serving.access.keys import create_key, keys_path
from serving.access.tls import choose_tls

ROOT = Path(__file__).resolve().parents[3]


def make_pair(folder: Path, *, passphrase: bytes | None = None) -> tuple[Path, Path]:
    """Write a certificate of 127.0.0.1 and its key."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([]), datetime.now(UTC)
    named = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    building = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    building = building.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    certificate = building.add_extension(named, critical=True).sign(key, hashes.SHA256())
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    sealed = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(pem))
    paths[1].write_bytes(key.private_bytes(pem, form, sealed))
    return paths


def test_pairs(tmp_path: Path) -> None:
    """A certificate needs its own key, in the open; what does not fit is told before anything starts."""
    certificate, key = make_pair(tmp_path)
    other, locked = make_pair(tmp_path / "other")[1], make_pair(tmp_path / "locked", passphrase=b"s3cret")[1]
    chosen = choose_tls(certificate, key)
    assert chosen is not None
    assert (chosen.certificate, chosen.key) == (certificate, key)
    assert choose_tls(None, None) is None
    for wrong in ((certificate, None), (None, key), (certificate, other), (certificate, locked), (key, certificate)):
        with pytest.raises(SettingsError, match="TLS"):
            choose_tls(*wrong)
    with pytest.raises(SettingsError, match="No such file"):
        choose_tls(certificate, tmp_path / "nothing.pem")


@pytest.mark.slow
def test_https(tmp_path: Path) -> None:
    """With a certificate the service answers by https, to who trusts it, and not by plain http."""
    certificate, key = make_pair(tmp_path)
    create_key(keys_path(tmp_path / "home"), name="crm", created_at=datetime.now(UTC))
    code = f"""
        import sys; from pathlib import Path; from serving.access.tls import choose_tls
        from serving.server import run_server
        tls = choose_tls(Path({str(certificate)!r}), Path({str(key)!r}))
        ready = lambda url: print(url, flush=True)
        sys.exit(run_server(Path({str(tmp_path / "home")!r}), host="127.0.0.1", port=0, tls=tls, on_ready=ready))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(certificate))
        assert httpx.get(f"{url}/livez", verify=trusting).text == "ok\n"
        assert httpx.get(f"{url}/v1/scores", verify=trusting).status_code == 401
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/livez")
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{url}/livez".replace("https:", "http:"))
        process.terminate()
        assert process.wait(timeout=60) == 0
