"""Files of a cache that only this user can write.

What is read from there decides what runs, so files and directories that another user may have written are not read. A
file is written under a temporary name and then renamed, so that racing processes never see half a file.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable
from contextlib import suppress


def users_cache() -> str:
    """The directory in which programs of this user keep what they can make again."""
    return os.path.abspath(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))


def is_ours(path: str) -> bool:
    """Whether this is a directory that no other user can write to or replace."""
    try:
        found = os.stat(path)
        return stat.S_ISDIR(found.st_mode) and _only_we_write(found) and _is_safe(os.path.dirname(path))
    except OSError:
        return False


def first_writable(paths: Iterable[str]) -> str | None:
    """The first of these directories in which files can be written, created if necessary; ``None`` if there is none."""
    for path in paths:
        with suppress(OSError):
            parent = os.path.dirname(path)
            os.makedirs(parent, exist_ok=True)
            if _is_safe(parent) and not os.path.isdir(path):
                with suppress(FileExistsError):  # another process was faster
                    os.mkdir(path, 0o700)
            if is_ours(path) and os.access(path, os.W_OK | os.X_OK):
                return path
    return None


def read(path: str, most_bytes: int) -> tuple[bytes, float]:
    """Contents and modification time of a file that only this user can write; otherwise `OSError`."""
    # A named pipe must not make the process wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not _only_we_write(found) or found.st_size > most_bytes:
            raise PermissionError(
                f"{path} is not a regular file of at most {most_bytes} bytes that only this user may write"
            )
        return file.read(), found.st_mtime


def write(directory: str, name: str, content: bytes) -> None:
    """Put a file into the directory, or another one in its place, at once."""
    unfinished = os.path.join(directory, f".{name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        os.replace(unfinished, os.path.join(directory, name))
    finally:
        remove(unfinished)


def remove(path: str) -> None:
    """Delete a file, if it exists."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def _is_safe(parent: str) -> bool:
    """Whether no other user can rename entries of this directory."""
    found = os.stat(parent)
    anybody_renames = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
    return found.st_uid in (0, os.geteuid()) and not anybody_renames


def _only_we_write(found: os.stat_result) -> bool:
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
