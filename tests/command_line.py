"""Commands, run as the installed command runs them."""

import sys
from dataclasses import dataclass
from typing import Protocol

import pytest

import lifestage


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one command left on the terminal: streams with their white space made single, and the exit code."""

    code: int
    out: str
    err: str


class Run(Protocol):
    """Runs a command in the folder of the test."""

    def __call__(self, *words: str) -> Outcome:
        """Run it."""


def run_main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> Outcome:
    """Run a command through `main`."""
    monkeypatch.setattr(sys, "argv", ["lifestage", *words])
    with pytest.raises(SystemExit) as ended:
        lifestage.main()
    streams = capsys.readouterr()
    code = ended.value.code
    return Outcome(
        code if isinstance(code, int) else int(code is not None), single_spaced(streams.out), single_spaced(streams.err)
    )


def single_spaced(text: str) -> str:
    """Make white space single."""
    return " ".join(text.split())


def assert_refused(outcome: Outcome, code: int, problem: str, *, secret: str = "s3cret") -> None:  # noqa: S107  # a mark
    """Assert that a command ended in one message: what is wrong, and what to do; nothing of Python, nothing secret."""
    assert outcome.code == code, outcome.err
    assert outcome.err.count("Error: ") == outcome.err.count("What to do: ") == 1
    message, _, remedy = outcome.err.partition("What to do: ")
    assert problem in message
    assert remedy.endswith((".", "]", '"', "}", ".lifestage-demo"))
    for word in ("Traceback", "Value error", "None", secret):
        assert word not in outcome.err
