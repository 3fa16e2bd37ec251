"""A bundle's files, read once: plain files of a bounded size, in a plain folder that holds nothing else.

No link is followed, no pipe or device is waited for, and what was read is what is checked and loaded: whoever
changes a file afterwards changes nothing of what was read.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from features.errors import BundleError, UntriedError
from features.files import PASSING, read_plain_file

REMEDY = "Train again, or promote another version (lifestage models lists them)."

_LATER = "Try again once the machine has files, memory and its disk to spare."
_MANY = 100  # more files than any bundle has


def read_bundle_files(folder: Path, *, most_bytes: Mapping[str, int]) -> dict[str, bytes]:
    """Read every file of a bundle's folder.

    Args:
        folder: The bundle's folder.
        most_bytes: Name → size, of the files that a bundle can have.

    Returns:
        Name → contents, of those that are there.

    Raises:
        BundleError: If the folder is a link or none, holds anything else, or a file is no plain one or too large.
        UntriedError: If the machine cannot read it now.
    """
    with _opened(folder) as directory:
        with os.scandir(directory) as entries:
            names = {entry.name for entry in islice(entries, _MANY)}
        if not names <= most_bytes.keys():
            raise BundleError(f"The folder of bundle {folder.name} holds files that no bundle has.", remedy=REMEDY)
        return {name: _read(folder, name, directory, most_bytes[name]) for name in sorted(names)}


def read_bundle_file(folder: Path, name: str, *, most_bytes: int) -> bytes:
    """Read one file of a bundle's folder.

    Raises:
        BundleError: If the folder is a link or none, or the file is no plain one, too large or not there.
        UntriedError: If the machine cannot read it now.
    """
    with _opened(folder) as directory:
        return _read(folder, name, directory, most_bytes)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        _raise_passing(error, folder)
        raise BundleError(
            f"{folder.name[:100]!r} is no plain folder: it holds no readable manifest.", remedy=REMEDY
        ) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(folder: Path, name: str, directory: int, most_bytes: int) -> bytes:
    try:
        return read_plain_file(name, most_bytes=most_bytes, directory=directory)
    except OSError as error:
        _raise_passing(error, folder)
        reason = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise BundleError(f"{folder.name}/{name} cannot be read: {reason}.", remedy=REMEDY) from None


def _raise_passing(error: Exception, folder: Path) -> None:
    """Raise what says nothing of a bundle as such."""
    if isinstance(error, OSError) and error.errno in PASSING:
        raise UntriedError(f"{folder.name} cannot be read now: {error.strerror}.", remedy=_LATER) from None
