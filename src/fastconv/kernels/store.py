"""Compiled kernels on disk: one file each, which may be lost, broken or forged without harm.

They are kept in ``NUMBA_CACHE_DIR`` if that is set; else beside the sources, or where those may not be written, in the
user's cache. A file is written beside its place and then renamed, so that processes which race never see half of one.
It begins with a digest of its contents *and of all that names the kernel*: what was cut short, changed or renamed does
not match, and is compiled anew. What another user may have written is not read, since it would be run.

The directory is bounded. A file's time of change is the time of its last use, give or take an hour.
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
from pathlib import Path

# Of the kernels used last. They have some ten kilobytes each.
MOST_KEPT = 512

# Kernels of another release are dropped after a day without use: two may share a directory. What a process that died
# was writing, after an hour.
_DAY, _HOUR = 86400, 3600

# That of Numba's own files, by which users know what may be deleted.
_SUFFIX = ".nbc"

_MOST_BYTES = 16 << 20


def readable_directories() -> list[Path]:
    """Where kernels may lie, in order."""
    return [path for path in _candidates() if _is_ours(path)]


def writable_directory() -> Path | None:
    """The first place where kernels can be kept, made if need be; ``None`` if there is none."""
    for path in _candidates():
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if _is_safe(path.parent):
                path.mkdir(mode=0o700, exist_ok=True)
            if _is_ours(path) and os.access(path, os.W_OK | os.X_OK):
                return path
    return None


def contents(directory: Path) -> list[os.DirEntry]:
    """The kernels in a directory, the one that was used last first."""
    with os.scandir(directory) as entries:
        kernels = [entry for entry in entries if entry.name.endswith(_SUFFIX)]
    return sorted(kernels, key=_last_use, reverse=True)


def load(name: str, facts: tuple[object, ...]) -> bytes | None:
    """The code of the kernel of this name and these facts."""
    path, key = _named(name, facts)
    for directory in readable_directories():
        with suppress(OSError):
            content = _read(directory / path)
            digest, code = content[:32], content[32:]
            if digest == hashlib.sha256(key + code).digest():
                return code
    return None


def save(name: str, facts: tuple[object, ...], code: bytes) -> None:
    """Keep a kernel, if that is possible."""
    directory = writable_directory()
    if directory is None:
        return
    path, key = _named(name, facts)
    unfinished = directory / f".{path}.{os.getpid()}.{threading.get_ident()}"
    with suppress(OSError):
        try:
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(hashlib.sha256(key + code).digest() + code)
            unfinished.replace(directory / path)
        finally:
            unfinished.unlink(missing_ok=True)
    with suppress(OSError):
        _prune(directory)


def _named(name: str, facts: tuple[object, ...]) -> tuple[str, bytes]:
    """The name of a kernel's file, and the key that its contents must have."""
    key = repr((name, facts, _release())).encode()
    return f"{name.replace(':', '.')}-{hashlib.sha256(key).hexdigest()[:24]}{_ending()}", key


def _ending() -> str:
    return f".{_release()[:8]}{_SUFFIX}"


@functools.cache
def _release() -> str:
    """A digest of the sources of all kernels, and of what compiles them."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    # Their versions, without an import: reading a distribution's metadata takes longer than all the rest.
    for library in ("numba", "llvmlite"):
        spec = importlib.util.find_spec(library)
        if spec is not None and spec.origin is not None:
            sources.append(Path(spec.origin).with_name("_version.py"))
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def _candidates() -> list[Path]:
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        return [Path(named).absolute() / "fastconv-kernels"]
    places = [Path(__file__).parent / "__pycache__"]
    with suppress(RuntimeError):  # nobody's home
        places.append(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"))
    return [place / "fastconv-kernels" for place in places]


def _is_ours(path: Path) -> bool:
    """Whether this is a directory that no other user may write, nor put another in its place."""
    try:
        found = path.stat()
        return stat.S_ISDIR(found.st_mode) and _only_we_write(found) and _is_safe(path.parent)
    except OSError:
        return False


def _is_safe(parent: Path) -> bool:
    """Whether no other user can rename what is in this directory."""
    found = parent.stat()
    anybody_renames = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
    return found.st_uid in (0, os.geteuid()) and not anybody_renames


def _only_we_write(found: os.stat_result) -> bool:
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _read(path: Path) -> bytes:
    """The bytes of a file of ours; `OSError` if it is not."""
    # A pipe of that name must not make the process wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not _only_we_write(found) or found.st_size > _MOST_BYTES:
            raise PermissionError(f"{path} is no file that only this user may write")
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


def _prune(directory: Path) -> None:
    now = time.time()
    for at, entry in enumerate(contents(directory)):
        is_of_another = not entry.name.endswith(_ending())
        if at >= MOST_KEPT or (is_of_another and now - _last_use(entry) > _DAY):
            Path(entry.path).unlink(missing_ok=True)
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(".") and now - _last_use(entry) > _HOUR:
                Path(entry.path).unlink(missing_ok=True)
