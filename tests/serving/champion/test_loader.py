"""The process apart: it tells what a bundle is, dies in our place, and knows no secret."""

import json
import shutil
from pathlib import Path

import pytest

from features.errors import BundleError, UntriedError
from serving.champion.loader import load_verified, try_apart
from training.bundle import manifest_hash, read_files

pytestmark = pytest.mark.slow


def _at_start(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a fresh interpreter run this code first."""
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_verdict(bundle_folder: Path) -> None:
    """A sound bundle is told by its version and the hash of its manifest."""
    verdict = try_apart(bundle_folder)
    assert verdict == (bundle_folder.name, manifest_hash(read_files(bundle_folder)))


def test_refusal(other_folder: Path, tmp_path: Path) -> None:
    """A refusal crosses over in its own words, without the place of the folder."""
    folder = Path(shutil.copytree(other_folder, tmp_path / "20990101-0123456789"))
    with pytest.raises(BundleError, match=f"20990101-0123456789 is in truth version {other_folder.name}") as refused:
        load_verified(folder)
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.kill(os.getpid(), 11)", r"crashed \(SIGSEGV\)"),
        ("import os; os.abort()", r"crashed \(SIGABRT\)"),
    ],
)
def test_crash(bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str) -> None:
    """A process that crashes is a refusal in words, and no harm to us."""
    _at_start(code, tmp_path, monkeypatch)
    with pytest.raises(BundleError, match=reason):
        try_apart(bundle_folder, seconds=1.0)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.kill(os.getpid(), 9)", r"broken off \(SIGKILL\)"),
        ("import os; os.kill(os.getpid(), 15)", r"broken off \(SIGTERM\)"),
        ("import os; os._exit(3)", "ended with code 3"),
        ("import time; time.sleep(60)", "did not load within 1 seconds"),
    ],
)
def test_untried(bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str) -> None:
    """A process that is killed, gives up or hangs says nothing of the bundle."""
    _at_start(code, tmp_path, monkeypatch)
    with pytest.raises(UntriedError, match=reason):
        try_apart(bundle_folder, seconds=1.0)


def test_no_process(bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a process that cannot even be started."""
    monkeypatch.setattr("sys.executable", str(tmp_path / "gone"))
    with pytest.raises(UntriedError, match="No process could be started"):
        try_apart(bundle_folder)


def test_no_secrets(bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the service's environment holds, such as the address of a database, is not handed on."""
    seen = tmp_path / "seen.json"
    _at_start(f"import json, os; json.dump(dict(os.environ), open({str(seen)!r}, 'w'))", tmp_path, monkeypatch)
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    try_apart(bundle_folder)
    assert "hunter2" not in json.loads(seen.read_text(encoding="utf-8")).values()
