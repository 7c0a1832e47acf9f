"""Compiled kernels on disk: one file per kernel, which may be lost, broken or forged without harm.

They are stored in ``NUMBA_CACHE_DIR`` if that is set, otherwise next to the sources, or, if that directory is not
writable, in the user's cache. A file is written under a temporary name and then renamed, so that racing processes never
see half a file. It begins with a digest of its contents *and of everything that names the kernel*: a file that was cut
short, changed or renamed does not match, and its kernel is compiled again. A file that another user may have written is
not read, since it would be executed.

The size of the directory is limited. A file's modification time is the time of its last use, to within an hour.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import stat
import threading
import time
from contextlib import suppress

# Number of kernels kept, the most recently used. They take about ten kilobytes each.
MOST_KEPT = 512

# Kernels of another release, which may share the directory, are dropped after a day without use; what a process was
# writing when it died, after an hour.
_DAY, _HOUR = 86400, 3600

# The suffix of Numba's own files, by which users know that they may be deleted.
_SUFFIX = ".nbc"

_MOST_BYTES = 16 << 20


def readable_directories() -> list[str]:
    """The directories that may hold kernels, in order of preference."""
    return [path for path in _candidates() if _is_ours(path)]


def writable_directory() -> str | None:
    """The first directory in which kernels can be stored, created if necessary; ``None`` if there is none."""
    for path in _candidates():
        with suppress(OSError):
            parent = os.path.dirname(path)
            os.makedirs(parent, exist_ok=True)
            if _is_safe(parent) and not os.path.isdir(path):
                with suppress(FileExistsError):  # another process was faster
                    os.mkdir(path, 0o700)
            if _is_ours(path) and os.access(path, os.W_OK | os.X_OK):
                return path
    return None


def contents(directory: str) -> list[os.DirEntry]:
    """The kernels in a directory, most recently used first."""
    with os.scandir(directory) as entries:
        kernels = [entry for entry in entries if entry.name.endswith(_SUFFIX)]
    return sorted(kernels, key=_last_use, reverse=True)


def load(name: str, facts: tuple[object, ...]) -> bytes | None:
    """The stored code of the kernel with this name and these facts."""
    path, key = _named(name, facts)
    for directory in readable_directories():
        with suppress(OSError):
            content = _read(os.path.join(directory, path))
            digest, code = content[:32], content[32:]
            if digest == hashlib.sha256(key + code).digest():
                return code
    return None


def save(name: str, facts: tuple[object, ...], code: bytes) -> None:
    """Store a kernel, if possible."""
    directory = writable_directory()
    if directory is None:
        return
    path, key = _named(name, facts)
    unfinished = os.path.join(directory, f".{path}.{os.getpid()}.{threading.get_ident()}")
    with suppress(OSError):
        try:
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(hashlib.sha256(key + code).digest() + code)
            os.replace(unfinished, os.path.join(directory, path))
        finally:
            _remove(unfinished)
    with suppress(OSError):
        _prune(directory)


def _named(name: str, facts: tuple[object, ...]) -> tuple[str, bytes]:
    """The name of a kernel's file, and the key that its contents must match."""
    key = repr((name, facts, _release())).encode()
    return f"{name.replace(':', '.')}-{hashlib.sha256(key).hexdigest()[:24]}{_ending()}", key


def _ending() -> str:
    return f".{_release()[:8]}{_SUFFIX}"


@functools.cache
def _release() -> str:
    """A digest of the sources of all kernels, and of what compiles them."""
    here = os.path.dirname(__file__)
    sources = [os.path.join(at, name) for at, _, names in os.walk(here) for name in names if name.endswith(".py")]
    # Versions are read without an import: reading a distribution's metadata would take longer than everything else.
    for library in ("numba", "llvmlite"):
        spec = importlib.util.find_spec(library)
        if spec is not None and spec.origin is not None:
            sources.append(os.path.join(os.path.dirname(spec.origin), "_version.py"))
    digest = hashlib.sha256()
    for path in sorted(sources):
        with suppress(FileNotFoundError), open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def _candidates() -> list[str]:
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        places = [os.path.abspath(named)]
    else:
        users = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        places = [os.path.join(os.path.dirname(__file__), "__pycache__"), os.path.abspath(users)]
    return [os.path.join(place, "fastconv-kernels") for place in places]


def _is_ours(path: str) -> bool:
    """Whether this is a directory that no other user can write to or replace."""
    try:
        found = os.stat(path)
        return stat.S_ISDIR(found.st_mode) and _only_we_write(found) and _is_safe(os.path.dirname(path))
    except OSError:
        return False


def _is_safe(parent: str) -> bool:
    """Whether no other user can rename entries of this directory."""
    found = os.stat(parent)
    anybody_renames = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
    return found.st_uid in (0, os.geteuid()) and not anybody_renames


def _only_we_write(found: os.stat_result) -> bool:
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _read(path: str) -> bytes:
    """The bytes of a file that only this user can write; otherwise `OSError`."""
    # A named pipe must not make the process wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not _only_we_write(found) or found.st_size > _MOST_BYTES:
            raise PermissionError(f"{path} is not a regular file that only this user may write")
        content = file.read()
        if time.time() - found.st_mtime > _HOUR:
            with suppress(OSError):
                os.utime(descriptor)
    return content


def _last_use(entry: os.DirEntry) -> float:
    try:
        return entry.stat().st_mtime
    except OSError:  # dropped by another process
        return 0.0


def _prune(directory: str) -> None:
    now = time.time()
    for at, entry in enumerate(contents(directory)):
        is_of_another = not entry.name.endswith(_ending())
        if at >= MOST_KEPT or (is_of_another and now - _last_use(entry) > _DAY):
            _remove(entry.path)
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(".") and now - _last_use(entry) > _HOUR:
                _remove(entry.path)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
