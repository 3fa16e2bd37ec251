"""Load a champion: tried in a process apart first, then loaded here from the very same bytes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from features.errors import BundleError, UntriedError
from serving.champion.belief import believe
from serving.champion.check import CHECK_SECONDS
from training.bundle import Bundle, check_seal, manifest_hash, read_files
from training.bundle_files import REMEDY
from training.promotion.champion import read_champion

# What an interpreter may need to find itself, and nothing that could be a secret.
_PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "PYTHONTZPATH")
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")

# Whoever ends it so means the process, or the machine's memory, and not the bundle.
_FROM_OUTSIDE = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL})
_AGAIN = "It is tried again by itself; if that goes on, give the machine time and memory, or promote another version."
_OTHER = "Promote another version, or reload this one if you trust it."


class Verdict(NamedTuple):
    """What a process apart found a bundle to be."""

    version: str
    manifest_sha256: str


def load_champion(home: Path) -> Bundle:
    """Load the champion of a home folder.

    Raises:
        ModelError: If none was promoted, or its folder is gone.
        BundleError: If it is refused.
        UntriedError: If it could not be tried.
    """
    return load_verified(read_champion(home))


def load_verified(folder: Path, *, seconds: float = CHECK_SECONDS) -> Bundle:
    """Load a bundle that a process apart could load and answer with.

    The files are read once. The manifest holds their hashes, so a process apart that saw the same manifest saw the
    same bytes; whatever is changed on the disk in between changes nothing of what is loaded.

    Raises:
        BundleError: If it is refused, or crashes the process that tries it.
        UntriedError: If that process could not be started, was ended from outside, or told nothing in time.
    """
    files = read_files(folder)
    check_seal(files, name=folder.name)  # what chance has spoilt is told at once
    verdict = try_apart(folder, seconds=seconds)
    if verdict.manifest_sha256 != manifest_hash(files):
        raise BundleError(f"Bundle {folder.name} was changed while it was checked.", remedy=REMEDY)
    return believe(files, folder.name)


def try_apart(folder: Path, *, seconds: float = CHECK_SECONDS) -> Verdict:
    """Load a bundle in a fresh process of bounded time and memory, and return what it found.

    Raises:
        BundleError: With its reason, or with how the process crashed.
        UntriedError: If the process could not be started, was ended from outside, or told nothing in time.
    """
    try:
        ended = subprocess.run(  # noqa: S603  # our own command, without a shell
            [sys.executable, "-m", "serving.champion.check", str(folder.absolute())],
            cwd=Path(__file__).resolve().parents[2],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UntriedError(f"Bundle {folder.name} did not load within {seconds:g} seconds.", remedy=_AGAIN) from None
    except (OSError, MemoryError) as error:
        fault = type(error).__name__
        raise UntriedError(
            f"No process could be started to try bundle {folder.name}: {fault}.", remedy=_AGAIN
        ) from None
    return _read_verdict(ended, folder.name)


def _read_verdict(ended: subprocess.CompletedProcess[bytes], name: str) -> Verdict:
    if -ended.returncode in _FROM_OUTSIDE:
        how = signal.Signals(-ended.returncode).name
        raise UntriedError(f"Trying bundle {name} was broken off ({how}).", remedy=_AGAIN)
    if ended.returncode < 0:
        how = signal.Signals(-ended.returncode).name
        raise BundleError(f"Loading bundle {name} crashed ({how}).", remedy=_OTHER)
    try:
        told = json.loads(ended.stdout)
        if "problem" in told:
            raise BundleError(told["problem"], remedy=told["remedy"])
        return Verdict(told["version"], told["manifest_sha256"])
    except (KeyError, TypeError, json.JSONDecodeError):
        raise UntriedError(
            f"Bundle {name} could not be tried: the process ended with code {ended.returncode}.",
            remedy="It is tried again by itself; run python -m serving.champion.check FOLDER on it to see why.",
        ) from None


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, **dict.fromkeys(_ONE_THREAD, "1"), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
