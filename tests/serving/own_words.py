"""A shop's own words, as files: a vocabulary, and plays."""

from collections.abc import Sequence
from pathlib import Path

from features.lifecycle.stages import SCALE

OURS = {"en": "ours: {}", "fr": "à nous : {}"}


def write_vocabulary(path: Path, *, languages: Sequence[str] = ("en", "fr")) -> Path:
    """Write a vocabulary with a label of its own for each stage, and a play for `at_risk`."""
    lines = ['kind = "stages"', "[title]", *(f'{spoken} = "Ours"' for spoken in languages)]
    lines += ["[stages]", *(f'{stage} = "our_{stage}"' for stage in SCALE)]
    for stage in SCALE:
        lines += [f"[labels.our_{stage}]", *(f'{spoken} = "{OURS[spoken].format(stage)}"' for spoken in languages)]
        if stage == "at_risk":
            lines += [f'plays.{spoken} = ["Our way, {spoken}"]' for spoken in languages]
    return _written(path, lines)


def write_plays(path: Path, *, languages: Sequence[str] = ("en", "fr")) -> Path:
    """Write plays of `lost` and `at_risk`."""
    lines = [
        line
        for stage in ("lost", "at_risk")
        for line in (f"[{stage}]", *(f'{spoken} = ["Call {stage}", "Write to {stage}"]' for spoken in languages))
    ]
    return _written(path, lines)


def _written(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
