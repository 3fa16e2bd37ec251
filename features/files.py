"""Files written whole, held alone, and read with care.

Whoever reads a path sees the old file or the new, never half of one: what is written goes to a draft beside it, onto
the disk, and then takes its place.
"""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MEGABYTE = 1_000_000
PRIVATE = 0o600

# Of the machine, and not of the file: it may be read when they have passed.
PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE})

_AS_USUAL = 0o666  # less what the process's umask takes away
_NO_FOLDER_SYNC = {errno.EACCES, errno.EINVAL, errno.ENOTSUP}  # a folder of another owner, or such a file system


def write_whole(path: Path, contents: str | bytes, *, mode: int = _AS_USUAL) -> None:
    """Write a file, in place of the one that is there if there is one.

    Args:
        path: Of the file; its folder exists.
        contents: What it holds; text in UTF-8.
        mode: Who may read and write it.

    Raises:
        OSError: If it cannot be written; the old file is as it was.
    """
    with written_whole(path, mode=mode) as draft:
        draft.write_bytes(_encode(contents))


@contextmanager
def written_whole(path: Path, *, mode: int = _AS_USUAL) -> Iterator[Path]:
    """Yield a draft beside a file, which takes the file's place once the block has filled it.

    Raises:
        OSError: If it cannot be written; the old file is as it was.
    """
    with _draft(path, mode) as draft:
        yield draft
        _sync(draft)
        draft.replace(path)
        sync_folder(path.parent)


def write_once(path: Path, contents: str | bytes, *, mode: int = _AS_USUAL) -> None:
    """Write a file unless it is there already, whoever wrote it.

    Raises:
        OSError: If it cannot be written.
    """
    with _draft(path, mode) as draft:
        draft.write_bytes(_encode(contents))
        _sync(draft)
        with suppress(FileExistsError):
            os.link(draft, path)  # unlike a rename, it does not replace what another wrote meanwhile
        sync_folder(path.parent)


@contextmanager
def held_alone(path: Path) -> Iterator[None]:
    """Hold a lock file, made if missing, for a block; other threads and processes that want it wait.

    Raises:
        OSError: If it cannot be opened, or is a link.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring what a folder lists onto the disk, where the file system does so.

    Raises:
        OSError: If the disk fails.
    """
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def draft_of(path: Path) -> Path:
    """Return a name beside a path that nobody else has."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")


def read_plain_file(
    path: Path | str, *, most_bytes: int, directory: int | None = None, follow_links: bool = False
) -> bytes:
    """Read a plain file whole, and never more of it than is allowed.

    Args:
        path: The file, or its name within `directory`.
        most_bytes: Its greatest size.
        directory: Descriptor of an open folder.
        follow_links: Whether a link may lead to it.

    Raises:
        OSError: If it cannot be read, is no plain file, is too large, or grew meanwhile.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_links else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, dir_fd=directory)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a plain file")
        if found.st_size > most_bytes:
            raise OSError(errno.EFBIG, f"it is larger than {most_bytes / MEGABYTE:g} MB")
        with open(descriptor, "rb", closefd=False) as file:  # a descriptor has no path
            raw = file.read(found.st_size + 1)
    finally:
        os.close(descriptor)
    if len(raw) != found.st_size:
        raise OSError(errno.EAGAIN, "it changed while it was read")
    return raw


@contextmanager
def _draft(path: Path, mode: int) -> Iterator[Path]:
    draft = draft_of(path)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encode(contents: str | bytes) -> bytes:
    return contents.encode("utf-8") if isinstance(contents, str) else contents
