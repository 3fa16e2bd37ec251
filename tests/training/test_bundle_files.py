"""A bundle's files are read as plain files or not at all, and nobody waits for a pipe."""

import os
import resource
import shutil
from pathlib import Path

import pytest

from features.errors import BundleError, UntriedError
from features.files import read_plain_file
from training.bundle import load_bundle, read_files
from training.bundle_files import read_bundle_files
from training.promotion.champion import read_history

MOST = {"manifest.json": 100, "model.json": 10}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files of ten bytes."""
    made = tmp_path / "bundle"
    made.mkdir()
    for name in MOST:
        (made / name).write_text("0123456789", encoding="utf-8")
    return made


def test_whole(folder: Path) -> None:
    """Files up to their greatest size are read whole."""
    assert read_bundle_files(folder, most_bytes=MOST) == dict.fromkeys(MOST, b"0123456789")


def test_too_large(folder: Path) -> None:
    """A byte more is refused, by the name of the file."""
    (folder / "model.json").write_text("0123456789x", encoding="utf-8")
    with pytest.raises(BundleError, match=r"bundle/model\.json cannot be read: it is larger"):
        read_bundle_files(folder, most_bytes=MOST)


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder", "device"])
def test_no_plain_file(folder: Path, kind: str) -> None:
    """A link, a pipe, a folder or a device in a file's place is refused at once."""
    path = folder / "model.json"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        targets = {"link": folder / "manifest.json", "device": Path("/dev/zero"), "dangling": folder / "nowhere"}
        path.symlink_to(targets[kind])
    with pytest.raises(BundleError, match=r"bundle/model\.json cannot be read"):
        read_bundle_files(folder, most_bytes=MOST)


def test_more_files(folder: Path) -> None:
    """A folder that holds anything else is refused, and what it is called is not repeated."""
    (folder / "\x1b[2Jsurprise").mkdir()
    with pytest.raises(BundleError, match="holds files that no bundle has") as refused:
        read_bundle_files(folder, most_bytes=MOST)
    assert "surprise" not in str(refused.value)


def test_linked_folder(bundle_folder: Path, tmp_path: Path) -> None:
    """A link to a sound bundle's folder is refused, and so is a name that no folder can have."""
    (tmp_path / "link").symlink_to(bundle_folder)
    for path in (tmp_path / "link", tmp_path / "a\x00b", tmp_path / ("x" * 5000), bundle_folder / "model.json"):
        with pytest.raises(BundleError):
            load_bundle(path)


def test_no_more_files(folder: Path) -> None:
    """A machine that can open no more files says nothing of a bundle: it is not refused for that."""
    most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(UntriedError, match="cannot be read now"):
            read_bundle_files(folder, most_bytes=MOST)
        with pytest.raises(UntriedError, match="cannot be read now"):
            read_history(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def test_read_once(bundle_folder: Path, tmp_path: Path) -> None:
    """What was read is what is loaded, whatever becomes of the folder."""
    folder = Path(shutil.copytree(bundle_folder, tmp_path / bundle_folder.name))
    files = read_files(folder)
    shutil.rmtree(folder)
    assert files == read_files(bundle_folder)


def test_link_on_purpose(folder: Path) -> None:
    """Where links are allowed, what one leads to is read; a pipe still is not."""
    (folder / "link").symlink_to(folder / "model.json")
    assert read_plain_file(folder / "link", most_bytes=10, follow_links=True) == b"0123456789"
    os.mkfifo(folder / "pipe")
    with pytest.raises(OSError, match="not a plain file"):
        read_plain_file(folder / "pipe", most_bytes=10, follow_links=True)
