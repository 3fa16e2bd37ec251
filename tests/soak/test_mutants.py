"""Thousands of bundles gone wrong: none is believed that should not be, and none kills the process that loads it."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest

from tests.tiny_model import write_model
from tests.training.mutant_verdicts import REFUSED, SERVES
from training.models.lifecycle import LifecycleModel

N_MUTANTS = 5_040
FIRST = 1_000_000  # other ones than the quick tests judge
MOST_SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def other_folder(model: LifecycleModel, end_day: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of another bundle of the same shop."""
    calibrator = replace(model.churn.calibrator, intercept=model.churn.calibrator.intercept + 1.0)
    other = replace(model, churn=replace(model.churn, calibrator=calibrator))
    return write_model(tmp_path_factory.mktemp("other"), other, cutoff_day=end_day)


class Judge:
    """A process that judges mutants; where it dies or hangs, another takes its place."""

    def __init__(self, source: Path, other: Path) -> None:
        self._command = [sys.executable, "-m", "tests.soak.mutant_process", str(source), str(other)]
        self._process = self._start()

    def judge(self, seed: int) -> tuple[str, str]:
        """Return a mutant's name and verdict; a death is one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        guard = Timer(MOST_SECONDS, self._process.kill)
        guard.start()
        try:
            self._process.stdin.write(f"{seed}\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        guard.cancel()
        if line:
            name, verdict = json.loads(line)
            return name, verdict
        self.close()
        code = self._process.returncode
        self._process = self._start()
        return f"number {seed}", f"the process ended with code {code}"

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )


@pytest.fixture
def judge(bundle_folder: Path, other_folder: Path) -> Iterator[Judge]:
    """A process that judges mutants of the shared bundle."""
    started = Judge(bundle_folder, other_folder)
    yield started
    started.close()


def test_mutants(judge: Judge) -> None:
    """Of five thousand, each is refused with a reason, or answers with probabilities; and the process lives."""
    verdicts = dict(judge.judge(seed) for seed in range(FIRST, FIRST + N_MUTANTS))
    assert len(verdicts) == N_MUTANTS
    assert {name: verdict for name, verdict in verdicts.items() if verdict not in {REFUSED, SERVES}} == {}
    counts = Counter(verdicts.values())
    assert counts[REFUSED] > 0.8 * N_MUTANTS, counts
