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
import time
from contextlib import suppress

from fastconv.kernels import private

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
    return [path for path in _candidates() if private.is_ours(path)]


def writable_directory() -> str | None:
    """The first directory in which kernels can be stored, created if necessary; ``None`` if there is none."""
    return private.first_writable(_candidates())


def contents(directory: str) -> list[os.DirEntry[str]]:
    """The kernels in a directory, most recently used first."""
    with os.scandir(directory) as entries:
        kernels = [entry for entry in entries if entry.name.endswith(_SUFFIX)]
    return sorted(kernels, key=_last_use, reverse=True)


def load(name: str, facts: tuple[object, ...]) -> bytes | None:
    """The stored code of the kernel with this name and these facts."""
    path, key = _named(name, facts)
    for directory in readable_directories():
        with suppress(OSError):
            at = os.path.join(directory, path)
            content, last_use = private.read(at, _MOST_BYTES)
            if time.time() - last_use > _HOUR:
                with suppress(OSError):
                    os.utime(at)
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
    with suppress(OSError):
        private.write(directory, path, hashlib.sha256(key + code).digest() + code)
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
        places = [os.path.join(os.path.dirname(__file__), "__pycache__"), private.users_cache()]
    return [os.path.join(place, "fastconv-kernels") for place in places]


def _last_use(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat().st_mtime
    except OSError:  # dropped by another process
        return 0.0


def _prune(directory: str) -> None:
    now = time.time()
    for at, entry in enumerate(contents(directory)):
        is_of_another = not entry.name.endswith(_ending())
        if at >= MOST_KEPT or (is_of_another and now - _last_use(entry) > _DAY):
            private.remove(entry.path)
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(".") and now - _last_use(entry) > _HOUR:
                private.remove(entry.path)
