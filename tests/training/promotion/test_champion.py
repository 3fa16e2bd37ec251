"""Which bundle serves: the last promotion, whose folder must be there."""

from pathlib import Path

import pytest

from features.errors import ModelError
from training.promotion.champion import (
    Promotion,
    append_promotion,
    bundles_folder,
    read_champion,
    read_history,
    read_promotion,
)

ENTRY = '"version": "a", "at": "", "reason": ""'
ODD = [
    f"[{{{ENTRY}, {field}}}]" for field in ('"is_forced": 1', '"objections": "x"', '"objections": [1]', '"other": 1')
]


def _promote(home: Path, version: str) -> None:
    (bundles_folder(home) / version).mkdir(parents=True, exist_ok=True)
    append_promotion(home, Promotion(version, at="2024-01-01T00:00:00+00:00", reason="passed the gate"))


def test_last_one_serves(tmp_path: Path) -> None:
    """The champion is the last version promoted, and the history keeps all, oldest first."""
    for version in ("a", "b", "a"):
        _promote(tmp_path, version)
    assert read_champion(tmp_path) == bundles_folder(tmp_path) / "a"
    assert [entry.version for entry in read_history(tmp_path)] == ["a", "b", "a"]
    assert {path.name for path in tmp_path.iterdir()} == {"bundles", "champion.json"}


def test_older_file(tmp_path: Path) -> None:
    """A file from before promotions could be forced reads as one in which none was."""
    (tmp_path / "champion.json").write_text('[{"version": "a", "at": "", "reason": "passed", "is_rollback": true}]')
    (entry,) = read_history(tmp_path)
    assert entry == Promotion("a", at="", reason="passed", is_rollback=True)
    assert (entry.is_forced, entry.force_reason, entry.objections) == (False, "", ())


def test_how_it_came(tmp_path: Path) -> None:
    """How a version came to serve is read of the one that serves, whole, and of no other."""
    forced = Promotion("b", at="", reason="forced", is_forced=True, force_reason="why", objections=("one", "two"))
    append_promotion(tmp_path, Promotion("a", at="", reason="passed"))
    append_promotion(tmp_path, forced)
    assert read_promotion(tmp_path, "b") == forced
    assert read_promotion(tmp_path, "a") is None


def test_none(tmp_path: Path) -> None:
    """Before the first promotion there is no champion, and the error says what to do."""
    assert read_history(tmp_path) == ()
    with pytest.raises(ModelError, match="lifestage promote"):
        read_champion(tmp_path)


def test_folder_gone(tmp_path: Path) -> None:
    """A champion whose folder is gone is named."""
    _promote(tmp_path, "a")
    (bundles_folder(tmp_path) / "a").rmdir()
    with pytest.raises(ModelError, match="bundle a is gone"):
        read_champion(tmp_path)


def test_stays_inside(tmp_path: Path) -> None:
    """A version that names a path leads nowhere outside the bundles."""
    (tmp_path / "outside").mkdir()
    append_promotion(tmp_path, Promotion("../../outside", at="", reason=""))
    with pytest.raises(ModelError):
        read_champion(tmp_path)


@pytest.mark.parametrize("text", ["", "null", "3", '{"a": 1}', "[{}]", '[{"version": "a"}]', "\ud800", *ODD])
def test_damaged(tmp_path: Path, text: str) -> None:
    """A damaged file is an error, not a shop without champion."""
    (tmp_path / "champion.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ModelError, match="damaged"):
        read_history(tmp_path)
